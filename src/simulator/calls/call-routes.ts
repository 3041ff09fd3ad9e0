/** Endpoints of existing calls, other than their recordings. */
import { findAgent } from '../agents/agents.ts';
import { choice, page } from '../http/paging.ts';
import { HttpError, isObject, type JsonObject, refuse, stringAt } from '../json.ts';
import type { CallRecord, Request, Route, World } from '../world.ts';
import { callFilter, sortCalls } from './call-filters.ts';
import { deleteCall, visibleMessages } from './call-state.ts';
import { findCall } from './calls.ts';
import { sendDataMessage } from './data-messages.ts';
import { toneWav } from './sound.ts';

function presentStage(record: CallRecord): JsonObject {
  const { call } = record;
  const tokens = Math.ceil((stringAt(call, 'systemPrompt') ?? '').length / 4);
  const stage: JsonObject = {
    callId: record.callId,
    callStageId: record.stageId,
    created: call.created ?? null,
    inactivityMessages: call.inactivityMessages ?? [],
    initialTokenCount: tokens,
    languageHint: call.languageHint ?? null,
    latestTokenCount: tokens + record.transcript.length * 15,
    model: call.model ?? 'ultravox-v0.7',
    systemPrompt: call.systemPrompt ?? null,
    temperature: call.temperature ?? 0,
    timeExceededMessage: call.timeExceededMessage ?? null,
    voice: call.voice ?? null,
    errorCount: 0,
    experimentalSettings: call.experimentalSettings ?? null,
    initialState: call.initialState ?? {},
  };
  for (const key of ['externalVoice', 'voiceOverrides']) {
    const value = call[key];
    if (value !== undefined) stage[key] = value;
  }
  return stage;
}

function requireStage(record: CallRecord, request: Request): void {
  if ((request.params.stageId ?? '').toLowerCase() !== record.stageId) {
    throw refuse(404, 'No CallStage matches the given query.');
  }
}

function presentTools(record: CallRecord) {
  return { status: 200, body: record.tools };
}

function messages(world: World, request: Request, initial: boolean) {
  const record = findCall(world, request);
  return page(
    request,
    visibleMessages(world, record, initial),
    (message) => String(message.callStageMessageIndex),
    (message) => message,
  );
}

function events(world: World, request: Request) {
  const record = findCall(world, request);
  const severities = ['debug', 'info', 'warning', 'error'];
  const minimum = choice(request, 'minimum_severity', severities) ?? 'info';
  const type = request.query.get('type');
  const event = (severity: string, name: string, text: string, atMs: number) => ({
    callId: record.callId,
    callStageId: record.stageId,
    callTimestamp: `${(atMs / 1000).toFixed(3)}s`,
    severity,
    type: name,
    text,
    extras: null,
    wallClockTimestamp: `${(atMs / 1000).toFixed(3)}s`,
  });
  const items: ReturnType<typeof event>[] = [];
  if (record.joinedAt !== null) items.push(event('debug', 'call.joined', 'Client joined.', 0));
  if (record.call.endReason === 'connection_error') {
    items.push(event('warning', 'connection.lost', 'The connection was lost.', record.talkedMs));
  }
  if (record.call.endReason === 'system_error') {
    items.push(event('error', 'system.failed', 'The call failed.', record.talkedMs));
  }
  const shown = items
    .filter((item) => severities.indexOf(item.severity) >= severities.indexOf(minimum))
    .filter((item) => type === null || item.type === type);
  return page(
    request,
    shown,
    (item) => item.type,
    (item) => item,
  );
}

function tombstoneOf(world: World, request: Request): JsonObject {
  const tombstone = world.tombstones.get((request.params.callId ?? '').toLowerCase());
  if (tombstone === undefined) throw refuse(404, 'No CallTombstone matches the given query.');
  return tombstone;
}

function pageOfCalls(request: Request, records: CallRecord[]) {
  return page(
    request,
    records,
    (record) => record.callId,
    (record) => record.call,
  );
}

export const callRoutes: Route[] = [
  {
    method: 'GET',
    path: '/api/calls',
    handler(world, request) {
      const fits = callFilter(world, request);
      const calls = world.calls.values().filter((record) => fits(record.call));
      return pageOfCalls(request, sortCalls(request, calls));
    },
  },
  {
    method: 'GET',
    path: '/api/agents/:agentId/calls',
    handler(world, request) {
      const id = (request.params.agentId ?? '').toLowerCase();
      const items = world.calls
        .values()
        .filter((record) => record.agentId === id)
        .reverse();
      // Calls remain readable after their agent was deleted.
      if (items.length === 0) findAgent(world, id);
      return pageOfCalls(request, items);
    },
  },
  {
    method: 'GET',
    path: '/api/calls/:callId',
    handler: (world, request) => ({ status: 200, body: findCall(world, request).call }),
  },
  {
    method: 'DELETE',
    path: '/api/calls/:callId',
    handler(world, request) {
      const record = findCall(world, request);
      if (record.endedAt === null) throw refuse(400, 'The call is still in progress.');
      deleteCall(world, record);
      return { status: 204 };
    },
  },
  { method: 'POST', path: '/api/calls/:callId/send_data_message', handler: sendDataMessage },
  {
    method: 'GET',
    path: '/api/calls/:callId/messages',
    handler: (world, request) =>
      messages(world, request, choice(request, 'mode', ['last_stage', 'in_call']) !== 'in_call'),
  },
  { method: 'GET', path: '/api/calls/:callId/events', handler: events },
  {
    method: 'GET',
    path: '/api/calls/:callId/tools',
    handler: (world, request) => presentTools(findCall(world, request)),
  },
  {
    method: 'GET',
    path: '/api/calls/:callId/stages',
    handler: (world, request) =>
      page(request, [findCall(world, request)], (record) => record.stageId, presentStage),
  },
  {
    method: 'GET',
    path: '/api/calls/:callId/stages/:stageId',
    handler(world, request) {
      const record = findCall(world, request);
      requireStage(record, request);
      return { status: 200, body: presentStage(record) };
    },
  },
  {
    method: 'GET',
    path: '/api/calls/:callId/stages/:stageId/messages',
    handler(world, request) {
      requireStage(findCall(world, request), request);
      return messages(world, request, true);
    },
  },
  {
    method: 'GET',
    path: '/api/calls/:callId/stages/:stageId/tools',
    handler(world, request) {
      const record = findCall(world, request);
      requireStage(record, request);
      return presentTools(record);
    },
  },
  {
    method: 'GET',
    path: '/api/calls/:callId/stages/:stageId/messages/:index/audio',
    handler(world, request) {
      const record = findCall(world, request);
      requireStage(record, request);
      const line = visibleMessages(world, record, true)[Number(request.params.index)];
      if (line?.timespan === undefined || record.call.recordingEnabled !== true) {
        throw refuse(404, 'No audio for this message.');
      }
      return { status: 200, raw: toneWav(1, 440), headers: { 'content-type': 'audio/wav' } };
    },
  },
  {
    method: 'GET',
    path: '/api/calls/:callId/sip_logs',
    handler(world, request) {
      const record = findCall(world, request);
      if (!isObject(record.call.sipDetails)) throw refuse(404, 'No SIP logs for this call.');
      if (record.endedAt === null) throw new HttpError(425, { detail: 'SIP logs are not ready.' });
      return { status: 302, headers: { location: `${request.origin}/sip_logs/${record.callId}` } };
    },
  },
  {
    method: 'GET',
    path: '/sip_logs/:callId',
    open: true,
    handler(world, request) {
      const record = findCall(world, request);
      const line = `INVITE ${record.dialed ?? 'sip:agent'} -> ${String(record.plan.sipReason)}\n`;
      return { status: 200, raw: line, headers: { 'content-type': 'text/plain' } };
    },
  },
  {
    method: 'GET',
    path: '/api/deleted_calls',
    handler(world, request) {
      const fits = callFilter(world, request);
      const items = world.tombstones.values().reverse().filter(fits);
      return page(
        request,
        items,
        (item) => String(item.callId),
        (item) => item,
      );
    },
  },
  {
    method: 'GET',
    path: '/api/deleted_calls/:callId',
    handler: (world, request) => ({ status: 200, body: tombstoneOf(world, request) }),
  },
];
