/** Control endpoints of the simulator, which Ultravox does not have. */
import { findAgent } from './agents/agents.ts';
import { endCall, joinCall } from './calls/call-state.ts';
import { createAgentCall } from './calls/calls.ts';
import { inboundCall } from './calls/inbound.ts';
import { OUTCOMES } from './calls/scenario.ts';
import { type FaultInput, faultSchema } from './faults.ts';
import { page } from './http/paging.ts';
import { HttpError, isObject, type Json, Problems, refuse } from './json.ts';
import { changeSettings } from './settings.ts';
import type { Request, Route, World } from './world.ts';

export function applySettings(world: World, change: unknown): void {
  const result = changeSettings(world.settings(), change);
  if ('problems' in result) {
    const problems = new Problems();
    for (const { path, message } of result.problems) problems.add(path, message);
    throw new HttpError(400, problems.toBody());
  }
  world.changeSettings(result.settings);
}

export function applyFaults(world: World, faults: unknown, seed?: unknown): void {
  const list = faultSchema.array().safeParse(faults);
  if (!list.success) {
    const problems = new Problems();
    for (const issue of list.error.issues)
      problems.add(`faults.${issue.path.join('.')}`, issue.message);
    throw new HttpError(400, problems.toBody());
  }
  const ids = list.data.map((fault) => fault.id).filter((id) => id !== undefined);
  if (new Set(ids).size < ids.length) throw refuse(400, 'Two faults have the same id.');
  world.faults.replace(list.data as FaultInput[], typeof seed === 'number' ? seed : undefined);
}

export function stateCounts(world: World) {
  const calls = world.calls.values();
  return {
    agents: world.agents.size,
    calls: calls.length,
    waitingCalls: calls.filter((call) => call.joinedAt === null && call.endedAt === null).length,
    liveCalls: calls.filter((call) => call.joinedAt !== null && call.endedAt === null).length,
    endedCalls: calls.filter((call) => call.endedAt !== null).length,
    deletedCalls: world.tombstones.size,
    dials: world.dials.size,
    tools: world.tools.size,
    voices: world.voices.size,
    corpora: world.corpora.size,
    webhooks: world.webhooks.size,
    pendingDeliveries: world.deliveries.values().filter((item) => item.state === 'pending').length,
    deliveries: world.deliveries.size,
  };
}

export function resetWorld(world: World): void {
  world.scheduler.clear();
  world.store.clear();
  world.changeSettings(world.initialSettings);
  world.faults.replace([]);
  world.liveCalls.clear();
  world.creations.length = 0;
  world.requests.length = 0;
  world.received.length = 0;
}

export function presentDeliveries(world: World): Json[] {
  return world.deliveries.values().map(({ secrets: _secrets, body: _body, ...shown }) => shown);
}

function matching(request: Request, items: Json[], keys: string[]): Json[] {
  return items.filter((item) =>
    keys.every((key) => {
      const wanted = request.query.get(key);
      return wanted === null || (isObject(item) && item[key] === wanted);
    }),
  );
}

function callOf(world: World, request: Request): string {
  const callId = (request.params.callId ?? '').toLowerCase();
  if (world.calls.get(callId) === undefined) throw refuse(404, 'No such call.');
  return callId;
}

const END_REASONS = ['hangup', 'agent_hangup', 'timeout', 'connection_error', 'system_error'];

export const controlRoutes: Route[] = [
  {
    method: 'GET',
    path: '/simulator/health',
    open: true,
    handler: () => ({ status: 200, body: { status: 'ok', simulator: true } }),
  },
  {
    method: 'GET',
    path: '/simulator/settings',
    handler: (world) => ({ status: 200, body: { ...world.settings() } }),
  },
  {
    method: 'PATCH',
    path: '/simulator/settings',
    handler(world, request) {
      applySettings(world, request.body);
      return { status: 200, body: { ...world.settings() } };
    },
  },
  {
    method: 'GET',
    path: '/simulator/outcomes',
    handler: () => ({ status: 200, body: { ...OUTCOMES } }),
  },
  { method: 'GET', path: '/simulator/faults', handler: (world) => presentFaults(world) },
  {
    method: 'PUT',
    path: '/simulator/faults',
    handler(world, request) {
      const body = isObject(request.body) ? request.body : { faults: request.body };
      applyFaults(world, body.faults, body.seed);
      return presentFaults(world);
    },
  },
  {
    method: 'DELETE',
    path: '/simulator/faults',
    handler(world) {
      world.faults.replace([]);
      return { status: 204 };
    },
  },
  {
    method: 'DELETE',
    path: '/simulator/faults/:id',
    handler(world, request) {
      if (!world.faults.remove(request.params.id ?? '')) throw refuse(404, 'No such fault.');
      return { status: 204 };
    },
  },
  {
    method: 'POST',
    path: '/simulator/inbound-calls',
    handler: (world, request) => ({
      status: 201,
      body: inboundCall(world, request.body, (agentId, body, arrival) =>
        createAgentCall(world, findAgent(world, agentId), body, arrival),
      ).call,
    }),
  },
  {
    method: 'POST',
    path: '/simulator/calls/:callId/answer',
    handler(world, request) {
      const callId = callOf(world, request);
      joinCall(world, callId);
      return { status: 200, body: world.calls.get(callId)?.call ?? null };
    },
  },
  {
    method: 'POST',
    path: '/simulator/calls/:callId/end',
    handler(world, request) {
      const callId = callOf(world, request);
      const reason = isObject(request.body) ? (request.body.endReason ?? 'hangup') : 'hangup';
      if (typeof reason !== 'string' || !END_REASONS.includes(reason)) {
        throw refuse(400, `endReason must be one of ${END_REASONS.join(', ')}.`);
      }
      if (!endCall(world, callId, reason)) throw refuse(422, 'The call has already ended.');
      return { status: 200, body: world.calls.get(callId)?.call ?? null };
    },
  },
  {
    method: 'GET',
    path: '/simulator/dials',
    handler(world, request) {
      const items = world.dials.values().map((dial) => ({ ...dial }));
      return { status: 200, body: { results: matching(request, items, ['to', 'callId']) } };
    },
  },
  {
    method: 'GET',
    path: '/simulator/requests',
    handler(world, request) {
      const items = world.requests.map((entry) => ({ ...entry }));
      return { status: 200, body: { results: matching(request, items, ['method', 'path']) } };
    },
  },
  {
    method: 'GET',
    path: '/simulator/deliveries',
    handler: (world, request) =>
      page(
        request,
        matching(request, presentDeliveries(world), ['callId', 'event', 'state', 'webhookId']),
        (item) => (isObject(item) ? String(item.deliveryId) : ''),
        (item) => item,
      ),
  },
  {
    method: 'GET',
    path: '/simulator/state',
    handler: (world) => ({ status: 200, body: stateCounts(world) }),
  },
  {
    method: 'POST',
    path: '/simulator/reset',
    handler(world) {
      resetWorld(world);
      return { status: 204 };
    },
  },
];

function presentFaults(world: World) {
  const { faults, seed } = world.faults.state();
  return {
    status: 200,
    body: {
      seed,
      faults: faults.map((fault) =>
        Object.fromEntries(Object.entries(fault).filter(([, value]) => value !== undefined)),
      ),
    },
  };
}
