/**
 * Wake-ups for the consumers of the event log. Every worker receives those of all organizations, so each process
 * sends few: the first at once, and then one for all events appended during a pause.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { App } from '../app.ts';
import type { Bus } from '../infra/bus.ts';
import { perInstance } from '../infra/per-instance.ts';

const TOPIC = 'consumers';
/**
 * Minimum time between two batches of an organization, and so between two messages of a process: for an organization
 * with many events, consumers would not use more of them. The first event of another one waits as long at most.
 */
export const PAUSE_MS = 500;
const MAX_ORGANIZATIONS = 500;

/** Cursor of the newest event, as a string, by organization. */
type WakeMessage = Record<string, string>;

interface WakeUps {
  /** Newest cursors to send in the next message of this process, by organization. */
  readonly waiting: Map<string, bigint>;
  isPausing: boolean;
}

const wakeUps = perInstance((_app: App): WakeUps => ({ waiting: new Map(), isPausing: false }));

/** Tells the consumers of every process that the organization has events up to this cursor. */
export function wakeConsumers(app: App, organizationId: string, cursor: bigint): void {
  const state = wakeUps(app);
  const known = state.waiting.get(organizationId) ?? 0n;
  state.waiting.set(organizationId, cursor > known ? cursor : known);
  if (state.waiting.size >= MAX_ORGANIZATIONS) send(app);
  else if (!state.isPausing) app.background('wakeConsumers', () => sendAll(app));
}

/** Sends a message, and further ones after pauses while there are new events. */
async function sendAll(app: App): Promise<void> {
  const state = wakeUps(app);
  state.isPausing = true;
  while (state.waiting.size > 0) {
    send(app);
    await pause(PAUSE_MS, undefined, { signal: app.closing }).catch(() => undefined);
  }
  state.isPausing = false;
}

function send(app: App): void {
  const { waiting } = wakeUps(app);
  const cursors = [...waiting].map(([id, cursor]) => [id, String(cursor)] as const);
  waiting.clear();
  app.bus.publish(TOPIC, Object.fromEntries(cursors) satisfies WakeMessage);
}

/** Calls the listener for each organization with new events. Returns the function that stops listening. */
export function onWakeUp(
  bus: Bus,
  listener: (organizationId: string, newestCursor: bigint) => void,
): () => void {
  return bus.subscribe(TOPIC, (message) => {
    for (const [organizationId, cursor] of Object.entries(message as WakeMessage)) {
      listener(organizationId, BigInt(cursor));
    }
  });
}
