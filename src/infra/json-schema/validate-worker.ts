/** Validation thread: for each request, compiles the schema, validates the data, and posts the problem or null. */
import { parentPort } from 'node:worker_threads';
import { dialectOf } from './dialect.ts';
import type { Validation } from './validate.ts';

function violation({ schema, data, name }: Validation): string | null {
  const { newAjv, content } = dialectOf(schema);
  try {
    // One per validation: schemas of different organizations may have the same identifiers. The schema was already
    // checked when it was provided, and compiling the schema of its dialect takes long.
    const ajv = newAjv({ validateSchema: false });
    const validate = ajv.compile(content);
    return validate(data) ? null : ajv.errorsText(validate.errors, { dataVar: name });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

parentPort?.on('message', (validation: Validation) => {
  parentPort?.postMessage(violation(validation));
});
parentPort?.postMessage('ready');
