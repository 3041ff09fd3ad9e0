/** JSON Schemas that users write: whether they are ones. */
import { Ajv, type AnySchema } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';

const DRAFT_07 = /^https?:\/\/json-schema\.org\/draft-0[67]\/schema#?$/;
const OPTIONS = { strict: false, logger: false, validateFormats: false } as const;

/**
 * Why this is not a JSON Schema, or null when it is one: of draft 2020-12, or of draft 07 where
 * `$schema` says so. A new compiler each time, so that two schemas with one `$id` do not meet.
 */
export function jsonSchemaProblem(schema: Record<string, unknown>): string | null {
  const { $schema: dialect, ...content } = schema;
  const isDraft07 = typeof dialect === 'string' && DRAFT_07.test(dialect);
  const ajv = isDraft07 ? new Ajv(OPTIONS) : new Ajv2020(OPTIONS);
  try {
    if (!ajv.validateSchema(content as AnySchema)) {
      return ajv.errorsText(ajv.errors, { dataVar: 'schema' });
    }
    ajv.compile(content as AnySchema);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
