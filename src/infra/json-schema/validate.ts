/** Validates data against user-provided JSON Schemas, in separate threads. */
import { Worker } from 'node:worker_threads';
import { createKeyedLimiter } from '../jobs/keyed-limiter.ts';

/**
 * Time limit once the thread has started, because a pattern or references can take exponential time. The
 * largest schema takes about a second of processor time.
 */
const LIMIT_MS = 10_000;
const MEMORY_MB = 64;
/** More than the concurrent analyses of one organization, so that its schemas do not keep others waiting. */
const MAX_THREADS = 10;
/** Idle threads are kept, because starting one takes a hundred times as long as a typical validation. */
const MAX_IDLE_THREADS = 2;

export interface Validation {
  schema: Record<string, unknown>;
  data: unknown;
  /** Name of the data in messages. */
  name: string;
}

/** Threads that wait for the next validation. They do not keep the process alive. */
const idle: Worker[] = [];
const limiter = createKeyedLimiter(MAX_THREADS);

/**
 * The reason why the data does not match a JSON Schema or cannot be validated. Null if it matches. Each validation has
 * a thread to itself, and reuses an idle one if possible.
 */
export function schemaViolation(
  validation: Validation,
  limitMs = LIMIT_MS,
): Promise<string | null> {
  return limiter.run('', () => validateInThread(validation, limitMs));
}

async function validateInThread(validation: Validation, limitMs: number): Promise<string | null> {
  const worker = idle.pop() ?? (await startThread());
  worker.ref();
  const { promise, resolve, reject } = Promise.withResolvers<string | null>();
  const late = setTimeout(() => {
    resolve(`${validation.name} could not be validated within ${limitMs} ms`);
    // An answer that arrives before the thread has ended must not make it idle again.
    release();
    void worker.terminate();
  }, limitMs);
  const answered = (problem: string | null): void => {
    resolve(problem);
    release();
    keep(worker);
  };
  const failed = (error: NodeJS.ErrnoException): void => {
    if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') {
      resolve(`${validation.name} could not be validated with ${MEMORY_MB} MB of memory`);
    } else reject(error);
  };
  const ended = (): void => {
    reject(new Error('The validation ended without a result'));
    release();
  };
  function release(): void {
    clearTimeout(late);
    worker.off('message', answered).off('error', failed).off('exit', ended);
  }
  worker.on('message', answered).on('error', failed).on('exit', ended);
  worker.postMessage(validation);
  return promise;
}

async function startThread(): Promise<Worker> {
  const worker = new Worker(new URL('./validate-worker.ts', import.meta.url), {
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB, maxYoungGenerationSizeMb: 16 },
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // The first message means that the thread is ready.
  worker.once('message', () => resolve());
  // Not removed later, because an unhandled error event would end the process.
  worker.on('error', reject);
  worker.on('exit', () => {
    reject(new Error('The thread of validations does not start'));
    const place = idle.indexOf(worker);
    if (place >= 0) idle.splice(place, 1);
  });
  await promise;
  return worker;
}

function keep(worker: Worker): void {
  worker.unref();
  if (idle.length < MAX_IDLE_THREADS) idle.push(worker);
  else void worker.terminate();
}
