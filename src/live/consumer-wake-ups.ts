/**
 * Wake-ups for the consumers of the event log. Every worker receives those of all organizations, so each process
 * sends few: one message covers all events appended within a short time.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { App } from '../app.ts';
import type { Bus } from '../infra/bus.ts';
import { perInstance } from '../infra/per-instance.ts';

const TOPIC = 'consumers';
/**
 * Time to collect events for one message. With several processes, consumers wait longer anyway, so that one does the
 * work of all.
 */
const BATCH_DELAY_MS = 50;
const MAX_ORGANIZATIONS = 500;

/** Cursor of the newest event, as a string, by organization. */
type WakeMessage = Record<string, string>;

/** Newest cursors to send in the next message of this process, by organization. */
const newest = perInstance((_app: App) => new Map<string, bigint>());

/** Tells the consumers of every process that the organization has events up to this cursor. */
export function wakeConsumers(app: App, organizationId: string, cursor: bigint): void {
  const waiting = newest(app);
  const isFirst = waiting.size === 0;
  const known = waiting.get(organizationId) ?? 0n;
  waiting.set(organizationId, cursor > known ? cursor : known);
  if (waiting.size >= MAX_ORGANIZATIONS) send(app);
  else if (isFirst)
    app.background('wakeConsumers', () => pause(BATCH_DELAY_MS).then(() => send(app)));
}

function send(app: App): void {
  const waiting = newest(app);
  if (waiting.size === 0) return;
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
