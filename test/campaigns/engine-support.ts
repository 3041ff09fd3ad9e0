/** Helpers for running campaigns, in addition to `support.ts`: clocks, decisions, and calls at Ultravox. */
import type { Simulator } from '../../src/simulator/simulator.ts';
import { runMutation } from '../support/calling.ts';
import type { TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import {
  act,
  createCampaign,
  glance,
  type Operator,
  people,
  showCampaign,
  uuidOf,
} from './support.ts';

/** Requests that create calls. */
export const CREATION = { method: 'POST', path: '/agents/[^/]+/calls$' };

let series = 0;

/** Contacts with numbers that no other test of the file uses. */
export function strangers(count: number, ending?: string): { phoneNumber: string }[] {
  series += 1;
  return people(count, { series, ...(ending ? { ending } : {}) });
}

/** Starts a campaign immediately and returns its ID. */
export async function start(operator: Operator, input: Record<string, unknown>): Promise<string> {
  return (await createCampaign(operator, { scheduleType: 'IMMEDIATE', ...input })).id;
}

/** Waits for a condition on a campaign, and returns it with its contacts. */
export async function look(
  operator: Pick<Operator, 'client'>,
  id: string,
  condition: (campaign: Awaited<ReturnType<typeof glance>>) => boolean,
) {
  await until(`the condition of ${id}`, async () => condition(await glance(operator, id)));
  return showCampaign(operator, id);
}

/** The stored calls of a campaign, in order. */
export async function callsOf({ app }: Pick<TestServer, 'app'>, id: string) {
  return app.db.call.findMany({
    where: { campaignId: uuidOf(id) },
    include: { campaignAttempt: true },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
  });
}

/** Milliseconds since the epoch. */
export const timeOf = (text: string): number => Temporal.Instant.from(text).epochMilliseconds;

/** A daily window in UTC that starts and ends this number of hours from now. */
export function hoursFromNow(start: number, end: number): { startTime: string; endTime: string } {
  const clock = (hours: number) =>
    Temporal.Now.plainTimeISO('UTC').add({ hours }).toString({ smallestUnit: 'minute' });
  return { startTime: clock(start), endTime: clock(end) };
}

/** The next instant at which clocks in `zone` show this time. */
export function nextTime(time: string, zone = 'UTC'): Temporal.Instant {
  const now = Temporal.Now.zonedDateTimeISO(zone);
  const today = now.withPlainTime(time);
  const at = Temporal.ZonedDateTime.compare(today, now) > 0 ? today : today.add({ days: 1 });
  return at.toInstant();
}

/** A time zone whose calendar day does not change during a test. */
export function zoneAroundNoon(): string {
  const zone = Intl.supportedValuesOf('timeZone').find(
    (name) => Temporal.Now.plainTimeISO(name).hour === 12,
  );
  if (!zone) throw new Error('No time zone has 12 o’clock');
  return zone;
}

/** Makes all waiting contacts of a campaign due. */
export async function makeDue(server: TestServer, operator: Operator, id: string): Promise<void> {
  await server.app.db.$executeRaw`
    UPDATE campaign_contacts SET next_eligible_at = now()
    WHERE campaign_id = ${uuidOf(id)}::uuid AND next_eligible_at IS NOT NULL`;
  await act(operator, 'updateCampaign', id, { name: 'Autumn, now' });
}

export async function doNotCall({ client }: Operator, phoneNumbers: string[]): Promise<void> {
  const entries = phoneNumbers.map((phoneNumber) => ({ phoneNumber }));
  await runMutation(client, 'addToDoNotCall', { entries }, 'addedCount');
}

let last = 7_000;

/** Imports phone numbers without an agent. */
export async function importNumbers({ client }: Operator, count: number) {
  const numbers: { id: string; phoneNumber: string }[] = [];
  for (let index = 0; index < count; index += 1) {
    last += 1;
    const { phoneNumber } = await runMutation(
      client,
      'importPhoneNumber',
      {
        phoneNumber: `+1415667${last}`,
        provider: { sip: { server: 'sip.example.com', username: 'desk', password: 'secret-1' } },
      },
      'phoneNumber { id phoneNumber }',
    );
    numbers.push(phoneNumber);
  }
  return numbers;
}

interface Decision {
  outcome: string;
  reason: string;
  until: string | null;
}

/** Decisions as `OUTCOME/REASON`, oldest first. */
export function decided({ decisions }: { decisions: { nodes: Decision[] } }): string[] {
  return decisions.nodes.map(({ outcome, reason }) => `${outcome}/${reason}`);
}

export interface SeenCall {
  callId: string;
  campaignId: string;
  organizationId: string;
  from: number;
  /** NaN until the call has ended. */
  to: number;
}

/** All calls of campaigns at Ultravox, oldest first, with their start and end. */
export async function callsAtUltravox(simulator: Simulator): Promise<SeenCall[]> {
  const seen: SeenCall[] = [];
  let next: string | null = `${simulator.url}/api/calls?pageSize=100`;
  while (next) {
    const answer = await fetch(next, { headers: { 'x-api-key': simulator.apiKey } });
    const page = (await answer.json()) as {
      next: string | null;
      results: { created: string; ended: string | null; metadata: Record<string, string> }[];
    };
    for (const { created, ended, metadata } of page.results) {
      if (!metadata.campaignId) continue;
      seen.push({
        callId: metadata.callId!,
        campaignId: metadata.campaignId,
        organizationId: metadata.organizationId!,
        from: Date.parse(created),
        to: ended ? Date.parse(ended) : Number.NaN,
      });
    }
    next = page.next;
  }
  return seen.sort((a, b) => a.from - b.from);
}

/** Maximum number of concurrent calls. All calls must have ended. */
export function mostAtOnce(calls: readonly SeenCall[]): number {
  const changes = calls.flatMap(({ from, to }) => [
    { at: from, by: 1 },
    { at: to, by: -1 },
  ]);
  // A call that ends at an instant does not overlap one that starts at it.
  changes.sort((a, b) => a.at - b.at || a.by - b.by);
  let [now, most] = [0, 0];
  for (const { by } of changes) {
    now += by;
    most = Math.max(most, now);
  }
  return most;
}
