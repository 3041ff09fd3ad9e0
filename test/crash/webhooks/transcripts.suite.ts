/** Post-call steps while workers are killed. */
import { expect, it } from 'vitest';
import { runMutation } from '../../support/calling.ts';
import { waitRandomly } from '../../support/random.ts';
import { until } from '../../support/wait.ts';
import {
  caller,
  client,
  database,
  logIsComplete,
  model,
  openDeliveries,
  random,
  receiver,
  SEED,
  simulator,
  uuidOf,
  workers,
} from './processes.ts';

async function createCalls(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const input = {
      agentId: caller.agentId,
      phoneNumber: '+14155550142',
      variables: { first_name: name },
    };
    await runMutation(client, 'createCall', input, 'call { id }');
  }
}

/** What was said in a call, without the use of tools. */
async function textsAtUltravox(ultravoxId: string): Promise<string[]> {
  const response = await fetch(
    `${simulator.url}/api/calls/${ultravoxId}/messages?mode=in_call&pageSize=100`,
    { headers: { 'x-api-key': simulator.apiKey } },
  );
  const { results } = (await response.json()) as { results: { role: string; text: string }[] };
  return results.filter(({ role }) => !role.includes('TOOL')).map(({ text }) => text);
}

async function databaseIsIdle(): Promise<boolean> {
  const [row] = await database.query<{ idle: boolean }>(
    `SELECT count(*) = 0 AS idle FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()`,
  );
  return row?.idle === true;
}

interface AnalyzedCall {
  id: string;
  ultravoxId: string;
  texts: string[];
  analyzed: string;
}

export function transcriptsSuite(): void {
  it('lose and double no transcript, and ask a language model again only for what was not saved', {
    timeout: 300_000,
  }, async () => {
    const names = Array.from({ length: 8 }, (_, number) => `Person${number}`);
    const asked = (name: string) =>
      model.requests.filter((content) => content.includes(name)).length;
    /** By name: how often its answer was lost with the process that had asked. */
    const lost = new Map(names.map((name) => [name, 0]));
    const transcripts = { kind: 'slow', ms: 1_500, path: '/messages$' } as const;
    const points: Record<string, () => Promise<unknown>> = {
      'a transcript is fetched': async () => {
        model.hold();
        simulator.setFaults([transcripts], SEED);
        await createCalls(names);
        await until('a request for a transcript', () =>
          simulator.requests().some(({ path, status }) => path.endsWith('/messages') && !status),
        );
      },
      'the model is asked': () => until('requests to the model', () => model.waiting() > 2),
      'a model has answered': async () => {
        await until('requests to the model', () => model.waiting() > 2);
        model.release();
        await waitRandomly(random, 20);
      },
      'the rest is done': () => waitRandomly(random, 500),
    };
    for (const reach of Object.values(points)) {
      await reach();
      await Promise.all(workers.map((worker) => worker.kill()));
      await until('the end of what they had sent to the database', databaseIsIdle);
      const saved = await database.query<{ name: string }>(
        `SELECT c.variables->>'first_name' AS name FROM calls c JOIN post_call_steps s ON s.call_id = c.id
         WHERE s.kind = 'ANALYSIS'
           AND (s.status = 'DONE' OR s.partial_result->'answers' <> '[]')`,
      );
      for (const name of names) {
        const before = lost.get(name) ?? 0;
        const isSaved = saved.some((row) => row.name === name);
        if (!isSaved && asked(name) > before) lost.set(name, before + 1);
      }
      // As after the time for which they hold: nobody holds them any more.
      await database.query('UPDATE post_call_steps SET lease_until = now()');
      await database.query('UPDATE webhook_deliveries SET claimed_until = now()');
      // One is enough for what the other has left, and the next failure waits for it.
      await workers[0]!.restart();
    }
    simulator.clearFaults();
    await until('the end of the log', logIsComplete, 120_000);
    await until('the CRM', async () => (await openDeliveries()) === 0, 60_000);

    expect([...lost.values()].some((count) => count > 0)).toBe(true);
    for (const name of names) expect([name, asked(name)]).toEqual([name, 1 + lost.get(name)!]);
    const calls = await database.query<AnalyzedCall>(
      `SELECT c.id, c.ultravox_id AS "ultravoxId",
         (SELECT array_agg(text ORDER BY position) FROM call_turns t
          WHERE t.call_id = c.id AND t.speaker <> 'TOOL') AS texts,
         (SELECT count(*) FROM events e WHERE e.call_id = c.id AND e.type = 'CALL_ANALYZED') AS analyzed
       FROM calls c`,
    );
    expect(calls).toHaveLength(names.length);
    for (const { id, ultravoxId, texts, analyzed } of calls) {
      expect(analyzed).toBe('1');
      const results = receiver.at('/crm').filter(({ json }) => uuidOf(json.data.call.id) === id);
      expect(new Set(results.map(({ json }) => json.id)).size).toBe(1);
      const sent: { text: string; speaker: string }[] = results[0]!.json.data.transcript;
      expect(sent.filter(({ speaker }) => speaker !== 'TOOL').map(({ text }) => text)).toEqual(
        texts,
      );
      expect(texts).toEqual(await textsAtUltravox(ultravoxId));
    }
    const steps = await database.query('SELECT DISTINCT status::text FROM post_call_steps');
    expect(steps).toEqual([{ status: 'DONE' }]);
    await workers[1]!.restart();
  });
}
