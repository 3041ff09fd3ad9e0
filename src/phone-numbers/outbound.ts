/** What placing a call needs: a caller ID, and the way out that fits it. */
import type { App, Tx } from '../app.ts';
import { userError } from '../errors.ts';
import { Prisma } from '../generated/prisma/client.ts';
import type { Viewer } from '../organizations/viewer.ts';
import type { CallMedium } from '../ultravox/payloads.ts';
import { decryptSip } from './credentials.ts';
import { type OutboundNumber, outgoingMedium } from './medium.ts';

/**
 * The number that a call of this agent leaves from: `fromNumber` if given, which must be one of the
 * agent's outbound numbers, else the one of them whose last call is longest ago. Numbers whose
 * carrier account is not at Ultravox yet are taken only when there is no other.
 *
 * In a transaction the number stays locked against being released until the call is recorded.
 *
 * @throws UserInputError NO_PHONE_NUMBER_CONFIGURED or PHONE_NUMBER_NOT_ASSIGNED.
 */
export async function chooseOutboundNumber(
  db: App['db'] | Tx,
  viewer: Pick<Viewer, 'organizationId'>,
  agentId: string,
  fromNumber?: string | null,
): Promise<OutboundNumber> {
  const wanted = fromNumber
    ? Prisma.sql`n.phone_number = ${fromNumber}`
    : Prisma.sql`(n.provider = 'SIP' OR t.status IS NOT DISTINCT FROM 'ACTIVE')`;
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
      'This agent has no outbound phone number. Import one with `importPhoneNumber` and give it to the agent with `assignPhoneNumber`, direction OUTBOUND.',
      ['agentId'],
    );
  }
  if (fromNumber && number.phoneNumber !== fromNumber) {
    throw userError(
      'PHONE_NUMBER_NOT_ASSIGNED',
      'The caller ID is not one of the outbound numbers of this agent. Assign it to the agent first, or leave it out and one of the agent’s numbers is taken.',
      ['fromNumber'],
    );
  }
  return number;
}

/**
 * The medium of a call from this number to `to` (E.164). It may hold a SIP password: hand it to
 * Ultravox and nobody else.
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
 * The numbers of these agents and those with these ids that are not released, in the order in which
 * they were imported. With `lock` they stay locked against being released until the transaction ends.
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

/** Those that are ready; when none is, all of them. */
export function bestOf(numbers: readonly CallerId[]): CallerId[] {
  const ready = numbers.filter((number) => number.ready);
  return ready.length > 0 ? ready : [...numbers];
}
