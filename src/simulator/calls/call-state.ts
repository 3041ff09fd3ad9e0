/**
 * State changes of a call after its creation. Every function runs inside a transaction, and does
 * nothing if the state of the call no longer allows the change.
 */
import { durationToMs, type JsonObject, msToDuration, objectAt, stringAt } from '../json.ts';
import { type CallRecord, isoTime, type World } from '../world.ts';
import { message, summarize, writeTranscript } from './dialogue.ts';

export function isLive(record: CallRecord): boolean {
  return record.joinedAt !== null && record.endedAt === null;
}

function save(world: World, record: CallRecord, changes: JsonObject): CallRecord {
  const next = { ...record, call: { ...record.call, ...changes } };
  world.calls.put(record.callId, next);
  return next;
}

/** The real instant at a simulated duration after `from`. */
function later(record: CallRecord, from: number, simulatedMs: number): number {
  return from + simulatedMs / record.speed;
}

export function scheduleNewCall(world: World, record: CallRecord): void {
  const { answerAfterMs, giveUpAfterMs } = record.plan;
  if (answerAfterMs !== null) {
    world.scheduler.plan('answer', record.callId, later(record, record.createdAt, answerAfterMs));
  }
  world.scheduler.plan('giveUp', record.callId, later(record, record.createdAt, giveUpAfterMs));
}

export function joinCall(world: World, callId: string, bySocket = false): void {
  const record = world.calls.get(callId);
  if (record === undefined || record.endedAt !== null) return;
  world.scheduler.cancel('answer', callId);
  world.scheduler.cancel('giveUp', callId);
  if (record.joinedAt !== null) {
    if (bySocket) holdOpen(world, { ...record, socketJoined: true });
    return;
  }
  const joinedAt = world.now();
  const next: CallRecord = {
    ...record,
    joinedAt,
    socketJoined: bySocket,
    transcript: writeTranscript(record, joinedAt),
  };
  const saved = save(world, next, {
    joined: isoTime(joinedAt),
    clientVersion: bySocket ? 'simulator' : null,
  });
  if (bySocket) holdOpen(world, saved);
  else world.scheduler.plan('end', callId, later(record, joinedAt, record.plan.talkMs));
  world.emit('call.joined', saved);
}

/** Keeps the call of a connected browser alive until it disconnects or the maximum duration is over. */
function holdOpen(world: World, record: CallRecord): void {
  const limit = durationToMs(record.call.maxDuration, 3_600_000);
  const held = { ...record, plan: { ...record.plan, talkMs: limit, endReason: 'timeout' } };
  world.calls.put(record.callId, held);
  world.scheduler.plan('end', record.callId, later(record, record.joinedAt ?? world.now(), limit));
}

/** Handles connections lost in a restart: clients have a grace period to reconnect. */
export function dropSocketCalls(world: World): void {
  for (const callId of world.liveCalls) {
    const record = world.calls.get(callId);
    if (record?.socketJoined !== true || record.joinedAt === null) continue;
    const talkMs = (world.now() - record.joinedAt) * record.speed;
    const plan = { ...record.plan, talkMs, endReason: 'connection_error' };
    world.calls.put(callId, { ...record, plan });
    world.scheduler.plan('end', callId, later(record, world.now(), 5000));
  }
}

/** Ends a call at its planned end. */
export function finishCall(world: World, callId: string): void {
  const record = world.calls.get(callId);
  if (record === undefined || !isLive(record)) return;
  const { endReason, sipReason, talkMs } = record.plan;
  recordEnd(world, record, { endReason, sipReason, talkedMs: talkMs });
}

/** Ends a call that was not answered or was rejected. */
export function giveUpCall(world: World, callId: string): void {
  const record = world.calls.get(callId);
  if (record === undefined || record.joinedAt !== null || record.endedAt !== null) return;
  const { sipReason } = record.plan;
  recordEnd(world, record, { endReason: 'unjoined', sipReason, talkedMs: 0 });
}

/** Ends a call before its planned end. */
export function endCall(world: World, callId: string, endReason: string): boolean {
  const record = world.calls.get(callId);
  if (record === undefined || record.endedAt !== null) return false;
  const talkedMs = record.joinedAt === null ? 0 : (world.now() - record.joinedAt) * record.speed;
  const unjoined = record.joinedAt === null;
  recordEnd(world, record, {
    endReason: unjoined ? 'unjoined' : endReason,
    sipReason: unjoined ? 'SIP_TERMINATION_CANCELED' : 'SIP_TERMINATION_NORMAL',
    talkedMs,
  });
  return true;
}

interface CallEnd {
  endReason: string;
  sipReason: string | null;
  talkedMs: number;
}

function recordEnd(
  world: World,
  record: CallRecord,
  { endReason, sipReason, talkedMs }: CallEnd,
): void {
  for (const task of ['answer', 'giveUp', 'end']) world.scheduler.cancel(task, record.callId);
  const endedAt = world.now();
  const sip = objectAt(record.call, 'sipDetails');
  // A late timer must keep the last lines of a planned conversation, but an early end must drop them.
  const cutoff = record.joinedAt === null ? endedAt : record.joinedAt + talkedMs / record.speed;
  const next: CallRecord = {
    ...record,
    endedAt,
    talkedMs,
    transcript: record.transcript.filter((line) => line.at <= cutoff + 1),
  };
  world.liveCalls.delete(record.callId);
  const saved = save(world, next, {
    ended: isoTime(endedAt),
    endReason,
    ...(sip === undefined ? {} : { sipDetails: { ...sip, terminationReason: sipReason } }),
  });
  const settings = world.settings();
  if (record.joinedAt !== null) {
    const ready = later(record, endedAt, settings.summaryDelaySeconds * 1000);
    world.scheduler.plan('summarize', record.callId, ready);
  }
  const billed = later(record, endedAt, settings.billingDelaySeconds * 1000);
  world.scheduler.plan('bill', record.callId, billed);
  world.emit('call.ended', saved);
}

export function summarizeCall(world: World, callId: string): void {
  const record = world.calls.get(callId);
  if (record === undefined || record.endedAt === null) return;
  const { short, long } = summarize(record);
  save(world, record, { shortSummary: short, summary: long });
}

export function billCall(world: World, callId: string): void {
  const record = world.calls.get(callId);
  if (record === undefined || record.endedAt === null) return;
  const sip = objectAt(record.call, 'sipDetails');
  const rang = record.plan.answerAfterMs ?? record.plan.giveUpAfterMs;
  const status =
    record.joinedAt === null
      ? 'BILLING_STATUS_FREE_ZERO_EFFECTIVE_DURATION'
      : record.call.endReason === 'system_error'
        ? 'BILLING_STATUS_FREE_SYSTEM_ERROR'
        : 'BILLING_STATUS_BILLED';
  const saved = save(world, record, {
    billedDuration: msToDuration(roundUp(record.talkedMs)),
    billedSideInputTokens: 0,
    billedSideOutputTokens: 0,
    billingStatus: status,
    ...(sip === undefined
      ? {}
      : { sipDetails: { ...sip, billedDuration: msToDuration(roundUp(rang + record.talkedMs)) } }),
  });
  world.emit('call.billed', saved);
  if (record.autoDelete) deleteCall(world, saved);
}

function roundUp(ms: number): number {
  return Math.ceil(ms / 6000 - 1e-9) * 6000;
}

/** Deletes a call and leaves its tombstone. */
export function deleteCall(world: World, record: CallRecord): void {
  for (const task of ['summarize', 'summarise', 'bill'])
    world.scheduler.cancel(task, record.callId);
  const { call } = record;
  world.tombstones.put(record.callId, {
    callId: record.callId,
    accountId: ACCOUNT_ID,
    created: call.created ?? null,
    deletionTime: isoTime(world.now()),
    joined: call.joined ?? null,
    ended: call.ended ?? null,
    maxDuration: call.maxDuration ?? '3600s',
    endReason: call.endReason ?? null,
    recordingEnabled: call.recordingEnabled ?? false,
    hadSummary: stringAt(call, 'summary') !== undefined,
  });
  world.calls.delete(record.callId);
}

export const ACCOUNT_ID = '0d3a6f4e-5b7c-4c1d-9e2f-8a1b2c3d4e5f';

/** Adds unplanned lines, spoken now or after a delay. */
export function addLines(
  world: World,
  record: CallRecord,
  lines: {
    role: Parameters<typeof message>[1]['role'];
    text: string;
    toolName?: string;
    invocationId?: string;
    medium?: string;
    /** Simulated milliseconds from now. */
    afterMs?: number;
  }[],
): CallRecord {
  const now = world.now();
  const offset = ((now - (record.joinedAt ?? now)) * record.speed) / 1000;
  const added = lines.map(({ medium, afterMs = 0, ...line }) => ({
    at: later(record, now, afterMs),
    message: message(record, line, { start: offset, end: offset + afterMs / 1000, medium }),
  }));
  const next = {
    ...record,
    transcript: [...record.transcript, ...added].sort((a, b) => a.at - b.at),
  };
  world.calls.put(record.callId, next);
  return next;
}

/** The messages so far, with their indexes. */
export function visibleMessages(world: World, record: CallRecord, initial: boolean): JsonObject[] {
  const until = record.endedAt === null ? world.now() : Number.POSITIVE_INFINITY;
  const said = record.transcript.filter((line) => line.at <= until).map((line) => line.message);
  const before = record.initialMessages;
  const numbered = [...before, ...said].map((line, index) => ({
    ...line,
    callStageMessageIndex: index,
    callStageId: record.stageId,
  }));
  return initial ? numbered : numbered.slice(before.length);
}
