/** Calls that wait for placement, inserted for tests. */
import type { TestServer } from '../../support/servers/server.ts';
import { uuidOf } from '../support.ts';

/** Inserts calls of an agent that have waited for so long. */
export async function insertWaiting(
  server: TestServer,
  agentId: string,
  { count, minutesAgo }: { count: number; minutesAgo: number },
): Promise<void> {
  await server.app.db.$executeRaw`
    INSERT INTO calls (id, organization_id, agent_id, direction, medium, status, placement,
      max_duration_seconds, join_timeout_seconds, created_at, updated_at)
    SELECT new_id(), organization_id, id, 'OUTBOUND', 'SIP', 'CREATED', 'QUEUED', 60, 30,
      now() - make_interval(secs => ${minutesAgo * 60}), now()
    FROM agents, generate_series(1, ${count}) WHERE id = ${uuidOf(agentId)}::uuid`;
}
