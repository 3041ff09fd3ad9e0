/** Webhooks whose processing fails, is interrupted, or meets another change of the call. */
import { expect, it } from 'vitest';
import { readCalls } from '../../../../src/calls/lock.ts';
import { updateOf } from '../../../../src/calls/ultravox/apply-update.ts';
import { dropOldWebhooks } from '../../../../src/calls/ultravox/webhooks.ts';
import { writeUpdates } from '../../../../src/calls/updates/write-updates.ts';
import { Prisma } from '../../../../src/generated/prisma/client.ts';
import { newId } from '../../../../src/infra/ids.ts';
import { callSchema } from '../../../../src/ultravox/wire.ts';
import { until } from '../../../support/wait.ts';
import { callOf, isBilled, rowOf, typesOf, uuidOf, waitForCall } from '../../support.ts';
import { ANSWERED, caller, post, server, unheard } from './server.ts';

export function failuresSuite(): void {
  it('processes a webhook whose process died after it was stored', async () => {
    const call = await unheard();
    const id = newId();
    await server.app.db.ultravoxWebhook.create({
      data: {
        id,
        ultravoxCallId: call.ultravoxId,
        event: 'call.billed',
        payload: call.billed.call,
        receivedAt: new Date(Date.now() - 60_000),
      },
    });
    const seen = await waitForCall(caller.client, call.id, 'billed', isBilled);
    expect(typesOf(seen)).toEqual(ANSWERED);
    const stored = await server.app.db.ultravoxWebhook.findUniqueOrThrow({ where: { id } });
    expect(stored.processedAt).not.toBeNull();
    await server.app.db.ultravoxWebhook.update({
      where: { id },
      data: { processedAt: new Date(Date.now() - 3_601_000) },
    });
    await dropOldWebhooks(server.app);
    const kept = await server.app.db.ultravoxWebhook.findUniqueOrThrow({ where: { id } });
    expect(kept.payload).toEqual({});
  });

  it('retries a webhook that fails with a growing delay, without delaying others', async () => {
    const call = await unheard();
    const broken = newId();
    await server.app.db.ultravoxWebhook.createMany({
      data: [
        {
          id: broken,
          ultravoxCallId: newId(),
          event: 'call.ended',
          payload: { callId: 7 },
          receivedAt: new Date(Date.now() - 120_000),
          attempts: 5,
          nextAttemptAt: new Date(),
        },
        {
          id: newId(),
          ultravoxCallId: call.ultravoxId,
          event: 'call.ended',
          payload: call.ended.call,
          receivedAt: new Date(Date.now() - 60_000),
        },
      ],
    });
    await waitForCall(caller.client, call.id, 'over', ({ status }) => status === 'COMPLETED');
    const row = await until('the failure to be recorded', async () => {
      const found = await server.app.db.ultravoxWebhook.findUnique({ where: { id: broken } });
      return found?.error ? found : null;
    });
    expect(row).toMatchObject({ attempts: 6, processedAt: null, failedAt: null });
    const delay = row.nextAttemptAt!.getTime() - Date.now();
    expect(delay).toBeGreaterThan(80_000);
    expect(delay).toBeLessThanOrEqual(96_000);
  });

  it('processes webhooks that arrive with one that fails, or whose call is locked', async () => {
    const [failing, locked, good] = [await unheard(), await unheard(), await unheard()];
    await server.app.db.$executeRawUnsafe(
      `ALTER TABLE calls ADD CONSTRAINT failing CHECK (id <> '${uuidOf(failing.id)}' OR ended_at IS NULL)`,
    );
    await server.app.db.$transaction(
      async (tx) => {
        await tx.$queryRaw`SELECT 1 FROM calls WHERE id = ${uuidOf(locked.id)}::uuid FOR UPDATE`;
        const statuses = await Promise.all(
          [failing.billed, locked.billed, good.billed].map((delivery) => post(server, delivery)),
        );
        expect(new Set(statuses)).toEqual(new Set([204]));
        await waitForCall(caller.client, good.id, 'billed', isBilled);
        // A webhook does not wait for ever for a lock, such as that of a process that is frozen.
        for (const { ultravoxId } of [failing, locked]) {
          const row = await until('the failure to be recorded', () =>
            server.app.db.ultravoxWebhook.findFirst({
              where: { ultravoxCallId: ultravoxId, error: { not: null } },
            }),
          );
          expect(row.processedAt).toBeNull();
        }
        expect((await callOf(caller.client, locked.id)).status).toBe('RINGING');
      },
      { timeout: 60_000 },
    );
    await waitForCall(caller.client, locked.id, 'billed', isBilled);
    expect((await callOf(caller.client, failing.id)).status).toBe('RINGING');
    await server.app.db.$executeRaw`ALTER TABLE calls DROP CONSTRAINT failing`;
  });

  it('writes nothing over a call that has changed since it was read', async () => {
    const { app } = server;
    const { id, ended } = await unheard();
    const where = { id: uuidOf(id) };
    const apply = async (change: () => Promise<unknown>): Promise<number> => {
      const read = await readCalls(app.db, Prisma.sql`id = ${where.id}::uuid`);
      const updates = read.map(({ call, version }) => ({
        ...updateOf(app, call, { seen: callSchema.parse(ended.call) }),
        version,
      }));
      await change();
      return (await writeUpdates(app, app.db, updates)).ids.size;
    };
    const data = { answeredBy: 'HUMAN' } as const;
    expect(await apply(() => app.db.call.update({ where, data }))).toBe(0);
    expect(typesOf(await callOf(caller.client, id))).toEqual(['CREATED', 'RINGING']);
    expect(await apply(async () => undefined)).toBe(1);
    expect(typesOf(await callOf(caller.client, id))).toEqual(ANSWERED.slice(0, 4));
    expect(await rowOf(server, id)).toMatchObject({ status: 'COMPLETED', ...data });
  });

  it('marks a webhook as failed after its last attempt and counts it in /health', async () => {
    const failedWebhooks = async (): Promise<number> => {
      const response = await fetch(`${server.url}/health`);
      return ((await response.json()) as { failedWebhooks: number }).failedWebhooks;
    };
    expect(await failedWebhooks()).toBe(0);
    const id = newId();
    await server.app.db.ultravoxWebhook.create({
      data: {
        id,
        ultravoxCallId: newId(),
        event: 'call.ended',
        payload: { callId: 7 },
        receivedAt: new Date(Date.now() - 6 * 3_600_000),
        attempts: 14,
        nextAttemptAt: new Date(),
      },
    });
    await until('the webhook to be given up', async () => (await failedWebhooks()) === 1);
    const row = await server.app.db.ultravoxWebhook.findUniqueOrThrow({ where: { id } });
    expect(row).toMatchObject({
      attempts: 15,
      payload: { callId: 7 },
      error: expect.stringContaining('expected string'),
      processedAt: null,
      nextAttemptAt: null,
    });
  });
}
