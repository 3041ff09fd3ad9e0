/** Incoming calls. */
import { randomBytes } from 'node:crypto';
import {
  atPath,
  isObject,
  type Json,
  type JsonObject,
  objectAt,
  Problems,
  refuse,
  setPath,
  stringAt,
  stringsAt,
} from '../json.ts';
import { checkBody, type Shape } from '../shapes/shape.ts';
import type { CallRecord, World } from '../world.ts';
import type { Arrival } from './calls.ts';

const RING_SECONDS = 1;

const inboundBody: Shape = {
  kind: 'object',
  required: ['agentId', 'from', 'to'],
  fields: {
    agentId: { kind: 'uuid' },
    from: { kind: 'string', min: 1 },
    to: { kind: 'string', min: 1 },
    medium: { kind: 'string', values: ['twilio', 'telnyx', 'plivo', 'sip'] },
    /** More fields of the provider's request, or SIP headers. */
    fields: { kind: 'anyObject' },
    /** Accept the call even if the configuration does not allow it. */
    force: { kind: 'boolean' },
  },
};

type Create = (agentId: string, body: JsonObject, arrival: Arrival) => CallRecord;

/** Simulates an incoming call that a provider or trunk forwards. */
export function inboundCall(world: World, given: Json, create: Create): CallRecord {
  const body = checkBody(inboundBody, given, { problems: new Problems(), ignored: [] });
  const agentId = (stringAt(body, 'agentId') ?? '').toLowerCase();
  const medium = stringAt(body, 'medium') ?? 'twilio';
  const from = stringAt(body, 'from') ?? '';
  const to = stringAt(body, 'to') ?? '';
  const extra = objectAt(body, 'fields') ?? {};
  if (body.force !== true) requireAllowed(world, medium, agentId, to);
  if (medium === 'sip') {
    const requestContext: JsonObject = {
      ultravox: {
        sip: {
          caller_id: from.replace(/^sips?:/i, '').split('@')[0] ?? from,
          from_display_name: stringAt(extra, 'displayName') ?? null,
          from_uri: sipUri(from),
          to_uri: sipUri(to),
        },
      },
      ...fromHeaders(extra),
    };
    return create(
      agentId,
      { templateContext: requestContext },
      { requestContext, medium: { sip: { incoming: {} } }, joinAfterSeconds: RING_SECONDS },
    );
  }
  const fields = providerFields(medium, from, to, extra);
  const requestContext = applyMapping(world, medium, fields);
  return create(
    agentId,
    { templateContext: requestContext },
    { requestContext, medium: { [medium]: {} }, joinAfterSeconds: RING_SECONDS },
  );
}

function requireAllowed(world: World, medium: string, agentId: string, to: string): void {
  if (medium === 'sip') {
    const config = world.singletons.get('sip');
    const user =
      sipUri(to)
        .replace(/^sips?:/i, '')
        .split('@')[0] ?? '';
    const patterns = Array.isArray(config?.allowedAgents) ? config.allowedAgents : [];
    const allowed =
      config?.allowAllAgents === true ||
      patterns.some(
        (item) =>
          isObject(item) &&
          stringAt(item, 'agentId')?.toLowerCase() === agentId &&
          new RegExp(stringAt(item, 'toUserPattern') ?? `^agent_${agentId}$`).test(user),
      );
    if (!allowed) throw refuse(403, 'The SIP configuration does not allow this agent.');
    return;
  }
  const config = world.singletons.get(`telephony:${medium}`);
  if (config === undefined) throw refuse(400, `The account has no ${medium} configuration.`);
  const listed = stringsAt(config, 'callCreationAllowedAgentIds').some(
    (id) => id.toLowerCase() === agentId,
  );
  if (config.callCreationAllowAllAgents !== true && !listed) {
    throw refuse(403, `The ${medium} configuration does not allow calls for this agent.`);
  }
}

/** A provider's request for an incoming call, with the members that are used here. */
function providerFields(medium: string, from: string, to: string, extra: JsonObject): JsonObject {
  const id = randomBytes(16).toString('hex');
  const own: JsonObject =
    medium === 'plivo' ? { CallUUID: id } : { CallSid: `CA${id}`, ApiVersion: '2010-04-01' };
  return { ...own, Direction: 'inbound', From: from, To: to, ...extra };
}

/** Applies the mapping of the account. Default: `From` and `To` of the provider, unchanged. */
function applyMapping(world: World, medium: string, fields: JsonObject): JsonObject {
  const mapping = objectAt(world.singletons.get(`telephony:${medium}`), 'requestContextMapping');
  if (mapping === undefined || Object.keys(mapping).length === 0) {
    return { From: fields.From ?? null, To: fields.To ?? null };
  }
  const context: JsonObject = {};
  for (const [field, path] of Object.entries(mapping)) {
    const value = atPath(fields, field);
    if (value !== undefined && typeof path === 'string') setPath(context, path, value);
  }
  return context;
}

/** Context from headers: `X-Customer-Name: Bob` becomes `customer_name`. Values that are JSON are parsed. */
function fromHeaders(fields: JsonObject): JsonObject {
  const context: JsonObject = {};
  for (const [header, value] of Object.entries(fields)) {
    if (!/^x-/i.test(header)) continue;
    const key = header.slice(2).toLowerCase().replaceAll('-', '_');
    context[key] = parseJsonOrText(value);
  }
  return context;
}

function parseJsonOrText(value: Json): Json {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value) as Json;
  } catch {
    return value;
  }
}

function sipUri(address: string): string {
  if (/^sips?:/i.test(address)) return address;
  return address.includes('@') ? `sip:${address}` : `sip:${address}@sip.simulator.invalid`;
}
