/** The query `campaignForecast` and the field `Campaign.forecast`. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../../src/infra/ids.ts';
import { createContact, createFolder } from '../../contacts/support.ts';
import { runMutation } from '../../support/calling.ts';
import type { Answer } from '../../support/graphql.ts';
import { recordStatements } from '../../support/queries.ts';
import { startApiBeside } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import { createCampaign, type Desk, numbers, openDesk, rowsOf } from '../lists.ts';
import { simulate, toRuns } from '../schedule/without-yielding.ts';

let desk: Desk;
beforeAll(async () => {
  desk = await openDesk();
});
afterAll(() => desk.server.close());

const MONDAY = '2037-06-01T07:00:00.000Z';
const OFFICE = { timezone: 'Europe/Berlin', startTime: '09:00', endTime: '17:00' };
const WINDOW = {
  timezone: 'Europe/Berlin',
  workingDays: [1, 2, 3, 4, 5],
  startMinute: 9 * 60,
  endMinute: 17 * 60,
};

const FORECAST = `fits callCount calls firstCallAt lastCallAt endsAt problems { code isFatal contactCount contacts }
  hours(first: 100) { totalCount nodes { from callCount calls contacts(first: 50) {
    phoneNumber firstName lastName contact { id } campaignContact { id } } } }`;

const query = (input: object, client = desk.server.client) =>
  client.send(
    `query ($input: CampaignForecastInput!) { campaignForecast(input: $input) { ${FORECAST} } }`,
    { input },
  );

async function ask(input: object) {
  const answer = await query(input);
  if (answer.errors) throw new Error(JSON.stringify(answer.errors));
  return answer.data.campaignForecast;
}

/** Whose numbers would be called in each hour. */
// biome-ignore lint/suspicious/noExplicitAny: what the query asked for
const calledIn = (shown: any): string[][] =>
  shown.hours.nodes.map(({ contacts }: { contacts: { phoneNumber: string }[] }) =>
    contacts.map(({ phoneNumber }) => phoneNumber),
  );

describe('campaignForecast', () => {
  it('forecasts the calls of each hour for a number of contacts', async () => {
    const shown = await ask({
      contactCount: 100,
      ...OFFICE,
      scheduledAt: MONDAY,
      maxConcurrentCalls: 1,
      callSeconds: 180,
    });
    // Each call takes three minutes, so 20 calls fit in an hour.
    expect(shown).toMatchObject({
      fits: true,
      callCount: 100,
      // The deprecated name, as in each hour.
      calls: 100,
      firstCallAt: MONDAY,
      lastCallAt: '2037-06-01T11:57:00.000Z',
      endsAt: '2037-06-01T12:00:00.000Z',
      problems: [],
    });
    expect(shown.hours.nodes).toEqual(
      [7, 8, 9, 10, 11].map((hour) => ({
        from: `2037-06-01T${String(hour).padStart(2, '0')}:00:00.000Z`,
        callCount: 20,
        calls: 20,
        contacts: [],
      })),
    );
  });

  it('applies the limits of the deployment', async () => {
    // Ten concurrent calls of 120 seconds by default, below the limit of 1,000 for all campaigns.
    const shown = await ask({ contactCount: 600, ...OFFICE, scheduledAt: MONDAY });
    expect(shown.hours.nodes.map(({ calls }: { calls: number }) => calls)).toEqual([300, 300]);
  });

  it('lists the contacts of a folder, called in their own time zones', async () => {
    const folderId = await createFolder(desk.server.client);
    const make = async (phoneNumber: string, timezone: string | null, firstName: string) =>
      (await createContact(desk.server.client, { folderId, phoneNumber, timezone, firstName })).id;
    const eastern = await make('+14155550101', 'EST5EDT', 'Ada');
    // Stored by an earlier release.
    const { db } = desk.server.app;
    await db.contact.updateMany({
      where: { phoneNumber: '+14155550101' },
      data: { timezone: 'EST' },
    });
    const berlin = await make('+14155550102', null, 'Grace');
    await make('+14155550103', 'Australia/Brisbane', 'Alan');
    const shown = await ask({ contactFolderId: folderId, ...OFFICE, scheduledAt: MONDAY });
    expect(shown).toMatchObject({
      fits: false,
      calls: 2,
      problems: [{ code: 'NEVER_OPEN', contactCount: 1, contacts: 1 }],
    });
    expect(shown.hours.nodes).toMatchObject([
      {
        from: MONDAY,
        calls: 1,
        contacts: [{ firstName: 'Grace', contact: { id: berlin }, campaignContact: null }],
      },
      // Nine o'clock in New York.
      { from: '2037-06-01T13:00:00.000Z', contacts: [{ contact: { id: eastern } }] },
    ]);
    // A number that is listed repeatedly is called once.
    const elsewhere = await createFolder(desk.server.client);
    const twin = await createContact(desk.server.client, {
      folderId: elsewhere,
      phoneNumber: '+14155550102',
    });
    const listed = await ask({
      contactIds: [twin.id, berlin, eastern, eastern],
      ...OFFICE,
      scheduledAt: MONDAY,
    });
    expect(listed.calls).toBe(2);
    expect(listed.hours.nodes[0].contacts).toMatchObject([{ contact: { id: twin.id } }]);
  });

  it('forecasts the waiting contacts of a campaign, also with changed settings', async () => {
    const zones = ['Europe/London', null, null, 'America/New_York'];
    const contacts = numbers(12).map((row, i) => ({ ...row, timezone: zones[i % 4] }));
    const { campaign } = await createCampaign(desk, {
      ...OFFICE,
      scheduledAt: MONDAY,
      maxCallsPerDay: 5,
      contacts,
    });
    const before = await rowsOf(desk, campaign.id);
    const shown = await ask({ campaignId: campaign.id });
    const pure = simulate({
      window: WINDOW,
      startAt: Temporal.Instant.from(MONDAY),
      maxCallsPerDay: 5,
      contacts: toRuns(contacts.map(({ timezone }) => timezone ?? null)),
      maxConcurrentCalls: 10,
      callSeconds: 120,
    });
    expect(shown).toMatchObject({ calls: 12, fits: pure.fits });
    expect(shown.hours.nodes.map(({ from }: { from: string }) => from)).toEqual(
      pure.hours.map(({ from }) => new Date(from.epochMilliseconds).toISOString()),
    );
    // The contacts of an hour are those planned in it.
    const planned = new Map<string, string[]>();
    for (const { phoneNumber, scheduledAt } of before) {
      const hour = `${scheduledAt?.toISOString().slice(0, 13)}:00:00.000Z`;
      planned.set(hour, [...(planned.get(hour) ?? []), phoneNumber].sort());
    }
    expect(
      Object.fromEntries(
        shown.hours.nodes.map((hour: { from: string }, i: number) => [
          hour.from,
          calledIn(shown)[i]?.sort(),
        ]),
      ),
    ).toEqual(Object.fromEntries(planned));

    const changed = await ask({
      campaignId: campaign.id,
      maxCallsPerDay: null,
      startTime: '10:00',
    });
    expect(changed).toMatchObject({ calls: 12, firstCallAt: '2037-06-01T08:00:00.000Z' });
    expect(calledIn(changed)[0]).toHaveLength(6);
    expect(await rowsOf(desk, campaign.id)).toEqual(before);

    // One contact is finished, and the first day has two of its five attempts.
    await desk.server.app.db.campaignContact.update({
      where: { id: before[0]!.id },
      data: { status: 'COMPLETED', nextEligibleAt: null, finishedAt: new Date() },
    });
    await desk.server.app.db.campaignDay.create({
      data: {
        organizationId: desk.server.organizationId,
        campaignId: campaign.id.slice(4),
        day: new Date('2037-06-01'),
        attempts: 2,
      },
    });
    const left = await ask({ campaignId: campaign.id });
    expect(left.calls).toBe(11);
    const onMonday = left.hours.nodes.filter(({ from }: { from: string }) =>
      from.startsWith('2037-06-01'),
    );
    expect(onMonday.reduce((sum: number, { calls }: { calls: number }) => sum + calls, 0)).toBe(3);
    expect(calledIn(left).flat()).not.toContain(before[0]!.phoneNumber);
    expect(left.hours.nodes[0].contacts[0].campaignContact.id).toMatch(/^cct_/);
    await runMutation(desk.server.client, 'cancelCampaign', { id: campaign.id }, 'campaign { id }');
    expect(await ask({ campaignId: campaign.id })).toMatchObject({
      calls: 0,
      fits: true,
      firstCallAt: null,
      endsAt: null,
    });
  });

  it('reads the contacts of all hours in one statement', async () => {
    const { campaign } = await createCampaign(desk, {
      ...OFFICE,
      scheduledAt: MONDAY,
      maxCallsPerDay: 8,
      contacts: numbers(60),
    });
    const beside = await startApiBeside(desk.server);
    try {
      const input = { campaignId: campaign.id };
      const shown = await query(input, beside.client);
      expect(shown.data.campaignForecast.hours.totalCount).toBeGreaterThan(50);
      expect(calledIn(shown.data.campaignForecast).flat()).toEqual(
        numbers(60).map(({ phoneNumber }) => phoneNumber),
      );
      const statements = await recordStatements(beside.app, () => query(input, beside.client));
      const reading = statements.filter((statement) => statement.includes('generate_series'));
      expect(reading).toHaveLength(1);
      expect(statements.length).toBeLessThan(15);
    } finally {
      await beside.close();
    }
  });

  it('rejects invalid input with one error that reports all problems', async () => {
    const other = await desk.server.newOrganization();
    const theirs = await createFolder(other.client);
    const refused = async (input: object) => {
      const { errors, data } = await query(input);
      expect(data?.campaignForecast ?? null).toBeNull();
      expect(errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
      return errors?.[0]?.message;
    };
    expect(await refused({})).toContain('contactCount');
    expect(await refused({ contactCount: 1, contactFolderId: theirs })).toMatch(
      /Only one of.*Contact folder not found/,
    );
    expect(await refused({ campaignId: `cmp_${newId()}` })).toBe('Campaign not found.');
    expect(await refused({ contactIds: [`ctc_${newId()}`] })).toBe('Contact not found.');
    const unknown = { contactFolderId: `fld_${newId()}`, contactIds: [`ctc_${newId()}`] };
    for (let again = 0; again < 10; again += 1) {
      expect(await refused(unknown)).toMatch(
        /given[.] Contact folder not found[.] Contact not found[.]$/,
      );
    }
    const wrong = await refused({
      contactCount: 0,
      callSeconds: 0,
      timezone: 'Mars/Olympus',
      workingDays: [],
      scheduledAt: '2020-01-01T00:00:00Z',
      maxConcurrentCalls: 101,
    });
    for (const name of [
      ...['contactCount', 'callSeconds', 'timezone', 'workingDays', 'scheduledAt'],
      'maxConcurrentCalls',
    ]) {
      expect(wrong).toContain(`\`${name}\``);
    }
    const { errors } = await query({ contactCount: 0, workingDays: [8], startTime: '25:00' });
    expect(errors).toHaveLength(1);
    const { problems } = errors![0]!.extensions as { problems: { path: string[] }[] };
    expect(problems.map(({ path }) => path.join('.')).sort()).toEqual([
      ...['contactCount', 'startTime', 'workingDays'],
    ]);
  });

  it('pages through the hours, and warns of a window that is too short', async () => {
    const answer = await desk.server.client.send(
      `query ($input: CampaignForecastInput!) { campaignForecast(input: $input) {
        fits calls problems { code isFatal }
        hours(first: 2) { totalCount nodes { from calls } pageInfo { hasNextPage endCursor } } } }`,
      {
        input: {
          contactCount: 20,
          ...OFFICE,
          scheduledAt: MONDAY,
          maxConcurrentCalls: 1,
          callSeconds: 1800,
        },
      },
    );
    expect(answer.data.campaignForecast).toEqual({
      fits: false,
      calls: 20,
      problems: [{ code: 'SPILLS_OVER', isFatal: false }],
      hours: {
        totalCount: 10,
        nodes: [
          { from: MONDAY, calls: 2 },
          { from: '2037-06-01T08:00:00.000Z', calls: 2 },
        ],
        pageInfo: { hasNextPage: true, endCursor: expect.any(String) },
      },
    });
  });

  it('leaves connections to others, however many an operation asks for', async () => {
    const { server } = desk;
    const folderId = await createFolder(server.client);
    await createContact(server.client, { folderId, phoneNumber: '+14155550190' });
    const fields = Array.from(
      { length: 30 },
      (_, index) => `f${index}: campaignForecast(input: { contactFolderId: $folder }) {
        callCount hours(first: 1) { nodes { contacts(first: 1) { phoneNumber } } } }`,
    );
    const waiting = async () => {
      const [row] = await server.app.db.$queryRaw<[{ count: bigint }]>`
        SELECT count(*) AS count FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%contacts%'`;
      return Number(row.count);
    };
    const other = await server.newOrganization();
    let asked: Promise<Answer> | undefined;
    let isAnswered = false;
    // Each time at another moment: while forecasts are made, or while their contacts are read.
    for (let stop = 0; stop < 10; stop += 1) {
      await server.app.db.$transaction(
        async (tx) => {
          await tx.$executeRaw`LOCK TABLE contacts`;
          asked ??= server.client
            .send(`query ($folder: ID!) { ${fields.join(' ')} }`, { folder: folderId })
            .finally(() => {
              isAnswered = true;
            });
          await until('some to wait', async () => isAnswered || (await waiting()) > 0);
          // By the time that another organization is answered, all would have reached the database.
          expect((await other.client.send('{ agents { totalCount } }')).errors).toBeUndefined();
          expect(await waiting()).toBeLessThan(3);
        },
        { timeout: 100_000 },
      );
    }
    const { data, errors } = (await asked)!;
    expect(errors).toBeUndefined();
    const hours = { nodes: [{ contacts: [{ phoneNumber: '+14155550190' }] }] };
    expect(Object.values(data)).toEqual(fields.map(() => ({ callCount: 1, hours })));
  });

  it('costs as much as 1,000 objects', async () => {
    const code = async (forecasts: number) => {
      const fields = Array.from(
        { length: forecasts },
        (_, index) => `f${index}: campaignForecast(input: { contactCount: 1 }) { fits }`,
      );
      const { errors } = await desk.server.client.send(`{ ${fields.join(' ')} }`);
      return errors?.[0]?.extensions.code;
    };
    expect(await code(149)).toBeUndefined();
    expect(await code(151)).toBe('QUERY_TOO_COSTLY');
  });
});

describe('Campaign.forecast', () => {
  it('forecasts the waiting contacts, and is null once the campaign has ended', async () => {
    const { client } = desk.server;
    const { campaign } = await createCampaign(desk, { scheduledAt: MONDAY, contacts: numbers(2) });
    const read = async () => {
      const document = 'query ($id: ID!) { campaign(id: $id) { forecast { calls fits } } }';
      return (await client.send(document, { id: campaign.id })).data.campaign.forecast;
    };
    expect(await read()).toEqual({ calls: 2, fits: true });
    await runMutation(client, 'cancelCampaign', { id: campaign.id }, 'campaign { id }');
    expect(await read()).toBeNull();
  });
});
