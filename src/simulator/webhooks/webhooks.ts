/** Endpoints of webhooks. */
import { randomBytes, randomUUID } from 'node:crypto';
import { findAgent } from '../agents/agents.ts';
import { page } from '../http/paging.ts';
import { type JsonObject, objectAt, Problems, refuse, stringAt, stringsAt } from '../json.ts';
import { checkBody, type Shape } from '../shapes/shape.ts';
import { isoTime, type Request, type Route, type WebhookRecord, type World } from '../world.ts';

const EVENTS = ['call.started', 'call.joined', 'call.ended', 'call.billed'];

const fields: Record<string, Shape> = {
  agentId: { kind: 'uuid' },
  url: { kind: 'string', max: 200 },
  secrets: { kind: 'list', of: { kind: 'string', min: 1, max: 120 } },
  events: { kind: 'list', of: { kind: 'string', values: EVENTS } },
  // Read-only.
  webhookId: { kind: 'any' },
  created: { kind: 'any' },
  status: { kind: 'any' },
  lastStatusChange: { kind: 'any' },
  recentFailures: { kind: 'any' },
};
const whole: Shape = { kind: 'object', fields, required: ['url', 'events'] };
const partial: Shape = { kind: 'object', fields };

function presentWebhook(hook: WebhookRecord): JsonObject {
  const { failuresInARow: _count, ...shown } = hook;
  return shown;
}

function readWebhook(world: World, request: Request, shape: Shape): JsonObject {
  const problems = new Problems();
  const body = checkBody(shape, request.body, { problems, ignored: request.ignored });
  const url = stringAt(body, 'url');
  if (url !== undefined && !(URL.canParse(url) && /^https?:$/.test(new URL(url).protocol))) {
    problems.add('url', 'Enter a valid URL.');
  }
  const agentId = stringAt(body, 'agentId');
  if (agentId !== undefined && world.agents.get(agentId.toLowerCase()) === undefined) {
    problems.add('agentId', `Agent ${agentId} does not exist.`);
  }
  problems.throwIfAny();
  return body;
}

function findWebhook(world: World, request: Request): WebhookRecord {
  const hook = world.webhooks.get((request.params.webhookId ?? '').toLowerCase());
  if (hook === undefined) throw refuse(404, 'No Webhook matches the given query.');
  return hook;
}

function saveWebhook(world: World, hook: WebhookRecord, body: JsonObject, given: JsonObject) {
  const next: WebhookRecord = {
    ...hook,
    url: stringAt(body, 'url') ?? hook.url,
    events: body.events === undefined ? hook.events : stringsAt(body, 'events'),
    secrets: body.secrets === undefined ? hook.secrets : stringsAt(body, 'secrets'),
    agentId:
      given.agentId === null ? null : (stringAt(body, 'agentId')?.toLowerCase() ?? hook.agentId),
  };
  if (next.secrets.length === 0) next.secrets = [randomBytes(24).toString('base64url')];
  if (body.url !== undefined && next.url !== hook.url) {
    next.status = 'normal';
    next.failuresInARow = 0;
  }
  world.webhooks.put(next.webhookId, next);
  return presentWebhook(next);
}

export const webhookRoutes: Route[] = [
  {
    method: 'GET',
    path: '/api/webhooks',
    handler(world, request) {
      const agentId = request.query.get('agentId')?.toLowerCase();
      if (agentId !== undefined) findAgent(world, agentId);
      const items = world.webhooks
        .values()
        .reverse()
        .filter((hook) => agentId === undefined || hook.agentId === agentId);
      return page(request, items, (hook) => hook.webhookId, presentWebhook);
    },
  },
  {
    method: 'POST',
    path: '/api/webhooks',
    handler(world, request) {
      const body = readWebhook(world, request, whole);
      const hook: WebhookRecord = {
        webhookId: randomUUID(),
        agentId: null,
        created: isoTime(world.now()),
        url: '',
        secrets: [],
        events: [],
        status: 'normal',
        lastStatusChange: null,
        recentFailures: [],
        failuresInARow: 0,
      };
      return { status: 201, body: saveWebhook(world, hook, body, {}) };
    },
  },
  {
    method: 'GET',
    path: '/api/webhooks/:webhookId',
    handler: (world, request) => ({
      status: 200,
      body: presentWebhook(findWebhook(world, request)),
    }),
  },
  {
    method: 'PUT',
    path: '/api/webhooks/:webhookId',
    handler(world, request) {
      const hook = findWebhook(world, request);
      const body = readWebhook(world, request, whole);
      return {
        status: 200,
        body: saveWebhook(world, hook, body, { agentId: body.agentId ?? null }),
      };
    },
  },
  {
    method: 'PATCH',
    path: '/api/webhooks/:webhookId',
    handler(world, request) {
      const hook = findWebhook(world, request);
      const body = readWebhook(world, request, partial);
      const given = objectAt({ given: request.body }, 'given') ?? {};
      return { status: 200, body: saveWebhook(world, hook, body, given) };
    },
  },
  {
    method: 'DELETE',
    path: '/api/webhooks/:webhookId',
    handler(world, request) {
      const hook = findWebhook(world, request);
      world.webhooks.delete(hook.webhookId);
      return { status: 204 };
    },
  },
];
