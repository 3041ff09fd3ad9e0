/** Runs jobs before their time: those enqueued for later, and retries. */
import type { TestServer } from './servers/server.ts';
import { until } from './wait.ts';

/** Waits for the effect of a later job, and makes all waiting jobs due. */
export function untilRetried<T>(
  { app }: Pick<TestServer, 'app'>,
  what: string,
  probe: () => Promise<T>,
): ReturnType<typeof until<T>> {
  return until(what, async () => {
    await app.db.$executeRaw`
      UPDATE pgboss.job SET start_after = now()
      WHERE state IN ('created', 'retry') AND start_after > now()`;
    return probe();
  });
}
