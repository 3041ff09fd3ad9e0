/** Permanent deletion of calls, here and at Ultravox. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { removeDeletedCalls } from '../../src/calls/deletion.ts';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { publicId } from '../../src/ids.ts';
import { newId } from '../../src/infra/ids.ts';
import { createCampaign, people, prepareOperator } from '../campaigns/support.ts';
import { accepted } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { openSocket } from '../support/subscribe.ts';
import { until } from '../support/wait.ts';
import {
  atSimulator,
  type Caller,
  callOf,
  dataOf,
  dial,
  done,
  isBilled,
  newCaller,
  newPerson,
  problemsOf,
  remoteCallOf,
  resumeCreations,
  rowOf,
  run,
  setFaults,
  setSimulator,
  uuidOf,
  waitForCall,
} from './support.ts';

/** Columns that a deleted call keeps: they say nothing about the person. All others are erased. */
const KEPT = [
  ...['id', 'organizationId', 'agentId', 'phoneNumberId', 'ownNumber', 'owner', 'campaignId'],
  ...['campaignContactId', 'direction', 'medium', 'status', 'endReason', 'failureCode'],
  ...['recordingEnabled', 'recordingContentType', 'recordingSeconds', 'analyzedAt', 'answeredBy'],
  ...['maxDurationSeconds', 'joinTimeoutSeconds', 'ultravoxId', 'ultravoxRemovedAt', 'eventCount'],
  ...['placement', 'claimedAt', 'sentAt', 'refusedAt', 'placeNotBefore', 'placeBefore', 'lostAt'],
  ...['resentAgentRevision'],
  ...['endRequestedAt', 'billingStatus', 'billedDurationSeconds', 'costAmount', 'costCurrency'],
  ...['createdAt', 'ringingAt', 'answeredAt', 'endedAt', 'durationMs', 'updatedAt', 'deletedAt'],
];
const ERASED = Object.values(Prisma.CallScalarFieldEnum).filter((field) => !KEPT.includes(field));

/** Until somebody ends the call: so a slow test still finds it live. */
const LONG = { talkSeconds: 100_000 };

let server: TestServer;
let caller: Caller;

beforeAll(async () => {
  server = await startTestServer({ simulator: LONG });
  caller = await newCaller(server);
});
afterAll(() => server.close());
beforeEach(() => resumeCreations(server));

const billed = (id: string) => waitForCall(caller.client, id, 'billed', isBilled);

const endedCall = (id: string) => ({
  id,
  organizationId: server.organizationId,
  agentId: uuidOf(caller.agentId),
  direction: 'OUTBOUND' as const,
  medium: 'SIP' as const,
  status: 'FAILED' as const,
  endReason: 'NO_ANSWER' as const,
  ...accepted(),
  endedAt: new Date(0),
  maxDurationSeconds: 60,
  joinTimeoutSeconds: 30,
});

describe('deleteCalls', () => {
  it('deletes all or none, here and at Ultravox', async () => {
    const person = newPerson();
    const secret = 'Rumpelstiltskin';
    await setSimulator(server, { talkSeconds: 5 });
    const made = await dial(caller, person, {
      variables: { name: secret },
      metadata: { name: secret },
      settings: { greeting: `Hello ${secret}` },
    });
    await setSimulator(server, LONG);
    const live = await dial(caller);
    const call = await billed(made.id);
    const { ultravoxId } = await rowOf(server, made.id);

    const refused = await run(caller.client, 'deleteCalls', {
      ids: [made.id, live.id, publicId('Call', newId()), caller.agentId],
    });
    // What is wrong with one id does not hide what is wrong with the others.
    expect(problemsOf(refused)).toEqual([
      'INVALID_ID ids.3',
      'INVALID_STATE ids.1',
      'NOT_FOUND ids.2',
    ]);
    const doubled = await run(caller.client, 'deleteCalls', { ids: [made.id, made.id] });
    expect(problemsOf(doubled)).toEqual(['INVALID_INPUT ids.1']);
    const blocked = await run(caller.client, 'deleteCalls', {
      ids: [made.id, live.id, publicId('Call', newId())],
    });
    expect(blocked.deletedCallIds).toBeNull();
    expect(problemsOf(blocked)).toEqual(['INVALID_STATE ids.1', 'NOT_FOUND ids.2']);
    expect(await callOf(caller.client, made.id)).toEqual(call);

    const found = { answeredByEvidence: secret, dncQuote: `Never again, ${secret}!` };
    await server.app.db.call.update({ where: { id: uuidOf(made.id) }, data: found });
    // One that came in and could not be worked on yet.
    const { body: remote } = await remoteCallOf(server, made.id);
    await server.app.db.ultravoxWebhook.create({
      data: {
        id: newId(),
        ultravoxCallId: ultravoxId!,
        event: 'call.later',
        payload: { ...remote, joined: 'nonsense', broken: secret, maxDuration: 7 },
        error: `could not parse ${secret}`,
      },
    });
    const { deletedCallIds } = await done(caller.client, 'deleteCalls', { ids: [made.id] });
    expect(deletedCallIds).toEqual([made.id]);

    const gone = await caller.client.send(
      `query ($id: ID!, $person: E164!) { call(id: $id) { id } node(id: $id) { id }
        calls(filter: { phoneNumber: $person }) { totalCount nodes { id } } }`,
      { id: made.id, person },
    );
    expect(dataOf(gone)).toEqual({
      call: null,
      node: null,
      calls: { totalCount: 0, nodes: [] },
    });
    const byNumber = await caller.client.send(
      `query ($id: ID!) { phoneNumber(id: $id) { calls(first: 100) { nodes { id } } } }`,
      { id: caller.numberId },
    );
    expect(JSON.stringify(dataOf(byNumber))).not.toContain(made.id);
    for (const [name, input, problem] of [
      ['endCall', { id: made.id }, 'NOT_FOUND id'],
      ['deleteCalls', { ids: [made.id] }, 'NOT_FOUND ids.0'],
    ] as const) {
      expect(problemsOf(await run(caller.client, name, input))).toEqual([problem]);
    }

    const events = await server.app.db.event.findMany({
      where: { callId: uuidOf(made.id) },
      orderBy: { sequence: 'asc' },
    });
    expect(events.at(-1)).toMatchObject({ type: 'CALL_DELETED', sequence: events.length });
    await until('Ultravox to have removed it', async () => {
      const { status } = await atSimulator(server, 'GET', `/api/calls/${ultravoxId}`);
      // 425: Ultravox remembers that there was one.
      return status !== 200;
    });
    await until('everything personal to be gone', async () => {
      const left = await server.app.db.$queryRaw<{ text: string }[]>`
        SELECT to_jsonb(c)::text AS text FROM calls c WHERE id = ${uuidOf(made.id)}::uuid
        UNION ALL SELECT to_jsonb(e)::text FROM events e WHERE call_id = ${uuidOf(made.id)}::uuid
        UNION ALL SELECT to_jsonb(w)::text FROM ultravox_webhooks w WHERE ultravox_call_id = ${ultravoxId}`;
      expect(left.length).toBeGreaterThan(6);
      const text = JSON.stringify(left);
      expect(text).not.toContain(secret);
      expect(text).not.toContain(person);
      return true;
    });
    // That somebody asked not to be called again outlasts the words: a campaign may plan to.
    expect(await rowOf(server, made.id)).toMatchObject({ dncQuote: '', answeredByEvidence: null });
    await done(caller.client, 'endCall', { id: live.id });
  });

  it('erases every column that is not known to say nothing about the person', async () => {
    const id = newId();
    const text = 'about Ada';
    await server.app.db.call.create({
      data: {
        ...endedCall(id),
        ...{ phoneNumber: newPerson(), joinUrl: text, failure: text },
        ...{ variables: { text }, metadata: { text }, metadataEntries: [text], settings: { text } },
        ...{ answeredByEvidence: text, dncQuote: text, summary: text, shortSummary: text },
        ...{ recordingStatus: 'AVAILABLE', nextCheckAt: new Date('2040-01-01') },
      },
    });
    const values = async (): Promise<[string, string][]> => {
      const row = await server.app.db.call.findUniqueOrThrow({ where: { id } });
      return ERASED.map((field) => [field, JSON.stringify(row[field])]);
    };
    const isEmpty = ([, value]: [string, string]) => ['null', '""', '{}', '[]'].includes(value);
    // A value that was empty before does not prove anything: set one above.
    expect((await values()).filter(isEmpty)).toEqual([]);
    await done(caller.client, 'deleteCalls', { ids: [publicId('Call', id)] });
    expect((await values()).filter((value) => !isEmpty(value))).toEqual([]);
  });

  it('reports the deletion to those who follow the campaign of the call', async () => {
    await setSimulator(server, { talkSeconds: 5 });
    const { id } = await dial(caller);
    await billed(id);
    const operator = await prepareOperator(server.client);
    const campaign = await createCampaign(operator, { contacts: people(1) });
    await server.app.db.call.update({
      where: { id: uuidOf(id) },
      data: { campaignId: campaign.id.slice('cmp_'.length) },
    });
    await done(caller.client, 'deleteCalls', { ids: [id] });
    const socket = openSocket(server.url, server.key);
    const events = socket.iterate<{ callEvents: { type: string; callId: string } }>({
      query: `subscription ($campaignId: ID!) {
        callEvents(campaignId: $campaignId, after: "0") { type callId } }`,
      variables: { campaignId: campaign.id },
    });
    const first = await Promise.race([events.next(), pause(10_000)]);
    expect(first?.value.data).toEqual({ callEvents: { type: 'DELETED', callId: id } });
    await socket.dispose();
  });

  it('requires 1 to 100 IDs', async () => {
    const none = await run(caller.client, 'deleteCalls', { ids: [] });
    expect(problemsOf(none)).toEqual(['REQUIRED ids']);
  });
});

describe('removeDeletedCalls', () => {
  it('removes a call although Ultravox refuses to delete hundreds that were deleted before', async () => {
    await setSimulator(server, { talkSeconds: 5 });
    const { id } = await dial(caller);
    await billed(id);
    const { db } = server.app;
    const uuid = uuidOf(id);
    await setFaults(server, [{ kind: 'status', status: 500, method: 'DELETE' }]);
    await done(caller.client, 'deleteCalls', { ids: [id] });
    // Its job has given up, as have those of the others.
    await db.$executeRaw`DELETE FROM pgboss.job WHERE name = 'removeUltravoxCall'`;
    await db.call.createMany({
      data: Array.from({ length: 101 }, (_, index) => ({
        ...endedCall(newId()),
        ultravoxId: `dead${index}`,
        deletedAt: new Date(0),
      })),
    });
    await setFaults(server, [
      { kind: 'status', status: 500, method: 'DELETE', path: '/calls/dead' },
    ]);
    const inAnHour = () => new Date(Date.now() + 3_600_000);
    await removeDeletedCalls({ ...server.app, now: inAnHour });
    await until('the call to be removed', async () => {
      const row = await db.call.findUniqueOrThrow({ where: { id: uuid } });
      return row.ultravoxRemovedAt;
    });
    await setFaults(server, []);
  });
});
