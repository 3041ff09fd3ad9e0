import { createHmac, timingSafeEqual } from 'node:crypto';
import { findAgent } from './agents.ts';
import { addLines, deleteCall, endCall, isLive, visibleMessages } from './call-state.ts';
import { findCall } from './calls.ts';
import {
  durationToMs,
  HttpError,
  invalid,
  isDuration,
  isObject,
  type JsonObject,
  listAt,
  objectAt,
  refuse,
  stringAt,
  UUID,
} from './json.ts';
import { choice, page, searchTerm } from './paging.ts';
import { toneWav } from './sound.ts';
import type { CallRecord, Request, Route, World } from './world.ts';

/** Whether a call passes the filters that the lists of calls and of deleted calls share. */
function callFilter(world: World, request: Request): (call: JsonObject) => boolean {
  const { query } = request;
  const agentIds = query.getAll('agentIds').flatMap((value) => value.split(','));
  for (const id of agentIds)
    if (!UUID.test(id)) throw invalid('agentIds', `"${id}" is not a UUID.`);
  const wanted = new Set(agentIds.map((id) => id.toLowerCase()));
  const from = instant(query.get('fromDate'), 'fromDate', 'T00:00:00.000Z');
  const to = instant(query.get('toDate'), 'toDate', 'T23:59:59.999Z');
  const min = duration(query.get('durationMin'), 'durationMin');
  const max = duration(query.get('durationMax'), 'durationMax');
  const dayStart = timeOfDay(query.get('timeOfDayStart'), 'timeOfDayStart');
  const dayEnd = timeOfDay(query.get('timeOfDayEnd'), 'timeOfDayEnd');
  const voiceId = query.get('voiceId');
  const metadata = [...query].filter(([key]) => key.startsWith('metadata.'));
  const term = searchTerm(request);
  return (call) => {
    const record = world.calls.get(String(call.callId));
    const created = String(call.created);
    if (wanted.size > 0 && !wanted.has(String(call.agentId))) return false;
    if (from !== undefined && Date.parse(created) < from) return false;
    if (to !== undefined && Date.parse(created) > to) return false;
    const clock = created.slice(11, 19);
    if (dayStart !== undefined && clock < dayStart) return false;
    if (dayEnd !== undefined && clock > dayEnd) return false;
    const lasted = record?.talkedMs ?? 0;
    if (min !== undefined && lasted < min) return false;
    if (max !== undefined && lasted > max) return false;
    if (voiceId !== null && call.voice !== voiceId) return false;
    const own = objectAt(call, 'metadata');
    for (const [key, value] of metadata) {
      if (own?.[key.slice('metadata.'.length)] !== value) return false;
    }
    if (term !== undefined) {
      const text = [
        call.callId,
        call.shortSummary,
        call.summary,
        call.systemPrompt,
        objectAt(call, 'agent')?.name,
        JSON.stringify(own),
        ...(record?.transcript.map((line) => line.message.text) ?? []),
      ];
      if (!text.join(' ').toLowerCase().includes(term)) return false;
    }
    return true;
  };
}

function instant(given: string | null, name: string, rest: string): number | undefined {
  if (given === null) return undefined;
  const parsed = Date.parse(/^\d{4}-\d{2}-\d{2}$/.test(given) ? `${given}${rest}` : given);
  if (Number.isNaN(parsed)) throw invalid(name, 'Enter a valid date.');
  return parsed;
}

function duration(given: string | null, name: string): number | undefined {
  if (given === null) return undefined;
  if (!isDuration(given)) throw invalid(name, 'Must be a duration such as "300s".');
  return durationToMs(given, 0);
}

function timeOfDay(given: string | null, name: string): string | undefined {
  if (given === null) return undefined;
  if (!/^\d{2}:\d{2}(:\d{2}(\.\d+)?)?$/.test(given)) throw invalid(name, 'Enter a valid time.');
  return given.length === 5 ? `${given}:00` : given.slice(0, 8);
}

function sorted(request: Request, calls: CallRecord[]): CallRecord[] {
  const sort = request.query.get('sort') ?? '-created';
  if (sort === 'created') return calls;
  if (sort === '-created') return calls.reverse();
  const key = sort.replace(/^-/, '');
  if (!['joined', 'ended', 'billedDuration'].includes(key)) {
    throw invalid('sort', `"${sort}" is not a valid choice.`);
  }
  const sign = sort.startsWith('-') ? -1 : 1;
  const value = (record: CallRecord) =>
    key === 'billedDuration'
      ? record.talkedMs
      : ((key === 'joined' ? record.joinedAt : record.endedAt) ?? 0);
  return calls.sort((a, b) => sign * (value(a) - value(b)));
}

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

function recordingSignature(world: World, callId: string, expires: string): string {
  return createHmac('sha256', world.signingKey).update(`${callId}:${expires}`).digest('hex');
}

function sendDataMessage(world: World, request: Request) {
  const record = findCall(world, request);
  const { body } = request;
  if (!isObject(body) || typeof body.type !== 'string') {
    throw invalid('type', 'This field is required.');
  }
  if (!['user_text_message', 'forced_agent_message', 'hang_up'].includes(body.type)) {
    throw invalid('type', `"${body.type.slice(0, 80)}" is not an accepted message type.`);
  }
  if (!isLive(record)) throw refuse(422, 'The call is not in progress.');
  if (body.type === 'hang_up') {
    const farewell = stringAt(body, 'message');
    if (farewell !== undefined)
      addLines(world, record, [{ role: 'MESSAGE_ROLE_AGENT', text: farewell }]);
    endCall(world, record.callId, 'agent_hangup');
    return { status: 204 };
  }
  if (body.type === 'user_text_message') {
    const text = stringAt(body, 'text');
    if (text === undefined) throw invalid('text', 'This field is required.');
    checkUrgency(body, ['immediate', 'soon', 'later']);
    addLines(world, record, [
      { role: 'MESSAGE_ROLE_USER', text, medium: 'MESSAGE_MEDIUM_TEXT' },
      { role: 'MESSAGE_ROLE_AGENT', text: 'Thanks, I have taken note of that.', afterMs: 1500 },
    ]);
    return { status: 204 };
  }
  checkUrgency(body, ['immediate', 'soon']);
  const content = stringAt(body, 'content');
  const calls = listAt(body, 'toolCalls').filter((item) => isObject(item));
  if (content === undefined && calls.length === 0) {
    throw invalid('content', 'Either content or toolCalls is required.');
  }
  addLines(world, record, [
    ...(content === undefined ? [] : [{ role: 'MESSAGE_ROLE_AGENT' as const, text: content }]),
    ...calls.flatMap((item) => {
      const toolName = stringAt(item, 'name') ?? '';
      const invocationId = stringAt(item, 'id') ?? crypto.randomUUID();
      const text = JSON.stringify(item.arguments ?? {});
      return [
        { role: 'MESSAGE_ROLE_TOOL_CALL' as const, text, toolName, invocationId },
        { role: 'MESSAGE_ROLE_TOOL_RESULT' as const, text: '{"ok":true}', toolName, invocationId },
      ];
    }),
  ]);
  return { status: 204 };
}

function checkUrgency(body: JsonObject, values: string[]): void {
  const urgency = body.urgency;
  if (urgency !== undefined && (typeof urgency !== 'string' || !values.includes(urgency))) {
    throw invalid('urgency', `Must be one of ${values.join(', ')}.`);
  }
}

function tombstoneOf(world: World, request: Request): JsonObject {
  const tombstone = world.tombstones.get((request.params.callId ?? '').toLowerCase());
  if (tombstone === undefined) throw refuse(404, 'No CallTombstone matches the given query.');
  return tombstone;
}

export const callRoutes: Route[] = [
  {
    method: 'GET',
    path: '/api/calls',
    handler(world, request) {
      const fits = callFilter(world, request);
      const items = sorted(
        request,
        world.calls.values().filter((record) => fits(record.call)),
      );
      return page(
        request,
        items,
        (record) => record.callId,
        (record) => record.call,
      );
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
      // Calls stay readable after their agent is gone.
      if (items.length === 0) findAgent(world, id);
      return page(
        request,
        items,
        (record) => record.callId,
        (record) => record.call,
      );
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
    path: '/api/calls/:callId/recording',
    handler(world, request) {
      const record = findCall(world, request);
      const recorded = record.call.recordingEnabled === true && record.joinedAt !== null;
      if (!recorded || record.endedAt === null) throw refuse(404, 'No recording available.');
      const expires = String(world.now() + world.settings().recordingUrlSeconds * 1000);
      const signature = recordingSignature(world, record.callId, expires);
      const location = `${request.origin}/recordings/${record.callId}.wav?expires=${expires}&signature=${signature}`;
      return { status: 302, headers: { location } };
    },
  },
  {
    method: 'GET',
    path: '/recordings/:file',
    open: true,
    handler(world, request) {
      const callId = (request.params.file ?? '').replace(/\.wav$/, '');
      const expires = request.query.get('expires') ?? '';
      const expected = Buffer.from(recordingSignature(world, callId, expires));
      const given = Buffer.from(request.query.get('signature') ?? '');
      const valid = given.length === expected.length && timingSafeEqual(given, expected);
      if (!valid || Number(expires) < world.now()) throw refuse(403, 'Request has expired.');
      const record = world.calls.get(callId);
      if (record === undefined) throw refuse(404, 'Not found.');
      return {
        status: 200,
        raw: toneWav(record.talkedMs / 1000, 440),
        headers: { 'content-type': 'audio/wav' },
      };
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
      const line = `INVITE ${record.dialled ?? 'sip:agent'} -> ${String(record.plan.sipReason)}\n`;
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
