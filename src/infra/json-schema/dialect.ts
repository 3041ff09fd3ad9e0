/** Supported dialects of JSON Schema: draft 2020-12, and draft-07 if `$schema` says so. */
import { Ajv, type AnySchema, type Options } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';

const DRAFT_07 = /^https?:\/\/json-schema\.org\/draft-0[67]\/schema#?$/;
const OPTIONS = {
  strict: false,
  logger: false,
  validateFormats: false,
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

export function dialectOf(schema: Record<string, unknown>): Dialect {
  const { $schema: dialect, ...content } = schema;
  const isDraft07 = typeof dialect === 'string' && DRAFT_07.test(dialect);
  return { newAjv: isDraft07 ? newDraft07 : newDraft2020, content };
}

const newDraft07: NewAjv = (more) => new Ajv({ ...OPTIONS, ...more });
const newDraft2020: NewAjv = (more) => new Ajv2020({ ...OPTIONS, ...more });
