/**
 * Time of `calls(filter: { transcript })` over a million turns, as a ratio to the newest calls without
 * a filter, in the same run: `npx node bench/reads/transcript-search.ts [turns] [rounds]`.
 *
 * A page of 50 and `totalCount` are measured separately, through GraphQL; the best round counts.
 */
import type { Client } from 'pg';
import { demoAgent, withBenchServer } from '../support/server.ts';

const TURNS = Number(process.argv[2] ?? 1_000_000);
const ROUNDS = Number(process.argv[3] ?? 5);
const TURNS_PER_CALL = 20;
const CALLS = Math.ceil(TURNS / TURNS_PER_CALL);
/** Number of different words in the calls, and of words per turn. */
const VOCABULARY = 5_000;
const WORDS_PER_TURN = 8;

/** Words to search for: each was said in one of this many calls. */
const WORD_FREQUENCIES = { refund: 5_000, invoice: 100, thursday: 2, hello: 1 };
const SEARCHES = [
  ['in 1 of 5,000 calls', 'refund'],
  ['in 1 of 100', 'invoice'],
  ['in every second', 'thursday'],
  ['in all, two words', 'thursday hello'],
  ['in none', 'zeppelin'],
] as const;

async function fill(client: Client, organizationId: string, agentId: string): Promise<void> {
  await client.query(
    `INSERT INTO calls (id, organization_id, agent_id, direction, medium, status, placement, claimed_at, ended_at,
       ultravox_id,
       max_duration_seconds, join_timeout_seconds, created_at, updated_at)
     SELECT new_id(), $1, $2, 'OUTBOUND', 'SIP', 'COMPLETED', 'ACCEPTED', now(), now(), new_id()::text, 3600, 30,
       now() - make_interval(secs => i * 30), now()
     FROM generate_series(1, $3) AS i`,
    [organizationId, agentId, CALLS],
  );
  await client.query(
    `INSERT INTO call_turns (call_id, organization_id, position, speaker, text, stage)
     SELECT c.id, $1, p, (CASE p % 2 WHEN 0 THEN 'AGENT' ELSE 'USER' END)::"TurnSpeaker",
       (SELECT string_agg('word' || floor(random() ^ 2 * $2)::int, ' ')
          FROM generate_series(1, $3) WHERE c.id IS NOT NULL AND p > 0), 1
     FROM calls c CROSS JOIN generate_series(1, $4) AS p WHERE c.phone_number IS NULL`,
    [organizationId, VOCABULARY, WORDS_PER_TURN, TURNS_PER_CALL],
  );
  const said = Object.entries(WORD_FREQUENCIES)
    .map(([word, every]) => `CASE WHEN n % ${every} = 0 THEN '${word}' END`)
    .join(', ');
  await client.query(
    `INSERT INTO call_transcripts (call_id, organization_id, words, turn_count, stored_at)
     SELECT call_id, $1, array_remove(words || ARRAY[${said}], NULL), $2, now()
     FROM (SELECT call_id, row_number() OVER () AS n, array_agg(DISTINCT word) AS words
       FROM call_turns, unnest(string_to_array(text, ' ')) AS word GROUP BY call_id) AS spoken
     ON CONFLICT DO NOTHING`,
    [organizationId, TURNS_PER_CALL],
  );
  await client.query('VACUUM ANALYZE calls');
  await client.query('VACUUM ANALYZE call_turns');
  await client.query('VACUUM ANALYZE call_transcripts');
}

await withBenchServer(async (server) => {
  await fill(server.client, server.viewer.organizationId, await demoAgent(server));

  const ask = async (selection: string, transcript?: string): Promise<number> => {
    const query = `query ($f: CallFilter) { calls(first: 50, filter: $f) { ${selection} } }`;
    const began = performance.now();
    const response = await fetch(`${server.url}/graphql`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${server.key}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ query, variables: { f: transcript ? { transcript } : {} } }),
    });
    const { errors } = (await response.json()) as { errors?: unknown };
    if (errors) throw new Error(JSON.stringify(errors));
    return performance.now() - began;
  };
  const best = async (selection: string, transcript?: string): Promise<number> => {
    let ms = Infinity;
    for (let round = 0; round < ROUNDS; round += 1) {
      ms = Math.min(ms, await ask(selection, transcript));
    }
    return ms;
  };

  const plain = await best('nodes { id }');
  const lines = [
    `${TURNS.toLocaleString('en')} turns of ${CALLS.toLocaleString('en')} calls, best of ${ROUNDS}`,
    `newest 50 calls           ${plain.toFixed(1)} ms`,
  ];
  for (const [name, words] of SEARCHES) {
    const page = await best('nodes { id }', words);
    const count = await best('totalCount', words);
    lines.push(
      `${name.padEnd(26)}${page.toFixed(1)} ms, ${(page / plain).toFixed(1)} times; totalCount ${count.toFixed(1)} ms`,
    );
  }
  process.stdout.write(`${lines.join('\n')}\n`);
});
