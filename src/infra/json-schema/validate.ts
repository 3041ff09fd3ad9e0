/** Validates data against JSON Schemas that users provide, in a thread of its own. */
import { Worker } from 'node:worker_threads';

/**
 * Time limit once the thread has started, because a pattern or references can take exponential time. The
 * largest schema takes about a second of processor time.
 */
const LIMIT_MS = 10_000;
const MEMORY_MB = 128;

export interface Validation {
  schema: Record<string, unknown>;
  data: unknown;
  /** What messages call the data. */
  name: string;
}

/** Why the data does not fit a JSON Schema, or cannot be validated; null when it fits. */
export function schemaViolation(
  validation: Validation,
  limitMs = LIMIT_MS,
): Promise<string | null> {
  const { promise, resolve, reject } = Promise.withResolvers<string | null>();
  const worker = new Worker(new URL('./validate-worker.ts', import.meta.url), {
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB, maxYoungGenerationSizeMb: 16 },
  });
  let late: NodeJS.Timeout | undefined;
  // The first message says that the thread is ready.
  worker.once('message', () => {
    late = setTimeout(() => {
      resolve(`${validation.name} could not be validated within ${limitMs} ms`);
      void worker.terminate();
    }, limitMs);
    worker.once('message', resolve);
    worker.postMessage(validation);
  });
  worker.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ERR_WORKER_OUT_OF_MEMORY') return reject(error);
    resolve(`${validation.name} could not be validated with ${MEMORY_MB} MB of memory`);
  });
  worker.once('exit', () => reject(new Error('The validation ended without a result')));
  return promise.finally(() => clearTimeout(late));
}
