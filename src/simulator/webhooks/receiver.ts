/** A webhook receiver for demonstrations. It accepts everything and shows what it received. */
import type { JsonObject } from '../json.ts';
import type { ReceivedWebhook, Route, World } from '../world.ts';

const MAX_STORED = 200;

export const receiverRoutes: Route[] = [
  {
    method: 'POST',
    path: '/simulator/receiver/:name',
    open: true,
    handler(world, { params, headers, body }) {
      world.received.push({
        at: new Date(world.now()).toISOString(),
        name: params.name ?? '',
        headers: shownHeaders(headers),
        body,
      });
      if (world.received.length > MAX_STORED) world.received.shift();
      return { status: 204 };
    },
  },
  {
    method: 'GET',
    path: '/simulator/receiver/:name',
    handler: (world, { params }) => ({
      status: 200,
      body: { results: receivedBy(world, params.name ?? '') },
    }),
  },
];

function receivedBy(world: World, name: string): ReceivedWebhook[] {
  return world.received.filter((webhook) => webhook.name === name).reverse();
}

function shownHeaders(headers: NodeJS.Dict<string | string[]>): JsonObject {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => /^(webhook|x-truedy|content-type|user-agent)/.test(name))
      .map(([name, value]) => [name, String(value)]),
  );
}
