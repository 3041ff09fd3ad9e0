import { expect, it } from 'vitest';
import { DAY_MS, HOUR_MS, periodAt } from '../../src/infra/time-zone.ts';
import { liveBytes } from '../support/memory.ts';

const YEAR_MS = 365 * DAY_MS;

it('looks up few years of a zone, however many years were asked for one after another', async () => {
  const before = await liveBytes();
  for (let year = 0; year < 8_000; year += 50) periodAt('Europe/Lisbon', year * YEAR_MS);
  expect(((await liveBytes()) - before) / 2 ** 20).toBeLessThan(0.5);
  expect(periodAt('Europe/Lisbon', Date.UTC(2026, 6)).offset).toBe(HOUR_MS);
  expect(periodAt('Europe/Lisbon', Date.UTC(2026, 11)).offset).toBe(0);
  expect(periodAt('Europe/Lisbon', Date.UTC(9_000, 6)).offset).toBe(HOUR_MS);
});
