import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { MAX_WAITING_CALLS } from '../src/calls/placement/limits.ts';
import { SETTINGS } from '../src/config.ts';
import { LIMITS } from '../src/server/limits/limits.ts';

const text = readFileSync('docs/security.md', 'utf8');
const cells = (line: string) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, ''));
const rowsBelow = (title: string) => {
  const section = text.split(/^## /m).find((part) => part.startsWith(`${title}\n`)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| (limit|---)/.test(line))
    .map(cells);
};

/** `16 MiB` or `2,000`. */
function shown(name: string, max: number): string {
  if (!/bytes$/i.test(name)) return max.toLocaleString('en-US');
  for (const [unit, size] of [
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const)
    if (max % size === 0) return `${max / size} ${unit}`;
  return `${max.toLocaleString('en-US')} bytes`;
}

it('docs/security.md lists every fixed limit of the server as the code has it', () => {
  expect(rowsBelow('Limits').filter(([, , setting]) => setting === '–')).toEqual(
    Object.entries(LIMITS).map(([name, { max, about, refusal }]) => [
      ...[about, shown(name, max), '–', refusal],
    ]),
  );
});

it('docs/security.md lists the limits that have a setting with their defaults', () => {
  const rows = rowsBelow('Limits').filter(([, , setting]) => setting !== '–');
  expect(rows.map(([, , setting]) => setting)).toEqual(
    [
      'RATE_LIMIT_PER_MINUTE',
      'MAX_QUERY_COST',
      'READ_TIMEOUT_SECONDS',
      'MAX_SUBSCRIPTIONS',
      'MAX_UPLOADS',
    ].map((name) => `\`${name}\``),
  );
  for (const [, shownDefault, setting] of rows) {
    const name = setting!.replaceAll('`', '') as keyof typeof SETTINGS;
    const { default: value } = SETTINGS[name] as { default: string };
    expect(shownDefault, name).toBe(Number(value).toLocaleString('en-US'));
  }
});

it('docs/security.md states how many calls of an organization may wait', () => {
  expect(text).toContain(
    `An organization may have ${MAX_WAITING_CALLS.toLocaleString('en-US')} calls that wait to be placed.`,
  );
});
