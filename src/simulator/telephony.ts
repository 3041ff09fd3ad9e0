/** Endpoints of SIP settings, SIP registrations and telephony configurations. */
import { randomUUID } from 'node:crypto';
import { page } from './http/paging.ts';
import { invalid, isObject, type JsonObject, Problems, refuse, stringAt } from './json.ts';
import { checkBody, type Shape } from './shapes/shape.ts';
import { isoTime, type Request, type Route, type World } from './world.ts';

const PROVIDERS = {
  twilio: { required: ['accountSid', 'authToken'], secrets: ['authToken'] },
  telnyx: {
    required: ['accountSid', 'apiKey', 'publicKey', 'applicationSid'],
    secrets: ['apiKey', 'publicKey'],
  },
  plivo: { required: ['authId', 'authToken'], secrets: ['authToken'] },
} as const;

type Provider = keyof typeof PROVIDERS;
const text: Shape = { kind: 'string', min: 1 };

function configShape(provider: Provider, whole: boolean): Shape {
  const { required, secrets } = PROVIDERS[provider];
  const fields: Record<string, Shape> = {
    callCreationAllowedAgentIds: { kind: 'list', of: { kind: 'uuid' }, max: 100 },
    callCreationAllowAllAgents: { kind: 'boolean' },
    requestContextMapping: { kind: 'map', of: { kind: 'string' } },
  };
  for (const key of required)
    fields[key] = key === 'applicationSid' ? { kind: 'string', min: 1, max: 40 } : text;
  for (const key of secrets) fields[`${key}Prefix`] = { kind: 'any' };
  return { kind: 'object', fields, required: whole ? required : [] };
}

function presentConfig(provider: Provider, config: JsonObject): JsonObject {
  const shown: JsonObject = {
    callCreationAllowedAgentIds: [],
    callCreationAllowAllAgents: false,
    requestContextMapping: {},
    ...config,
  };
  for (const key of PROVIDERS[provider].secrets) {
    shown[`${key}Prefix`] = { prefix: (stringAt(config, key) ?? '').slice(0, 4) };
    delete shown[key];
  }
  return shown;
}

function readConfig(provider: Provider, request: Request, whole: boolean): JsonObject {
  const problems = new Problems();
  const body = checkBody(configShape(provider, whole), request.body, {
    problems,
    ignored: request.ignored,
  });
  for (const key of PROVIDERS[provider].secrets) delete body[`${key}Prefix`];
  return body;
}

function checkExclusive(config: JsonObject): void {
  const listed = config.callCreationAllowedAgentIds;
  if (config.callCreationAllowAllAgents === true && Array.isArray(listed) && listed.length > 0) {
    throw invalid(
      'callCreationAllowedAgentIds',
      'May not be set if callCreationAllowAllAgents is true.',
    );
  }
}

function storedConfig(world: World, provider: Provider): JsonObject {
  const config = world.singletons.get(`telephony:${provider}`);
  if (config === undefined) throw refuse(404, 'Not found.');
  return config;
}

function configRoutes(provider: Provider): Route[] {
  const path = `/api/telephony_configs/${provider}`;
  const key = `telephony:${provider}`;
  const save = (world: World, config: JsonObject) => {
    checkExclusive(config);
    world.singletons.put(key, config);
    return presentConfig(provider, config);
  };
  return [
    {
      method: 'GET',
      path,
      handler: (world) => ({
        status: 200,
        body: presentConfig(provider, storedConfig(world, provider)),
      }),
    },
    {
      method: 'POST',
      path,
      handler: (world, request) => ({
        status: 201,
        body: save(world, readConfig(provider, request, true)),
      }),
    },
    {
      method: 'PATCH',
      path,
      handler: (world, request) => ({
        status: 200,
        body: save(world, {
          ...storedConfig(world, provider),
          ...readConfig(provider, request, false),
        }),
      }),
    },
    {
      method: 'DELETE',
      path,
      handler(world) {
        storedConfig(world, provider);
        world.singletons.delete(key);
        return { status: 204 };
      },
    },
  ];
}

const IPV4_CIDR =
  /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\/(?:[12]?\d|3[0-2])$/;

const sipShape: Shape = {
  kind: 'object',
  fields: {
    allowedCidrRanges: { kind: 'list', of: { kind: 'string', pattern: IPV4_CIDR } },
    allowAllAgents: { kind: 'boolean' },
    allowedAgents: {
      kind: 'list',
      max: 20,
      of: {
        kind: 'object',
        required: ['agentId'],
        fields: { agentId: { kind: 'uuid' }, toUserPattern: { kind: 'string', max: 200 } },
      },
    },
    fallbackHandler: {
      kind: 'object',
      required: ['url', 'secrets'],
      fields: {
        url: { kind: 'url' },
        secrets: { kind: 'list', min: 1, max: 10, of: { kind: 'string', min: 1 } },
      },
    },
    domain: { kind: 'any' },
  },
};

function sipConfig(world: World): JsonObject {
  return {
    allowedCidrRanges: ['0.0.0.0/0'],
    allowAllAgents: false,
    allowedAgents: [],
    fallbackHandler: null,
    ...world.singletons.get('sip'),
    domain: 'sim.sip.ultravox.invalid',
  };
}

const registrationShape: Shape = {
  kind: 'object',
  fields: {
    username: { kind: 'string', min: 1, max: 60 },
    password: text,
    proxy: { kind: 'string', min: 1, max: 100 },
    outboundProxy: { kind: 'string' },
    authUser: { kind: 'string' },
    registrationId: { kind: 'any' },
    created: { kind: 'any' },
    successful: { kind: 'any' },
  },
};

function presentRegistration(registration: JsonObject): JsonObject {
  const { password: _password, ...shown } = registration;
  return shown;
}

function findRegistration(world: World, request: Request): JsonObject {
  const found = world.registrations.get((request.params.registrationId ?? '').toLowerCase());
  if (found === undefined) throw refuse(404, 'No SipRegistration matches the given query.');
  return found;
}

function readBody(request: Request, shape: Shape, required: string[] = []): JsonObject {
  const problems = new Problems();
  const wanted = shape.kind === 'object' ? { ...shape, required } : shape;
  const body = checkBody(wanted, request.body, { problems, ignored: request.ignored });
  for (const key of ['registrationId', 'created', 'successful', 'domain']) delete body[key];
  return body;
}

export const telephonyRoutes: Route[] = [
  ...configRoutes('twilio'),
  ...configRoutes('telnyx'),
  ...configRoutes('plivo'),
  {
    method: 'GET',
    path: '/api/sip',
    handler: (world) => ({ status: 200, body: sipConfig(world) }),
  },
  {
    method: 'PATCH',
    path: '/api/sip',
    handler(world, request) {
      const body = readBody(request, sipShape);
      for (const item of Array.isArray(body.allowedAgents) ? body.allowedAgents : []) {
        const pattern = isObject(item) ? stringAt(item, 'toUserPattern') : undefined;
        if (pattern !== undefined && !compiles(pattern)) {
          throw invalid('allowedAgents', `Not a regular expression: ${pattern}`);
        }
      }
      const isCleared = isObject(request.body) && request.body.fallbackHandler === null;
      const cleared = isCleared ? { fallbackHandler: null } : {};
      world.singletons.put('sip', { ...world.singletons.get('sip'), ...body, ...cleared });
      return { status: 200, body: sipConfig(world) };
    },
  },
  {
    method: 'GET',
    path: '/api/sip/registrations',
    handler: (world, request) =>
      page(
        request,
        world.registrations.values().reverse(),
        (item) => String(item.registrationId),
        presentRegistration,
      ),
  },
  {
    method: 'POST',
    path: '/api/sip/registrations',
    handler(world, request) {
      const body = readBody(request, registrationShape, ['username', 'password', 'proxy']);
      const registration: JsonObject = {
        outboundProxy: null,
        authUser: null,
        ...body,
        registrationId: randomUUID(),
        created: isoTime(world.now()),
        successful: true,
      };
      world.registrations.put(String(registration.registrationId), registration);
      return { status: 201, body: presentRegistration(registration) };
    },
  },
  {
    method: 'GET',
    path: '/api/sip/registrations/:registrationId',
    handler: (world, request) => ({
      status: 200,
      body: presentRegistration(findRegistration(world, request)),
    }),
  },
  {
    method: 'PATCH',
    path: '/api/sip/registrations/:registrationId',
    handler(world, request) {
      const existing = findRegistration(world, request);
      const next = { ...existing, ...readBody(request, registrationShape) };
      world.registrations.put(String(existing.registrationId), next);
      return { status: 200, body: presentRegistration(next) };
    },
  },
  {
    method: 'DELETE',
    path: '/api/sip/registrations/:registrationId',
    handler(world, request) {
      world.registrations.delete(String(findRegistration(world, request).registrationId));
      return { status: 204 };
    },
  },
];

function compiles(pattern: string): boolean {
  try {
    new RegExp(pattern);
    return true;
  } catch {
    return false;
  }
}
