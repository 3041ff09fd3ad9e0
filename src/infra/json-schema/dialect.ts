/** Supported dialects of JSON Schema: draft 2020-12, and draft-07 if `$schema` says so. */
import { Ajv, type AnySchema, type Options } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { fastFormats, fullFormats } from 'ajv-formats/dist/formats.js';

const DRAFT_07 = /^https?:\/\/json-schema\.org\/draft-0[67]\/schema#?$/;
const SUPPORTED =
  /^https?:\/\/json-schema\.org\/(?:draft-0[67]|draft\/20(?:19-09|20-12))\/schema#?$/;
/** The formats that are checked; others are ignored. None takes long with hostile data. */
const FORMATS = {
  date: fullFormats.date,
  time: fullFormats.time,
  'date-time': fullFormats['date-time'],
  duration: fastFormats.duration,
  email: fastFormats.email,
  hostname: fastFormats.hostname,
  ipv4: fastFormats.ipv4,
  ipv6: fastFormats.ipv6,
  uri: fastFormats.uri,
  'uri-reference': fastFormats['uri-reference'],
  uuid: fastFormats.uuid,
};
const OPTIONS = {
  strict: false,
  logger: false,
  formats: FORMATS,
  // With either of these, compilation time and memory grow faster than the schema.
  inlineRefs: false,
  code: { optimize: false },
} as const;

export type NewAjv = (more?: Options) => Ajv;

export interface Dialect {
  newAjv: NewAjv;
  /** The schema without `$schema`, because the compiler would look it up. */
  content: Record<string, unknown> & AnySchema;
}

/** Whether schemas of the dialect can be read as one of those above. */
export function isSupportedDialect(dialect: unknown): boolean {
  return dialect === undefined || (typeof dialect === 'string' && SUPPORTED.test(dialect));
}

export function dialectOf(schema: Record<string, unknown>): Dialect {
  const { $schema: dialect, ...content } = schema;
  const isDraft07 = typeof dialect === 'string' && DRAFT_07.test(dialect);
  return { newAjv: isDraft07 ? newDraft07 : newDraft2020, content };
}

const newDraft07: NewAjv = (more) => new Ajv({ ...OPTIONS, ...more });
const newDraft2020: NewAjv = (more) => new Ajv2020({ ...OPTIONS, ...more });
