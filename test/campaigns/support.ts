/** Helpers for running campaigns: contacts to call, mutations, queries, and invariants of their rows. */
import parsePhoneNumberFromString from 'libphonenumber-js/max';
import { parsePublicId } from '../../src/ids.ts';
import type { Dial } from '../../src/simulator/world.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import type { TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

/** Settings of a campaign that may call at any time. */
const ALWAYS = { workingDays: [1, 2, 3, 4, 5, 6, 7] };

/** Last digits of a number, which decide about its calls in the simulator. */
export const ENDINGS = {
  answered: '1234',
  busy: '0001',
  rejected: '0002',
  noAnswer: '0003',
} as const;

/** Area codes of the United States: any exchange from 200 on is a valid ordinary number there. */
const AREA_CODES = Array.from({ length: 800 }, (_, index) => 200 + index).filter((area) => {
  const number = parsePhoneNumberFromString(`+1${area}2001234`);
  return number?.country === 'US' && number.getType() === 'FIXED_LINE_OR_MOBILE';
});

/** Contacts whose numbers have the same ending. Each `series` has other numbers. */
export function people(
  count: number,
  { ending = ENDINGS.answered, series = 0 }: { ending?: string; series?: number } = {},
): { phoneNumber: string }[] {
  return Array.from({ length: count }, (_, index) => {
    const number = series * 1_000 + index;
    const area = AREA_CODES[number % AREA_CODES.length];
    const exchange = 200 + Math.floor(number / AREA_CODES.length);
    return { phoneNumber: `+1${area}${exchange}${ending}` };
  });
}

export interface Operator {
  client: GraphQLClient;
  caller: Caller;
}

export async function prepareOperator(client: GraphQLClient): Promise<Operator> {
  return { client, caller: await prepareCaller(client) };
}

const COUNTS = 'counts { total pending calling completed failed skipped cancelled called }';
const CAMPAIGN = `id status statusReason holdReason nextDispatchAt ${COUNTS}`;

export async function createCampaign(
  { client, caller }: Operator,
  input: Record<string, unknown>,
): Promise<{ id: string; status: string }> {
  const { campaign } = await runMutation(
    client,
    'createCampaign',
    { name: 'Autumn', agentId: caller.agentId, ...ALWAYS, ...input },
    `campaign { ${CAMPAIGN} }`,
  );
  return campaign;
}

/** Runs a mutation of a campaign that must succeed. */
export async function act(
  { client }: Pick<Operator, 'client'>,
  name: string,
  id: string,
  input: Record<string, unknown> = {},
) {
  return (await runMutation(client, name, { id, ...input }, `campaign { ${CAMPAIGN} }`)).campaign;
}

const CONTACT = `id position phoneNumber status skipReason attempts endReason scheduledAt
  nextEligibleAt waitingFor calledAt finishedAt
  decisions(first: 20) { nodes { outcome reason until at } }`;

export async function showCampaign({ client }: Pick<Operator, 'client'>, id: string) {
  const answer = await client.send(
    `query ($id: ID!) { campaign(id: $id) {
      ${CAMPAIGN} contacts(first: 100) { nodes { ${CONTACT} } } } }`,
    { id },
  );
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data.campaign;
}

/** The campaign without its contacts, which is a much cheaper query. */
export async function glance({ client }: Pick<Operator, 'client'>, id: string) {
  const answer = await client.send(`query ($id: ID!) { campaign(id: $id) { ${CAMPAIGN} } }`, {
    id,
  });
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data.campaign;
}

/** Waits until the campaign and its calls have ended. */
export async function ended(operator: Pick<Operator, 'client'>, id: string, timeoutMs = 60_000) {
  await until(
    `the end of ${id}`,
    async () => {
      const { status, counts } = await glance(operator, id);
      const over = ['COMPLETED', 'FAILED', 'CANCELLED'].includes(status);
      return over && counts.calling === 0 && counts.pending === 0;
    },
    timeoutMs,
  );
  return showCampaign(operator, id);
}

/**
 * Returns violated invariants of all campaigns: counters equal the rows, days equal the attempts, and every
 * CALLING contact has a call.
 */
export async function brokenRules(
  sql: TestServer | ((query: string) => Promise<unknown[]>),
): Promise<unknown[]> {
  return typeof sql === 'function' ? sql(RULES) : sql.app.db.$queryRawUnsafe(RULES);
}

const RULES = `
  SELECT 'counters' AS rule, c.id::text, to_jsonb(rows) AS found FROM campaigns c
  CROSS JOIN LATERAL (
    SELECT count(*) AS total,
      count(*) FILTER (WHERE status IN ('PENDING', 'SCHEDULED')) AS pending,
      count(*) FILTER (WHERE status = 'CALLING') AS calling,
      count(*) FILTER (WHERE status = 'COMPLETED') AS completed,
      count(*) FILTER (WHERE status = 'FAILED') AS failed,
      count(*) FILTER (WHERE status = 'SKIPPED') AS skipped,
      count(*) FILTER (WHERE status = 'CANCELLED') AS cancelled
    FROM campaign_contacts cc WHERE cc.campaign_id = c.id
  ) rows
  WHERE (rows.total, rows.pending, rows.calling, rows.completed, rows.failed, rows.skipped,
    rows.cancelled) IS DISTINCT FROM (c.total_count, c.pending_count, c.calling_count,
    c.completed_count, c.failed_count, c.skipped_count, c.cancelled_count)
  UNION ALL
  SELECT 'attempts', cc.id::text, to_jsonb(cc) FROM campaign_contacts cc
  WHERE cc.attempts <> (SELECT count(*) FROM campaign_attempts a
    WHERE a.campaign_contact_id = cc.id AND a.attempt IS NOT NULL)
  UNION ALL
  SELECT 'days', d.campaign_id::text, to_jsonb(d) FROM (
    SELECT campaign_id, sum(attempts) AS counted FROM campaign_days GROUP BY 1) d
  WHERE d.counted <> (SELECT sum(attempts) FROM campaign_contacts cc
    WHERE cc.campaign_id = d.campaign_id)
  UNION ALL
  SELECT 'end reasons', campaign_id::text, to_jsonb(n) FROM (
    SELECT campaign_id, end_reason, count(*) AS contacts FROM campaign_contacts
    WHERE end_reason IS NOT NULL GROUP BY 1, 2) n
  FULL JOIN campaign_end_reasons e USING (campaign_id, end_reason)
  WHERE coalesce(n.contacts, 0) <> coalesce(e.contacts, 0)
  UNION ALL
  SELECT 'waiting', cc.id::text, to_jsonb(cc) FROM campaign_contacts cc
  WHERE (cc.next_eligible_at IS NOT NULL) <> (cc.status = 'SCHEDULED')
  UNION ALL
  SELECT 'calling', cc.id::text, to_jsonb(cc) FROM campaign_contacts cc
  WHERE cc.status = 'CALLING' AND NOT EXISTS (SELECT 1 FROM campaign_attempts a
    WHERE a.campaign_contact_id = cc.id AND a.outcome_recorded_at IS NULL)
  UNION ALL
  SELECT 'owned', k.id::text, to_jsonb(k) FROM calls k
  LEFT JOIN campaign_attempts a ON a.call_id = k.id
  WHERE (k.owner, k.campaign_id, k.campaign_contact_id) IS DISTINCT FROM
    (CASE WHEN a.call_id IS NOT NULL THEN 'campaigns' END, a.campaign_id, a.campaign_contact_id)`;

/** All dials of a campaign from the log of the simulator, in order. */
export function dialsOf({ simulator }: Pick<TestServer, 'simulator'>, campaignId: string): Dial[] {
  return simulator.dials().filter(({ metadata }) => metadata.campaignId === campaignId);
}

/** IDs of calls that were dialed more than once. */
export function dialedTwice({ simulator }: Pick<TestServer, 'simulator'>): string[] {
  const ids = simulator.dials().map(({ metadata }) => String(metadata.callId));
  return ids.filter((id, index) => ids.indexOf(id) !== index);
}

export function uuidOf(publicId: string): string {
  return parsePublicId(publicId)?.uuid ?? '';
}
