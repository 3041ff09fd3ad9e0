/**
 * Places calls: a person's phone rings because of this file and no other.
 *
 * A call is committed first and claimed next, once, in a transaction that also holds all processes
 * together to Ultravox's creation limits. Only then is Ultravox asked, outside any transaction:
 *
 * - It answers: the call goes on from there.
 * - It certainly did nothing (full, unreachable, refused): the claim is given back or the call fails.
 * - Nobody knows (a timeout, a crash): the claim stays, and nobody ever asks again. The reconciler
 *   looks for the call by our id in its metadata, and takes it up or, when it was never made, fails it.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { firstSpeakerSettings } from '../agents/template.ts';
import type { App } from '../app.ts';
import type { PhoneNumber, Prisma } from '../generated/prisma/client.ts';
import { publicId } from '../infra/ids.ts';
import { mediumForNumber } from '../phone-numbers/service.ts';
import { UltravoxError } from '../ultravox/error.ts';
import type { CallMedium, StartAgentCallRequest } from '../ultravox/wire.ts';
import { afterProgress, applyUltravoxCall, endCallLocally, lockCall } from './progress.ts';
import type { CallSettings } from './settings.ts';

/** Any two that count against the limits do so one after the other. */
const LIMIT_LOCK = 7_411_001;
const DEFAULT_RETRY_SECONDS = 5;
const LOOK_MS = 100;

interface Claims {
  ids: string[];
  /** When a slot may be free for those still waiting; null when none waits. */
  retryAt: Date | null;
}

/** Placements of this process that are on their way, so that a request can wait for its own. */
const underway = new WeakMap<App, Map<string, Promise<void>>>();
const timers = new WeakMap<App, { at: Date; timer: NodeJS.Timeout }>();

/**
 * Claims as many waiting calls as the limits allow, oldest first, and places them. Comes back once
 * they are claimed; the placing goes on in the background. Any process may do this at any time.
 */
export async function placeWaitingCalls(app: App): Promise<void> {
  if (app.closing.aborted) return;
  const { ids, retryAt } = await claimWaitingCalls(app);
  const mine = underway.get(app) ?? new Map<string, Promise<void>>();
  underway.set(app, mine);
  for (const id of ids) {
    const placing = placeClaimedCall(app, id).finally(() => mine.delete(id));
    mine.set(id, placing);
    app.background('placeCall', () => placing);
  }
  if (retryAt) wakeAt(app, retryAt);
}

/**
 * Comes back when the placement of the call, if one is under way, is over. Whoever runs it: another
 * request or process may have claimed the call first.
 */
export async function placementOf(app: App, id: string): Promise<void> {
  const ours = underway.get(app)?.get(id);
  if (ours) return ours;
  while (!app.closing.aborted && (await isBeingPlaced(app, id))) await pause(LOOK_MS);
}

async function isBeingPlaced(app: App, id: string): Promise<boolean> {
  const call = await app.db.call.findUnique({ where: { id } });
  if (!call?.placingAt || call.endedAt) return false;
  // A browser call is of use only with its address, which comes with the answer alone.
  if (call.medium === 'WEBRTC' ? call.joinUrl : call.ultravoxId) return false;
  return Date.now() - call.placingAt.getTime() < app.config.ULTRAVOX_TIMEOUT_SECONDS * 1000;
}

/**
 * One timer for each process, for the earliest instant asked for: whoever then looks finds the next
 * one. The periodic task is the net below it.
 */
function wakeAt(app: App, at: Date): void {
  const known = timers.get(app);
  if (known && known.at <= at) return;
  clearTimeout(known?.timer);
  const delay = Math.max(20, at.getTime() - Date.now());
  const timer = setTimeout(() => {
    timers.delete(app);
    app.background('placeWaitingCalls', () => placeWaitingCalls(app));
  }, delay);
  timer.unref();
  timers.set(app, { at, timer });
}

/**
 * In one transaction: counts what the limits count, and claims the oldest calls that fit. Ultravox
 * counts when a request arrives, which is some time between our claim and its answer: within the
 * second, a call counts until its answer is a second old (three seconds after the claim without one).
 */
async function claimWaitingCalls(app: App): Promise<Claims> {
  const { config } = app;
  return app.db.$transaction(async (tx) => {
    await tx.$executeRaw`SELECT pg_advisory_xact_lock(${LIMIT_LOCK})`;
    const [use] = await tx.$queryRaw<
      {
        second: bigint;
        minute: bigint;
        active: bigint;
        second_at: Date | null;
        minute_at: Date | null;
        waiting: boolean;
        wait_until: Date | null;
      }[]
    >`
      WITH recent AS (
        SELECT placing_at, CASE
          WHEN ultravox_id IS NULL AND ended_at IS NULL
            AND placing_at > clock_timestamp() - interval '3 seconds'
          THEN greatest(placing_at, clock_timestamp() - interval '800 milliseconds')
          ELSE greatest(placing_at, ringing_at)
        END AS created_by
        FROM calls WHERE placing_at > clock_timestamp() - interval '1 minute'
      ), last_second AS (
        SELECT created_by FROM recent WHERE created_by > clock_timestamp() - interval '1 second')
      SELECT
        (SELECT count(*) FROM last_second) AS second,
        (SELECT min(created_by) FROM last_second) AS second_at,
        (SELECT count(*) FROM recent) AS minute,
        (SELECT min(placing_at) FROM recent) AS minute_at,
        (SELECT count(*) FROM calls WHERE placing_at IS NOT NULL AND ended_at IS NULL) AS active,
        EXISTS (SELECT 1 FROM calls WHERE status = 'CREATED' AND placing_at IS NULL) AS waiting,
        (SELECT min(coalesce(place_not_before, clock_timestamp())) FROM calls
          WHERE status = 'CREATED' AND placing_at IS NULL) AS wait_until`;
    if (!use?.waiting) return { ids: [], retryAt: null };
    const perSecond = config.ULTRAVOX_MAX_CALLS_PER_SECOND - Number(use.second);
    const perMinute = config.ULTRAVOX_MAX_CALLS_PER_MINUTE - Number(use.minute);
    const concurrent = config.ULTRAVOX_MAX_CONCURRENT_CALLS - Number(use.active);
    const free = Math.min(perSecond, perMinute, concurrent, 50);
    // After a refusal for lack of room everybody waits: asking again only makes it worse.
    const claimed =
      free <= 0
        ? []
        : await tx.$queryRaw<{ id: string }[]>`
            UPDATE calls SET placing_at = clock_timestamp(), next_check_at = ${lookUpAfter(app)},
              settle_by = clock_timestamp()
                + (join_timeout_seconds + ${config.CALL_SETTLE_SECONDS}) * interval '1 second'
            WHERE id IN (
              SELECT id FROM calls
              WHERE status = 'CREATED' AND placing_at IS NULL AND end_requested_at IS NULL
                AND (place_not_before IS NULL OR place_not_before <= clock_timestamp())
              ORDER BY created_at, id LIMIT ${free} FOR UPDATE SKIP LOCKED)
            RETURNING id`;
    const stillWaiting = await tx.$queryRaw<{ waiting: boolean }[]>`
      SELECT EXISTS (SELECT 1 FROM calls WHERE status = 'CREATED' AND placing_at IS NULL) AS waiting`;
    if (!stillWaiting[0]?.waiting) return { ids: claimed.map(({ id }) => id), retryAt: null };
    const now = Date.now();
    const candidates = [
      perSecond <= claimed.length ? (use.second_at?.getTime() ?? now) + 1_000 : now + 50,
      perMinute <= claimed.length ? (use.minute_at?.getTime() ?? now) + 60_000 : 0,
      // A call that ends wakes the placement itself; this is for an end that is not heard of.
      concurrent <= claimed.length ? now + DEFAULT_RETRY_SECONDS * 1000 : 0,
      use.wait_until?.getTime() ?? 0,
    ];
    return { ids: claimed.map(({ id }) => id), retryAt: new Date(Math.max(...candidates)) };
  });
}

/** No one else asks Ultravox about a claimed call before the request itself has surely ended. */
function lookUpAfter(app: App): Date {
  return new Date(Date.now() + (app.config.ULTRAVOX_TIMEOUT_SECONDS + 5) * 1000);
}

const withParts = { agent: true, number: true } satisfies Prisma.CallInclude;
type CallWithParts = Prisma.CallGetPayload<{ include: typeof withParts }>;

async function placeClaimedCall(app: App, id: string): Promise<void> {
  const call = await app.db.call.findUnique({ where: { id }, include: withParts });
  if (!call) return;
  try {
    if (!call.agent.ultravoxId || call.agent.deletedAt) {
      await fail(app, id, 'The agent is no longer at Ultravox.');
      return;
    }
    const seen = await app.ultravox.agents.startCall(call.agent.ultravoxId, requestFor(app, call));
    await progress(app, id, (tx, locked) => applyUltravoxCall(app, tx, locked, seen));
  } catch (error) {
    if (!(error instanceof UltravoxError)) throw error;
    await placementFailed(app, call, error);
  }
}

/** Exported for its unit test: what Ultravox is asked for. */
export function requestFor(app: App, call: CallWithParts): StartAgentCallRequest {
  const settings = call.settings as CallSettings;
  return {
    medium: call.number ? mediumOf(app, call, call.number) : { webRtc: {} },
    metadata: {
      callId: publicId('cal', call.id),
      organizationId: publicId('org', call.organizationId),
    },
    templateContext: call.variables as Record<string, string>,
    recordingEnabled: call.recordingEnabled,
    ...(settings.maxDuration ? { maxDuration: settings.maxDuration } : {}),
    ...(settings.joinTimeout ? { joinTimeout: settings.joinTimeout } : {}),
    ...(settings.greeting
      ? {
          firstSpeakerSettings: firstSpeakerSettings({
            ...(call.agent.greetingSettings as Record<string, never> | null),
            text: settings.greeting,
          }),
        }
      : {}),
  };
}

function mediumOf(app: App, call: CallWithParts, number: PhoneNumber): CallMedium {
  if (!call.phoneNumber) throw new Error(`Call ${call.id} has a number but nobody to call`);
  return mediumForNumber(app, number, call.phoneNumber);
}

async function placementFailed(app: App, call: CallWithParts, error: UltravoxError): Promise<void> {
  if (error.outcomeUnknown) {
    app.log.warn(
      { call: call.id, error: error.message },
      'It is not known whether a call was placed',
    );
    const soon = new Date(Date.now() + 2_000);
    await app.db.call.updateMany({
      where: { id: call.id, ultravoxId: null },
      data: { nextCheckAt: soon },
    });
    return;
  }
  const waits =
    error.kind === 'capacity' || (error.kind === 'unreachable' && !isTooLate(app, call));
  if (waits) {
    const seconds = error.retryAfterSeconds ?? DEFAULT_RETRY_SECONDS;
    const notBefore = new Date(Date.now() + seconds * 1000);
    await giveBack(app, call.id, notBefore, error.kind === 'capacity');
    wakeAt(app, notBefore);
    return;
  }
  await fail(app, call.id, error.detail);
}

/** Whoever asked for a call does not want it much later, when Ultravox happens to be back. */
function isTooLate(app: App, call: CallWithParts): boolean {
  return Date.now() - call.createdAt.getTime() > app.config.CALL_SETTLE_SECONDS * 1000;
}

/** The claim is undone: Ultravox has surely not dialled. With `everybody`, all who wait hold back. */
async function giveBack(app: App, id: string, notBefore: Date, everybody: boolean): Promise<void> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    await tx.call.updateMany({
      where: { id, ultravoxId: null, endedAt: null },
      data: { placingAt: null, placeNotBefore: notBefore, nextCheckAt: null },
    });
    if (everybody) {
      await tx.$executeRaw`
        UPDATE calls SET place_not_before = ${notBefore}
        WHERE status = 'CREATED' AND placing_at IS NULL
          AND (place_not_before IS NULL OR place_not_before < ${notBefore})`;
    }
    const call = await lockCall(tx, id);
    if (!call?.endRequestedAt || call.placingAt) return [null, null];
    const end = { status: 'CANCELLED', endReason: 'CANCELLED' } as const;
    return [call, await endCallLocally(app, tx, call, end)];
  });
  if (after) afterProgress(app, before, after);
}

async function fail(app: App, id: string, failure: string): Promise<void> {
  await progress(app, id, (tx, call) =>
    endCallLocally(app, tx, call, { status: 'FAILED', endReason: 'SYSTEM_ERROR', failure }),
  );
}

async function progress(
  app: App,
  id: string,
  change: (
    tx: Parameters<typeof lockCall>[0],
    call: NonNullable<Awaited<ReturnType<typeof lockCall>>>,
  ) => ReturnType<typeof applyUltravoxCall>,
): Promise<void> {
  const [before, after] = await app.db.$transaction(async (tx) => {
    const call = await lockCall(tx, id);
    return call ? [call, await change(tx, call)] : [null, null];
  });
  if (after) afterProgress(app, before, after);
}
