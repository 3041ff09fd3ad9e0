/** Names of language models. */
import type { App } from '../app.ts';
import { UltravoxError } from '../ultravox/error.ts';
import { LIMITS, MODELS } from './limits.ts';

/**
 * Returns the accepted models. Ultravox is asked only about a name that this version does not know. If it cannot be
 * asked, the name is accepted: the agent cannot be sent either, and Ultravox decides once it is.
 */
export async function acceptedModels(
  app: App,
  name: string | null | undefined,
): Promise<readonly string[]> {
  const known: readonly string[] = MODELS;
  if (!name || known.includes(name) || name.length > LIMITS.model) return known;
  try {
    return await app.ultravox.account.models();
  } catch (error) {
    if (!(error instanceof UltravoxError)) throw error;
    return [...known, name];
  }
}
