/** Appends and announces events of one call as services do, in a process without subscribers. */
import { announceEvents, appendEvents } from '../../src/live/log.ts';
import type { BenchDatabase } from './database.ts';
import { startBenchApp } from './event-writer.ts';

export interface EventPublisher {
  /** Appends `count` events in one transaction. */
  publish(count: number): Promise<void>;
  stop(): Promise<void>;
}

export async function startEventPublisher(
  database: BenchDatabase,
  redisUrl: string,
): Promise<EventPublisher> {
  const writer = await startBenchApp(database.url, redisUrl);
  const { organizationId } = database;
  const call = await writer.db.call.findFirstOrThrow({ orderBy: { id: 'asc' } });
  let sequence = 1_000;
  return {
    async publish(count) {
      const events = Array.from({ length: count }, (_, index) => ({
        type: 'CALL_RINGING' as const,
        callId: call.id,
        agentId: call.agentId,
        sequence: sequence + index,
        data: { status: 'RINGING', endReason: null },
      }));
      sequence += count;
      await writer.db.$transaction((tx) => appendEvents(tx, organizationId, events));
      announceEvents(writer, organizationId);
    },
    stop: () => writer.close(),
  };
}
