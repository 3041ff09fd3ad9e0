/** Chooses the caller ID of a call, and the corresponding medium. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { phoneNumberForms } from '../infra/phone-number.ts';
import type { CallMedium } from '../ultravox/payloads.ts';
import type { Viewer } from '../viewer.ts';
import { decryptSip } from './credentials.ts';
import { type OutboundNumber, outgoingMedium } from './medium.ts';

/**
 * Chooses the caller ID for a call of this agent `to` a number: `from`, which must be one of the agent's outbound
 * numbers, or else the least recently used outbound number, except `to` itself. A number whose carrier account is not
 * at Ultravox yet is chosen only if there is no other.
 *
 * The number cannot be released until the transaction ends.
 *
 * @throws UserInputError NO_PHONE_NUMBER_CONFIGURED, PHONE_NUMBER_NOT_ASSIGNED or INVALID_INPUT.
 */
export async function chooseOutboundNumber(
  db: App['db'] | Tx,
  viewer: Pick<Viewer, 'organizationId'>,
  agentId: string,
  { to, from }: { to?: string; from?: string | null | undefined } = {},
): Promise<OutboundNumber> {
  const called = to ? phoneNumberForms(to) : [];
  const wanted = from
    ? Prisma.sql`n.phone_number = ANY(${phoneNumberForms(from)})`
    : Prisma.sql`n.phone_number <> ALL(${called}::text[]) DESC, (n.provider = 'SIP' OR t.status IS NOT DISTINCT FROM 'ACTIVE')`;
  const [number] = await db.$queryRaw<OutboundNumber[]>`
    SELECT n.id, n.organization_id AS "organizationId", n.phone_number AS "phoneNumber",
      n.provider::text AS provider, n.sip_server AS "sipServer", n.credentials
    FROM phone_numbers n
    LEFT JOIN telephony_configs t
      ON t.provider = n.provider AND t.organization_id = n.organization_id AND t.deleted_at IS NULL
    LEFT JOIN LATERAL (
      SELECT c.created_at FROM calls c
      WHERE c.organization_id = n.organization_id AND c.phone_number_id = n.id
        AND c.direction = 'OUTBOUND'
      ORDER BY c.created_at DESC LIMIT 1
    ) last_call ON true
    WHERE n.organization_id = ${viewer.organizationId}::uuid
      AND n.outbound_agent_id = ${agentId}::uuid AND n.released_at IS NULL
    ORDER BY ${wanted} DESC, last_call.created_at ASC NULLS FIRST, n.id
    LIMIT 1
    FOR SHARE OF n`;
  if (!number) {
    throw userError(
      'NO_PHONE_NUMBER_CONFIGURED',
      'This agent has no outbound phone number. Import one with `importPhoneNumber` and assign it to the agent with `assignPhoneNumber`, direction OUTBOUND.',
      ['agentId'],
    );
  }
  if (from && !phoneNumberForms(from).includes(number.phoneNumber)) {
    throw userError(
      'PHONE_NUMBER_NOT_ASSIGNED',
      'The caller ID is not an outbound number of this agent. Assign it to the agent first, or omit it to use one of the agent’s numbers.',
      ['fromNumber'],
    );
  }
  if (called.includes(number.phoneNumber)) {
    throw userError(
      'INVALID_INPUT',
      'The number is the caller ID itself, and the agent has no other outbound number.',
      ['phoneNumber'],
    );
  }
  return number;
}

/**
 * Returns the medium of a call from this number to `to` (E.164). It may contain a SIP password: send it to Ultravox,
 * but neither store nor log it.
 */
export function mediumForNumber(app: App, number: OutboundNumber, to: string): CallMedium {
  return outgoingMedium(number, to, number.provider === 'SIP' ? decryptSip(app, number) : null);
}

export interface CallerId {
  id: string;
  organizationId: string;
  phoneNumber: string;
  provider: OutboundNumber['provider'];
  outboundAgentId: string | null;
  /** Whether its carrier account is at Ultravox. */
  ready: boolean;
}

/**
 * Returns the outbound numbers of these agents and the numbers with these IDs, in order of import, without released
 * ones. With `lock`, they cannot be released until the transaction ends.
 */
export async function callerIds(
  db: App['db'] | Tx,
  { agentIds, ids }: { agentIds: readonly string[]; ids: readonly string[] },
  { lock = false }: { lock?: boolean } = {},
): Promise<CallerId[]> {
  return db.$queryRaw<CallerId[]>`
    SELECT n.id, n.organization_id AS "organizationId", n.phone_number AS "phoneNumber",
      n.provider::text AS provider, n.outbound_agent_id AS "outboundAgentId",
      n.provider = 'SIP' OR t.status IS NOT DISTINCT FROM 'ACTIVE' AS ready
    FROM phone_numbers n
    LEFT JOIN telephony_configs t
      ON t.provider = n.provider AND t.organization_id = n.organization_id AND t.deleted_at IS NULL
    WHERE n.released_at IS NULL
      AND (n.outbound_agent_id = ANY(${[...agentIds]}::uuid[]) OR n.id = ANY(${[...ids]}::uuid[]))
    ORDER BY n.created_at, n.id
    ${lock ? Prisma.sql`FOR SHARE OF n` : Prisma.empty}`;
}

/** Returns the numbers that are ready; all numbers if none is. */
export function preferReady(numbers: readonly CallerId[]): CallerId[] {
  const ready = numbers.filter((number) => number.ready);
  return ready.length > 0 ? ready : [...numbers];
}
