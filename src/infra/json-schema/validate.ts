/** Validates data against JSON Schemas that users provide, in threads of its own. */
import { Worker } from 'node:worker_threads';
import { createTurns } from '../jobs/turns.ts';

/**
 * Time limit once the thread has started, because a pattern or references can take exponential time. The
 * largest schema takes about a second of processor time.
 */
const LIMIT_MS = 10_000;
const MEMORY_MB = 64;
/** More than the analyses that one organization has under way, so that its schemas keep no others waiting. */
const MAX_THREADS = 10;
/** To start a thread takes a hundred times as long as to validate with a usual schema. */
const MAX_IDLE_THREADS = 2;

export interface Validation {
  schema: Record<string, unknown>;
  data: unknown;
  /** What messages call the data. */
  name: string;
}

/** Threads that wait for the next validation, and let the process end meanwhile. */
const idle: Worker[] = [];
const turns = createTurns(MAX_THREADS);

/**
 * Why the data does not fit a JSON Schema, or cannot be validated; null when it fits. A validation has a thread to
 * itself, which is one that an earlier one has left where there is one.
 */
export function schemaViolation(
  validation: Validation,
  limitMs = LIMIT_MS,
): Promise<string | null> {
  return turns.take('', () => validateInThread(validation, limitMs));
}

async function validateInThread(validation: Validation, limitMs: number): Promise<string | null> {
  const worker = idle.pop() ?? (await startThread());
  worker.ref();
  const { promise, resolve, reject } = Promise.withResolvers<string | null>();
  const late = setTimeout(() => {
    resolve(`${validation.name} could not be validated within ${limitMs} ms`);
    // An answer that comes until the thread has ended must not keep it.
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
  // The first message says that the thread is ready.
  worker.once('message', () => resolve());
  // Stays, because an error that nobody listens to ends the process.
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
