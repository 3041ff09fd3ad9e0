/** A database that an earlier version wrote with sessions that were not in UTC. */
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { repairTimeZone } from '../../src/commands/repair-time-zone.ts';
import { createCampaign, people, prepareOperator } from '../campaigns/support.ts';
import { createClient, type GraphQLClient } from '../support/graphql.ts';
import { createTestDatabase, type TestDatabase } from '../support/servers/database.ts';
import { startTestServer } from '../support/servers/server.ts';

/** What Prisma wrote; the start of a contact came from SQL and was right. */
const SHIFTED_COLUMNS = {
  organizations: ['created_at', 'updated_at'],
  api_keys: ['created_at', 'last_used_at'],
  campaigns: ['created_at', 'updated_at', 'scheduled_at', 'next_dispatch_at'],
  campaign_contacts: ['created_at', 'updated_at'],
};
const INSTANTS = `{
  viewer { organization { createdAt } }
  campaigns { nodes {
    status createdAt scheduledAt nextDispatchAt
    contacts { nodes { createdAt scheduledAt nextEligibleAt } }
  } }
}`;
let database: TestDatabase;
let sql: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  sql = new Client({ connectionString: database.url });
  await sql.connect();
});
afterAll(async () => {
  await sql.end();
  await database.drop();
});

async function withServer<T>(look: (client: GraphQLClient) => Promise<T>): Promise<T> {
  const server = await startTestServer({ database, settings: { ROLE: 'api' } });
  try {
    return await look(createClient(server.url, server.key));
  } finally {
    await server.close();
  }
}

describe('a database whose timestamps were written in the zone of the server', () => {
  it('is rejected at startup until it is repaired for that zone, and then has the right timestamps', async () => {
    const before = await withServer(async (client) => {
      await createCampaign(await prepareOperator(client), {
        contacts: people(3),
        scheduledAt: new Date(Date.now() + 100 * 86_400_000),
      });
      return (await client.send(INSTANTS)).data;
    });
    expect(before.campaigns.nodes[0]).toMatchObject({ status: 'SCHEDULED' });
    expect(before.campaigns.nodes[0].contacts.nodes).toHaveLength(3);

    for (const [table, columns] of Object.entries(SHIFTED_COLUMNS)) {
      const shift = columns.map((column) => `${column} = ${column} AT TIME ZONE 'UTC'`);
      // The session's zone, that of the server, makes a timestamp of it.
      await sql.query(`UPDATE ${table} SET ${shift.join(', ')}`);
    }
    await sql.query(`DELETE FROM settings WHERE name = 'time_zone'`);

    const start = withServer(async () => undefined);
    await expect(start).rejects.toThrow(
      /5\.5 hours too early: .* npm run repair-time-zone -- Asia\/Kolkata/,
    );
    await expect(repairTimeZone(database.url, 'America/New_York')).rejects.toThrow(
      /not written in America\/New_York; nothing was changed/,
    );
    await expect(repairTimeZone(database.url, 'Kolkata')).rejects.toThrow(/not a time zone/);
    await expect(repairTimeZone(database.url, 'Asia/Kolkata')).resolves.toMatchObject({
      campaigns: 1,
      campaign_contacts: 3,
    });
    const after = await withServer(async (client) => (await client.send(INSTANTS)).data);
    expect(after).toEqual(before);
  });

  it('is left alone when its timestamps are right, with or without a record of that', async () => {
    await expect(repairTimeZone(database.url, 'Asia/Kolkata')).rejects.toThrow(
      /nothing was changed/,
    );
    await sql.query(`DELETE FROM settings WHERE name = 'time_zone'`);
    await withServer(async () => undefined);
    const { rows } = await sql.query(`SELECT value FROM settings WHERE name = 'time_zone'`);
    expect(rows).toEqual([{ value: 'UTC' }]);
  });
});
