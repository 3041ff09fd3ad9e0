/** Names of language models. */
import type { App } from '../app.ts';
import { Checks } from '../infra/checks.ts';
import { perInstance } from '../infra/per-instance.ts';
import { UltravoxError } from '../ultravox/error.ts';
import { LIMITS, MODELS } from './limits.ts';

/** Time for which the list of Ultravox is remembered, so that unknown names do not cost a request each. */
const REMEMBERED_MS = 60_000;

/** The last list of Ultravox, which may still be on its way, so that concurrent requests share it. */
const lastList = perInstance((_app: App): { list?: Promise<readonly string[]>; at: number } => ({
  at: 0,
}));

/**
 * Returns the accepted models. Ultravox is asked only about a name that this version does not know. If it cannot be
 * asked, the name is accepted: the agent cannot be sent either, and Ultravox decides once it is.
 */
export async function acceptedModels(
  app: App,
  name: string | null | undefined,
): Promise<readonly string[]> {
  const known: readonly string[] = MODELS;
  if (!name || known.includes(name)) return known;
  const isName = new Checks().text(name, ['model'], { min: 1, max: LIMITS.model }) !== undefined;
  if (!isName) return known;
  try {
    return await modelsOfUltravox(app);
  } catch (error) {
    if (!(error instanceof UltravoxError)) throw error;
    return [...known, name];
  }
}

function modelsOfUltravox(app: App): Promise<readonly string[]> {
  const last = lastList(app);
  const now = app.now().getTime();
  if (last.list && now - last.at < REMEMBERED_MS) return last.list;
  const list = app.ultravox.account.models();
  Object.assign(last, { list, at: now });
  list.catch(() => {
    if (last.list === list) delete last.list;
  });
  return list;
}
