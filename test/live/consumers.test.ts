import { describe, expect, it } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { startPeriodicTasks } from '../../src/infra/jobs/periodic-tasks.ts';
import { type EventConsumer, startConsumers } from '../../src/live/consumers.ts';
import { announceEvents, appendEvents, currentCursor } from '../../src/live/log.ts';
import { until } from '../support/wait.ts';
import { server, useLiveServer } from './support.ts';

useLiveServer();

describe('startConsumers', () => {
  it('skips what a consumer ignores, and hands it each of the other batches once', async () => {
    const { id } = await server.newOrganization();
    const handed: bigint[][] = [];
    const consumer: EventConsumer = {
      name: 'ignoring',
      ignores: (organizationId) => Prisma.sql`NOT EXISTS (
        SELECT FROM batch
        WHERE organization_id = ${organizationId}::uuid AND type = 'AGENT_DELETED')`,
      async handle(_app, _tx, organizationId, events) {
        if (organizationId === id) handed.push(events.map(({ cursor }) => cursor));
        // After something was queued, the next batch is handed on without a look at it.
        const announce = events.some(({ type }) => type === 'AGENT_DELETED');
        return { through: events.at(-1)!.cursor, announce };
      },
    };
    // As two processes do.
    for (const _process of [1, 2]) {
      startPeriodicTasks(server.app, startConsumers(server.app, [consumer]));
    }
    const consume = async (...types: ('AGENT_UPDATED' | 'AGENT_DELETED')[]): Promise<void> => {
      const events = types.map((type) => ({ type, data: {} }));
      await server.app.db.$transaction((tx) => appendEvents(tx, id, events));
      announceEvents(server.app, id);
      const last = await currentCursor(server.app, id);
      await until('the consumer', async () => {
        const where = { organizationId: id, name: 'ignoring' };
        const position = await server.app.db.eventConsumer.findFirst({ where });
        return position?.cursor === last;
      });
    };
    // The first batch finds no position yet, and is handed over.
    await consume('AGENT_UPDATED');
    const start = await currentCursor(server.app, id);
    handed.length = 0;
    for (let turn = 0; turn < 3; turn += 1) await consume('AGENT_UPDATED');
    expect(handed).toEqual([]);
    await consume('AGENT_UPDATED', 'AGENT_DELETED', 'AGENT_UPDATED');
    expect(handed).toEqual([[start + 4n, start + 5n, start + 6n]]);
    for (let turn = 0; turn < 3; turn += 1) await consume('AGENT_UPDATED');
    expect(handed.length).toBeLessThanOrEqual(3);
    expect(new Set(handed.flat()).size).toBe(handed.flat().length);
  });

  it('hands over the events of a failed batch one by one', async () => {
    const { id } = await server.newOrganization();
    const events = Array.from({ length: 30 }, () => ({ type: 'AGENT_UPDATED', data: {} }) as const);
    await server.app.db.$transaction((tx) => appendEvents(tx, id, events));
    const last = await currentCursor(server.app, id);
    const sizes: number[] = [];
    const consumer: EventConsumer = {
      name: 'one by one',
      async handle(_app, _tx, organizationId, batch) {
        const through = batch.at(-1)!.cursor;
        if (organizationId === id) {
          sizes.push(batch.length);
          if (batch.length > 1 && through === last) throw new Error('Not together with others');
        }
        return { through, announce: false };
      },
    };
    startPeriodicTasks(server.app, startConsumers(server.app, [consumer]));
    await until('the consumer', async () => {
      const where = { organizationId: id, name: consumer.name };
      return (await server.app.db.eventConsumer.findFirst({ where }))?.cursor === last;
    });
    const [first, ...later] = sizes;
    expect(first).toBe(Number(last));
    expect(later).toEqual(later.map(() => 1));
  });
});
