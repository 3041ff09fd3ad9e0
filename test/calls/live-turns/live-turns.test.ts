/** Turns of live calls in the event log. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Answer } from '../../support/graphql.ts';
import { startApiBeside, startTestServer, type TestServer } from '../../support/servers/server.ts';
import { openSocket } from '../../support/subscribe.ts';
import { until } from '../../support/wait.ts';
import {
  atSimulator,
  type Caller,
  callOf,
  dataOf,
  dial,
  done,
  isEnded,
  newCaller,
  rowOf,
  setSimulator,
} from '../support.ts';

let server: TestServer;
let beside: TestServer;
let caller: Caller;

beforeAll(async () => {
  // Five seconds of talk.
  server = await startTestServer({ simulator: { talkSeconds: 250, jitter: 0 } });
  beside = await startApiBeside(server);
  caller = await newCaller(server);
});
afterAll(async () => {
  await beside.close();
  await server.close();
});

const TURNS = `subscription ($callId: ID, $after: Cursor, $types: [CallEventType!]) {
  callEvents(callId: $callId, after: $after, types: $types) {
    cursor type sequence turn { position speaker text endSeconds }
  }
}`;

interface Heard {
  cursor: string;
  type: string;
  turn: { position: number; speaker: string; text: string; endSeconds: number } | null;
  at: number;
}

function listen(to: TestServer, variables: object) {
  const client = openSocket(to.url, to.key);
  const results = client.iterate<{ callEvents: Heard }>({
    query: TURNS,
    variables: { types: ['TRANSCRIPT_TURN', 'COMPLETED'], ...variables },
  });
  const heard: Heard[] = [];
  const ended = (async () => {
    for await (const { data } of results) {
      if (data) heard.push({ ...data.callEvents, at: Date.now() });
    }
  })().catch(() => undefined);
  const close = async () => {
    await results.return?.();
    await client.dispose();
    await ended;
  };
  return { heard, close };
}

const textsOf = (heard: Heard[]) => heard.flatMap(({ turn }) => turn?.text ?? []);

async function transcriptOf(id: string): Promise<string[]> {
  const query = `query ($id: ID!) { call(id: $id) {
    transcript(first: 100) { nodes { text } } postCallSteps { kind status } } }`;
  return until('the transcript', async () => {
    const { call } = dataOf(await caller.client.send(query, { id }));
    const isThere = call.postCallSteps.some(
      ({ kind, status }: Record<string, string>) => kind === 'TRANSCRIPT' && status === 'DONE',
    );
    return isThere && call.transcript.nodes.map(({ text }: { text: string }) => text);
  });
}

/** The whole transcript of an ended call, a page after another. */
async function pagesOfTranscript(id: string) {
  await transcriptOf(id);
  const turns: { position: number; text: string }[] = [];
  let after: string | null = null;
  for (;;) {
    const query = `query ($id: ID!, $after: String) { call(id: $id) {
      transcript(first: 100, after: $after) {
        totalCount nodes { position text } pageInfo { hasNextPage endCursor } } } }`;
    const answer: Answer = await caller.client.send(query, { id, after });
    const { transcript } = dataOf(answer).call;
    turns.push(...transcript.nodes);
    if (!transcript.pageInfo.hasNextPage) {
      expect(transcript.totalCount).toBe(turns.length);
      return turns;
    }
    after = transcript.pageInfo.endCursor;
  }
}

/** Texts of all messages of a call, in the order of their pages. */
async function textsAtUltravox(id: string): Promise<string[]> {
  const { ultravoxId } = await rowOf(server, id);
  const texts: string[] = [];
  let path: string | null = `/api/calls/${ultravoxId}/messages?mode=in_call&pageSize=100`;
  while (path) {
    const { body } = await atSimulator(server, 'GET', path);
    expect(body.results.length).toBeLessThanOrEqual(100);
    texts.push(...body.results.map(({ text }: { text: string }) => text));
    path = body.next && `${new URL(body.next).pathname}${new URL(body.next).search}`;
  }
  return texts;
}

const messageRequests = async (id: string) => {
  const { ultravoxId } = await rowOf(server, id);
  return server.simulator.requests().filter(({ path }) => path.includes(`${ultravoxId}/messages`));
};

describe('callEvents of type TRANSCRIPT_TURN', () => {
  it('sends each turn once to the subscribers of all processes as it is spoken, and again in a replay', async () => {
    const [watched, other] = [await dial(caller), await dial(caller)];
    // From the beginning: turns may be logged for the one while the other still connects.
    const variables = { callId: watched.id, after: '0' };
    const streams = [server, beside].map((to) => listen(to, variables));
    const began = Date.now();
    await until('the end', async () => isEnded(await callOf(caller.client, watched.id)));
    const seconds = (Date.now() - began) / 1000;
    await until('the end', async () => isEnded(await callOf(caller.client, other.id)));
    const spoken = await transcriptOf(watched.id);
    for (const { heard } of streams) {
      await until('all turns', () => textsOf(heard).length >= spoken.length);
      expect(textsOf(heard)).toEqual(spoken);
      const live = heard.slice(
        0,
        heard.findIndex(({ type }) => type === 'COMPLETED'),
      );
      // While the call goes on, and not all at once.
      expect(live.length).toBeGreaterThan(spoken.length / 4);
      expect(new Set(live.map(({ at }) => at)).size).toBeGreaterThan(1);
    }
    // Twice a second by one of the two processes, once for the transcript. By both it would be twice as often.
    expect((await messageRequests(watched.id)).length).toBeLessThan(3 * seconds + 4);

    const third = streams[0]!.heard[2]!;
    const replay = listen(beside, { callId: watched.id, after: third.cursor });
    await until('the replay', () => replay.heard.length >= streams[0]!.heard.length - 3);
    expect(replay.heard.map(({ cursor }) => cursor)).toEqual(
      streams[0]!.heard.slice(3).map(({ cursor }) => cursor),
    );
    for (const { close } of [...streams, replay]) await close();
    expect(await transcriptOf(other.id)).not.toEqual([]);
    expect(await messageRequests(other.id)).toHaveLength(1);
    const unwatched = await callOf(caller.client, other.id);
    expect(JSON.stringify(unwatched.events)).not.toContain('TRANSCRIPT_TURN');
  });

  it('goes on in another process when the one that reads the call stops', async () => {
    const { id } = await dial(caller);
    const first = listen(beside, { callId: id });
    await until('the first turn', () => textsOf(first.heard).length > 0);
    const second = listen(server, { callId: id, after: '0' });
    await first.close();
    const before = textsOf(first.heard).length;
    await until('more turns', () => textsOf(second.heard).length > before);
    const spoken = await transcriptOf(id);
    await until('all turns', () => textsOf(second.heard).length >= spoken.length);
    expect(textsOf(second.heard)).toEqual(spoken);
    await second.close();
  });

  it('sends and keeps every turn of a call with 5,000 of them, on many pages at Ultravox', async () => {
    await setSimulator(server, { exchanges: 2_500 });
    const { id } = await dial(caller);
    const stream = listen(server, { callId: id });
    await until('the answer', async () => (await rowOf(server, id)).answeredAt);
    await setSimulator(server, { exchanges: null });
    await until('turns of the live call', () => textsOf(stream.heard).length > 300);
    const turns = await pagesOfTranscript(id);
    expect(turns.length).toBeGreaterThan(5_000);
    expect(turns.map(({ text }) => text)).toEqual(await textsAtUltravox(id));
    const positions = turns.map(({ position }) => position);
    expect(positions).toEqual([...new Set(positions)].sort((a, b) => a - b));
    await until('all turns', () => textsOf(stream.heard).length >= turns.length);
    expect(stream.heard.flatMap(({ turn }) => turn?.position ?? [])).toEqual(positions);
    await stream.close();
  });

  it('is left out by default, and is erased with the call', async () => {
    const { id } = await dial(caller);
    const [turns, byDefault] = [
      listen(server, { callId: id }),
      listen(server, { callId: id, types: null, after: '0' }),
    ];
    await until('turns', () => textsOf(turns.heard).length > 1);
    await done(caller.client, 'endCall', { id });
    await transcriptOf(id);
    await until('the end', () => byDefault.heard.some(({ type }) => type === 'COMPLETED'));
    expect(byDefault.heard.map(({ type }) => type)).not.toContain('TRANSCRIPT_TURN');
    await done(caller.client, 'deleteCalls', { ids: [id] });
    const replay = listen(server, { callId: id, after: '0' });
    await until('the replay', () => replay.heard.length >= turns.heard.length);
    expect(textsOf(replay.heard)).toEqual([]);
    expect(replay.heard.map(({ type }) => type)).toContain('TRANSCRIPT_TURN');
    for (const { close } of [turns, byDefault, replay]) await close();
  });
});
