/** Helpers for tests of sources and plans: a server with an agent, numbers, and campaigns. */
import { newId } from '../../src/infra/ids.ts';
import type { Viewer } from '../../src/viewer.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';

export interface Desk {
  server: TestServer;
  caller: Caller;
  viewer: Viewer;
}

export async function openDesk(): Promise<Desk> {
  const server = await startTestServer();
  const viewer: Viewer = {
    organizationId: server.organizationId,
    apiKeyId: newId(),
    scopes: new Set(['READ', 'WRITE']),
  };
  return { server, caller: await prepareCaller(server.client), viewer };
}

/** Distinct phone numbers. Each series has others. */
export function numbers(count: number, series = 0): { phoneNumber: string }[] {
  return Array.from({ length: count }, (_, index) => ({
    phoneNumber: `+1${212 + series}${5_000_000 + index}`,
  }));
}

/** The payload of a successful `createCampaign`. The campaign is a draft unless it has a start. */
export async function createCampaign(
  { server, caller }: Desk,
  input: Record<string, unknown>,
): Promise<{
  campaign: { id: string; status: string };
  addedCount: number;
  warnings: { code: string; contacts: number; message: string }[];
}> {
  return runMutation(
    server.client,
    'createCampaign',
    { name: 'Autumn', agentId: caller.agentId, ...input },
    'campaign { id status } addedCount warnings { code contacts message }',
  );
}

/** The rows of a campaign, in order. */
export async function rowsOf({ server }: Desk, campaignId: string) {
  return server.app.db.campaignContact.findMany({
    where: { campaignId: campaignId.slice(4) },
    orderBy: { position: 'asc' },
  });
}

/** Campaigns whose counters differ from their rows, or with gaps in the positions. */
export async function miscounted({ server }: Desk): Promise<unknown[]> {
  return server.app.db.$queryRaw`
    SELECT c.id::text, c.total_count, c.pending_count, c.skipped_count, rows.*
    FROM campaigns c CROSS JOIN LATERAL (
      SELECT count(*)::int AS total, coalesce(max(position) + 1, 0) AS next,
        (count(*) FILTER (WHERE status IN ('PENDING', 'SCHEDULED')))::int AS pending,
        (count(*) FILTER (WHERE status = 'SKIPPED'))::int AS skipped
      FROM campaign_contacts cc WHERE cc.campaign_id = c.id
    ) rows
    WHERE (rows.total, rows.next, rows.pending, rows.skipped)
      IS DISTINCT FROM (c.total_count, c.total_count, c.pending_count, c.skipped_count)`;
}
