/** Baseline: one SQL statement that returns the JSON of the response, behind `node:http`. */
import { createServer } from 'node:http';
import pg from 'pg';
import { inUtc } from '../../src/infra/database/connections.ts';
import { peerEnvironment } from './environment.ts';

const { databaseUrl, organizationId, port } = peerEnvironment();
const pool = new pg.Pool({ connectionString: inUtc(databaseUrl), max: 20 });

const ISO = `'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'`;
const LIST = (fields: string, from: string, limit: string): string => `
  json_build_object('nodes', (SELECT coalesce(json_agg(r), '[]') FROM (
    SELECT ${fields} FROM ${from} ORDER BY created_at DESC, id DESC LIMIT ${limit}) r))`;
const CALLS = `id, status, phone_number AS "phoneNumber",
  to_char(created_at, ${ISO}) AS "createdAt", to_char(ended_at, ${ISO}) AS "endedAt"`;

/** Statements by operation name. `$1` is the organization. */
const STATEMENTS: Record<string, string> = {
  one: `SELECT json_build_object('data', json_build_object('agent', (
    SELECT row_to_json(r) FROM (SELECT id, name, status, system_prompt AS "systemPrompt",
      to_char(created_at, ${ISO}) AS "createdAt"
    FROM agents WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL) r))) AS answer`,
  list: `SELECT json_build_object('data', json_build_object('calls',
    ${LIST(CALLS, 'calls WHERE organization_id = $1 AND deleted_at IS NULL', '50')})) AS answer`,
  tree: `SELECT json_build_object('data', json_build_object('agents', json_build_object('nodes',
    (SELECT json_agg(json_build_object('id', a.id, 'name', a.name, 'calls',
      json_build_object('nodes', c.nodes)) ORDER BY a.created_at DESC, a.id DESC)
    FROM (SELECT id, name, organization_id, created_at FROM agents
      WHERE organization_id = $1 AND deleted_at IS NULL
      ORDER BY created_at DESC, id DESC LIMIT 10) a
    CROSS JOIN LATERAL (SELECT json_agg(json_build_object('id', k.id, 'status', k.status, 'number',
        json_build_object('id', n.id, 'phoneNumber', n.phone_number, 'name', n.name))
        ORDER BY k.created_at DESC, k.id DESC) AS nodes
      FROM (SELECT id, status, phone_number_id, created_at FROM calls
        WHERE organization_id = a.organization_id AND agent_id = a.id AND deleted_at IS NULL
        ORDER BY created_at DESC, id DESC LIMIT 10) k
      JOIN phone_numbers n ON n.id = k.phone_number_id) c)))) AS answer`,
  dashboard: `SELECT json_build_object('data', json_build_object(
    'viewer', json_build_object('organization',
      (SELECT json_build_object('id', id, 'name', name) FROM organizations WHERE id = $1)),
    'organization', (SELECT json_build_object('id', id, 'name', name) FROM organizations WHERE id = $1),
    'agents', ${LIST('id, name, status', 'agents WHERE organization_id = $1 AND deleted_at IS NULL', '5')},
    'calls', ${LIST(CALLS, 'calls WHERE organization_id = $1 AND deleted_at IS NULL', '10')},
    'campaigns', ${LIST('id, name, status', 'campaigns WHERE organization_id = $1 AND deleted_at IS NULL', '5')},
    'phoneNumbers', ${LIST('id, phone_number AS "phoneNumber", name', 'phone_numbers WHERE organization_id = $1 AND released_at IS NULL', '5')},
    'contactFolders', ${LIST('id, name, contact_count AS "contactCount"', 'contact_folders WHERE organization_id = $1', '5')},
    'contacts', ${LIST('id, first_name AS "firstName", phone_number AS "phoneNumber"', 'contacts WHERE organization_id = $1', '10')}
  )) AS answer`,
};

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { operationName, variables } = JSON.parse(Buffer.concat(chunks).toString()) as {
      operationName: string;
      variables: { id?: string };
    };
    const values = operationName === 'one' ? [organizationId, variables.id] : [organizationId];
    pool
      .query<{ answer: unknown }>({
        name: operationName,
        text: `SELECT (${STATEMENTS[operationName]})::text AS answer`,
        values,
      })
      .then(({ rows }) => {
        response.setHeader('content-type', 'application/json; charset=utf-8');
        response.end(rows[0]?.answer);
      })
      .catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
});
server.listen(port, '127.0.0.1', () => process.stdout.write('ready\n'));
