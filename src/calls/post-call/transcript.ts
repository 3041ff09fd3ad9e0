/**
 * Handles transcripts: fetches them from Ultravox after the call, stores them as turns, and removes them after their
 * retention time.
 */
import type { App, Tx } from '../../app.ts';
import type { Call } from '../../generated/prisma/client.ts';
import { createBatches } from '../../infra/jobs/batches.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { eraseEventData } from '../../live/log.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import { notifyTranscriptsExpired } from '../listeners.ts';
import { missingTurns } from '../live-turns/turn-events.ts';
import { findingsIn, saveFindings } from './findings.ts';
import type { SavedStep, StepHandler } from './steps.ts';
import { type Turn, turnsOf } from './turns.ts';
import { wordsOf } from './words.ts';

/** A call may have thousands of turns, each with an event. */
const EXPIRE_BATCH = 50;

/** The step TRANSCRIPT: converts the messages at Ultravox into turns, and records what they show. */
export const fetchTranscript: StepHandler = async (app, call, { signal }) => {
  if (!call.ultravoxId) return { status: 'SKIPPED', detail: 'Ultravox does not know the call.' };
  try {
    const turns = turnsOf(await app.ultravox.calls.messages(call.ultravoxId, { signal }));
    return { status: 'DONE', save: (tx, locked) => storeTranscript(app, tx, locked, turns) };
  } catch (error) {
    if (!(error instanceof UltravoxError && error.kind === 'not_found')) throw error;
    return { status: 'FAILED', detail: 'Ultravox no longer has the call.' };
  }
};

/** Replaces the transcript of a call. The caller has locked the call. */
async function storeTranscript(
  app: App,
  tx: Tx,
  call: Call,
  turns: readonly Turn[],
): Promise<SavedStep> {
  const isWatched = await transcriptsOf(tx).add({ call, turns, now: app.now() });
  return {
    change: await saveFindings(app, tx, call, findingsIn(turns, call)),
    // Turns that subscribers of the live call have not received.
    events: isWatched ? await missingTurns(tx, call, turns) : [],
  };
}

interface NewTranscript {
  call: Call;
  turns: readonly Turn[];
}

const WRITE_AT_ONCE = 20;

/** Transcripts that are stored concurrently in the same transaction are written in one statement. */
const transcriptsOf = perInstance((tx: Tx) =>
  createBatches<NewTranscript & { now: Date }, boolean>({
    size: WRITE_AT_ONCE,
    async work(transcripts) {
      const [{ now } = { now: new Date() }] = transcripts;
      const watched = await writeTranscripts(tx, transcripts, now);
      return transcripts.map(({ call }) => watched.has(call.id));
    },
  }),
);

/** Stores transcripts and ends the watches of their calls. Returns the IDs of the calls that were watched. */
async function writeTranscripts(
  tx: Tx,
  transcripts: readonly NewTranscript[],
  now: Date,
): Promise<Set<string>> {
  const headers = transcripts.map(({ call, turns }) => ({
    call_id: call.id,
    organization_id: call.organizationId,
    words: wordsOf(turns.map(({ text }) => text).join(' ')),
    turn_count: turns.length,
  }));
  const rows = transcripts.flatMap(({ call, turns }) =>
    turns.map((turn) => ({
      call_id: call.id,
      organization_id: call.organizationId,
      position: turn.position,
      speaker: turn.speaker,
      text: turn.text,
      start_seconds: turn.startSeconds,
      end_seconds: turn.endSeconds,
      tool_name: turn.toolName,
      tool_arguments: turn.toolArguments,
      tool_result: turn.toolResult,
      tool_error: turn.toolError,
      stage: turn.stage,
    })),
  );
  const watched = await tx.$queryRaw<{ id: string }[]>`
    WITH h AS (
      SELECT * FROM jsonb_to_recordset(${JSON.stringify(headers)}::jsonb) AS h(
        call_id uuid, organization_id uuid, words text[], turn_count int)
    ), r AS (
      SELECT * FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS r(
        call_id uuid, organization_id uuid, position int, speaker text, text text,
        start_seconds float8, end_seconds float8, tool_name text, tool_arguments jsonb,
        tool_result text, tool_error text, stage int)
    ), removed AS (
      DELETE FROM call_turns t USING h WHERE t.call_id = h.call_id
        AND (t.call_id, t.position) NOT IN (SELECT call_id, position FROM r)
    ), stored AS (
      INSERT INTO call_turns (call_id, organization_id, position, speaker, text, start_seconds,
        end_seconds, tool_name, tool_arguments, tool_result, tool_error, stage)
      SELECT call_id, organization_id, position, speaker::"TurnSpeaker", text, start_seconds,
        end_seconds, tool_name, tool_arguments, tool_result, tool_error, stage
      FROM r
      ON CONFLICT (call_id, position) DO UPDATE SET speaker = EXCLUDED.speaker,
        text = EXCLUDED.text, start_seconds = EXCLUDED.start_seconds,
        end_seconds = EXCLUDED.end_seconds, tool_name = EXCLUDED.tool_name,
        tool_arguments = EXCLUDED.tool_arguments, tool_result = EXCLUDED.tool_result,
        tool_error = EXCLUDED.tool_error, stage = EXCLUDED.stage
    ), transcript AS (
      INSERT INTO call_transcripts (call_id, organization_id, words, turn_count, stored_at)
      SELECT call_id, organization_id, words, turn_count, ${now}::timestamptz FROM h
      ON CONFLICT (call_id) DO UPDATE SET words = EXCLUDED.words,
        turn_count = EXCLUDED.turn_count, stored_at = EXCLUDED.stored_at, expired_at = NULL
    )
    DELETE FROM call_turn_watches w USING h WHERE w.call_id = h.call_id RETURNING w.call_id AS id`;
  return new Set(watched.map(({ id }) => id));
}

/**
 * Removes the words spoken in deleted calls, also from their events. That a person asked not to be called again is
 * kept, since a campaign may still plan to call them.
 */
export async function deleteTranscripts(tx: Tx, callIds: readonly string[]): Promise<void> {
  const where = { callId: { in: [...callIds] } };
  await tx.callTurn.deleteMany({ where });
  await tx.callTranscript.deleteMany({ where });
  await tx.callTurnWatch.deleteMany({ where });
  await eraseQuotes(tx, callIds);
  await eraseEventData(tx, callIds, 'CALL_TRANSCRIPT_TURN', ['turn']);
}

/** Keeps the findings, but removes the quotations behind them. */
async function eraseQuotes(tx: Tx, callIds: readonly string[]): Promise<void> {
  await tx.$executeRaw`
    UPDATE calls SET answered_by_evidence = NULL,
      dnc_quote = CASE WHEN dnc_quote IS NOT NULL THEN '' END
    WHERE id = ANY(${[...callIds]}::uuid[])`;
}

/** Removes the turns of transcripts older than TRANSCRIPT_RETENTION_DAYS, also from the event log and webhooks. */
export async function expireTranscripts(app: App): Promise<void> {
  const days = app.config.TRANSCRIPT_RETENTION_DAYS;
  if (days === undefined) return;
  const before = new Date(app.now().getTime() - days * 86_400_000);
  while (!app.closing.aborted) {
    const expired = await app.db.callTranscript.findMany({
      where: { expiredAt: null, storedAt: { lt: before } },
      select: { callId: true },
      orderBy: { storedAt: 'asc' },
      take: EXPIRE_BATCH,
    });
    const ids = expired.map(({ callId }) => callId);
    await app.db.$transaction(async (tx) => {
      await tx.callTurn.deleteMany({ where: { callId: { in: ids } } });
      await eraseEventData(tx, ids, 'CALL_TRANSCRIPT_TURN', ['turn']);
      await tx.callTranscript.updateMany({
        where: { callId: { in: ids } },
        data: { words: [], turnCount: 0, expiredAt: app.now() },
      });
      await eraseQuotes(tx, ids);
      await notifyTranscriptsExpired(app, tx, ids);
    });
    if (ids.length < EXPIRE_BATCH) return;
  }
}
