/** Test data for lists, analytics and exports: rows of organizations of very different sizes. */
import type { Client } from 'pg';

export interface LargeSizes {
  calls: number;
  turns: number;
  contacts: number;
  campaigns: number;
}

export const FULL: LargeSizes = {
  calls: 5_000_000,
  turns: 1_000_000,
  contacts: 1_000_000,
  campaigns: 200,
};

export interface Organizations {
  /** Has four fifths of the calls, and all contacts. */
  large: string;
  /** Has the other calls. */
  middle: string;
  /** Has ten calls. */
  small: string;
}

export const TURNS_PER_CALL = 20;
const AGENTS = 80;
const SMALL_CALLS = 10;
const BATCH = 250_000;
const VOCABULARY = 5_000;
const WORDS_PER_TURN = 8;
/** Words to search for: each was said in one of this many calls with a transcript. */
export const WORD_FREQUENCIES = { refund: 5_000, invoice: 100, thursday: 2, hello: 1 };

/** Fills an empty, migrated database. */
export async function fillLarge(client: Client, sizes = FULL): Promise<void> {
  await client.query(`SET maintenance_work_mem = '512MB'`);
  const large = await organization(client, 'Large');
  const middle = await organization(client, 'Middle');
  const small = await organization(client, 'Small');
  for (const id of [large, middle, small]) await addAgents(client, id);
  await addContacts(client, large, sizes.contacts);
  for (const id of [large, middle]) await addCampaigns(client, id, sizes.campaigns / 2);
  await addCampaignContacts(client, large);
  await withoutIndexes(client, 'calls', async () => {
    await addCalls(client, { large, middle, small }, sizes);
  });
  await addAnalyses(client);
  await addTranscripts(client, { large, small }, sizes.turns);
  await client.query('VACUUM ANALYZE');
}

export async function organizationsOf(client: Client): Promise<Organizations> {
  const { rows } = await client.query<{ id: string; name: string }>(
    'SELECT id, lower(name) AS name FROM organizations',
  );
  return Object.fromEntries(rows.map(({ id, name }) => [name, id])) as unknown as Organizations;
}

async function organization(client: Client, name: string): Promise<string> {
  const { rows } = await client.query<{ id: string }>(
    `INSERT INTO organizations (id, name, updated_at) VALUES (new_id(), $1, now()) RETURNING id`,
    [name],
  );
  return rows[0]?.id ?? '';
}

async function addAgents(client: Client, organizationId: string): Promise<void> {
  await client.query(
    `WITH voice AS (INSERT INTO voices (id, organization_id, type, name, status, updated_at)
       VALUES (new_id(), $1, 'SYSTEM', 'Voice', 'ACTIVE', now()) RETURNING id)
     INSERT INTO agents (id, organization_id, name, voice_id, system_prompt, model, temperature,
       recording_enabled, remote_id, status, created_at, updated_at)
     SELECT new_id(), $1, 'Agent ' || i, (SELECT id FROM voice), 'You are Ada.', 'ultravox-v0.7', 0,
       false, gen_random_uuid()::text, 'ACTIVE', now() - interval '400 days', now()
     FROM generate_series(1, $2) AS i`,
    [organizationId, AGENTS],
  );
  await client.query(
    `INSERT INTO phone_numbers (id, organization_id, phone_number, name, provider,
       outbound_agent_id, created_at, updated_at)
     SELECT new_id(), $1, '+1415555' || (1000 + n), 'Line ' || n, 'SIP', id, now(), now()
     FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM agents WHERE organization_id = $1) a`,
    [organizationId],
  );
}

async function addContacts(client: Client, organizationId: string, count: number): Promise<void> {
  await withoutIndexes(client, 'contacts', async () => {
    await client.query(
      `WITH folder AS (INSERT INTO contact_folders (id, organization_id, name, updated_at)
         VALUES (new_id(), $1, 'All', now()) RETURNING id)
       INSERT INTO contacts (id, organization_id, folder_id, phone_number, first_name, last_name, email,
         search_text, metadata, created_at, updated_at)
       SELECT new_id(), $1, (SELECT id FROM folder), number, first, last, first || i || '@example.com',
         ' ' || first || ' ' || last || E'\\n ' || number || E'\\n ' || first || i || '@example.com',
         jsonb_build_object('order', i::text), now() - i * interval '1 second', now()
       FROM (SELECT i, '+1212' || (5000000 + i) AS number, 'name' || i % 1000 AS first,
         'family' || i % 30011 AS last FROM generate_series(1, $2) AS i) AS rows`,
      [organizationId, count],
    );
  });
  await client.query(
    `INSERT INTO do_not_call_entries (organization_id, phone_number, reason, source, created_at)
     SELECT $1, '+1646' || (5000000 + i), 'Asked', 'bench', now() - i * interval '1 second'
     FROM generate_series(1, $2) AS i`,
    [organizationId, count],
  );
}

async function addCampaigns(client: Client, organizationId: string, count: number): Promise<void> {
  await client.query(
    `INSERT INTO campaigns (id, organization_id, name, agent_id, status, contact_source,
       phone_rotation_strategy, schedule_type, timezone, working_days, max_concurrent_calls, retry_failed,
       max_retry_attempts, retry_delay_seconds, created_at, updated_at)
     SELECT new_id(), $1, 'Campaign ' || i, a.id, 'COMPLETED', 'MANUAL', 'ROUND_ROBIN', 'IMMEDIATE',
       'Europe/Berlin', '{1,2,3,4,5}', 10, true, 2, 900, now() - i * interval '1 hour', now()
     FROM generate_series(1, $2) AS i JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM agents
       WHERE organization_id = $1) AS a ON a.n = 1 + i % $3`,
    [organizationId, count, AGENTS],
  );
}

/** Adds all contacts of the organization to its oldest campaign. */
async function addCampaignContacts(client: Client, organizationId: string): Promise<void> {
  await withoutIndexes(client, 'campaign_contacts', async () => {
    await client.query(
      `INSERT INTO campaign_contacts (id, organization_id, campaign_id, contact_id, position, identity,
         phone_number, first_name, last_name, email, metadata, status, end_reason, attempts, called_at,
         finished_at, updated_at)
       SELECT new_id(), $1, (SELECT id FROM campaigns WHERE organization_id = $1 ORDER BY id LIMIT 1),
         id, n - 1, phone_number, phone_number, first_name, last_name, email, metadata,
         (CASE n % 10 WHEN 0 THEN 'FAILED' ELSE 'COMPLETED' END)::"CampaignContactStatus",
         (CASE n % 10 WHEN 0 THEN 'NO_ANSWER' ELSE 'HANGUP' END)::"CallEndReason", 1, now(), now(),
         now()
       FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM contacts WHERE organization_id = $1) c`,
      [organizationId],
    );
  });
  await client.query(
    `UPDATE campaigns SET total_count = t.n, completed_count = t.n - t.failed, failed_count = t.failed
     FROM (SELECT campaign_id, count(*) AS n, count(*) FILTER (WHERE status = 'FAILED') AS failed
       FROM campaign_contacts GROUP BY 1) AS t WHERE t.campaign_id = id`,
  );
}

/** Adds the calls of a year, oldest first. The triggers of the product write the rows for analytics. */
async function addCalls(
  client: Client,
  { large, middle, small }: Organizations,
  { calls }: LargeSizes,
): Promise<void> {
  // Without constraint triggers: the references are correct by construction.
  for (const table of ['calls', 'call_facts']) {
    await client.query(`ALTER TABLE ${table} DISABLE TRIGGER ALL`);
    await client.query(`ALTER TABLE ${table} ENABLE TRIGGER USER`);
  }
  await client.query(
    `CREATE TEMP TABLE lines AS
     SELECT organization_id, outbound_agent_id AS agent_id, id, phone_number,
       row_number() OVER (PARTITION BY organization_id ORDER BY id)::int - 1 AS n FROM phone_numbers`,
  );
  await client.query(
    `CREATE TEMP TABLE runs AS
     SELECT organization_id, id, agent_id, count(*) OVER (PARTITION BY organization_id)::int AS total,
       row_number() OVER (PARTITION BY organization_id ORDER BY id)::int - 1 AS n FROM campaigns`,
  );
  await client.query('ANALYZE lines');
  await client.query('ANALYZE runs');
  const every = Math.ceil(calls / SMALL_CALLS);
  for (let from = 0; from < calls; from += BATCH) {
    await client.query(
      `INSERT INTO calls (id, organization_id, agent_id, phone_number_id, campaign_id, direction, medium,
         status, end_reason, phone_number, own_number, variables, metadata, metadata_entries,
         max_duration_seconds, join_timeout_seconds, placement, ultravox_id, claimed_at, created_at,
         ringing_at, answered_at, ended_at, answered_by, dnc_quote, billing_status,
         billed_duration_seconds, cost_amount, cost_currency, summary, updated_at)
       SELECT new_id(), c.org, coalesce(r.agent_id, p.agent_id), p.id, r.id,
         (CASE WHEN r.id IS NULL AND i % 3 = 0 THEN 'INBOUND' ELSE 'OUTBOUND' END)::"CallDirection", 'SIP',
         (CASE WHEN answered THEN 'COMPLETED' WHEN luck > 0.99 THEN 'CANCELLED' ELSE 'FAILED' END)::"CallStatus",
         (CASE WHEN answered THEN CASE WHEN i % 3 = 0 THEN 'AGENT_HANGUP' ELSE 'HANGUP' END
           WHEN luck > 0.99 THEN 'CANCELLED' WHEN luck > 0.75 THEN 'NO_ANSWER' WHEN luck > 0.6001 THEN 'BUSY'
           ELSE 'SYSTEM_ERROR' END)::"CallEndReason",
         '+1212' || (5000000 + i % 1000000), p.phone_number, '{"first_name":"Ada"}',
         jsonb_build_object('order', i::text, 'source', 'web'),
         ARRAY['["order","' || i || '"]', '["source","web"]'], 600, 60, 'ACCEPTED',
         'bench-' || i, at, at, at + interval '1 second',
         CASE WHEN answered THEN at + interval '7 seconds' END,
         at + interval '7 seconds' + random() ^ 2 * interval '10 minutes',
         (CASE WHEN answered THEN CASE WHEN luck < 0.1 THEN 'VOICEMAIL' ELSE 'HUMAN' END END)::"AnsweredBy",
         CASE WHEN luck < 0.001 THEN 'Do not call again' END, 'BILLED', 60,
         CASE WHEN answered THEN round((random() * 2)::numeric, 6) END, CASE WHEN answered THEN 'USD' END,
         CASE WHEN answered THEN 'They talked about the order and the next steps.' END, now()
       FROM (SELECT i, $6::timestamptz + (i::float8 / $5) * interval '364 days' AS at, luck, luck < 0.6 AS answered,
           CASE WHEN i % $7 = $7 / 2 THEN $3::uuid WHEN i % 5 = 0 THEN $2 ELSE $1 END AS org,
           floor(random() ^ 2 * $4)::int AS line
         FROM (SELECT i, random() AS luck FROM generate_series($8::int, $9::int) AS i) AS dice) AS c
       JOIN lines p ON p.organization_id = c.org AND p.n = c.line
       LEFT JOIN runs r ON i % 10 < 6 AND r.organization_id = c.org
         AND r.n = floor(i::float8 / $5 * r.total)
       ORDER BY i`,
      [
        ...[large, middle, small, AGENTS, calls],
        new Date(Date.now() - 364 * 86_400_000),
        ...[every, from, Math.min(from + BATCH, calls) - 1],
      ],
    );
  }
  for (const table of ['calls', 'call_facts']) {
    await client.query(`ALTER TABLE ${table} ENABLE TRIGGER ALL`);
  }
  await client.query('DROP TABLE lines, runs');
}

/** Adds a step for every answered call, and verdicts for a tenth of the calls. */
async function addAnalyses(client: Client): Promise<void> {
  await client.query('ANALYZE calls');
  await client.query('ALTER TABLE post_call_steps DISABLE TRIGGER ALL');
  await client.query(
    `INSERT INTO post_call_steps (call_id, organization_id, kind, status, attempts, finished_at)
     SELECT id, organization_id, 'ANALYSIS', (CASE WHEN random() < 0.0005 THEN 'FAILED' ELSE 'DONE' END)::"PostCallStepStatus", 1,
       ended_at FROM calls WHERE answered_at IS NOT NULL`,
  );
  await client.query('ALTER TABLE post_call_steps ENABLE TRIGGER ALL');
  await client.query(
    `INSERT INTO call_analyses (call_id, organization_id, status, success, reason, extracted_data,
       input_tokens, output_tokens)
     SELECT id, organization_id, 'DONE', random() < 0.5, 'They agreed.', '{"topic":"order"}', 900, 50
     FROM calls WHERE answered_at IS NOT NULL AND random() < 0.16`,
  );
}

/** Adds transcripts to the newest calls of the large organization, and to all calls of the small one. */
async function addTranscripts(
  client: Client,
  { large, small }: Pick<Organizations, 'large' | 'small'>,
  turns: number,
): Promise<void> {
  await client.query(
    `CREATE TEMP TABLE spoken AS
     (SELECT id, organization_id, row_number() OVER (ORDER BY id) AS n FROM calls
      WHERE organization_id = $1 AND answered_at IS NOT NULL ORDER BY created_at DESC LIMIT $3)
     UNION ALL SELECT id, organization_id, 1 FROM calls WHERE organization_id = $2`,
    [large, small, Math.ceil(turns / TURNS_PER_CALL)],
  );
  await client.query(
    `INSERT INTO call_turns (call_id, organization_id, position, speaker, text, stage)
     SELECT c.id, organization_id, p, (CASE p % 2 WHEN 0 THEN 'AGENT' ELSE 'USER' END)::"TurnSpeaker",
       (SELECT string_agg('word' || floor(random() ^ 2 * $1)::int, ' ')
          FROM generate_series(1, $2) WHERE c.id IS NOT NULL AND p > 0), 1
     FROM spoken c CROSS JOIN generate_series(1, $3) AS p`,
    [VOCABULARY, WORDS_PER_TURN, TURNS_PER_CALL],
  );
  const said = Object.entries(WORD_FREQUENCIES)
    .map(([word, every]) => `CASE WHEN n % ${every} = 0 THEN '${word}' END`)
    .join(', ');
  await client.query(
    `INSERT INTO call_transcripts (call_id, organization_id, words, turn_count, stored_at)
     SELECT call_id, organization_id, array_remove(words || ARRAY[${said}], NULL), $1, now()
     FROM (SELECT call_id, array_agg(DISTINCT word) AS words FROM call_turns,
         unnest(string_to_array(text, ' ')) AS word GROUP BY call_id) AS heard
       JOIN spoken ON id = call_id`,
    [TURNS_PER_CALL],
  );
  await client.query('DROP TABLE spoken');
}

/** Drops the indexes of a table, inserts its rows, and rebuilds the indexes, which takes a fraction of the time. */
async function withoutIndexes(
  client: Client,
  table: string,
  insert: () => Promise<void>,
): Promise<void> {
  const { rows } = await client.query<{ name: string; definition: string }>(
    `SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
     FROM pg_index WHERE indrelid = $1::regclass AND NOT indisunique`,
    [table],
  );
  for (const { name } of rows) await client.query(`DROP INDEX ${name}`);
  await insert();
  for (const { definition } of rows) await client.query(definition);
}
