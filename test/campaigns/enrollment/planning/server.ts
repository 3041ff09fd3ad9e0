/** The server that the suites in this folder share, and the schedule of most campaigns. */
import { afterAll, beforeAll } from 'vitest';
import type { Tx } from '../../../../src/app.ts';
import type { Window } from '../../../../src/campaigns/schedule/calling-window.ts';
import type { Campaign } from '../../../../src/generated/prisma/client.ts';
import { type Desk, openDesk, rowsOf } from '../../lists.ts';

export let desk: Desk;

/** A Monday at 9:00 in Berlin, so far in the future that no call is placed. */
export const MONDAY = '2037-06-01T07:00:00.000Z';

export const OFFICE = { timezone: 'Europe/Berlin', startTime: '09:00', endTime: '17:00' };
export const SCHEDULED = { ...OFFICE, scheduledAt: MONDAY };

export const WINDOW: Window = {
  timezone: 'Europe/Berlin',
  workingDays: [1, 2, 3, 4, 5],
  startMinute: 9 * 60,
  endMinute: 17 * 60,
};

export const timesOf = async (id: string) =>
  (await rowsOf(desk, id)).map(({ scheduledAt }) => scheduledAt?.toISOString() ?? null);

/** Instants of June 2037, from days and times such as `01 07:00`. */
export const june = (...times: string[]) =>
  times.map((time) => `2037-06-${time.replace(' ', 'T')}:00.000Z`);

/** Runs `work` in a transaction with the campaign locked, as services do. */
export async function inCampaign<T>(id: string, work: (tx: Tx, campaign: Campaign) => Promise<T>) {
  return desk.server.app.db.$transaction(
    async (tx) => {
      await tx.$queryRaw`SELECT 1 FROM campaigns WHERE id = ${id.slice(4)}::uuid FOR UPDATE`;
      return work(tx, await tx.campaign.findUniqueOrThrow({ where: { id: id.slice(4) } }));
    },
    { timeout: 60_000 },
  );
}

/** Starts the server before the tests of the file that calls this, and closes it after them. */
export function useDesk(): void {
  beforeAll(async () => {
    desk = await openDesk();
  });
  afterAll(() => desk.server.close());
}
