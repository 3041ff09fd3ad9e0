/** Endpoints of agents. */
import { randomUUID } from 'node:crypto';
import { checkCallBody } from '../calls/call-checks.ts';
import { page, searchTerm } from '../http/paging.ts';
import {
  invalid,
  isObject,
  type JsonObject,
  objectAt,
  Problems,
  refuse,
  stringAt,
} from '../json.ts';
import { checkBody, type Shape } from '../shapes/shape.ts';
import { callTemplate } from '../shapes/shapes.ts';
import { type AgentRecord, isoTime, type Request, type Route, type World } from '../world.ts';

const agentBody: Shape = {
  kind: 'object',
  fields: {
    name: { kind: 'string', min: 1, max: 64 },
    callTemplate,
    // Read-only.
    agentId: { kind: 'any' },
    publishedRevisionId: { kind: 'any' },
    created: { kind: 'any' },
    statistics: { kind: 'any' },
  },
};

export function presentAgent(agent: AgentRecord): JsonObject {
  const template = agent.callTemplate;
  let shown: JsonObject | null = null;
  if (template !== null) {
    const { sharedSecrets: _secrets, ...rest } = template;
    shown = rest;
  }
  return {
    agentId: agent.agentId,
    publishedRevisionId: agent.publishedRevisionId,
    name: agent.name,
    created: agent.created,
    callTemplate: shown,
    statistics: { calls: agent.calls },
  };
}

export function findAgent(world: World, agentId: string): AgentRecord {
  const agent = world.agents.get(agentId.toLowerCase());
  if (agent === undefined) throw refuse(404, 'No Agent matches the given query.');
  return agent;
}

function readAgent(world: World, request: Request): JsonObject {
  const problems = new Problems();
  const body = checkBody(agentBody, request.body, { problems, ignored: request.ignored });
  const template = objectAt(body, 'callTemplate');
  if (template !== undefined) checkCallBody(world, template, 'callTemplate', problems);
  problems.throwIfAny();
  return body;
}

/** Adds Ultravox's defaults to a call template. */
function withDefaults(template: JsonObject, created: string, updated: string): JsonObject {
  return {
    joinTimeout: '30s',
    maxDuration: '3600s',
    recordingEnabled: false,
    temperature: 0,
    model: 'ultravox-v0.7',
    ...template,
    created,
    updated,
  };
}

export const agentRoutes: Route[] = [
  {
    method: 'GET',
    path: '/api/agents',
    handler(world, request) {
      const term = searchTerm(request);
      const sort = request.query.get('sort') ?? '-created';
      const items = world.agents
        .values()
        .filter(
          (agent) =>
            term === undefined ||
            agent.name.toLowerCase().includes(term) ||
            (stringAt(agent.callTemplate ?? {}, 'systemPrompt') ?? '').toLowerCase().includes(term),
        );
      if (sort === '-created') items.reverse();
      else if (sort === 'name') items.sort((a, b) => a.name.localeCompare(b.name));
      else if (sort === '-name') items.sort((a, b) => b.name.localeCompare(a.name));
      else if (sort !== 'created') throw invalid('sort', `"${sort}" is not a valid choice.`);
      return page(request, items, (agent) => agent.agentId, presentAgent);
    },
  },
  {
    method: 'POST',
    path: '/api/agents',
    handler(world, request) {
      const body = readAgent(world, request);
      const created = isoTime(world.now());
      const agentId = randomUUID();
      const agent: AgentRecord = {
        agentId,
        name: stringAt(body, 'name') ?? `agent_${agentId.slice(0, 8)}`,
        created,
        publishedRevisionId: randomUUID(),
        callTemplate: withDefaults(objectAt(body, 'callTemplate') ?? {}, created, created),
        calls: 0,
      };
      world.agents.put(agentId, agent);
      return { status: 201, body: presentAgent(agent) };
    },
  },
  {
    method: 'GET',
    path: '/api/agents/:agentId',
    handler: (world, request) => ({
      status: 200,
      body: presentAgent(findAgent(world, request.params.agentId ?? '')),
    }),
  },
  {
    method: 'PATCH',
    path: '/api/agents/:agentId',
    handler(world, request) {
      const agent = findAgent(world, request.params.agentId ?? '');
      const body = readAgent(world, request);
      const given = objectAt(body, 'callTemplate');
      const next: AgentRecord = { ...agent, name: stringAt(body, 'name') ?? agent.name };
      if (given !== undefined) {
        const merge = world.settings().mergeAgentTemplate;
        next.callTemplate = withDefaults(
          merge ? { ...agent.callTemplate, ...given } : given,
          agent.created,
          isoTime(world.now()),
        );
        next.publishedRevisionId = randomUUID();
      } else if (isObject(request.body) && request.body.callTemplate === null) {
        next.callTemplate = null;
      }
      world.agents.put(agent.agentId, next);
      return { status: 200, body: presentAgent(next) };
    },
  },
  {
    method: 'DELETE',
    path: '/api/agents/:agentId',
    handler(world, request) {
      const agent = findAgent(world, request.params.agentId ?? '');
      world.agents.delete(agent.agentId);
      return { status: 204 };
    },
  },
];
