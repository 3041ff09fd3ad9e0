/** Pauses that Ultravox requests, which all users of the account observe. */
import { describe, expect, it } from 'vitest';
import { createAccountPause } from '../../src/ultravox/account-pause.ts';
import { createUltravoxClient } from '../../src/ultravox/client.ts';
import { API_KEY, failureOf, json, setUp } from './support.ts';

describe('a pause that Ultravox asks for', () => {
  /** Two clients of one account, of which the first request is refused. */
  async function setUpTwo(refused: string) {
    const pauses: ReturnType<typeof createAccountPause>[] = [];
    const pauseOf = () => {
      const pause = createAccountPause((seconds) => {
        for (const each of pauses) each.extend(seconds);
      });
      pauses.push(pause);
      return pause;
    };
    const { client, received, url } = await setUp(
      ({ url: at }, response) =>
        at.startsWith(refused) && received.length === 1
          ? json(response, 429, {}, { 'retry-after': '20' })
          : json(response, 200, { results: [], agentId: 'a', callId: 'c' }),
      { pause: pauseOf() },
    );
    const other = createUltravoxClient({ baseUrl: url, apiKey: API_KEY, pause: pauseOf() });
    return { client, other, received };
  }

  it('is kept by everybody who uses the account', async () => {
    const { client, other, received } = await setUpTwo('/api/tools');
    await failureOf(client.tools.delete('t1'));
    for (const each of [client, other]) {
      const error = await failureOf(each.agents.delete('a1'));
      expect(error).toMatchObject({ kind: 'capacity', outcomeUnknown: false, isRefusal: true });
      expect(error.retryAfterSeconds).toBeGreaterThanOrEqual(19);
      expect(await failureOf(each.agents.startCall('a1', {}))).toMatchObject({ kind: 'capacity' });
    }
    expect(received).toHaveLength(1);
  });

  it('does not keep anybody from hanging up', async () => {
    const { client, other, received } = await setUpTwo('/api/tools');
    await failureOf(client.tools.delete('t1'));
    await other.calls.hangUp('c1');
    expect(received).toHaveLength(2);
  });

  it('concerns only creations if one was refused', async () => {
    const { client, other, received } = await setUpTwo('/api/agents');
    await failureOf(client.agents.startCall('a1', {}));
    await client.calls.list();
    await other.agents.delete('a1');
    expect(received).toHaveLength(3);
  });
});
