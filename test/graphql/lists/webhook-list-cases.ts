/** The lists of webhook endpoints and of their deliveries. */
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { at, type ListCase, uuid, type World } from './list-cases.ts';

const endpointRow = ({ organizationId }: World) => ({
  organizationId,
  url: 'https://example.com/hook',
  startCursor: 0,
  disabledAt: new Date(),
});

/** An endpoint with nothing to send. */
async function addEndpoint(world: World): Promise<string> {
  const { id } = await world.app.db.webhookEndpoint.create({
    data: { id: newId(), ...endpointRow(world) },
  });
  return id;
}

async function addMessages({ app, organizationId }: World, count: number): Promise<string[]> {
  const rows = await app.db.webhookMessage.createManyAndReturn({
    data: Array.from({ length: count }, () => ({
      id: newId(),
      organizationId,
      type: 'webhook.test',
      body: '{}',
      createdAt: at(0),
    })),
  });
  return rows.map(({ id }) => id);
}

export const WEBHOOK_CASES: ListCase[] = [
  {
    list: 'Query.webhookEndpoints',
    sort: ['CREATED_AT'],
    async fill(world, rows) {
      await world.app.db.webhookEndpoint.deleteMany({});
      await world.app.db.webhookEndpoint.createMany({
        data: rows.map(({ a }) => ({ id: newId(), ...endpointRow(world), createdAt: at(a) })),
      });
      return undefined;
    },
    remove: ({ db }, id) => db.webhookEndpoint.delete({ where: { id: uuid(id) } }),
    move: ({ db }, id, { a }) =>
      db.webhookEndpoint.update({ where: { id: uuid(id) }, data: { createdAt: at(a) } }),
  },
  {
    list: 'WebhookEndpoint.deliveries',
    sort: ['CREATED_AT'],
    async fill(world, rows) {
      const { db } = world.app;
      const { organizationId } = world;
      const endpointId = await addEndpoint(world);
      const messageIds = await addMessages(world, rows.length);
      await db.webhookDelivery.createMany({
        data: rows.map(({ a }, index) => ({
          id: newId(),
          organizationId,
          endpointId,
          messageId: messageIds[index]!,
          createdAt: at(a),
        })),
      });
      return publicId('WebhookEndpoint', endpointId);
    },
    remove: ({ db }, id) => db.webhookDelivery.delete({ where: { id: uuid(id) } }),
    move: ({ db }, id, { a }) =>
      db.webhookDelivery.update({ where: { id: uuid(id) }, data: { createdAt: at(a) } }),
  },
  {
    list: 'WebhookDelivery.attempts',
    identity: 'number',
    async fill(world, rows) {
      const { db } = world.app;
      const { organizationId } = world;
      await db.webhookAttempt.deleteMany({});
      const endpointId = await addEndpoint(world);
      const [messageId] = await addMessages(world, 1);
      const deliveryId = newId();
      await db.webhookDelivery.create({
        data: {
          id: deliveryId,
          organizationId,
          endpointId,
          messageId: messageId!,
          createdAt: at(0),
        },
      });
      await db.webhookAttempt.createMany({
        data: rows.map((_seed, index) => ({
          id: newId(),
          organizationId,
          deliveryId,
          number: index + 1,
          startedAt: at(0),
          durationMs: 1,
        })),
      });
      return publicId('WebhookDelivery', deliveryId);
    },
    remove: ({ db }, number) => db.webhookAttempt.deleteMany({ where: { number: Number(number) } }),
  },
];
