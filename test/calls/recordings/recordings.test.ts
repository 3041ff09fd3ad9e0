/** Recordings: their status, and the link that plays them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byteRangeOf } from '../../../src/infra/files/byte-range.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import { until } from '../../support/wait.ts';
import {
  atSimulator,
  type Caller,
  type CallView,
  callOf,
  dataOf,
  dial,
  dialLong,
  done,
  newCaller,
  newPerson,
  rowOf,
  setFaults,
  setSimulator,
  steered,
  uuidOf,
  waitForCall,
} from '../support.ts';

let server: TestServer;
let caller: Caller;
let id: string;
let whole: Buffer;

beforeAll(async () => {
  server = await startTestServer({ simulator: { summaryDelaySeconds: 1 } });
  caller = await newCaller(server, { recordingEnabled: true });
  id = (await dial(caller)).id;
  await recordingOf(id, 'AVAILABLE');
  const { ultravoxId } = await rowOf(server, id);
  const stored = await fetch(`${server.simulator.url}/api/calls/${ultravoxId}/recording`, {
    headers: { 'x-api-key': server.simulator.apiKey },
  });
  whole = Buffer.from(await stored.arrayBuffer());
});
afterAll(() => server.close());

const RECORDING = 'recording { status url expiresAt contentType durationSeconds }';

interface Recording {
  status: string;
  url: string | null;
  expiresAt: string | null;
  contentType: string | null;
  durationSeconds: number | null;
}

function recordingOf(callId: string, status: string): Promise<Recording> {
  return until(`the recording to be ${status}`, async () => {
    const query = `query ($id: ID!) { call(id: $id) { ${RECORDING} } }`;
    const { recording } = dataOf(await caller.client.send(query, { id: callId })).call;
    if (recording.status !== status) throw new Error(JSON.stringify(recording));
    return recording;
  });
}

/** The events after the end and the bill. */
async function lastTypesOf(callId: string): Promise<string[]> {
  const { events } = await callOf(caller.client, callId);
  const types: string[] = events.nodes.map(({ type }: { type: string }) => type);
  return types.filter((type) => /ANALYZED|RECORDING/.test(type));
}

const link = async () => (await recordingOf(id, 'AVAILABLE')).url ?? '';
const get = async (url: string, headers: Record<string, string> = {}, method = 'GET') => {
  const response = await fetch(url, { method, headers });
  return { response, bytes: Buffer.from(await response.arrayBuffer()) };
};

describe('Call.recording', () => {
  it('is AVAILABLE with a link, its length and its type', async () => {
    const recording = await recordingOf(id, 'AVAILABLE');
    const { durationSeconds } = recording;
    expect(recording.contentType).toBe('audio/wav');
    expect(durationSeconds).toBeCloseTo((whole.length - 44) / 16_000, 3);
    expect(durationSeconds).toBeGreaterThan(20);
    const minutes = (Date.parse(recording.expiresAt ?? '') - Date.now()) / 60_000;
    expect(minutes).toBeGreaterThan(14);
    expect(minutes).toBeLessThan(15.1);
    const { ultravoxId } = await rowOf(server, id);
    const payload = Buffer.from(recording.url?.split('token=')[1] ?? '', 'base64url').toString();
    for (const text of [recording.url ?? '', payload]) {
      expect(text).not.toContain(ultravoxId);
      expect(text).not.toContain(server.simulator.apiKey);
    }
  });

  it('tells apart a recording that is off, not made, not there yet and failed', async () => {
    const off = await dial(caller, newPerson(), { settings: { recordingEnabled: false } });
    const busy = await dial(caller, steered('0001'));
    await recordingOf(off.id, 'DISABLED');
    await recordingOf(busy.id, 'NOT_ANSWERED');
    // Its end was never reported, so it may have been answered.
    const { db } = server.app;
    await db.call.update({
      where: { id: busy.id.replace('cal_', '') },
      data: { endReason: 'UNKNOWN' },
    });
    await recordingOf(busy.id, 'PENDING');
    const { id: late } = await dialLong(server, caller);
    const isLive = ({ answeredAt }: CallView) => answeredAt !== null;
    await waitForCall(caller.client, late, 'answered', isLive);
    const { ultravoxId } = await rowOf(server, late);
    await setFaults(server, [{ kind: 'status', status: 404, path: `${ultravoxId}/recording` }]);
    await done(caller.client, 'endCall', { id: late });
    const where = { callId: late.replace('cal_', ''), kind: 'RECORDING' } as const;
    const tried = (attempts: number) =>
      until(`${attempts} attempts`, async () => {
        const step = await db.postCallStep.findFirst({ where });
        return step !== null && step.attempts >= attempts;
      });
    await tried(1);
    await recordingOf(late, 'PENDING');
    const longAgo = new Date(Date.now() - 3_600_000);
    await db.postCallStep.updateMany({
      where,
      data: { startedAt: longAgo, nextAttemptAt: longAgo },
    });
    await recordingOf(late, 'FAILED');
    expect(await lastTypesOf(late)).toContain('RECORDING_FAILED');
    await setFaults(server, []);
  });

  it('has an event when it becomes AVAILABLE, also after ANALYZED, and when it is given up', async () => {
    const { id: late } = await dial(caller);
    const { id: never } = await dial(caller);
    const faults = [];
    for (const each of [never, late]) {
      const path = `${(await rowOf(server, each)).ultravoxId}/recording`;
      faults.push({ kind: 'status', status: 500, path });
    }
    await setFaults(server, faults);
    await until('the results', async () => (await lastTypesOf(late)).includes('ANALYZED'));
    await setFaults(server, faults.slice(0, 1));
    await recordingOf(late, 'AVAILABLE');
    expect(await lastTypesOf(late)).toEqual(['ANALYZED', 'RECORDING_READY']);
    const { db } = server.app;
    const where = { callId: uuidOf(never), kind: 'RECORDING' } as const;
    await until('a failed attempt', async () => {
      const step = await db.postCallStep.findFirst({ where });
      return step !== null && step.detail !== null && step.leaseId === null;
    });
    const longAgo = new Date(Date.now() - 4 * 86_400_000);
    await db.postCallStep.updateMany({
      where,
      data: { startedAt: longAgo, nextAttemptAt: longAgo },
    });
    await recordingOf(never, 'FAILED');
    expect(await lastTypesOf(never)).toContain('RECORDING_FAILED');
    await setFaults(server, []);
  });
});

describe('GET /recordings', () => {
  it('streams the whole, with HEAD its headers, and says that it takes ranges', async () => {
    const { response, bytes } = await get(await link());
    expect(response.status).toBe(200);
    expect(bytes.equals(whole)).toBe(true);
    const head = await get(await link(), {}, 'HEAD');
    expect(head.bytes).toHaveLength(0);
    for (const { headers } of [response, head.response]) {
      expect(headers.get('content-length')).toBe(String(whole.length));
      expect(headers.get('accept-ranges')).toBe('bytes');
      expect(headers.get('content-type')).toBe('audio/wav');
      expect(JSON.stringify([...headers])).not.toContain('4010');
    }
  });

  it.each([
    true,
    false,
  ])('answers ranges with 206, whether Ultravox takes them (%s) or sends the whole', async (recordingRanges) => {
    await setSimulator(server, { recordingRanges });
    const size = whole.length;
    try {
      for (const [range, from, to] of [
        ['bytes=0-', 0, size],
        ['bytes=100-199', 100, 200],
        ['bytes=-44', size - 44, size],
        [`bytes=70000-${size + 10}`, 70_000, size],
      ] as const) {
        const { response, bytes } = await get(await link(), { range });
        expect(response.status).toBe(206);
        expect(response.headers.get('content-range')).toBe(`bytes ${from}-${to - 1}/${size}`);
        expect(bytes.equals(whole.subarray(from, to))).toBe(true);
      }
      const beyond = await get(await link(), { range: `bytes=${size}-` });
      expect(beyond.response.status).toBe(416);
      expect(beyond.response.headers.get('content-range')).toBe(`bytes */${size}`);
      for (const range of ['bytes=0-1,5-9', 'bytes=9-5', 'lines=1-2']) {
        expect((await get(await link(), { range })).response.status).toBe(200);
      }
    } finally {
      await setSimulator(server, { recordingRanges: true });
    }
  });

  it('refuses a link that was changed, has expired, or whose key was revoked', async () => {
    const url = await link();
    expect((await get(`${url}x`)).response.status).toBe(403);
    expect((await get(url.split('?')[0] ?? '')).response.status).toBe(403);
    const exported = dataOf(
      await caller.client.send('mutation { exportCalls(input: { format: CSV }) { url } }'),
    ).exportCalls.url;
    for (const [one, other] of [
      [url, exported],
      [exported, url],
    ]) {
      const mixed = new URL(one);
      mixed.searchParams.set('token', new URL(other).searchParams.get('token') ?? '');
      expect((await get(mixed.href)).response.status).toBe(403);
    }
    const made = dataOf(
      await caller.client.send(
        'mutation { createApiKey(input: { name: "player", scopes: [READ] }) { key apiKey { id } } }',
      ),
    ).createApiKey;
    const query = `{ call(id: "${id}") { recording { url } } }`;
    const answer = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: { authorization: `Bearer ${made.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ query }),
    });
    const own = (await answer.json()).data.call.recording.url;
    expect((await get(own, { range: 'bytes=0-9' })).response.status).toBe(206);
    await caller.client.send(
      'mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { userErrors { code } } }',
      { id: made.apiKey.id },
    );
    expect((await get(own)).response.status).toBe(403);
  });

  it('answers 502 while Ultravox fails, 404 once it has no recording, and the status says so', async () => {
    const { id: other } = await dial(caller);
    const url = (await recordingOf(other, 'AVAILABLE')).url ?? '';
    const { ultravoxId } = await rowOf(server, other);
    await setFaults(server, [{ kind: 'status', status: 500, path: `${ultravoxId}/recording` }]);
    expect((await get(url)).response.status).toBe(502);
    await setFaults(server, []);
    expect((await get(url)).response.status).toBe(200);
    await atSimulator(server, 'DELETE', `/api/calls/${ultravoxId}`);
    expect((await get(url)).response.status).toBe(404);
    expect(await recordingOf(other, 'EXPIRED')).toMatchObject({ url: null, contentType: null });
    expect((await get(url)).response.status).toBe(404);
    const types = await lastTypesOf(other);
    expect(types.filter((type) => type === 'RECORDING_EXPIRED')).toHaveLength(1);
  });

  it('refuses the link of a call that was deleted', async () => {
    const { id: other } = await dial(caller);
    const url = (await recordingOf(other, 'AVAILABLE')).url ?? '';
    await done(caller.client, 'deleteCalls', { ids: [other] });
    expect((await get(url)).response.status).toBe(404);
  });
});

describe('byteRangeOf', () => {
  it.each([
    ['bytes=0-0', 10, { first: 0, last: 0 }],
    ['bytes=-20', 10, { first: 0, last: 9 }],
    ['bytes=-0', 10, 'unsatisfiable'],
    ['bytes=10-', 10, 'unsatisfiable'],
    ['bytes=-', 10, null],
    [undefined, 10, null],
  ])('reads %s of %i bytes', (header, size, expected) => {
    expect(byteRangeOf(header, size)).toEqual(expected);
  });
});
