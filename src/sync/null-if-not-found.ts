/** Requests for resources that may not exist at Ultravox. */
import { UltravoxError } from '../ultravox/error.ts';

/** The response to a request. Null if Ultravox answers that the resource does not exist. */
export async function nullIfNotFound<T>(request: Promise<T>): Promise<T | null> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof UltravoxError && error.kind === 'not_found') return null;
    throw error;
  }
}
