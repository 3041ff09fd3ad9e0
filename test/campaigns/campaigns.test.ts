/** Campaigns are made, changed, scheduled, stopped and watched through GraphQL. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId, publicId } from '../../src/infra/ids.ts';
import { dataOf, uuidOf } from '../calls/support.ts';
import { makeFolder } from '../contacts/upload.ts';
import { newAgent } from '../phone-numbers/support.ts';
import { type Caller, perform, prepareCaller } from '../support/calling.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { openSocket } from '../support/subscribe.ts';
import { ALWAYS, done, people, run, runWithFile } from './graph-support.ts';

let server: TestServer;
let client: GraphQLClient;
let caller: Caller;
let numberId: string;
let folderId: string;
let contactIds: string[];

/** Far enough ahead that nothing is called meanwhile. */
const LATER = '2040-03-05T08:00:00.000Z';

beforeAll(async () => {
  server = await startTestServer();
  client = server.client;
  caller = await prepareCaller(client);
  const { data } = await client.send('{ phoneNumbers { nodes { id } } }');
  numberId = data.phoneNumbers.nodes[0].id;
  folderId = await makeFolder(client, 'Leads');
  const made = await perform(
    client,
    'createContacts',
    {
      folderId,
      contacts: people(3).map((person) => ({ ...person, timezone: 'Europe/Paris' })),
    },
    'contacts { id }',
  );
  contactIds = made.contacts.map(({ id }: { id: string }) => id);
}, 60_000);

afterAll(() => server.close());

const draft = (input: object = {}) =>
  done(client, 'createCampaign', { name: 'Draft', agentId: caller.agentId, ...ALWAYS, ...input });

/** A campaign in the given state, with two contacts. */
async function inState(status: string): Promise<string> {
  const contacts = people(2);
  const { campaign } = await draft({
    contacts,
    ...(status === 'DRAFT' ? {} : { scheduledAt: LATER }),
  });
  if (status !== 'DRAFT') expect(campaign.status).toBe('SCHEDULED');
  if (status === 'PAUSED') await done(client, 'pauseCampaign', { id: campaign.id });
  if (status === 'CANCELLED') await done(client, 'cancelCampaign', { id: campaign.id });
  if (status === 'ACTIVE' || status === 'COMPLETED') {
    await server.app.db.campaign.update({
      where: { id: uuidOf(campaign.id) },
      // As the engine would leave it, but that nobody is called.
      data: { status, nextDispatchAt: null, startedAt: new Date() },
    });
  }
  return campaign.id;
}

const problems = (payload: { userErrors: { code: string; path: string[] }[] }) =>
  payload.userErrors.map(({ code, path }) => `${code} ${path.join('.')}`.trim()).sort();

async function contactsOf(id: string) {
  const answer = await client.send(
    `query ($id: ID!) { campaign(id: $id) { contacts { nodes {
      position clientId phoneNumber firstName timezone metadata status scheduledAt nextEligibleAt
      contact { id } } } } }`,
    { id },
  );
  return dataOf(answer).campaign.contacts.nodes;
}

describe('createCampaign', () => {
  it('makes a draft with every default, and nobody to call yet', async () => {
    const { campaign, ...rest } = await done(client, 'createCampaign', {
      name: '  Spring  ',
      agentId: caller.agentId,
    });
    expect(campaign).toEqual({
      id: expect.stringMatching(/^cmp_/),
      name: 'Spring',
      status: 'DRAFT',
      statusReason: null,
      agent: { id: caller.agentId },
      phoneNumbers: [],
      phoneRotationStrategy: 'RANDOM',
      contactSource: 'MANUAL',
      contactFolder: null,
      scheduleType: 'IMMEDIATE',
      scheduledAt: null,
      timezone: 'UTC',
      startTime: null,
      endTime: null,
      workingDays: [1, 2, 3, 4, 5],
      maxConcurrentCalls: 10,
      maxCallsPerDay: null,
      retryFailed: false,
      maxRetryAttempts: 0,
      retryDelay: '900s',
      holdReason: null,
      nextDispatchAt: null,
      startedAt: null,
      endedAt: null,
      counts: {
        ...{ total: 0, pending: 0, calling: 0, called: 0 },
        ...{ completed: 0, failed: 0, skipped: 0, cancelled: 0 },
      },
    });
    expect(rest).toMatchObject({ addedCount: 0, duplicateCount: 0, problemCount: 0, warnings: [] });
  });

  it('takes everything that can be said, and plans a scheduled one', async () => {
    const settings = {
      phoneRotationStrategy: 'SEQUENTIAL',
      scheduledAt: LATER,
      timezone: 'Europe/Berlin',
      startTime: '22:00',
      endTime: '02:30',
      workingDays: [1, 3, 5],
      maxConcurrentCalls: 7,
      maxCallsPerDay: 50,
      retryFailed: true,
      maxRetryAttempts: 2,
      retryDelay: '60s',
    };
    const { campaign, addedCount } = await done(client, 'createCampaign', {
      name: 'Night shift',
      agentId: caller.agentId,
      contactFolderId: folderId,
      phoneNumberIds: [numberId],
      ...settings,
    });
    expect(campaign).toMatchObject({
      ...settings,
      status: 'SCHEDULED',
      scheduleType: 'SCHEDULED',
      contactSource: 'FOLDER',
      contactFolder: { id: folderId },
      phoneNumbers: [{ id: numberId }],
      nextDispatchAt: LATER,
      counts: { total: 3, pending: 3 },
    });
    expect(addedCount).toBe(3);
    const contacts = await contactsOf(campaign.id);
    expect(contacts.map(({ contact }: { contact: { id: string } }) => contact.id).sort()).toEqual(
      [...contactIds].sort(),
    );
    for (const contact of contacts) {
      expect(contact).toMatchObject({ status: 'SCHEDULED', timezone: 'Europe/Paris' });
      expect(contact.scheduledAt >= LATER).toBe(true);
      expect(contact.nextEligibleAt).toBe(contact.scheduledAt);
    }
  });

  it('copies contacts by their ids, and rows, each once', async () => {
    const { campaign } = await draft({ contactIds: contactIds.slice(0, 2) });
    expect(campaign).toMatchObject({ contactSource: 'MANUAL', counts: { total: 2, pending: 2 } });

    const [one, two] = people(2);
    const rows = [
      { ...one, clientId: 'a', metadata: { plan: 'gold' } },
      { ...two },
      { ...two, firstName: 'Again' },
      { ...one, clientId: 'a' },
      { ...one, clientId: 'b' },
    ];
    const made = await draft({ contacts: rows });
    expect(made).toMatchObject({ addedCount: 3, duplicateCount: 2, problemCount: 0 });
    const contacts = await contactsOf(made.campaign.id);
    expect(contacts).toMatchObject([
      { position: 0, clientId: 'a', metadata: { plan: 'gold' }, status: 'PENDING', contact: null },
      { position: 1, clientId: null, firstName: two!.firstName, scheduledAt: null },
      { position: 2, clientId: 'b', phoneNumber: one!.phoneNumber },
    ]);
  });

  it('reads a file, and says which rows cannot be used', async () => {
    const [one] = people(1);
    const made = await runWithFile(
      client,
      'createCampaign',
      { name: 'From a file', agentId: caller.agentId },
      `phone,first name,clientId,shoe size\n${one!.phoneNumber},Ada,c-1,38\nnone,Kurt,c-2,44\n`,
    );
    expect(made).toMatchObject({
      campaign: { contactSource: 'CSV', counts: { total: 1 } },
      addedCount: 1,
      problemCount: 1,
      problems: [{ row: 2, phoneNumber: 'none', reason: expect.any(String) }],
      userErrors: [],
    });
    expect(await contactsOf(made.campaign.id)).toMatchObject([
      { clientId: 'c-1', firstName: 'Ada', metadata: { 'shoe size': '38' } },
    ]);
  });

  it('does it once for an idempotency key', async () => {
    const input = { name: 'Once', agentId: caller.agentId, contacts: people(1) };
    const headers = { 'x-idempotency-key': newId() };
    const once = () => perform(client, 'createCampaign', input, 'campaign { id }', headers);
    const [first, second] = [await once(), await once()];
    expect(second.campaign.id).toBe(first.campaign.id);
  });

  const WRONG: [string, Record<string, unknown>, string[]][] = [
    ['a zone that does not exist', { timezone: 'Mars/Base' }, ['INVALID_INPUT timezone']],
    [
      'a start that equals the end',
      { startTime: '09:00', endTime: '09:00' },
      ['INVALID_INPUT endTime'],
    ],
    ['a time that is none', { startTime: '9 am' }, ['INVALID_INPUT startTime']],
    ['weekday 8', { workingDays: [1, 8] }, ['INVALID_INPUT workingDays']],
    ['no working day at all', { workingDays: [] }, ['INVALID_INPUT workingDays']],
    ['a start in the past', { scheduledAt: '2001-01-01T00:00:00Z' }, ['INVALID_INPUT scheduledAt']],
    ['no start where one is due', { scheduleType: 'SCHEDULED' }, ['INVALID_INPUT scheduledAt']],
    ['a name that is too long', { name: 'x'.repeat(256) }, ['INVALID_INPUT name']],
    ['no name', { name: ' ' }, ['REQUIRED name']],
    ['no calls at once', { maxConcurrentCalls: 0 }, ['INVALID_INPUT maxConcurrentCalls']],
    ['no calls a day', { maxCallsPerDay: 0 }, ['INVALID_INPUT maxCallsPerDay']],
    ['four retries', { maxRetryAttempts: 4 }, ['INVALID_INPUT maxRetryAttempts']],
    ['a delay without a unit', { retryDelay: '900' }, ['INVALID_INPUT retryDelay']],
    ['an id of another type', { agentId: `num_${newId()}` }, ['INVALID_ID agentId']],
    [
      'two sources, one of them empty',
      { contacts: [{ phoneNumber: '+14155550142' }], contactIds: [] },
      ['EMPTY_CONTACT_SOURCE contactIds', 'INVALID_INPUT contacts'],
    ],
    [
      'a row without a number that can be called',
      { contacts: [{ phoneNumber: '+14155550142' }, { phoneNumber: '12' }] },
      ['INVALID_INPUT contacts.1.phoneNumber'],
    ],
    ['an empty list', { contacts: [] }, ['EMPTY_CONTACT_SOURCE contacts']],
  ];

  it.each(WRONG)('refuses %s', async (_what, input, expected) => {
    const before = await server.app.db.campaign.count();
    const payload = await run(client, 'createCampaign', {
      name: 'Wrong',
      agentId: caller.agentId,
      ...(input.contacts ? {} : { contacts: people(1) }),
      ...input,
    });
    expect(payload.campaign).toBeNull();
    expect(problems(payload)).toEqual(expected);
    expect(await server.app.db.campaign.count()).toBe(before);
  });

  it('says everything that is wrong at once', async () => {
    const payload = await run(client, 'createCampaign', {
      name: '',
      agentId: `agt_${newId()}`,
      timezone: 'Mars/Base',
      workingDays: [8],
      phoneNumberIds: [`num_${newId()}`],
      contactFolderId: `fld_${newId()}`,
    });
    expect(problems(payload)).toEqual([
      'INVALID_INPUT timezone',
      'INVALID_INPUT workingDays',
      'NOT_FOUND agentId',
      'NOT_FOUND contactFolderId',
      'NOT_FOUND phoneNumberIds.0',
      'REQUIRED name',
    ]);
  });

  it('refuses to start without contacts', async () => {
    const start = { name: 'Now', agentId: caller.agentId, scheduleType: 'IMMEDIATE' };
    expect(problems(await run(client, 'createCampaign', start))).toEqual(['REQUIRED']);
    const empty = await makeFolder(client, 'Empty');
    const payload = await run(client, 'createCampaign', { ...start, contactFolderId: empty });
    expect(problems(payload)).toEqual(['EMPTY_CONTACT_SOURCE contactFolderId']);
  });

  it('refuses to start with an agent that has no number or is not ready, which a draft may have', async () => {
    const mute = await newAgent(server, server.organizationId);
    const unready = await newAgent(server, server.organizationId, { atUltravox: false });
    const input = { name: 'Now', contacts: people(1), scheduleType: 'IMMEDIATE' };
    const start = async (agentId: string, more: object = {}) =>
      problems(await run(client, 'createCampaign', { ...input, agentId, ...more }));
    expect(await start(mute.id)).toEqual(['NO_PHONE_NUMBER_CONFIGURED agentId']);
    expect(await start(unready.id, { phoneNumberIds: [numberId] })).toEqual([
      'AGENT_NOT_READY agentId',
    ]);
    const { campaign } = await draft({ agentId: mute.id, contacts: people(1) });
    expect(problems(await run(client, 'scheduleCampaign', { id: campaign.id }))).toEqual([
      'NO_PHONE_NUMBER_CONFIGURED id',
    ]);
  });

  it('refuses a schedule that leaves no time for anybody, and warns of one that is tight', async () => {
    const [one, two] = people(2);
    const nineToFive = { startTime: '09:00', endTime: '10:00', timezone: 'Europe/Berlin' };
    const start = { name: 'Narrow', agentId: caller.agentId, ...ALWAYS, scheduledAt: LATER };
    const never = { ...one, timezone: 'Asia/Tokyo' };
    const refused = await run(client, 'createCampaign', {
      ...{ ...start, ...nineToFive },
      contacts: [never],
    });
    expect(problems(refused)).toEqual(['WINDOW_TOO_SMALL']);
    expect(refused.userErrors[0].details).toMatchObject({ contacts: 1 });
    const { campaign, warnings } = await done(client, 'createCampaign', {
      ...{ ...start, ...nineToFive },
      contacts: [never, two],
    });
    expect(warnings).toMatchObject([{ code: 'NEVER_OPEN', contacts: 1 }]);
    expect(campaign.counts).toMatchObject({ total: 2, pending: 1, skipped: 1 });
  });
});

describe('updateCampaign', () => {
  it('changes what is sent, and null is the default', async () => {
    const { campaign } = await draft({
      contacts: people(1),
      maxCallsPerDay: 5,
      startTime: '08:00',
    });
    const { id } = campaign;
    const updated = await done(client, 'updateCampaign', {
      id,
      name: 'New name',
      maxCallsPerDay: null,
      maxConcurrentCalls: 3,
      phoneNumberIds: [numberId],
      retryDelay: '120s',
    });
    expect(updated.campaign).toEqual({
      ...campaign,
      name: 'New name',
      maxCallsPerDay: null,
      maxConcurrentCalls: 3,
      phoneNumbers: [{ id: numberId }],
      retryDelay: '120s',
    });
    const back = await done(client, 'updateCampaign', {
      id,
      maxConcurrentCalls: null,
      phoneNumberIds: null,
    });
    expect(back.campaign).toMatchObject({ maxConcurrentCalls: 10, phoneNumbers: [] });
  });

  it('plans anew who has not been called', async () => {
    const id = await inState('SCHEDULED');
    const before = await contactsOf(id);
    await done(client, 'updateCampaign', { id, scheduledAt: '2041-03-05T08:00:00Z' });
    const after = await contactsOf(id);
    expect(before.every(({ scheduledAt }: { scheduledAt: string }) => scheduledAt < '2041')).toBe(
      true,
    );
    expect(after.every(({ scheduledAt }: { scheduledAt: string }) => scheduledAt > '2041')).toBe(
      true,
    );
  });

  it('refuses what is wrong, and changes nothing then', async () => {
    const id = await inState('SCHEDULED');
    const before = await contactsOf(id);
    const payload = await run(client, 'updateCampaign', {
      id,
      name: null,
      workingDays: [],
      startTime: '10:00',
      endTime: '10:00',
      phoneNumberIds: [`num_${newId()}`],
    });
    expect(problems(payload)).toEqual([
      'INVALID_INPUT endTime',
      'INVALID_INPUT workingDays',
      'NOT_FOUND phoneNumberIds.0',
      'REQUIRED name',
    ]);
    expect(await contactsOf(id)).toEqual(before);
  });
});

describe('addCampaignContacts', () => {
  it('adds behind those that are there, each once, however often it is sent', async () => {
    const { campaign } = await draft({ scheduledAt: LATER, contacts: people(1) });
    const input = { campaignId: campaign.id, contacts: people(2) };
    const first = await done(client, 'addCampaignContacts', input);
    expect(first).toMatchObject({ addedCount: 2, duplicateCount: 0 });
    expect(first.campaign.counts).toMatchObject({ total: 3, pending: 3 });
    const again = await done(client, 'addCampaignContacts', input);
    expect(again).toMatchObject({ addedCount: 0, duplicateCount: 2 });
    expect(again.campaign.counts.total).toBe(3);
    const contacts = await contactsOf(campaign.id);
    expect(contacts.map(({ position }: { position: number }) => position)).toEqual([0, 1, 2]);
    expect(contacts[2]).toMatchObject({ status: 'SCHEDULED', scheduledAt: expect.any(String) });
  });

  it('takes a file and a folder as well', async () => {
    const { campaign } = await draft();
    const [one] = people(1);
    const added = await runWithFile(
      client,
      'addCampaignContacts',
      { campaignId: campaign.id },
      `phone\n${one!.phoneNumber}\n`,
    );
    expect(added).toMatchObject({ addedCount: 1, userErrors: [] });
    const folder = await done(client, 'addCampaignContacts', {
      campaignId: campaign.id,
      contactFolderId: folderId,
    });
    expect(folder).toMatchObject({ addedCount: 3, campaign: { counts: { total: 4 } } });
  });

  it('refuses to add nobody', async () => {
    const { campaign } = await draft();
    const nobody = await run(client, 'addCampaignContacts', { campaignId: campaign.id });
    expect(problems(nobody)).toEqual(['REQUIRED']);
  });
});

describe('the life of a campaign', () => {
  it('is scheduled, paused, resumed and cancelled', async () => {
    const id = await inState('DRAFT');
    const scheduled = await done(client, 'scheduleCampaign', {
      id,
      scheduledAt: LATER,
      timezone: 'America/New_York',
    });
    expect(scheduled.campaign).toMatchObject({
      status: 'SCHEDULED',
      scheduledAt: LATER,
      timezone: 'America/New_York',
    });
    const paused = await done(client, 'pauseCampaign', { id });
    expect(paused.campaign).toMatchObject({ status: 'PAUSED', nextDispatchAt: null });
    const resumed = await done(client, 'resumeCampaign', { id });
    expect(resumed.campaign).toMatchObject({ status: 'SCHEDULED', nextDispatchAt: LATER });
    const cancelled = await done(client, 'cancelCampaign', { id });
    expect(cancelled.campaign).toMatchObject({
      status: 'CANCELLED',
      endedAt: expect.any(String),
      counts: { total: 2, pending: 0, cancelled: 2 },
    });
    const contacts = await contactsOf(id);
    expect(contacts.map(({ status }: { status: string }) => status)).toEqual([
      'CANCELLED',
      'CANCELLED',
    ]);
  });

  const REFUSED: [string, string[]][] = [
    ['scheduleCampaign', ['SCHEDULED', 'ACTIVE', 'PAUSED', 'COMPLETED', 'CANCELLED']],
    ['pauseCampaign', ['DRAFT', 'PAUSED', 'COMPLETED', 'CANCELLED']],
    ['resumeCampaign', ['DRAFT', 'SCHEDULED', 'ACTIVE', 'COMPLETED', 'CANCELLED']],
    ['cancelCampaign', ['COMPLETED', 'CANCELLED']],
    ['updateCampaign', ['COMPLETED', 'CANCELLED']],
    ['addCampaignContacts', ['COMPLETED', 'CANCELLED']],
    ['deleteCampaigns', ['ACTIVE']],
  ];
  it.each(
    REFUSED.flatMap(([name, states]) => states.map((state) => [name, state] as const)),
  )('%s is refused when %s', async (name, state) => {
    const id = await inState(state);
    const input =
      name === 'deleteCampaigns'
        ? { ids: [id] }
        : name === 'addCampaignContacts'
          ? { campaignId: id, contacts: people(1) }
          : { id, ...(name === 'updateCampaign' ? { name: 'Late' } : {}) };
    const payload = await run(client, name, input);
    expect(problems(payload)).toEqual([
      `INVALID_STATE ${{ deleteCampaigns: 'ids.0', addCampaignContacts: 'campaignId' }[name] ?? 'id'}`,
    ]);
    expect(payload.userErrors[0].message).toContain(state);
  });

  it('a draft without contacts cannot be scheduled', async () => {
    const { campaign } = await draft();
    expect(problems(await run(client, 'scheduleCampaign', { id: campaign.id }))).toEqual([
      'EMPTY_CONTACT_SOURCE id',
    ]);
  });

  it('ends with deleteCampaigns: all of them or none', async () => {
    const [one, two] = [await inState('DRAFT'), await inState('PAUSED')];
    const active = await inState('ACTIVE');
    const refused = await run(client, 'deleteCampaigns', {
      ids: [one, active, `cmp_${newId()}`, 'nonsense'],
    });
    expect(problems(refused)).toEqual([
      'INVALID_ID ids.3',
      'INVALID_STATE ids.1',
      'NOT_FOUND ids.2',
    ]);
    const { deletedCampaignIds } = await done(client, 'deleteCampaigns', { ids: [one, two] });
    expect(deletedCampaignIds).toEqual([one, two]);
    const answer = await client.send('query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', {
      ids: [one, two, active],
    });
    expect(answer.data.nodes).toEqual([null, null, { id: active }]);
    expect(problems(await run(client, 'pauseCampaign', { id: two }))).toEqual(['NOT_FOUND id']);
    expect(problems(await run(client, 'deleteCampaigns', { ids: [] }))).toEqual(['REQUIRED ids']);
  });
});

describe('another organization', () => {
  it('can neither use what is not its own nor touch a campaign', async () => {
    const stranger = (await server.newOrganization()).client;
    const own = await prepareCaller(stranger);
    const id = await inState('SCHEDULED');
    const before = await contactsOf(id);
    const create = async (input: object) =>
      problems(
        await run(stranger, 'createCampaign', { name: 'Mine', agentId: own.agentId, ...input }),
      );
    expect(await create({ agentId: caller.agentId })).toEqual(['NOT_FOUND agentId']);
    expect(await create({ phoneNumberIds: [numberId] })).toEqual(['NOT_FOUND phoneNumberIds.0']);
    expect(await create({ contactFolderId: folderId })).toEqual(['NOT_FOUND contactFolderId']);
    expect(await create({ contactIds: contactIds.slice(0, 1) })).toEqual([
      'NOT_FOUND contactIds.0',
    ]);
    for (const name of ['scheduleCampaign', 'pauseCampaign', 'resumeCampaign', 'cancelCampaign']) {
      expect(problems(await run(stranger, name, { id }))).toEqual(['NOT_FOUND id']);
    }
    expect(problems(await run(stranger, 'updateCampaign', { id, name: 'Mine' }))).toEqual([
      'NOT_FOUND id',
    ]);
    const add = { campaignId: id, contacts: people(1) };
    expect(problems(await run(stranger, 'addCampaignContacts', add))).toEqual([
      'NOT_FOUND campaignId',
    ]);
    expect(problems(await run(stranger, 'deleteCampaigns', { ids: [id] }))).toEqual([
      'NOT_FOUND ids.0',
    ]);
    expect(await contactsOf(id)).toEqual(before);

    for (const input of [{ campaignId: id }, { contactFolderId: folderId }]) {
      const answer = await stranger.send(FORECAST, { input });
      expect(answer.errors?.[0]?.extensions).toMatchObject({
        code: 'BAD_USER_INPUT',
        problems: [{ code: 'NOT_FOUND', path: Object.keys(input) }],
      });
    }
    const socket = openSocket(server.url, stranger.key);
    for (const field of ['campaignProgress', 'callEvents']) {
      const stream = socket.iterate({
        query: `subscription { ${field}(campaignId: "${id}") { __typename } }`,
      });
      expect((await stream.next()).value.errors[0].extensions.code).toBe('BAD_USER_INPUT');
    }
    await socket.dispose();
  });

  it('and a key that only reads can do nothing', async () => {
    const made = await perform(client, 'createAccessToken', {}, 'accessToken');
    const reader = createClient(server.url, made.accessToken);
    const answer = await reader.send(
      'mutation ($input: PauseCampaignInput!) { pauseCampaign(input: $input) { campaign { id } } }',
      { input: { id: await inState('SCHEDULED') } },
    );
    expect(answer.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});

const FORECAST = `query ($input: CampaignForecastInput!) {
  campaignForecast(input: $input) {
    fits calls firstCallAt lastCallAt endsAt problems { code isFatal contacts message }
    hours(first: 2) {
      totalCount
      nodes { from calls contacts(first: 2) { phoneNumber contact { id } campaignContact { id } } }
      pageInfo { hasNextPage endCursor }
    }
  }
}`;

describe('a forecast', () => {
  const settings = {
    scheduledAt: LATER,
    startTime: '09:00',
    endTime: '17:00',
    workingDays: [1, 2, 3, 4, 5],
    maxConcurrentCalls: 1,
    callSeconds: 1800,
  };

  it('says when how many would be called, page by page', async () => {
    const { campaignForecast } = dataOf(
      await client.send(FORECAST, { input: { contactCount: 20, ...settings } }),
    );
    expect(campaignForecast).toMatchObject({ calls: 20, firstCallAt: '2040-03-05T09:00:00.000Z' });
    expect(campaignForecast.hours).toMatchObject({
      totalCount: 10,
      nodes: [
        { from: '2040-03-05T09:00:00.000Z', calls: 2, contacts: [] },
        { from: '2040-03-05T10:00:00.000Z', calls: 2 },
      ],
      pageInfo: { hasNextPage: true },
    });
    expect(campaignForecast.fits).toBe(false);
    expect(campaignForecast.problems).toMatchObject([{ code: 'SPILLS_OVER', isFatal: false }]);
  });

  it('names the first of them, of a folder or a campaign', async () => {
    const ask = async (input: object) =>
      dataOf(await client.send(FORECAST, { input })).campaignForecast.hours.nodes[0].contacts;
    const [contact] = await ask({ contactFolderId: folderId, ...settings, callSeconds: 60 });
    expect(contactIds).toContain(contact.contact.id);
    const { campaign } = await draft({ contactIds, scheduledAt: LATER });
    const [first] = await ask({ campaignId: campaign.id });
    expect(first.campaignContact.id).toMatch(/^cct_/);
  });

  it('hangs on a campaign that is not over', async () => {
    const read = async (id: string) =>
      dataOf(
        await client.send('query ($id: ID!) { campaign(id: $id) { forecast { calls fits } } }', {
          id,
        }),
      ).campaign.forecast;
    expect(await read(await inState('SCHEDULED'))).toEqual({ calls: 2, fits: true });
    expect(await read(await inState('CANCELLED'))).toBeNull();
  });

  it('tells everything that is wrong with its input, as one error', async () => {
    const answer = await client.send(FORECAST, {
      input: { contactCount: 0, timezone: 'Mars/Base', workingDays: [8], startTime: '25:00' },
    });
    expect(answer.errors).toHaveLength(1);
    const { code, problems: found } = answer.errors![0]!.extensions as {
      code: string;
      problems: { code: string; path: string[]; message: string }[];
    };
    expect(code).toBe('BAD_USER_INPUT');
    expect(found.map(({ path }) => path.join('.')).sort()).toEqual([
      'contactCount',
      'startTime',
      'timezone',
      'workingDays',
    ]);
    expect(answer.errors![0]!.message).toContain(found[0]!.message);
  });
});

describe('a campaign that runs', () => {
  it('is watched to its end, and says what was decided about everybody', async () => {
    const [one, two] = people(2);
    const [busy, listed] = ['+14155500001', '+14155500142'];
    await perform(
      client,
      'addToDoNotCall',
      { entries: [{ phoneNumber: listed }] },
      'entries { phoneNumber }',
    );
    const { campaign } = await draft({
      contacts: [one, two, { phoneNumber: busy }, { phoneNumber: listed }],
      retryFailed: true,
      maxRetryAttempts: 1,
      retryDelay: '1s',
    });
    const { id } = campaign;
    const { data: before } = await client.send('{ eventCursor }');
    const socket = openSocket(server.url, server.key);
    const pictures = socket.iterate<{
      campaignProgress: { status: string; counts: Record<string, number> };
    }>({
      query: `subscription { campaignProgress(campaignId: "${id}") {
        status counts { total pending calling called completed failed skipped cancelled } } }`,
    });
    const seen: { status: string; counts: Record<string, number> }[] = [];
    const watched = (async () => {
      for await (const { data, errors } of pictures) {
        expect(errors).toBeUndefined();
        seen.push(data!.campaignProgress);
      }
    })();
    await done(client, 'scheduleCampaign', { id });
    await watched;
    for (const { counts } of seen) {
      const { total, called, ...parts } = counts as { total: number; called: number };
      expect(Object.values(parts as object).reduce((sum, part) => sum + part, 0)).toBe(total);
      expect(called).toBe(counts.completed! + counts.failed!);
    }
    expect(seen.at(-1)).toEqual({
      status: 'COMPLETED',
      counts: {
        ...{ total: 4, pending: 0, calling: 0, called: 3 },
        ...{ completed: 2, failed: 1, skipped: 1, cancelled: 0 },
      },
    });

    const answer = await client.send(
      `query ($id: ID!) {
        calls(filter: { campaignId: $id }) { totalCount nodes { campaign { id } } }
        campaign(id: $id) {
          startedAt endedAt
          calls(filter: { status: [FAILED] }) { totalCount }
          contacts { nodes {
            phoneNumber status skipReason attempts endReason finishedAt
            call { attempt } calls { nodes { attempt campaignContact { id } } } id
            decisions { nodes { outcome reason message call { id } } } } }
        } }`,
      { id },
    );
    const { calls, campaign: over } = dataOf(answer);
    expect(calls).toMatchObject({ totalCount: 4, nodes: Array(4).fill({ campaign: { id } }) });
    expect(over).toMatchObject({
      startedAt: expect.any(String),
      endedAt: expect.any(String),
      calls: { totalCount: 2 },
    });
    const own = ({ decisions }: { decisions: { nodes: { outcome: string; reason: string }[] } }) =>
      decisions.nodes.map(({ outcome, reason }) => `${outcome} ${reason}`);
    const [first, , third, fourth] = over.contacts.nodes;
    expect(first).toMatchObject({ status: 'COMPLETED', attempts: 1, call: { attempt: 1 } });
    expect(own(first)).toEqual(['DIALLED DUE', 'COMPLETED CALL_ENDED']);
    expect(third).toMatchObject({
      ...{ status: 'FAILED', attempts: 2, endReason: 'BUSY', call: { attempt: 2 } },
      calls: { nodes: [1, 2].map((attempt) => ({ attempt, campaignContact: { id: third.id } })) },
    });
    expect(own(third)).toEqual([
      'DIALLED DUE',
      'RETRIES CALL_ENDED',
      'DIALLED DUE',
      'FAILED RETRIES_USED_UP',
    ]);
    expect(third.decisions.nodes[1].message).toMatch(
      /^The call failed: another attempt follows, not before \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(.+\)\.$/,
    );
    expect(third.decisions.nodes[3].message).toBe(
      'The call failed and no retries are left: it is not tried again.',
    );
    expect(fourth).toMatchObject({ status: 'SKIPPED', skipReason: 'DO_NOT_CALL', call: null });
    expect(own(fourth)).toEqual(['SKIPPED DO_NOT_CALL']);

    // Of these calls and no others, each from its beginning to its end.
    await caller.call();
    const events = socket.iterate<{ callEvents: { type: string; callId: string } }>({
      query: `subscription { callEvents(campaignId: "${id}", types: [CREATED], after: "${before.eventCursor}") { type callId } }`,
    });
    const heard = new Set<string>();
    for await (const { data } of events) {
      heard.add(data!.callEvents.callId);
      if (heard.size === 4) break;
    }
    const placed = await server.app.db.call.findMany({ where: { campaignId: uuidOf(id) } });
    expect([...heard].sort()).toEqual(placed.map((call) => publicId('cal', call.id)).sort());
    await socket.dispose();
  });
});
