/** Endpoints that create calls. */
import { randomUUID } from 'node:crypto';
import { findAgent } from '../agents/agents.ts';
import { checkContext, renderTemplate } from '../agents/templates.ts';
import {
  durationToMs,
  invalid,
  isObject,
  type Json,
  type JsonObject,
  listAt,
  objectAt,
  Problems,
  refuse,
  stringAt,
  UUID,
} from '../json.ts';
import { takeCallSlot } from '../limits.ts';
import { checkBody } from '../shapes/shape.ts';
import { startAgentCallRequest, startCallRequest } from '../shapes/shapes.ts';
import { resolveTools } from '../tools/tools.ts';
import {
  type AgentRecord,
  type CallRecord,
  isoTime,
  type Request,
  type Route,
  type World,
} from '../world.ts';
import { checkCallBody, checkMetadata, mediumName, overrideTools } from './call-checks.ts';
import { scheduleNewCall } from './call-state.ts';
import { planCall } from './scenario.ts';

/** Members of an agent call that replace those of the template. */
const OVERRIDES = [
  'medium',
  'joinTimeout',
  'maxDuration',
  'recordingEnabled',
  'initialOutputMedium',
  'firstSpeakerSettings',
  'dataConnection',
  'retentionPolicy',
];

/** Details of an incoming call that no request body contains. */
export interface Arrival {
  requestContext: Json;
  medium: JsonObject;
  joinAfterSeconds: number;
}

export function createAgentCall(
  world: World,
  agent: AgentRecord,
  body: JsonObject,
  arrival?: Arrival,
): CallRecord {
  const template = agent.callTemplate ?? {};
  const problems = new Problems();
  checkMetadata(body.metadata, problems);
  const tools = overrideTools(world, template, objectAt(body, 'toolOverrides'), problems);
  const chosen: JsonObject = { ...template, selectedTools: tools };
  for (const key of OVERRIDES) if (body[key] !== undefined) chosen[key] = body[key];
  if (body.voiceOverrides !== undefined && body.voice === undefined) {
    problems.add('voiceOverrides', 'Only valid when voice is set.');
  }
  if (body.voice !== undefined) {
    delete chosen.externalVoice;
    delete chosen.voiceOverrides;
    chosen.voice = body.voice;
    if (body.voiceOverrides !== undefined) chosen.voiceOverrides = body.voiceOverrides;
  }
  problems.throwIfAny();
  const context = objectAt(body, 'templateContext') ?? {};
  checkContext(chosen, context, world.settings());
  const rendered = renderTemplate(chosen, context, world.settings());
  checkCallBody(world, rendered, '', problems);
  problems.throwIfAny();
  if (arrival === undefined) takeCallSlot(world);
  const record = openCall(world, rendered, body, { agent, context, arrival });
  world.agents.put(agent.agentId, { ...agent, calls: agent.calls + 1 });
  return record;
}

function createDirectCall(world: World, request: Request): CallRecord {
  const problems = new Problems();
  const given = checkBody(startCallRequest, request.body ?? {}, {
    problems,
    ignored: request.ignored,
  });
  const body = withPriorCall(world, request, given);
  checkMetadata(body.metadata, problems);
  checkCallBody(world, body, '', problems);
  const first = stringAt(body, 'firstSpeaker');
  const settings = objectAt(body, 'firstSpeakerSettings');
  if (first !== undefined && first !== 'FIRST_SPEAKER_UNSPECIFIED' && settings !== undefined) {
    if ((first === 'FIRST_SPEAKER_USER') !== (settings.user !== undefined)) {
      problems.add('firstSpeaker', 'Contradicts firstSpeakerSettings.');
    }
  }
  problems.throwIfAny();
  takeCallSlot(world);
  const speaking =
    settings === undefined && first === 'FIRST_SPEAKER_USER'
      ? { ...body, firstSpeakerSettings: { user: {} } }
      : body;
  return openCall(world, speaking, body, { agent: null, context: {}, arrival: undefined });
}

function withPriorCall(world: World, request: Request, body: JsonObject): JsonObject {
  const priorId = request.query.get('priorCallId');
  if (priorId === null) return body;
  if (!UUID.test(priorId)) throw invalid('priorCallId', 'Must be a valid UUID.');
  const prior = world.calls.get(priorId.toLowerCase());
  if (prior === undefined) throw invalid('priorCallId', `Call ${priorId} does not exist.`);
  if (body.initialMessages !== undefined) {
    throw invalid('initialMessages', 'May not be set together with priorCallId.');
  }
  const inherited: JsonObject = {};
  for (const key of [
    'systemPrompt',
    'temperature',
    'model',
    'voice',
    'externalVoice',
    'voiceOverrides',
    'languageHint',
    'joinTimeout',
    'maxDuration',
    'timeExceededMessage',
    'inactivityMessages',
    'recordingEnabled',
    'initialOutputMedium',
    'vadSettings',
    'firstSpeakerSettings',
  ]) {
    const value = prior.call[key];
    if (value !== undefined && value !== null) inherited[key] = value;
  }
  const said = [...prior.initialMessages, ...prior.transcript.map((line) => line.message)];
  return {
    ...inherited,
    ...body,
    initialMessages: said.map(({ role, text, medium, toolName, invocationId }) => ({
      ...(role === undefined ? {} : { role }),
      ...(text === undefined ? {} : { text }),
      ...(medium === undefined ? {} : { medium }),
      ...(toolName === undefined ? {} : { toolName }),
      ...(invocationId === undefined ? {} : { invocationId }),
    })),
  };
}

interface Origin {
  agent: AgentRecord | null;
  context: JsonObject;
  arrival: Arrival | undefined;
}

/** Stores a valid call, dials it, schedules its events and announces it. */
function openCall(
  world: World,
  template: JsonObject,
  body: JsonObject,
  { agent, context, arrival }: Origin,
): CallRecord {
  const settings = world.settings();
  const callId = randomUUID();
  const createdAt = world.now();
  const medium = arrival?.medium ?? objectAt(template, 'medium') ?? { webRtc: {} };
  const name = mediumName(medium);
  const outgoing = objectAt(objectAt(medium, name), 'outgoing');
  const dialed = stringAt(outgoing, 'to') ?? null;
  const joinTimeout = stringAt(template, 'joinTimeout') ?? '30s';
  const maxDuration = stringAt(template, 'maxDuration') ?? '3600s';
  const joinAfterSeconds = joinAfter(name, dialed, arrival, settings.webRtcAutoJoinSeconds);
  const plan = planCall(settings, {
    callId,
    dialed,
    reportsRefusals: name === 'sip',
    joinTimeoutMs: durationToMs(joinTimeout, 30_000),
    maxDurationMs: durationToMs(maxDuration, 3_600_000),
    ...(joinAfterSeconds === undefined ? {} : { joinAfterSeconds }),
  });
  const tools = resolveTools(
    world,
    listAt(template, 'selectedTools').filter((tool) => isObject(tool)),
    'selectedTools',
    new Problems(),
  );
  const record: CallRecord = {
    callId,
    call: {},
    agentId: agent?.agentId ?? null,
    stageId: randomUUID(),
    tools,
    initialMessages: listAt(body, 'initialMessages').filter((item) => isObject(item)),
    transcript: [],
    plan,
    speed: settings.speed,
    createdAt,
    joinedAt: null,
    endedAt: null,
    talkedMs: 0,
    name: agent?.name ?? '',
    context,
    dialed,
    autoDelete: template.retentionPolicy === 'CALL_RETENTION_POLICY_AUTO_DELETE',
    socketJoined: false,
  };
  record.call = callObject(world, record, {
    template,
    body,
    agent,
    medium,
    joinTimeout,
    maxDuration,
    requestContext: arrival?.requestContext ?? null,
    hasJoinUrl: name !== 'sip' && (outgoing === undefined || settings.providerJoinUrl),
    suffix: name === 'serverWebSocket' ? '/server_web_socket' : '',
    isSip: name === 'sip',
  });
  world.calls.put(callId, record);
  world.liveCalls.add(callId);
  if (dialed !== null) {
    world.dials.put(callId, {
      at: isoTime(createdAt),
      callId,
      to: dialed,
      from: stringAt(outgoing, 'from') ?? null,
      medium: name,
      metadata: objectAt(body, 'metadata') ?? {},
      agentId: record.agentId,
    });
  }
  scheduleNewCall(world, record);
  world.emit('call.started', record);
  return record;
}

/** Seconds until a call is joined. Undefined: decided by ringing. Null: joined only by a websocket. */
function joinAfter(
  medium: string,
  dialed: string | null,
  arrival: Arrival | undefined,
  webRtcSeconds: number | null,
): number | null | undefined {
  if (arrival !== undefined) return arrival.joinAfterSeconds;
  if (dialed !== null) return undefined;
  return medium === 'webRtc' ? webRtcSeconds : null;
}

interface CallParts {
  /** The template of the agent with the overrides of the request. */
  template: JsonObject;
  /** The request. */
  body: JsonObject;
  agent: AgentRecord | null;
  medium: JsonObject;
  joinTimeout: string;
  maxDuration: string;
  requestContext: Json;
  hasJoinUrl: boolean;
  suffix: string;
  isSip: boolean;
}

function callObject(world: World, record: CallRecord, parts: CallParts): JsonObject {
  const { template, body, agent } = parts;
  const speaker: JsonObject = objectAt(template, 'firstSpeakerSettings') ?? { agent: {} };
  const retention = stringAt(template, 'retentionPolicy');
  const optional: JsonObject = {};
  for (const key of ['externalVoice', 'voiceOverrides', 'callbacks'] as const) {
    const value = key === 'callbacks' ? body.callbacks : template[key];
    if (value !== undefined) optional[key] = value;
  }
  if (template.dataConnection !== undefined)
    optional.dataConnectionConfig = template.dataConnection;
  const hasExternal = template.externalVoice !== undefined;
  return {
    callId: record.callId,
    clientVersion: null,
    created: isoTime(record.createdAt),
    joined: null,
    ended: null,
    endReason: null,
    billedDuration: null,
    billedSideInputTokens: null,
    billedSideOutputTokens: null,
    billingStatus: 'BILLING_STATUS_PENDING',
    firstSpeaker: speaker.user === undefined ? 'FIRST_SPEAKER_AGENT' : 'FIRST_SPEAKER_USER',
    firstSpeakerSettings: speaker,
    inactivityMessages: template.inactivityMessages ?? [],
    initialOutputMedium:
      template.initialOutputMedium === 'MESSAGE_MEDIUM_TEXT'
        ? 'MESSAGE_MEDIUM_TEXT'
        : 'MESSAGE_MEDIUM_VOICE',
    joinTimeout: parts.joinTimeout,
    joinUrl: parts.hasJoinUrl
      ? `${world.url.replace(/^http/, 'ws')}/calls/${record.callId}${parts.suffix}`
      : null,
    languageHint: template.languageHint ?? null,
    maxDuration: parts.maxDuration,
    medium: withoutPassword(parts.medium),
    model: template.model ?? 'ultravox-v0.7',
    recordingEnabled: template.recordingEnabled ?? false,
    retentionPolicy:
      retention === 'CALL_RETENTION_POLICY_AUTO_DELETE'
        ? 'auto_delete'
        : retention === 'CALL_RETENTION_POLICY_RETAIN'
          ? 'retain'
          : null,
    systemPrompt: template.systemPrompt ?? null,
    temperature: template.temperature ?? 0,
    timeExceededMessage: template.timeExceededMessage ?? null,
    voice: template.voice ?? (hasExternal ? null : 'Mark'),
    transcriptOptional: body.transcriptOptional ?? true,
    vadSettings: template.vadSettings ?? null,
    shortSummary: null,
    summary: null,
    agent: agent === null ? null : { agentId: agent.agentId, name: agent.name },
    agentId: record.agentId,
    experimentalSettings: body.experimentalSettings ?? null,
    metadata: body.metadata ?? {},
    initialState: body.initialState ?? {},
    requestContext: parts.requestContext,
    sipDetails: parts.isSip ? { billedDuration: null, terminationReason: null } : null,
    ...optional,
  };
}

function withoutPassword(medium: JsonObject): JsonObject {
  const outgoing = objectAt(objectAt(medium, 'sip'), 'outgoing');
  if (outgoing?.password === undefined) return medium;
  const { password: _password, ...rest } = outgoing;
  return { sip: { outgoing: rest } };
}

export const callCreationRoutes: Route[] = [
  {
    method: 'POST',
    path: '/api/calls',
    handler: (world, request) => ({ status: 201, body: createDirectCall(world, request).call }),
  },
  {
    method: 'POST',
    path: '/api/agents/:agentId/calls',
    handler(world, request) {
      const agent = findAgent(world, request.params.agentId ?? '');
      const problems = new Problems();
      const body = checkBody(startAgentCallRequest, request.body ?? {}, {
        problems,
        ignored: request.ignored,
      });
      return { status: 201, body: createAgentCall(world, agent, body).call };
    },
  },
];

export function findCall(world: World, request: Request): CallRecord {
  const call = world.calls.get((request.params.callId ?? '').toLowerCase());
  if (call === undefined) throw refuse(404, 'No Call matches the given query.');
  return call;
}
