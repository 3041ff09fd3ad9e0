/** Campaigns that run: lists of people, campaigns, and looks at them from all sides. */
import { parsePublicId } from '../../src/infra/ids.ts';
import type { Dial } from '../../src/simulator/world.ts';
import { type Caller, perform, prepareCaller } from '../support/calling.ts';
import type { GraphQLClient } from '../support/graphql.ts';
import type { TestServer } from '../support/server.ts';
import { until } from '../support/wait.ts';

/** Calls at any hour of any day, unless it is said otherwise. */
const ALWAYS = { workingDays: [1, 2, 3, 4, 5, 6, 7] };

/** How a number ends says what becomes of its calls, see the simulator's outcomes. */
export const ENDINGS = {
  answered: '1234',
  busy: '0001',
  rejected: '0002',
  noAnswer: '0003',
} as const;

/** `count` people whose numbers end alike, others than those of another `series`. */
export function people(
  count: number,
  { ending = ENDINGS.answered, series = 0 }: { ending?: string; series?: number } = {},
): { phoneNumber: string }[] {
  return Array.from({ length: count }, (_, index) => {
    // Area codes and exchanges of North America: each begins with 2 to 9.
    const number = series * 1_000 + index;
    const area = 200 + (number % 700);
    const exchange = 200 + Math.floor(number / 700);
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
  const { campaign } = await perform(
    client,
    'createCampaign',
    { name: 'Autumn', agentId: caller.agentId, ...ALWAYS, ...input },
    `campaign { ${CAMPAIGN} }`,
  );
  return campaign;
}

/** One mutation about one campaign, which must succeed. */
export async function act(
  { client }: Pick<Operator, 'client'>,
  name: string,
  id: string,
  input: Record<string, unknown> = {},
) {
  return (await perform(client, name, { id, ...input }, `campaign { ${CAMPAIGN} }`)).campaign;
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

/** The campaign alone, which costs much less than with everybody in it. */
export async function glance({ client }: Pick<Operator, 'client'>, id: string) {
  const answer = await client.send(`query ($id: ID!) { campaign(id: $id) { ${CAMPAIGN} } }`, {
    id,
  });
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data.campaign;
}

/** Waits until nothing more can come of it. */
export async function ended(operator: Pick<Operator, 'client'>, id: string, timeoutMs = 25_000) {
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
 * What must hold of all campaigns at any time: the counters are those of the rows, the days those of
 * the attempts, and whoever is being called has a call.
 *
 * @returns what does not.
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
  WHERE cc.attempts <> (SELECT count(*) FROM calls k
    WHERE k.campaign_contact_id = cc.id AND k.attempt IS NOT NULL)
  UNION ALL
  SELECT 'days', d.campaign_id::text, to_jsonb(d) FROM (
    SELECT campaign_id, sum(attempts) AS counted FROM campaign_days GROUP BY 1) d
  WHERE d.counted <> (SELECT sum(attempts) FROM campaign_contacts cc
    WHERE cc.campaign_id = d.campaign_id)
  UNION ALL
  SELECT 'waiting', cc.id::text, to_jsonb(cc) FROM campaign_contacts cc
  WHERE (cc.next_eligible_at IS NOT NULL) <> (cc.status = 'SCHEDULED')
  UNION ALL
  SELECT 'calling', cc.id::text, to_jsonb(cc) FROM campaign_contacts cc
  WHERE cc.status = 'CALLING' AND NOT EXISTS (SELECT 1 FROM calls k
    WHERE k.campaign_contact_id = cc.id AND (k.ended_at IS NULL OR k.settled_at IS NULL))`;

/** Every dial of a campaign, from the simulator's own log, in order. */
export function dialsOf({ simulator }: Pick<TestServer, 'simulator'>, campaignId: string): Dial[] {
  return simulator.dials().filter(({ metadata }) => metadata.campaignId === campaignId);
}

/** Our ids of calls that were dialled more than once. */
export function dialledTwice({ simulator }: Pick<TestServer, 'simulator'>): string[] {
  const ids = simulator.dials().map(({ metadata }) => String(metadata.callId));
  return ids.filter((id, index) => ids.indexOf(id) !== index);
}

export function uuidOf(publicId: string): string {
  return parsePublicId(publicId)?.uuid ?? '';
}
