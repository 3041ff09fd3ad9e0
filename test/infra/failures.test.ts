/** Counters and log lines of handled failures. */
import { describe, expect, it } from 'vitest';
import { causeOf, createFailures } from '../../src/infra/failures.ts';
import type { Logger } from '../../src/infra/logger.ts';

interface Line {
  level: string;
  fields: Record<string, unknown>;
  message: string | undefined;
}

function setup() {
  const lines: Line[] = [];
  const write =
    (level: string): Logger['warn'] =>
    (fields: object | string, message?: string) => {
      lines.push({ level, fields: fields as Record<string, unknown>, message });
    };
  const log: Logger = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
  const clock = { now: new Date('2026-03-01T00:00:00Z') };
  const failures = createFailures({ log, now: () => clock.now });
  const pass = (seconds: number): void => {
    clock.now = new Date(clock.now.getTime() + seconds * 1000);
  };
  return { failures, lines, pass };
}

const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });

describe('createFailures', () => {
  it('logs the first failure of a name and cause with its error', () => {
    const { failures, lines } = setup();
    failures.record('poll', refused, { message: 'Polling failed', organizationId: 'a' });
    failures.record('poll', refused);
    failures.record('poll', new TypeError('x is undefined'));
    failures.record('read', new TypeError('x is undefined'), { level: 'error' });
    failures.record('read', refused, { level: 'error' });
    expect(lines.map(({ level, message }) => [level, message])).toEqual([
      ['warn', 'Polling failed'],
      ['warn', 'poll failed'],
      ['error', 'read failed'],
      // A server that cannot be reached is no defect of this one.
      ['warn', 'read failed'],
    ]);
    expect(lines[0]?.fields).toEqual({
      failure: 'poll',
      cause: 'Error ECONNREFUSED',
      organizationId: 'a',
      err: refused,
    });
    failures.close();
  });

  it('logs at most one line a minute, with the number of suppressed failures', () => {
    const { failures, lines, pass } = setup();
    for (let index = 0; index < 100; index += 1) failures.record('poll', refused);
    expect(lines).toHaveLength(1);
    pass(61);
    failures.record('poll', refused);
    expect(lines).toHaveLength(2);
    expect(lines[1]?.fields).toMatchObject({ suppressed: 99 });
    expect(failures.counts()).toMatchObject([
      { name: 'poll', cause: 'Error ECONNREFUSED', count: 101 },
    ]);
    failures.close();
  });

  it('summarizes suppressed failures once', () => {
    const { failures, lines } = setup();
    failures.record('poll', refused);
    failures.record('poll', refused);
    failures.summarize();
    failures.summarize();
    expect(lines.map(({ message }) => message)).toEqual(['poll failed', 'poll failed again']);
    expect(lines[1]?.fields).toMatchObject({ suppressed: 1, count: 2 });
    failures.close();
  });

  it('keeps a bounded number of counters', () => {
    const { failures } = setup();
    for (let index = 0; index < 2_000; index += 1) {
      failures.record('poll', Object.assign(new Error(), { code: `E${index}` }));
    }
    const counts = failures.counts();
    expect(counts.length).toBeLessThan(600);
    expect(counts[0]).toMatchObject({ cause: 'other' });
    expect(counts.reduce((sum, { count }) => sum + count, 0)).toBe(2_000);
    failures.close();
  });

  it('returns a handler for rejected promises', async () => {
    const { failures } = setup();
    expect(await Promise.reject(refused).catch(failures.recorder('read'))).toBeUndefined();
    expect(failures.counts()).toMatchObject([{ name: 'read', count: 1 }]);
    failures.close();
  });
});

describe('causeOf', () => {
  it('is the same for errors that differ in ids, numbers and quoted values', () => {
    const one = new Error('Row 12 of "a" (019b0000-1111-7222-8333-444455556666) is locked');
    const other = new Error('Row 7 of "b" (019b0000-9999-7222-8333-444455556666) is locked');
    expect(causeOf(one)).toBe(causeOf(other));
    expect(causeOf(one)).not.toBe(causeOf(new Error('Row 7 is gone')));
  });

  it('names the code of an error that has one', () => {
    expect(causeOf(refused)).toBe('Error ECONNREFUSED');
    expect(causeOf('text')).toBe('string');
  });
});
