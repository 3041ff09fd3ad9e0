/** Validates JSON Schemas that users provide, and data against them. */
import vm from 'node:vm';
import { Ajv, type AnySchema, type ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';

const DRAFT_07 = /^https?:\/\/json-schema\.org\/draft-0[67]\/schema#?$/;
const OPTIONS = { strict: false, logger: false, validateFormats: false } as const;
/** Time limit, because the patterns of a schema can take exponential time. */
const VALIDATION_MS = 1_000;

/**
 * Why this is not a valid JSON Schema; null when it is valid. Draft 2020-12, or draft-07 if `$schema` says
 * so.
 */
export function jsonSchemaProblem(schema: Record<string, unknown>): string | null {
  const { ajv, content } = compilerFor(schema);
  try {
    if (!ajv.validateSchema(content)) {
      return ajv.errorsText(ajv.errors, { dataVar: 'schema' });
    }
    ajv.compile(content);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Why the data does not fit a JSON Schema, or null when it does. `name` is what the data is called. */
export function schemaViolation(
  schema: Record<string, unknown>,
  data: unknown,
  name: string,
): string | null {
  const { ajv, content } = compilerFor(schema);
  try {
    const validate = ajv.compile(content);
    if (isValid(validate, data)) return null;
    return ajv.errorsText(validate.errors, { dataVar: name });
  } catch (error) {
    const isLate = (error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
    if (isLate) return `${name} could not be validated within ${VALIDATION_MS} ms`;
    return error instanceof Error ? error.message : String(error);
  }
}

function isValid(validate: ValidateFunction, data: unknown): boolean {
  const sandbox = { validate: () => validate(data) };
  return vm.runInNewContext('validate()', sandbox, { timeout: VALIDATION_MS }) === true;
}

/** A new compiler each time, so that two schemas with one `$id` do not meet. */
function compilerFor(schema: Record<string, unknown>): { ajv: Ajv; content: AnySchema } {
  const { $schema: dialect, ...content } = schema;
  const isDraft07 = typeof dialect === 'string' && DRAFT_07.test(dialect);
  return { ajv: isDraft07 ? new Ajv(OPTIONS) : new Ajv2020(OPTIONS), content };
}
