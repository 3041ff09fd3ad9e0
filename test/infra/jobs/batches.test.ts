import { describe, expect, it } from 'vitest';
import { createBatches } from '../../../src/infra/jobs/batches.ts';

describe('createBatches', () => {
  /** Notes the batches, and finishes none before it is told to. */
  function paused(size: number) {
    const worked: number[][] = [];
    let release = (): void => undefined;
    const batches = createBatches<number, number>({
      size,
      async work(items) {
        worked.push([...items]);
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return items.map((item) => item * 2);
      },
    });
    const step = async (): Promise<void> => {
      release();
      await new Promise((resolve) => setImmediate(resolve));
    };
    return { batches, worked, step };
  }

  it('works at once on the items of a turn, and together on those that arrive meanwhile', async () => {
    const { batches, worked, step } = paused(3);
    const first = [batches.add(1)];
    await Promise.resolve();
    first.push(batches.add(2));
    await step();
    expect(worked).toEqual([[1, 2]]);
    const more = [3, 4, 5, 6].map((item) => batches.add(item));
    await step();
    expect(worked).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
    await step();
    await step();
    expect(worked).toEqual([[1, 2], [3, 4, 5], [6]]);
    expect(await Promise.all([...first, ...more])).toEqual([2, 4, 6, 8, 10, 12]);
    const later = batches.add(7);
    await step();
    await step();
    expect(await later).toBe(14);
  });

  it('repeats a batch that fails item by item, so that only the one that fails is rejected', async () => {
    const worked: number[][] = [];
    const batches = createBatches<number, number>({
      size: 10,
      async work(items) {
        worked.push([...items]);
        await Promise.resolve();
        if (items.includes(13)) throw new Error('Not 13');
        return items;
      },
    });
    const results = await Promise.allSettled([1, 2, 13, 3].map((item) => batches.add(item)));
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
    expect(worked).toEqual([[1, 2, 13, 3], [1], [2], [13], [3]]);
    expect(await batches.add(4)).toBe(4);
  });
});
