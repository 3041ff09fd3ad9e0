/** Who may import whom: the table of the README, as a test. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../src/', import.meta.url));

/** Features from left to right: a service imports only services further right. */
const FEATURES = [
  ['calls'],
  ['agents', 'phone-numbers'],
  ['voices', 'tools', 'knowledge-bases'],
  ['organizations'],
] as const;
const RANK = new Map<string, number>(
  FEATURES.flatMap((names, rank) => names.map((name) => [name, rank] as const)),
);

interface Import {
  from: string;
  to: string;
  typeOnly: boolean;
}

const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.startsWith('generated'))
  .sort();

const imports: Import[] = files.flatMap((from) => {
  const text = readFileSync(path.join(ROOT, from), 'utf8');
  const statements = text.matchAll(
    /^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'(\.[^']+)'|import\('(\.[^']+)'\)/gm,
  );
  return [...statements].map(([, type, fixed, dynamic]) => ({
    from,
    to: path.join(path.dirname(from), fixed ?? dynamic ?? ''),
    typeOnly: Boolean(type),
  }));
});

function folderOf(file: string): string {
  return file.includes('/') ? (file.split('/')[0] ?? '') : '';
}

function isFeature(file: string): boolean {
  return RANK.has(folderOf(file));
}

/** A file of a feature that speaks GraphQL. */
function isSchema(file: string): boolean {
  return isFeature(file) && /(^|\/)(\w+-)*(schema|inputs|enums|updates|queries)\.ts$/.test(file);
}

function isLoader(file: string): boolean {
  return isFeature(file) && file.endsWith('/loaders.ts');
}

function offenders(rule: (entry: Import) => boolean): string[] {
  return imports.filter((entry) => !rule(entry)).map(({ from, to }) => `${from} → ${to}`);
}

describe('import rules', () => {
  it('finds the imports it is about', () => {
    expect(files.length).toBeGreaterThan(50);
    expect(imports.length).toBeGreaterThan(200);
  });

  it('config and errors import nothing of ours but each other', () => {
    expect(
      offenders(({ from, to }) => !['config.ts', 'errors.ts'].includes(from) || to === 'errors.ts'),
    ).toEqual([]);
  });

  it('infra and ultravox import only themselves and errors', () => {
    expect(
      offenders(({ from, to }) => {
        const folder = folderOf(from);
        if (!['infra', 'ultravox'].includes(folder)) return true;
        return folderOf(to) === folder || to === 'errors.ts';
      }),
    ).toEqual([]);
  });

  it('the simulator knows only the wire, and only as types', () => {
    expect(
      offenders(
        ({ from, to, typeOnly }) =>
          folderOf(from) !== 'simulator' ||
          folderOf(to) === 'simulator' ||
          (to === 'ultravox/wire.ts' && typeOnly),
      ),
    ).toEqual([]);
  });

  it('only the entry points, the demo and tests start the simulator', () => {
    expect(
      offenders(
        ({ from, to }) =>
          folderOf(to) !== 'simulator' || folderOf(from) === 'simulator' || from === 'start.ts',
      ),
    ).toEqual([]);
  });

  it('live and sync import no feature', () => {
    expect(
      offenders(
        ({ from, to }) =>
          !['live', 'sync'].includes(folderOf(from)) ||
          from.endsWith('schema.ts') ||
          !isFeature(to),
      ),
    ).toEqual([]);
  });

  it('rules import no GraphQL of ours', () => {
    expect(
      offenders(({ from, to }) => {
        const isRule = isFeature(from) && !isSchema(from) && !isLoader(from);
        return !isRule || (folderOf(to) !== 'graphql' && !isSchema(to));
      }),
    ).toEqual([]);
    const graphqlPackages = files.filter((file) => {
      if (folderOf(file) === 'graphql' || isSchema(file) || file.endsWith('schema.ts'))
        return false;
      const text = readFileSync(path.join(ROOT, file), 'utf8');
      return /from '(graphql|graphql-yoga|graphql-ws|@pothos\/[^']+)'/.test(text);
    });
    expect(graphqlPackages).toEqual([]);
  });

  it('features import only features further right, or their own folder', () => {
    expect(
      offenders(({ from, to }) => {
        if (!isFeature(from) || !isFeature(to) || folderOf(from) === folderOf(to)) return true;
        return (RANK.get(folderOf(to)) ?? 0) > (RANK.get(folderOf(from)) ?? 0);
      }),
    ).toEqual([]);
  });

  it('the wire stays in ultravox/: no other file names a path of its API', () => {
    const naming = files.filter(
      (file) =>
        !['ultravox', 'simulator'].includes(folderOf(file)) &&
        /['"`]\/api\/(agents|calls|tools|voices|corpora|webhooks|sip)\b/.test(
          readFileSync(path.join(ROOT, file), 'utf8'),
        ),
    );
    expect(naming).toEqual([]);
  });

  it('the environment is read in one place', () => {
    const reading = files.filter((file) =>
      /process\.env\b/.test(readFileSync(path.join(ROOT, file), 'utf8')),
    );
    expect(reading).toEqual([
      'graphql/builder.ts',
      'infra/postgres-account.ts',
      'main.ts',
      'organizations/cli.ts',
      'simulator/main.ts',
    ]);
  });
});
