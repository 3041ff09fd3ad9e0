/** Mutations of existing campaigns, access to campaigns, and a campaign from start to end. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { dataOf, uuidOf } from '../../calls/support.ts';
import { type Caller, prepareCaller, runMutation } from '../../support/calling.ts';
import { createClient, type GraphQLClient } from '../../support/graphql.ts';
import { recordStatements } from '../../support/queries.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { openSocket } from '../../support/subscribe.ts';
import { until } from '../../support/wait.ts';
import {
  type CampaignFixture,
  createCampaignFixture,
  LATER,
  problemsOf,
} from '../campaign-fixture.ts';
import { done, people, run, runWithFile } from './graph-support.ts';

let server: TestServer;
let client: GraphQLClient;
let caller: Caller;
let numberId: string;
let folderId: string;
let contactIds: string[];
let draft: CampaignFixture['draft'];
let inStatus: CampaignFixture['inStatus'];
let contactsOf: CampaignFixture['contactsOf'];

beforeAll(async () => {
  server = await startTestServer();
  client = server.client;
  ({ caller, numberId, folderId, contactIds, draft, inStatus, contactsOf } =
    await createCampaignFixture(server));
});

afterAll(() => server.close());

describe('updateCampaign', () => {
  it('changes the given fields, and resets a field to its default with null', async () => {
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

  it('plans waiting contacts again when the start changes', async () => {
    const id = await inStatus('SCHEDULED');
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

  it('starts a SCHEDULED campaign now when its start is set to null', async () => {
    const id = await inStatus('SCHEDULED');
    const { campaign } = await done(client, 'updateCampaign', { id, scheduledAt: null });
    await done(client, 'cancelCampaign', { id });
    expect(campaign).toMatchObject({ status: 'ACTIVE', scheduledAt: null });
    const events = await server.app.db.event.findMany({
      where: { campaignId: uuidOf(id), type: { in: ['CAMPAIGN_UPDATED', 'CAMPAIGN_STARTED'] } },
      orderBy: { cursor: 'asc' },
    });
    expect(events.map(({ type }) => type)).toEqual(['CAMPAIGN_UPDATED', 'CAMPAIGN_STARTED']);
  });

  it('announces no change when no field is given', async () => {
    const id = await inStatus('SCHEDULED');
    const read = () => server.app.db.campaign.findUniqueOrThrow({ where: { id: id.slice(4) } });
    const before = await read();
    expect(problemsOf(await run(client, 'updateCampaign', { id }))).toEqual([]);
    expect(await read()).toEqual(before);
    const events = await server.app.db.event.count({
      where: { campaignId: id.slice(4), type: 'CAMPAIGN_UPDATED' },
    });
    expect(events).toBe(0);
  });

  it('reports all problems and changes nothing', async () => {
    const id = await inStatus('SCHEDULED');
    const before = await contactsOf(id);
    const payload = await run(client, 'updateCampaign', {
      id,
      name: null,
      workingDays: [],
      startTime: '10:00',
      endTime: '10:00',
      phoneNumberIds: [`num_${newId()}`],
    });
    expect(problemsOf(payload)).toEqual([
      'INVALID_INPUT endTime',
      'INVALID_INPUT workingDays',
      'NOT_FOUND phoneNumberIds.0',
      'REQUIRED name',
    ]);
    expect(await contactsOf(id)).toEqual(before);
  });
});

describe('addCampaignContacts', () => {
  it('appends contacts, and adds none twice when repeated', async () => {
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

  it('adds the contacts of a file and of a folder', async () => {
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

  it('rejects an input without a source', async () => {
    const { campaign } = await draft();
    const payload = await run(client, 'addCampaignContacts', { campaignId: campaign.id });
    expect(problemsOf(payload)).toEqual(['REQUIRED']);
  });
});

describe('status of a campaign', () => {
  it('changes with scheduleCampaign, pauseCampaign, resumeCampaign and cancelCampaign', async () => {
    const id = await inStatus('DRAFT');
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

  const REJECTED: [string, string[]][] = [
    ['scheduleCampaign', ['PAUSED', 'COMPLETED', 'CANCELLED']],
    ['pauseCampaign', ['DRAFT', 'COMPLETED', 'CANCELLED']],
    ['resumeCampaign', ['DRAFT', 'COMPLETED', 'CANCELLED']],
    ['cancelCampaign', ['COMPLETED']],
    ['updateCampaign', ['COMPLETED', 'CANCELLED']],
    ['addCampaignContacts', ['COMPLETED', 'CANCELLED']],
    ['deleteCampaigns', ['ACTIVE']],
  ];
  it.each(
    REJECTED.flatMap(([name, states]) => states.map((state) => [name, state] as const)),
  )('rejects %s when %s', async (name, state) => {
    const id = await inStatus(state);
    const input =
      name === 'deleteCampaigns'
        ? { ids: [id] }
        : name === 'addCampaignContacts'
          ? { campaignId: id, contacts: people(1) }
          : { id, ...(name === 'updateCampaign' ? { name: 'Late' } : {}) };
    const payload = await run(client, name, input);
    expect(problemsOf(payload)).toEqual([
      `INVALID_STATE ${{ deleteCampaigns: 'ids.0', addCampaignContacts: 'campaignId' }[name] ?? 'id'}`,
    ]);
    expect(payload.userErrors[0].message).toContain(state);
  });
});

describe('scheduleCampaign', () => {
  it('rejects a draft without contacts', async () => {
    const { campaign } = await draft();
    expect(problemsOf(await run(client, 'scheduleCampaign', { id: campaign.id }))).toEqual([
      'EMPTY_CONTACT_SOURCE id',
    ]);
  });

  it('reports only that the agent was deleted, since no phone number would help', async () => {
    const agent = {
      name: 'Gone',
      voiceId: caller.voiceId,
      systemPrompt: 'Be brief.',
    };
    const { id: agentId } = (await runMutation(client, 'createAgent', agent, 'agent { id }')).agent;
    const { campaign } = await draft({ agentId, contacts: people(1) });
    await runMutation(client, 'deleteAgent', { id: agentId }, 'agent { id }');
    const payload = await run(client, 'scheduleCampaign', { id: campaign.id });
    expect(problemsOf(payload)).toEqual(['NOT_FOUND id']);
  });
});

describe('deleteCampaigns', () => {
  it('deletes all campaigns, or none if one cannot be deleted', async () => {
    const [one, two] = [await inStatus('DRAFT'), await inStatus('PAUSED')];
    const active = await inStatus('ACTIVE');
    const refused = await run(client, 'deleteCampaigns', {
      ids: [one, active, `cmp_${newId()}`, 'nonsense'],
    });
    expect(problemsOf(refused)).toEqual([
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
    expect(problemsOf(await run(client, 'pauseCampaign', { id: two }))).toEqual(['NOT_FOUND id']);
    expect(problemsOf(await run(client, 'deleteCampaigns', { ids: [] }))).toEqual(['REQUIRED ids']);
  });
});

const FORECAST =
  'query ($input: CampaignForecastInput!) { campaignForecast(input: $input) { calls } }';

describe('access to campaigns', () => {
  it('is denied to another organization, which cannot use its agents, numbers or contacts either', async () => {
    const other = (await server.newOrganization()).client;
    const own = await prepareCaller(other);
    const id = await inStatus('SCHEDULED');
    const before = await contactsOf(id);
    const create = async (input: object) =>
      problemsOf(
        await run(other, 'createCampaign', { name: 'Mine', agentId: own.agentId, ...input }),
      );
    expect(await create({ agentId: caller.agentId })).toEqual(['NOT_FOUND agentId']);
    expect(await create({ phoneNumberIds: [numberId] })).toEqual(['NOT_FOUND phoneNumberIds.0']);
    expect(await create({ contactFolderId: folderId })).toEqual(['NOT_FOUND contactFolderId']);
    expect(await create({ contactIds: contactIds.slice(0, 1) })).toEqual([
      'NOT_FOUND contactIds.0',
    ]);
    for (const name of ['scheduleCampaign', 'pauseCampaign', 'resumeCampaign', 'cancelCampaign']) {
      expect(problemsOf(await run(other, name, { id }))).toEqual(['NOT_FOUND id']);
    }
    expect(problemsOf(await run(other, 'updateCampaign', { id, name: 'Mine' }))).toEqual([
      'NOT_FOUND id',
    ]);
    const add = { campaignId: id, contacts: people(1) };
    expect(problemsOf(await run(other, 'addCampaignContacts', add))).toEqual([
      'NOT_FOUND campaignId',
    ]);
    expect(problemsOf(await run(other, 'deleteCampaigns', { ids: [id] }))).toEqual([
      'NOT_FOUND ids.0',
    ]);
    expect(await contactsOf(id)).toEqual(before);

    for (const input of [{ campaignId: id }, { contactFolderId: folderId }]) {
      const answer = await other.send(FORECAST, { input });
      expect(answer.errors?.[0]?.extensions).toMatchObject({
        code: 'BAD_USER_INPUT',
        problems: [{ code: 'NOT_FOUND', path: Object.keys(input) }],
      });
    }
    const socket = openSocket(server.url, other.key);
    for (const field of ['campaignProgress', 'callEvents']) {
      const stream = socket.iterate({
        query: `subscription { ${field}(campaignId: "${id}") { __typename } }`,
      });
      const refused = [{ extensions: { code: 'BAD_USER_INPUT' } }];
      await expect(stream.next()).rejects.toMatchObject(refused);
    }
    await socket.dispose();
  });

  it('does not include mutations for an access token', async () => {
    const made = await runMutation(client, 'createAccessToken', {}, 'accessToken');
    const reader = createClient(server.url, made.accessToken);
    const answer = await reader.send(
      'mutation ($input: PauseCampaignInput!) { pauseCampaign(input: $input) { campaign { id } } }',
      { input: { id: await inStatus('SCHEDULED') } },
    );
    expect(answer.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});

describe('campaignProgress', () => {
  it('reads the campaign once for all who follow it, and gives each its current state first', async () => {
    const { id } = (await draft({ contacts: people(1) })).campaign;
    const socket = openSocket(server.url, server.key);
    const follow = () => {
      const names: string[] = [];
      const snapshots = socket.iterate<{ campaignProgress: { name: string } }>({
        query: `subscription { campaignProgress(campaignId: "${id}") { name } }`,
      });
      const reading = (async () => {
        for await (const { data } of snapshots) names.push(data!.campaignProgress.name);
      })();
      // A closed socket, when the test has failed.
      reading.catch(() => undefined);
      return names;
    };
    const all = Array.from({ length: 30 }, follow);
    await until('the current state', () => all.every(({ length }) => length === 1));
    const statements = await recordStatements(server.app, async () => {
      for (const name of ['First', 'Second']) {
        await done(client, 'updateCampaign', { id, name });
        await until('the change', () => all.every((names) => names.at(-1) === name));
      }
    });
    const reads = statements.filter((text) => /^SELECT .*FROM "public"\."campaigns"/s.test(text));
    expect(reads.length).toBeLessThan(all.length);
    const late = follow();
    await until('the current state', () => late.length > 0);
    expect(late).toEqual(['Second']);
    await socket.dispose();
  });

  it('sends consistent counters until the end, after which decisions explain every contact', async () => {
    const [one, two] = people(2);
    const [busy, listed] = ['+14155500001', '+14155500142'];
    await runMutation(
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
    const snapshots = socket.iterate<{
      campaignProgress: { status: string; counts: Record<string, number> };
    }>({
      query: `subscription { campaignProgress(campaignId: "${id}") {
        status counts { total pending calling called completed failed skipped cancelled } } }`,
    });
    const seen: { status: string; counts: Record<string, number> }[] = [];
    const watched = (async () => {
      for await (const { data, errors } of snapshots) {
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
          endReasonCounts { endReason contacts }
          busy: contacts(filter: { endReason: [BUSY, REJECTED] }) { totalCount nodes { endReason } }
          calls(filter: { status: [FAILED] }) { totalCount }
          contacts { nodes {
            phoneNumber status skipReason attempts endReason finishedAt
            call { attempt } calls { nodes { attempt campaignContact { id } } } id
            decisions { nodes { outcome reason message call { id } } } } }
        } }`,
      { id },
    );
    const { calls, campaign: finished } = dataOf(answer);
    expect(calls).toMatchObject({ totalCount: 4, nodes: Array(4).fill({ campaign: { id } }) });
    expect(finished).toMatchObject({
      startedAt: expect.any(String),
      endedAt: expect.any(String),
      calls: { totalCount: 2 },
      endReasonCounts: [
        { endReason: 'HANGUP', contacts: 2 },
        { endReason: 'BUSY', contacts: 1 },
      ],
      busy: { totalCount: 1, nodes: [{ endReason: 'BUSY' }] },
    });
    const own = ({ decisions }: { decisions: { nodes: { outcome: string; reason: string }[] } }) =>
      decisions.nodes.map(({ outcome, reason }) => `${outcome} ${reason}`);
    const [first, , third, fourth] = finished.contacts.nodes;
    expect(first).toMatchObject({ status: 'COMPLETED', attempts: 1, call: { attempt: 1 } });
    expect(own(first)).toEqual(['DIALED DUE', 'COMPLETED CALL_ENDED']);
    expect(third).toMatchObject({
      ...{ status: 'FAILED', attempts: 2, endReason: 'BUSY', call: { attempt: 2 } },
      calls: { nodes: [1, 2].map((attempt) => ({ attempt, campaignContact: { id: third.id } })) },
    });
    expect(own(third)).toEqual([
      'DIALED DUE',
      'RETRIES CALL_ENDED',
      'DIALED DUE',
      'FAILED RETRIES_USED_UP',
    ]);
    expect(third.decisions.nodes[1].message).toMatch(
      /^The call failed: retry follows, not before \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(.+\)\.$/,
    );
    expect(third.decisions.nodes[3].message).toBe(
      'The call failed and no retries are left: contact failed.',
    );
    expect(fourth).toMatchObject({ status: 'SKIPPED', skipReason: 'DO_NOT_CALL', call: null });
    expect(own(fourth)).toEqual(['SKIPPED DO_NOT_CALL']);

    // `callEvents` of the campaign has its calls and no others.
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
    expect([...heard].sort()).toEqual(placed.map((call) => publicId('Call', call.id)).sort());
    await socket.dispose();
  });
});
