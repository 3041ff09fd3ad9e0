/** Calls that wait for placement, inserted for tests. */
import type { TestServer } from '../../support/servers/server.ts';
import { atSimulator, uuidOf } from '../support.ts';

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

/** Ultravox carries out a request that we have given up, as if it had been stuck on the way. */
export async function dialLate(server: TestServer, id: string): Promise<string> {
  const { agent } = await server.app.db.call.findUniqueOrThrow({
    where: { id: uuidOf(id) },
    include: { agent: true },
  });
  const { status, body } = await atSimulator(
    server,
    'POST',
    `/api/agents/${agent.remoteId}/calls`,
    {
      metadata: { callId: id },
      medium: { sip: { outgoing: { to: 'sip:+14155550177@x.test', from: 'desk@x.test' } } },
    },
  );
  if (status !== 201) throw new Error(JSON.stringify(body));
  return body.callId;
}
