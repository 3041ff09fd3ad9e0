/** Writes the updates of many calls, and everything that follows from them, in one statement. */
import type { App } from '../../app.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import { columnOf } from '../../infra/rows/columns.ts';
import type { RawReader } from '../../infra/rows/row-reader.ts';
import { announcing, appendStatement, type NewEvent } from '../../live/log.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import { HAS_WAITING_CALLS } from '../placement/limits.ts';
import { startPostCallSteps } from '../post-call/start.ts';

/** The columns that an update or a local end may change, with their types. No others are written. */
const WRITTEN = {
  status: '"CallStatus"',
  endReason: '"CallEndReason"',
  joinUrl: 'text',
  ultravoxId: 'text',
  maxDurationSeconds: 'int',
  joinTimeoutSeconds: 'int',
  failure: 'text',
  failureCode: 'text',
  placement: '"CallPlacement"',
  claimedAt: 'timestamptz',
  placeNotBefore: 'timestamptz',
  nextCheckAt: 'timestamptz',
  lostAt: 'timestamptz',
  eventCount: 'int',
  billingStatus: '"CallBillingStatus"',
  billedDurationSeconds: 'int',
  costAmount: 'numeric',
  costCurrency: 'text',
  summary: 'text',
  shortSummary: 'text',
  ringingAt: 'timestamptz',
  answeredAt: 'timestamptz',
  endedAt: 'timestamptz',
  updatedAt: 'timestamptz',
} as const satisfies Partial<Record<keyof Call, string>>;

/** Changes to a call that `writeUpdates` writes. */
export type WrittenColumns = Partial<Pick<Call, keyof typeof WRITTEN>>;

const FIELDS = Object.keys(WRITTEN) as (keyof typeof WRITTEN)[];
const COLUMN_DEFINITIONS = Prisma.raw(
  FIELDS.map((field) => `${columnOf(field)} ${WRITTEN[field]}`).join(', '),
);

/** A call before and after an update. */
export interface CallUpdate {
  before: Call;
  /** The same object as `before` if nothing changes. */
  after: Call;
  /** Events of the status changes and of the bill, in order. */
  events: readonly NewEvent[];
  /** Version of the row from which `before` was read. If absent, the caller has locked the row. */
  version?: string;
  /** IDs of the webhooks that caused the update. They are marked as processed with it. */
  webhookIds?: readonly string[];
}

/** A webhook that is stored together with the updates. */
export interface NewWebhook {
  id: string;
  event: string;
  /** The part of the webhook that is stored. */
  call: UltravoxCall;
}

export interface WrittenUpdates {
  /** IDs of the calls that were written or needed no change. */
  ids: Set<string>;
  /** IDs of the new webhooks. The others had already been stored. */
  stored: Set<string>;
  /** Whether any call is waiting for a slot, such as one that an ended call has just freed. */
  callsWait: boolean;
}

/**
 * Writes updates, at most one for each call, with their events, the first post-call steps of calls that end, and the
 * marks of their webhooks. The caller announces the events.
 *
 * An update with a version is skipped if the row has changed since it was read, or is locked: this statement never
 * waits for a lock.
 *
 * @param arrived webhooks to store in the same statement, whether their update is skipped or not.
 */
export async function writeUpdates(
  app: App,
  db: RawReader,
  updates: readonly CallUpdate[],
  arrived: readonly NewWebhook[] = [],
): Promise<WrittenUpdates> {
  const webhooks = updates.flatMap(({ before, webhookIds = [] }) =>
    webhookIds.map((id) => ({ id, call_id: before.id })),
  );
  const changed = updates.filter(({ before, after }) => before !== after);
  if (changed.length === 0 && webhooks.length === 0 && arrived.length === 0) {
    const ids = new Set(updates.map(({ before }) => before.id));
    return { ids, stored: new Set(), callsWait: false };
  }
  const events = Map.groupBy(
    changed.flatMap(({ after, events: own }) => own.map((event) => ({ after, event }))),
    ({ after }) => after.organizationId,
  );
  const ended = changed.filter(({ before, after }) => after.endedAt && !before.endedAt);
  const written = Prisma.sql`r.call_id IN (SELECT id FROM written)`;
  const [result] = await db.$queryRaw<{ ids: string[]; stored: string[]; callsWait: boolean }[]>`
    WITH r AS (${rowsOf(updates)}), current AS (
      SELECT c.id FROM calls c JOIN r ON r.id = c.id
      WHERE r.version IS NULL OR c.xmin::text = r.version
      ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED
    ), written AS (
      UPDATE calls c SET ${ASSIGNMENTS} FROM r JOIN current ON current.id = r.id
      WHERE c.id = r.id AND r.changes
      RETURNING c.id
    ), appended AS (${appendStatement(
      new Map([...events].map(([id, list]) => [id, list.map(({ event }) => event)])),
      written,
    )}
    ), started AS (${startPostCallSteps(
      app,
      ended.map(({ after }) => after),
      written,
    )}
    ), ${arrived.length > 0 ? storeWebhooks(app, arrived, webhooks) : markProcessed(app, webhooks)}
    SELECT ARRAY(SELECT id FROM current) AS ids, ARRAY(SELECT id FROM stored) AS stored,
      ${HAS_WAITING_CALLS} AS "callsWait"`;
  return {
    ids: new Set(result?.ids),
    stored: new Set(result?.stored),
    callsWait: result?.callsWait ?? false,
  };
}

/** Like `writeUpdates`, in a transaction of its own. Announces the events. */
export function writeAndAnnounce(
  app: App,
  updates: readonly CallUpdate[],
  arrived: readonly NewWebhook[] = [],
): Promise<WrittenUpdates> {
  const organizationIds = updates.flatMap(({ before, events }) =>
    events.length > 0 ? before.organizationId : [],
  );
  return writeUpdates(app, announcing(app, new Set(organizationIds)), updates, arrived);
}

type CallOfWebhook = { id: string; call_id: string };

/** SQL for WITH: marks stored webhooks as processed if their calls are in `current`. */
function markProcessed(app: App, webhooks: readonly CallOfWebhook[]): Prisma.Sql {
  return Prisma.sql`stored AS (
    UPDATE ultravox_webhooks w SET processed_at = ${app.now()}::timestamptz
    FROM jsonb_to_recordset(${JSON.stringify(webhooks)}::jsonb) AS r(id uuid, call_id uuid)
    WHERE w.id = r.id AND r.call_id IN (SELECT id FROM current)
    RETURNING w.id
  )`;
}

/**
 * SQL for WITH: stores webhooks, marked as processed if their calls are in `current`. Every process uses the same
 * order, so that processes that store the same webhooks at the same time do not deadlock.
 */
function storeWebhooks(
  app: App,
  arrived: readonly NewWebhook[],
  webhooks: readonly CallOfWebhook[],
): Prisma.Sql {
  const callOf = new Map(webhooks.map(({ id, call_id }) => [id, call_id]));
  const rows = arrived.map((one) => ({ ...one, call_id: callOf.get(one.id) }));
  return Prisma.sql`stored AS (
    INSERT INTO ultravox_webhooks (id, ultravox_call_id, event, payload, processed_at)
    SELECT id, call->>'callId', event, call - 'joinUrl',
      CASE WHEN call_id IN (SELECT id FROM current) THEN ${app.now()}::timestamptz END
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
      id uuid, event text, call jsonb, call_id uuid)
    ORDER BY call->>'callId', event
    ON CONFLICT (ultravox_call_id, event) DO NOTHING
    RETURNING id
  )`;
}

/** SQL query: one row for each update, with the columns that it writes. */
function rowsOf(updates: readonly CallUpdate[]): Prisma.Sql {
  const rows = updates.map(({ before, after: call, version }) => ({
    id: call.id,
    version,
    changes: before !== call,
    ...Object.fromEntries(FIELDS.map((field) => [columnOf(field), call[field]])),
  }));
  return Prisma.sql`
    SELECT * FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
      id uuid, version text, changes boolean, ${COLUMN_DEFINITIONS})`;
}

/** Assigns the columns of `rowsOf`. */
const ASSIGNMENTS = Prisma.raw(
  FIELDS.map((field) => `${columnOf(field)} = r.${columnOf(field)}`).join(', '),
);
