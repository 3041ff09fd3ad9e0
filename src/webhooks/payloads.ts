/** Builds the bodies of webhooks from our own objects, in their state when the event is read from the log. */
import type { Tx } from '../app.ts';
import { CALL_RECORD, type CallRecordRow, callRecord, iso } from '../calls/record.ts';
import { recentPayloads } from '../calls/ultravox/webhooks.ts';
import type { Event, Prisma } from '../generated/prisma/client.ts';
import type { EventType } from '../generated/prisma/enums.ts';
import { publicId } from '../ids.ts';
import { type MessageName, RESULTS_EVENT, type Subject, subjectOf } from './catalog.ts';

type JsonObject = Prisma.JsonObject;

/** The objects that the events of a batch are about, read in a few statements. */
export interface Subjects {
  calls: ReadonlyMap<string, CallSubject>;
  campaigns: ReadonlyMap<string, JsonObject>;
  agents: ReadonlyMap<string, JsonObject>;
  voices: ReadonlyMap<string, JsonObject>;
  endpoints: ReadonlyMap<string, JsonObject>;
  /** Payloads from Ultravox, keyed by Ultravox call ID and event. */
  payloads: ReadonlyMap<string, JsonObject>;
}

interface CallSubject {
  call: JsonObject;
  row: CallRecordRow;
  transcript: JsonObject[];
  /** Whether an event announces the results, separately from the end. */
  isAnalyzed: boolean;
}

/** Bytes that the parts of a message without a small limit take, by call ID. */
export async function sizesOfCalls(
  tx: Tx,
  messages: readonly { name: MessageName; event: Event }[],
): Promise<Map<string, number>> {
  const idsOf = (list: typeof messages) => [
    ...new Set(list.flatMap(({ event }) => event.callId ?? [])),
  ];
  const callIds = idsOf(messages.filter(({ name }) => subjectOf(name) === 'call'));
  if (callIds.length === 0) return new Map();
  const withTurns = idsOf(messages.filter(({ name }) => name === RESULTS_EVENT));
  const rows = await tx.$queryRaw<{ id: string; bytes: number }[]>`
    SELECT c.id, (octet_length(c.variables::text) + octet_length(c.metadata::text)
      + coalesce(octet_length(a.extracted_data::text), 0) + coalesce(t.bytes, 0))::int AS bytes
    FROM calls c
    LEFT JOIN call_analyses a ON a.call_id = c.id
    LEFT JOIN (
      SELECT call_id, sum(octet_length(text) + coalesce(octet_length(tool_arguments::text), 0)
        + coalesce(octet_length(tool_result), 0)) AS bytes
      FROM call_turns WHERE call_id = ANY(${withTurns}::uuid[]) GROUP BY call_id) t ON t.call_id = c.id
    WHERE c.id = ANY(${callIds}::uuid[])`;
  return new Map(rows.map(({ id, bytes }) => [id, bytes]));
}

export async function loadSubjects(
  tx: Tx,
  organizationId: string,
  messages: readonly { name: MessageName; event: Event }[],
): Promise<Subjects> {
  const own = (ids: (string | null | undefined)[]) => ({
    organizationId,
    id: { in: [...new Set(ids.filter((id) => typeof id === 'string'))] },
  });
  const about = (subject: Subject) =>
    messages.filter(({ name }) => subjectOf(name) === subject).map(({ event }) => event);
  const callIds = about('call').map(({ callId }) => callId);
  const calls =
    callIds.length === 0
      ? []
      : await tx.call.findMany({ where: own(callIds), include: CALL_RECORD });
  const campaignIds = about('campaign').map(({ campaignId }) => campaignId);
  const campaigns =
    campaignIds.length === 0 ? [] : await tx.campaign.findMany({ where: own(campaignIds) });
  const agentIds = about('agent').map(({ agentId }) => agentId);
  const agents = agentIds.length === 0 ? [] : await tx.agent.findMany({ where: own(agentIds) });
  const voiceIds = about('voice').map((event) => textIn(event, 'voiceId'));
  const voices = voiceIds.length === 0 ? [] : await tx.voice.findMany({ where: own(voiceIds) });
  const endpointIds = about('endpoint').map((event) => textIn(event, 'endpointId'));
  const endpoints =
    endpointIds.length === 0
      ? []
      : await tx.webhookEndpoint.findMany({ where: { ...own(endpointIds), deletedAt: null } });
  const withTurns = messages.filter(({ name }) => name === RESULTS_EVENT);
  const resultIds = [...new Set(withTurns.flatMap(({ event }) => event.callId ?? []))];
  const turns = await loadTurns(tx, resultIds);
  const analyzed = await findAnalyzedCalls(tx, resultIds);
  const ultravoxIds = calls.map(({ ultravoxId }) => ultravoxId).filter((id) => id !== null);
  return {
    calls: new Map(
      calls.map((row) => {
        const transcript = turns.get(row.id) ?? [];
        const isAnalyzed = analyzed.has(row.id);
        return [row.id, { call: callRecord(row), row, transcript, isAnalyzed }];
      }),
    ),
    campaigns: new Map(campaigns.map((row) => [row.id, campaignBody(row)])),
    agents: new Map(agents.map((row) => [row.id, agentBody(row)])),
    voices: new Map(voices.map((row) => [row.id, voiceBody(row)])),
    endpoints: new Map(endpoints.map((row) => [row.id, endpointBody(row)])),
    payloads: ultravoxIds.length === 0 ? new Map() : await recentPayloads(tx, ultravoxIds),
  };
}

/**
 * Member `data` of the envelope, without what every event has. Null if its subject no longer exists, or if results are
 * not available yet.
 */
export function dataOf(name: MessageName, event: Event, subjects: Subjects): JsonObject | null {
  const { data } = event as { data: JsonObject };
  switch (subjectOf(name)) {
    case 'call':
      return name === RESULTS_EVENT ? resultsOf(event, subjects) : callData(event, subjects);
    case 'campaign': {
      const campaign = subjects.campaigns.get(event.campaignId ?? '');
      if (!campaign) return null;
      const { status = null, reason = null } = data;
      return { batchId: campaign.id, status, statusReason: reason, campaign };
    }
    case 'agent': {
      const agent = subjects.agents.get(event.agentId ?? '');
      if (!agent) return null;
      const { revision = null, error = null } = data;
      return { agentId: agent.id, revision, error, agent };
    }
    case 'voice': {
      const voice = subjects.voices.get(textIn(event, 'voiceId') ?? '');
      if (!voice) return null;
      return { voiceId: voice.id, error: data.error ?? null, voice };
    }
    case 'endpoint': {
      const endpoint = subjects.endpoints.get(textIn(event, 'endpointId') ?? '');
      return endpoint ? { endpoint } : null;
    }
  }
}

const ULTRAVOX_EVENTS: Partial<Record<EventType, string>> = {
  CALL_CREATED: 'call.started',
  CALL_IN_PROGRESS: 'call.joined',
  CALL_COMPLETED: 'call.ended',
  CALL_FAILED: 'call.ended',
  CALL_CANCELLED: 'call.ended',
  CALL_BILLED: 'call.billed',
};

function callData(event: Event, subjects: Subjects): JsonObject | null {
  const subject = subjects.calls.get(event.callId ?? '');
  if (!subject || subject.row.deletedAt) return null;
  const { call, row } = subject;
  const { status = row.status, endReason = row.endReason } = event.data as JsonObject;
  const received = `${row.ultravoxId}/${ULTRAVOX_EVENTS[event.type]}`;
  return {
    sequence: event.sequence,
    status,
    endReason,
    call,
    ultravox: subjects.payloads.get(received) ?? null,
  };
}

/**
 * Member `data` for the CRM webhook of the agent. Null if the results are not available yet: those of a call that was or
 * may have been answered come with its analysis.
 */
function resultsOf(event: Event, subjects: Subjects): JsonObject | null {
  const data = callData(event, subjects);
  const subject = subjects.calls.get(event.callId ?? '');
  if (!data || !subject) return null;
  if (event.type !== 'CALL_ANALYZED' && subject.isAnalyzed) return null;
  const { ultravox: _ultravox, ...own } = data;
  return { ...own, transcript: subject.transcript };
}

/** IDs of the calls that have post-call steps, which end with an event. They are created with the end of the call. */
async function findAnalyzedCalls(tx: Tx, callIds: string[]): Promise<ReadonlySet<string>> {
  if (callIds.length === 0) return new Set();
  const steps = await tx.postCallStep.findMany({
    where: { callId: { in: callIds }, kind: 'EVENT' },
    select: { callId: true },
  });
  return new Set(steps.map(({ callId }) => callId));
}

async function loadTurns(tx: Tx, callIds: string[]): Promise<Map<string, JsonObject[]>> {
  if (callIds.length === 0) return new Map();
  const rows = await tx.callTurn.findMany({
    where: { callId: { in: callIds } },
    orderBy: [{ callId: 'asc' }, { position: 'asc' }],
    omit: { organizationId: true },
  });
  const ofCall = Map.groupBy(rows, ({ callId }) => callId);
  return new Map(
    [...ofCall].map(([id, turns]) => [
      id,
      turns.map(({ callId: _callId, position: _position, ...turn }) => turn),
    ]),
  );
}

function campaignBody(row: Prisma.CampaignGetPayload<object>): JsonObject {
  return {
    id: publicId('Campaign', row.id),
    name: row.name,
    status: row.status,
    statusReason: row.statusReason,
    agentId: publicId('Agent', row.agentId),
    timezone: row.timezone,
    counts: {
      total: row.totalCount,
      called: row.completedCount + row.failedCount,
      pending: row.pendingCount,
      calling: row.callingCount,
      completed: row.completedCount,
      failed: row.failedCount,
      skipped: row.skippedCount,
      cancelled: row.cancelledCount,
    },
    scheduledAt: iso(row.scheduledAt),
    startedAt: iso(row.startedAt),
    endedAt: iso(row.endedAt),
    createdAt: row.createdAt.toISOString(),
  };
}

function agentBody(row: Prisma.AgentGetPayload<object>): JsonObject {
  return {
    id: publicId('Agent', row.id),
    name: row.name,
    status: row.status,
    syncError: row.syncError,
    revision: row.revision,
    createdAt: row.createdAt.toISOString(),
  };
}

function voiceBody(row: Prisma.VoiceGetPayload<object>): JsonObject {
  return {
    id: publicId('Voice', row.id),
    name: row.name,
    // As `VoiceProvider` names it.
    provider: row.provider?.toUpperCase() ?? null,
    language: row.language,
    status: row.status,
    createdAt: row.createdAt.toISOString(),
  };
}

function endpointBody(row: Prisma.WebhookEndpointGetPayload<object>): JsonObject {
  return {
    id: publicId('WebhookEndpoint', row.id),
    // Without the URL, which may contain a token of its receiver.
    description: row.description,
    agentId: row.agentId && publicId('Agent', row.agentId),
    disabledReason: row.disabledReason,
    disabledAt: iso(row.disabledAt),
    failingSince: iso(row.failingSince),
  };
}

function textIn({ data }: Event, member: string): string | undefined {
  const value = (data as JsonObject)[member];
  return typeof value === 'string' ? value : undefined;
}
