/** Notifies users of an API key in this process when it is revoked. */
import type { App } from '../app.ts';
import { perInstance } from '../infra/per-instance.ts';
import { API_KEY_REVOKED_TOPIC } from './api-key-cache.ts';

export interface KeyUser {
  /** Called when the key is no longer accepted, possibly more than once. */
  onCredentialEnded(): void;
}

/** Users by key, with one bus listener for all, since thousands may use the same key. */
const usersOf = perInstance((app: App) => {
  const users = new Map<string, Set<KeyUser>>();
  app.bus.subscribe(API_KEY_REVOKED_TOPIC, (apiKeyId) => {
    for (const user of [...(users.get(String(apiKeyId)) ?? [])]) user.onCredentialEnded();
  });
  return users;
});

/**
 * Calls `onCredentialEnded` as soon as this process learns that the key was revoked, until `stopWatchingKey`. The message may be
 * lost.
 */
export function watchKey(app: App, apiKeyId: string, user: KeyUser): void {
  const users = usersOf(app);
  const ofKey = users.get(apiKeyId);
  if (ofKey) ofKey.add(user);
  else users.set(apiKeyId, new Set([user]));
}

export function stopWatchingKey(app: App, apiKeyId: string, user: KeyUser): void {
  const users = usersOf(app);
  const ofKey = users.get(apiKeyId);
  ofKey?.delete(user);
  if (ofKey?.size === 0) users.delete(apiKeyId);
}
