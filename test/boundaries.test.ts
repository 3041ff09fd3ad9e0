/** Rules that `.dependency-cruiser.mjs` cannot express: owners of tables, folder sizes, and where names may be used. */
import { globSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { SETTINGS } from '../src/config.ts';

const PROJECT = fileURLToPath(new URL('../', import.meta.url));
const ROOT = fileURLToPath(new URL('../src/', import.meta.url));
const SCHEMA = fileURLToPath(new URL('../prisma/schema.prisma', import.meta.url));

const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.startsWith('generated'))
  .sort();
const textOf = new Map(files.map((file) => [file, readFileSync(path.join(ROOT, file), 'utf8')]));

/** A folder with more gets folders of its own, by subject. */
const MAX_FILES_OF_FOLDER = 15;

function filesWith(pattern: RegExp): string[] {
  return files.filter((file) => pattern.test(textOf.get(file) ?? ''));
}

function folderOf(file: string): string {
  return file.includes('/') ? (file.split('/')[0] ?? '') : file;
}

/** The folder or file that writes each table. Others call its functions. */
const OWNERS: Record<string, string> = {
  organizations: 'organizations',
  api_keys: 'organizations',
  settings: 'deployment',
  voices: 'voices',
  tools: 'tools',
  knowledge_bases: 'knowledge-bases',
  knowledge_sources: 'knowledge-bases',
  agents: 'agents',
  agent_tools: 'agents',
  agent_knowledge_bases: 'agents',
  telephony_configs: 'phone-numbers',
  phone_numbers: 'phone-numbers',
  calls: 'calls',
  post_call_steps: 'calls',
  call_transcripts: 'calls',
  call_turns: 'calls',
  call_turn_watches: 'calls',
  call_analyses: 'analysis',
  ultravox_webhooks: 'calls',
  creation_refusals: 'calls',
  call_discovery: 'calls',
  webhook_registrations: 'calls',
  contact_folders: 'contacts',
  contacts: 'contacts',
  contact_imports: 'contacts',
  contact_import_chunks: 'contacts',
  contact_import_problems: 'contacts',
  contact_import_warnings: 'contacts',
  do_not_call_entries: 'contacts',
  campaigns: 'campaigns',
  campaign_phone_numbers: 'campaigns',
  campaign_days: 'campaigns',
  campaign_end_reasons: 'campaigns',
  campaign_enrollment_rows: 'campaigns',
  campaign_enrollments: 'campaigns',
  campaign_replans: 'campaigns',
  campaign_contacts: 'campaigns',
  campaign_attempts: 'campaigns',
  campaign_decisions: 'campaigns',
  events: 'live',
  event_counters: 'live',
  event_consumers: 'live',
  call_facts: 'analytics',
  call_rollups: 'analytics',
  call_rollup_changes: 'analytics',
  call_rollup_days: 'analytics',
  call_rollup_progress: 'analytics',
  webhook_endpoints: 'webhooks',
  webhook_messages: 'webhooks',
  webhook_deliveries: 'webhooks',
  webhook_attempts: 'webhooks',
  idempotency_keys: 'server',
};

/** `ContactFolder` → `contact_folders`, as the Prisma schema maps it. */
const tableOfModel = new Map(
  [...readFileSync(SCHEMA, 'utf8').matchAll(/^model (\w+) \{[\s\S]*?@@map\("(\w+)"\)/gm)].map(
    ([, model = '', table = '']) => [model.charAt(0).toLowerCase() + model.slice(1), table],
  ),
);

/** The files whose statements write to a table that is passed in, or chosen by the kind of a row, for its owner. */
const WRITERS_FOR_OWNERS = [
  'campaigns/enrollment/staging-table.ts',
  'commands/repair-time-zone.ts',
  'contacts/import/run.ts',
  'infra/jobs/lease.ts',
  'sync/service.ts',
];
const INTERPOLATED_WRITE =
  /(?<!\bFOR (?:NO KEY )?)\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE)\s+(?:ONLY\s+)?\$\{/;

const SQL_WRITE = /\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE)\s+(?:ONLY\s+)?"?(\w+)/g;
const PRISMA_WRITE = /\b(?:tx|db|client)\.(\w+)\s*\.(?:create|update|upsert|delete)\w*\(/g;

function tablesWrittenBy(text: string): string[] {
  const bySql = [...text.matchAll(SQL_WRITE)].map(([, table = '']) => table);
  const byPrisma = [...text.matchAll(PRISMA_WRITE)].map(([, model = '']) =>
    tableOfModel.get(model),
  );
  return [...bySql, ...byPrisma].filter(
    (table): table is string => table !== undefined && table in OWNERS,
  );
}

describe('tables', () => {
  it('have an owner each', () => {
    expect(Object.keys(OWNERS).sort()).toEqual([...tableOfModel.values()].sort());
  });

  it('are written by their owner alone', () => {
    const foreign = files.flatMap((file) =>
      tablesWrittenBy(textOf.get(file) ?? '')
        .filter((table) => OWNERS[table] !== folderOf(file))
        .map((table) => `${file}: ${table}`),
    );
    expect(foreign).toEqual([]);
  });

  it('are written without their names only in files that do so for the owner', () => {
    expect(filesWith(INTERPOLATED_WRITE)).toEqual(WRITERS_FOR_OWNERS);
  });

  it('are found in SQL and in calls of the Prisma client', () => {
    expect(
      tablesWrittenBy(`
        INSERT INTO calls (id) SELECT 1 FOR UPDATE; UPDATE ONLY campaigns SET a = 1;
        DELETE  FROM events WHERE true ON CONFLICT DO UPDATE SET b = 2;
        await tx.contactFolder.createMany({}); await app.db.voice
          .deleteMany(); await tx.tool.findMany()`),
    ).toEqual(['calls', 'campaigns', 'events', 'contact_folders', 'voices']);
  });
});

describe('folders', () => {
  it('of the code, its tests and benchmarks hold no more files than one sees at a glance', () => {
    const sizes = Map.groupBy(
      ['src', 'test', 'bench'].flatMap((root) =>
        globSync(`${root}/**/*.ts`, {
          cwd: PROJECT,
          exclude: ['**/generated/**', '**/node_modules/**'],
        }),
      ),
      (file) => path.dirname(file),
    );
    const full = [...sizes].filter(([, names]) => names.length > MAX_FILES_OF_FOLDER);
    expect(full.map(([folder]) => folder)).toEqual([]);
    expect(sizes.get('src')).toContain('src/app.ts');
  });
});

describe('connections to PostgreSQL', () => {
  it('are opened where their sessions are set to UTC', () => {
    expect(filesWith(/\bnew (pg\.)?(Client|Pool|PrismaPg)\(/)).toEqual([
      'infra/database/connections.ts',
    ]);
    expect(filesWith(/\bnew PgBoss\(/)).toEqual(['infra/jobs/jobs.ts']);
    expect(textOf.get('infra/jobs/jobs.ts')).toContain('...guardedPool(databaseUrl)');
  });
});

/** The file that writes the placement of a call, and the columns that belong to it. */
const PLACEMENT_OWNER = 'calls/placement/placement-state.ts';
const PLACEMENT_COLUMNS = [
  'placement',
  'claimed_at',
  'sent_at',
  'refused_at',
  'place_before',
  'place_not_before',
  'ultravox_id',
];

const camelCase = (name: string): string =>
  name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** The text from the first bracket at or after `start` to the one that closes it. */
function bracketed(text: string, start: number): string {
  const open = text.slice(start).search(/[({]/) + start;
  let depth = 0;
  for (let end = open; end < text.length; end += 1) {
    if ('({'.includes(text[end]!)) depth += 1;
    if (')}'.includes(text[end]!)) depth -= 1;
    if (depth === 0) return text.slice(open, end + 1);
  }
  return '';
}

/** Columns of the placement that a file writes. */
function placementColumnsWrittenBy(text: string): string[] {
  const sql = [
    ...text.matchAll(/\bUPDATE calls(?: \w+)? SET([\s\S]*?)(?:\bWHERE\b|\bFROM\b|`)/g),
    ...text.matchAll(/\bINSERT INTO calls\s*(\([^)]*\))/g),
  ].map(([, columns = '']) => columns);
  const data = [...text.matchAll(/\.call\s*\.(?:create|update|upsert)\w*\(/g)].flatMap(
    ({ index }) => {
      const call = bracketed(text, index);
      return [...call.matchAll(/\b(?:data|create|update):/g)].map((key) =>
        bracketed(call, key.index),
      );
    },
  );
  const assigned = [...text.matchAll(/\bchange\.(\w+)\s*=[^=]/g)].map(
    ([, name = '']) => `${name}:`,
  );
  return PLACEMENT_COLUMNS.filter(
    (column) =>
      sql.some((columns) => new RegExp(`\\b${column}\\b(?=\\s*[=,)])`).test(columns)) ||
      [...data, ...assigned].some((values) => new RegExp(`\\b${camelCase(column)}:`).test(values)),
  );
}

describe('the placement of a call', () => {
  it('is written by its owner alone', () => {
    const foreign = files
      .filter((file) => file !== PLACEMENT_OWNER)
      .flatMap((file) =>
        placementColumnsWrittenBy(textOf.get(file) ?? '').map((column) => `${file}: ${column}`),
      );
    expect(foreign).toEqual([]);
  });

  it.each([
    ['UPDATE calls SET a = 1, sent_at = now() WHERE ultravox_id = $1', ['sent_at']],
    ['INSERT INTO calls (id, placement, claimed_at) SELECT', ['placement', 'claimed_at']],
    ['tx.call.update({ where: { ultravoxId }, data: { placeBefore: null } })', ['place_before']],
    ['change.ultravoxId = seen.callId;', ['ultravox_id']],
    ["db.call.findMany({ where: { placement: 'QUEUED' } })", []],
  ])('is found in %s', (text, columns) => {
    expect(placementColumnsWrittenBy(text)).toEqual(columns);
  });
});

describe('names', () => {
  it('of paths of the Ultravox API appear in ultravox/ and simulator/ alone', () => {
    const naming = filesWith(/['"`]\/api\/(agents|calls|tools|voices|corpora|webhooks|sip)\b/);
    expect(naming.filter((file) => !['ultravox', 'simulator'].includes(folderOf(file)))).toEqual(
      [],
    );
  });

  it('of environment variables are read by entry points, save for those of other programs', () => {
    const ofOthers = [
      'graphql/builder.ts', // of the test runner
      'infra/database/connections.ts', // of libpq
      'infra/embedded-postgres/postgres-account.ts', // passed on to the programs of PostgreSQL
    ];
    const readers = filesWith(/process\.env\b/);
    expect(readers.filter((file) => !ofOthers.includes(file))).toEqual([
      'cli.ts',
      'commands/organization.ts',
      'commands/repair-time-zone.ts',
      'simulator/main.ts',
    ]);
    for (const file of ofOthers) {
      const text = textOf.get(file) ?? '';
      expect([file, /process\.env\b/.test(text)]).toEqual([file, true]);
      const settings = Object.keys(SETTINGS).filter((name) => RegExp(`\\b${name}\\b`).test(text));
      expect([file, settings]).toEqual([file, []]);
    }
  });
});

describe('comments', () => {
  it('about a file precede its imports, which sorting them may undo', () => {
    const misplaced = filesWith(/;\n\n?\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n+(?:import |\/\*\*)/).filter(
      (file) => !textOf.get(file)?.startsWith('/**'),
    );
    expect(misplaced).toEqual([]);
  });
});
