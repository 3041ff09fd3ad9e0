/** The JSON Schemas by which data is taken out of a call's transcript. */
import { Ajv, type ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';

/**
 * Compiles a schema, of draft 2020-12 if it says so and of draft-07 otherwise. What it refers to
 * has to be inside it.
 *
 * @throws Error that says what is wrong with the schema.
 */
export function compileExtractionSchema(schema: Record<string, unknown>): ValidateFunction {
  const { $schema: dialect, $async: _never, ...plain } = schema;
  const options = { strict: false, allErrors: true, validateFormats: false };
  const is2020 = typeof dialect === 'string' && dialect.includes('2020-12');
  const ajv = is2020 ? new Ajv2020(options) : new Ajv(options);
  return ajv.compile(plain);
}
