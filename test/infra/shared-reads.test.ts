import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { shareReads } from '../../src/infra/shared-reads.ts';

/** A read that ends when it is told to, and gives the number of the reads so far. */
function controlled() {
  const ends: ((error?: Error) => void)[] = [];
  const read = shareReads(
    (key: string) =>
      new Promise<string>((resolve, reject) => {
        const number = ends.push((error) => (error ? reject(error) : resolve(`${key}${number}`)));
      }),
  );
  return { ends, read };
}

describe('shareReads', () => {
  it('gives all who ask during a read the next one', async () => {
    const { ends, read } = controlled();
    const first = read('a');
    const others = [read('a'), read('a'), read('a')];
    ends[0]?.();
    expect(await first).toBe('a1');
    await setImmediate();
    expect(ends).toHaveLength(2);
    ends[1]?.();
    expect(await Promise.all(others)).toEqual(['a2', 'a2', 'a2']);
    const later = read('a');
    expect(ends).toHaveLength(3);
    ends[2]?.();
    expect(await later).toBe('a3');
  });

  it('reads for each key by itself, and again after a failure', async () => {
    const { ends, read } = controlled();
    const [first, other] = [read('a'), read('b')];
    const next = read('a');
    ends[1]?.();
    expect(await other).toBe('b2');
    ends[0]?.(new Error('The read failed'));
    await expect(first).rejects.toThrow('The read failed');
    await setImmediate();
    ends[2]?.();
    expect(await next).toBe('a3');
  });
});
