/** Migrations must not lock a table of millions of rows while they work: see "Add a feature in five steps" in the README. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

/** Tables that grow with calls, contacts or events. */
const LARGE = [
  'call_analyses',
  'call_facts',
  'call_transcripts',
  'call_turns',
  'calls',
  'campaign_attempts',
  'campaign_contacts',
  'campaign_decisions',
  'contacts',
  'do_not_call_entries',
  'events',
  'post_call_steps',
  'ultravox_webhooks',
  'webhook_attempts',
  'webhook_deliveries',
  'webhook_messages',
];

/** Migrations up to this one had landed before the rule was tested. What they lock is in docs/scaling.md. */
const LAST_WITHOUT_RULE = '20261129230100';

const NAME = String.raw`(?:ONLY\s+)?(?:"?public"?\.)?"?(\w+)"?`;

/** What a statement does to a large table that blocks its writers for as long as the table is large. */
function blocking(statement: string): string | null {
  const index = new RegExp(
    String.raw`^CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY\b).*?\sON\s+${NAME}`,
    'is',
  ).exec(statement);
  if (index) return index[1]!;
  const update = new RegExp(String.raw`^(?:UPDATE|DELETE\s+FROM)\s+${NAME}`, 'is').exec(statement);
  if (update) return update[1]!;
  const alter = new RegExp(
    String.raw`^ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?${NAME}\s+(.*)$`,
    'is',
  ).exec(statement);
  if (!alter) return null;
  const [, table, actions] = alter as unknown as [string, string, string];
  const rewrites = /\bGENERATED\s+ALWAYS\s+AS\s*\(.*\bSTORED\b|\bTYPE\s+\w|\bSET\s+NOT\s+NULL\b/is;
  // A default that is computed for each row, such as gen_random_uuid(). A constant is stored once.
  const computed = /\bDEFAULT\s+(?!now\s*\()\w+\s*\(/is;
  const checked = /\bADD\s+(?:CONSTRAINT\s+\S+\s+)?(?:FOREIGN\s+KEY|CHECK)\b/is;
  const indexed = /\bADD\s+(?:CONSTRAINT\s+\S+\s+)?(?:PRIMARY\s+KEY|UNIQUE|EXCLUDE)\b/is;
  const blocks =
    rewrites.test(actions) ||
    computed.test(actions) ||
    (checked.test(actions) && !/\bNOT\s+VALID\b/i.test(actions)) ||
    (indexed.test(actions) && !/\bUSING\s+INDEX\b/i.test(actions));
  return blocks ? table : null;
}

/** The statements of a migration that block a large table which it has not created itself. */
function blockingStatements(sql: string): string[] {
  const statements = sql
    .replace(/--.*$/gm, '')
    .replace(/\$(\w*)\$.*?\$\1\$/gs, "''")
    .split(';')
    .map((statement) => statement.trim());
  const made = statements.flatMap(
    (statement) => /^CREATE\s+TABLE\s+"?(\w+)"?/i.exec(statement)?.[1] ?? [],
  );
  return statements.filter((statement) => {
    const table = blocking(statement);
    return table !== null && LARGE.includes(table) && !made.includes(table);
  });
}

describe('migrations of large tables', () => {
  it('neither build an index nor rewrite or check the rows while writers wait', async () => {
    const directory = path.resolve('prisma/migrations');
    const folders = (await readdir(directory, { withFileTypes: true }))
      .filter((entry) => entry.isDirectory() && entry.name.slice(0, 14) > LAST_WITHOUT_RULE)
      .map(({ name }) => name);
    const found: string[] = [];
    for (const folder of folders) {
      const sql = await readFile(path.join(directory, folder, 'migration.sql'), 'utf8');
      for (const statement of blockingStatements(sql)) found.push(`${folder}: ${statement}`);
    }
    expect(found).toEqual([]);
  });

  it.each([
    'CREATE INDEX "x" ON "calls"("organization_id")',
    'CREATE UNIQUE INDEX x ON ONLY events (id)',
    'ALTER TABLE "calls" ADD COLUMN "d" INTEGER GENERATED ALWAYS AS (a + b) STORED',
    'ALTER TABLE "calls" ALTER COLUMN "d" TYPE BIGINT',
    'ALTER TABLE "calls" ALTER COLUMN "d" SET DATA TYPE BIGINT',
    'ALTER TABLE "contacts" ALTER COLUMN "d" SET NOT NULL',
    'ALTER TABLE "calls" ADD COLUMN "u" UUID NOT NULL DEFAULT gen_random_uuid()',
    'ALTER TABLE "calls" ADD CONSTRAINT "f" FOREIGN KEY ("a") REFERENCES "agents"("id")',
    'ALTER TABLE "calls" ADD CONSTRAINT "c" CHECK (a > 0)',
    'ALTER TABLE "calls" ADD CONSTRAINT "u" UNIQUE ("a")',
    'UPDATE calls SET a = 1',
  ])('are refused: %s', (statement) => {
    expect(blockingStatements(`-- Why.\n${statement};`)).toEqual([statement]);
  });

  it.each([
    'CREATE INDEX CONCURRENTLY "x" ON "calls"("organization_id")',
    'CREATE INDEX "x" ON "agents"("name")',
    'CREATE TABLE "call_turns" ("id" UUID); CREATE INDEX "x" ON "call_turns"("id")',
    'ALTER TABLE "calls" ADD COLUMN "d" INTEGER NOT NULL DEFAULT 0',
    'ALTER TABLE "calls" ADD CONSTRAINT "c" CHECK (a > 0) NOT VALID',
    'ALTER TABLE "calls" VALIDATE CONSTRAINT "c"',
    'ALTER TABLE "calls" ADD CONSTRAINT "u" UNIQUE USING INDEX "x"',
    'ALTER TABLE "calls" DROP COLUMN "d"',
  ])('are accepted: %s', (statement) => {
    expect(blockingStatements(statement)).toEqual([]);
  });
});
