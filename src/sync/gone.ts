import { UltravoxError } from '../ultravox/error.ts';

/** The answer of a request to Ultravox, or null when what it is about is not there (any more). */
export async function orGone<T>(request: Promise<T>): Promise<T | null> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof UltravoxError && error.kind === 'not_found') return null;
    throw error;
  }
}
