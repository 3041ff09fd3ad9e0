/** Random decisions of the fuzzer, all from one seed. */
import { randomFrom } from '../../support/random.ts';

export interface Chance {
  /** A whole number from 0 to `max`, exclusive. */
  below(max: number): number;
  /** True with this probability. */
  is(probability: number): boolean;
  one<T>(items: readonly T[]): T;
}

export function chanceFrom(seed: number): Chance {
  const random = randomFrom(seed);
  const below = (max: number): number => Math.floor(random() * max);
  return {
    below,
    is: (probability) => random() < probability,
    one(items) {
      if (items.length === 0) throw new Error('Nothing to choose from');
      return items[below(items.length)]!;
    },
  };
}
