/** Creation of campaigns: defaults, settings, sources of contacts, and rejected inputs. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../../src/infra/ids.ts';
import { makeFolder } from '../../contacts/import/upload.ts';
import { newAgent } from '../../phone-numbers/support.ts';
import { type Caller, runMutation } from '../../support/calling.ts';
import type { GraphQLClient } from '../../support/graphql.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import {
  type CampaignFixture,
  createCampaignFixture,
  LATER,
  problemsOf,
} from '../campaign-fixture.ts';
import { ALWAYS, done, people, run, runWithFile } from './graph-support.ts';

let server: TestServer;
let client: GraphQLClient;
let caller: Caller;
let numberId: string;
let folderId: string;
let contactIds: string[];
let draft: CampaignFixture['draft'];
let contactsOf: CampaignFixture['contactsOf'];

beforeAll(async () => {
  server = await startTestServer();
  client = server.client;
  ({ caller, numberId, folderId, contactIds, draft, contactsOf } =
    await createCampaignFixture(server));
});

afterAll(() => server.close());

describe('createCampaign', () => {
  it('creates a draft without contacts, with the default settings', async () => {
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

  it('stores every setting and plans the contacts of a SCHEDULED campaign', async () => {
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

  it('copies contacts by ID and rows, without duplicates', async () => {
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

  it('reads a CSV file and reports its invalid rows', async () => {
    const [one] = people(1);
    const made = await runWithFile(
      client,
      'createCampaign',
      { name: 'From a file', agentId: caller.agentId },
      `phone,first name,clientId,shoe size\n${one!.phoneNumber},Ada,c-1,38\nnobody,Kurt,c-2,44\n`,
    );
    expect(made).toMatchObject({
      campaign: { contactSource: 'CSV', counts: { total: 1 } },
      addedCount: 1,
      problemCount: 1,
      problems: [{ row: 2, phoneNumber: 'nobody', reason: expect.any(String) }],
      userErrors: [],
    });
    expect(await contactsOf(made.campaign.id)).toMatchObject([
      { clientId: 'c-1', firstName: 'Ada', metadata: { 'shoe size': '38' } },
    ]);
  });

  it('creates one campaign per idempotency key', async () => {
    const input = { name: 'Once', agentId: caller.agentId, contacts: people(1) };
    const headers = { 'x-idempotency-key': newId() };
    const selection = { fields: 'campaign { id }', headers };
    const create = () => runMutation(client, 'createCampaign', input, selection);
    const [first, second] = [await create(), await create()];
    expect(second.campaign.id).toBe(first.campaign.id);
  });

  const INVALID: [string, Record<string, unknown>, string[]][] = [
    ['an unknown time zone', { timezone: 'Mars/Base' }, ['INVALID_INPUT timezone']],
    [
      'a window whose start equals its end',
      { startTime: '09:00', endTime: '09:00' },
      ['INVALID_INPUT endTime'],
    ],
    ['a malformed time', { startTime: '9 am' }, ['INVALID_INPUT startTime']],
    ['the weekday 8', { workingDays: [1, 8] }, ['INVALID_INPUT workingDays']],
    ['an empty list of working days', { workingDays: [] }, ['INVALID_INPUT workingDays']],
    ['a start in the past', { scheduledAt: '2001-01-01T00:00:00Z' }, ['INVALID_INPUT scheduledAt']],
    ['SCHEDULED without a start', { scheduleType: 'SCHEDULED' }, ['INVALID_INPUT scheduledAt']],
    ['a name that is too long', { name: 'x'.repeat(256) }, ['INVALID_INPUT name']],
    ['a blank name', { name: ' ' }, ['REQUIRED name']],
    [
      'a maximum of 0 concurrent calls',
      { maxConcurrentCalls: 0 },
      ['INVALID_INPUT maxConcurrentCalls'],
    ],
    ['a maximum of 0 calls per day', { maxCallsPerDay: 0 }, ['INVALID_INPUT maxCallsPerDay']],
    ['four retries', { maxRetryAttempts: 4 }, ['INVALID_INPUT maxRetryAttempts']],
    ['a retry delay without a unit', { retryDelay: '900' }, ['INVALID_INPUT retryDelay']],
    ['an agent ID of another type', { agentId: `num_${newId()}` }, ['INVALID_ID agentId']],
    [
      'two sources, one of them empty',
      { contacts: [{ phoneNumber: '+14155550142' }], contactIds: [] },
      ['EMPTY_CONTACT_SOURCE contactIds', 'INVALID_INPUT contacts'],
    ],
    [
      'a row with an invalid phone number',
      { contacts: [{ phoneNumber: '+14155550142' }, { phoneNumber: '12' }] },
      ['INVALID_INPUT contacts.1.phoneNumber'],
    ],
    ['an empty list of contacts', { contacts: [] }, ['EMPTY_CONTACT_SOURCE contacts']],
  ];

  it.each(INVALID)('rejects %s', async (_what, input, expected) => {
    const before = await server.app.db.campaign.count();
    const payload = await run(client, 'createCampaign', {
      name: 'Wrong',
      agentId: caller.agentId,
      ...(input.contacts ? {} : { contacts: people(1) }),
      ...input,
    });
    expect(payload.campaign).toBeNull();
    expect(problemsOf(payload)).toEqual(expected);
    expect(await server.app.db.campaign.count()).toBe(before);
  });

  it('reports all problems at once', async () => {
    const payload = await run(client, 'createCampaign', {
      name: '',
      agentId: `agt_${newId()}`,
      timezone: 'Mars/Base',
      workingDays: [8],
      phoneNumberIds: [`num_${newId()}`],
      contactFolderId: `fld_${newId()}`,
    });
    expect(problemsOf(payload)).toEqual([
      'INVALID_INPUT timezone',
      'INVALID_INPUT workingDays',
      'NOT_FOUND agentId',
      'NOT_FOUND contactFolderId',
      'NOT_FOUND phoneNumberIds.0',
      'REQUIRED name',
    ]);
  });

  it('rejects IMMEDIATE without contacts', async () => {
    const start = { name: 'Now', agentId: caller.agentId, scheduleType: 'IMMEDIATE' };
    expect(problemsOf(await run(client, 'createCampaign', start))).toEqual(['REQUIRED']);
    const empty = await makeFolder(client, 'Empty');
    const payload = await run(client, 'createCampaign', { ...start, contactFolderId: empty });
    expect(problemsOf(payload)).toEqual(['EMPTY_CONTACT_SOURCE contactFolderId']);
  });

  it('rejects IMMEDIATE with an agent that has no number or is not ready, but not a draft', async () => {
    const mute = await newAgent(server, server.organizationId);
    const unready = await newAgent(server, server.organizationId, { atUltravox: false });
    const input = { name: 'Now', contacts: people(1), scheduleType: 'IMMEDIATE' };
    const start = async (agentId: string, more: object = {}) =>
      problemsOf(await run(client, 'createCampaign', { ...input, agentId, ...more }));
    expect(await start(mute.id)).toEqual(['NO_PHONE_NUMBER_CONFIGURED agentId']);
    expect(await start(unready.id, { phoneNumberIds: [numberId] })).toEqual([
      'AGENT_NOT_READY agentId',
    ]);
    const { campaign } = await draft({ agentId: mute.id, contacts: people(1) });
    expect(problemsOf(await run(client, 'scheduleCampaign', { id: campaign.id }))).toEqual([
      'NO_PHONE_NUMBER_CONFIGURED id',
    ]);
  });

  it('rejects a window that is never open for any contact, and warns if others can be called', async () => {
    const [one, two] = people(2);
    const nineToFive = { startTime: '09:00', endTime: '10:00', timezone: 'Europe/Berlin' };
    const start = { name: 'Narrow', agentId: caller.agentId, ...ALWAYS, scheduledAt: LATER };
    const never = { ...one, timezone: 'Asia/Tokyo' };
    const refused = await run(client, 'createCampaign', {
      ...{ ...start, ...nineToFive },
      contacts: [never],
    });
    expect(problemsOf(refused)).toEqual(['WINDOW_TOO_SMALL']);
    expect(refused.userErrors[0].details).toMatchObject({ contacts: 1 });
    const { campaign, warnings } = await done(client, 'createCampaign', {
      ...{ ...start, ...nineToFive },
      contacts: [never, two],
    });
    expect(warnings).toMatchObject([{ code: 'NEVER_OPEN', contacts: 1 }]);
    expect(campaign.counts).toMatchObject({ total: 2, pending: 1, skipped: 1 });
  });
});
