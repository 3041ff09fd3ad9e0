/** The time limit of reads, on a table too large to read within one millisecond. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { makeFolder } from '../contacts/import/upload.ts';
import { runMutation } from '../support/calling.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

const CONTACTS = 50_000;
/** More than a process has connections for reads. */
const TIMES = 25;

let server: TestServer;
let folderId: string;
beforeAll(async () => {
  server = await startTestServer({
    settings: { READ_TIMEOUT_SECONDS: '0.001', LOG_LEVEL: 'error' },
  });
  folderId = await makeFolder(server);
  await server.app.db.$executeRaw`
    INSERT INTO contacts (id, organization_id, folder_id, phone_number, search_text, updated_at)
    SELECT gen_random_uuid(), ${server.organizationId}::uuid, ${folderId.slice(4)}::uuid,
      '+1415' || lpad(n::text, 7, '0'), 'contact ' || n, now()
    FROM generate_series(1, ${CONTACTS}) AS n`;
});
afterAll(() => server?.close());

const SLOW = '{ contacts(filter: { search: "contact" }) { totalCount } }';

describe('a read that takes longer than READ_TIMEOUT_SECONDS', () => {
  it('is stopped with an error that says what to narrow', async () => {
    const { status, data, errors } = await server.client.send(SLOW);
    expect([status, data]).toEqual([504, null]);
    expect(errors).toEqual([
      expect.objectContaining({
        message: expect.stringMatching(/^Reading `contacts.totalCount` took too long.* `filter`/),
        path: ['contacts', 'totalCount'],
        extensions: { code: 'QUERY_TIMEOUT' },
      }),
    ]);
  });

  it('is stopped alike below the root, and other fields are answered', async () => {
    const { status, data, errors } = await server.client.send(`{
      __typename
      contactFolder(id: "${folderId}") { contacts(last: 1, filter: { search: "contact" }, orderBy: { field: PHONE_NUMBER, direction: DESC }) { totalCount } }
    }`);
    expect(status).toBe(200);
    expect(data).toEqual({ __typename: 'Query', contactFolder: null });
    expect(errors?.map(({ extensions }) => extensions.code)).toEqual(['QUERY_TIMEOUT']);
  });

  it('is logged at most ten times for one operation', async () => {
    const warn = vi.spyOn(server.app.log, 'warn');
    const folders = Array.from(
      { length: TIMES },
      (_, n) => `f${n}: contactFolder(id: "${folderId}") {
        contacts(filter: { search: "contact" }) { totalCount } }`,
    );
    const { errors } = await server.client.send(`{ ${folders.join()} }`);
    expect(errors).toHaveLength(TIMES);
    const logged = [...warn.mock.calls] as unknown[][];
    warn.mockRestore();
    expect(logged).toHaveLength(11);
    expect(logged.at(-1)).toEqual([
      { requestId: expect.any(String), omitted: TIMES - 10 },
      'More errors of the operation',
    ]);
  });

  it('leaves its connection free and no statement running', async () => {
    for (let time = 0; time < TIMES; time += 1) {
      const { errors } = await server.client.send(SLOW);
      expect(errors?.map(({ extensions }) => extensions.code)).toEqual(['QUERY_TIMEOUT']);
    }
    await until('no statement to run', async () => {
      const running = await server.app.db.$queryRaw<unknown[]>`
        SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active' AND query LIKE '%search_text%'
          AND pid <> pg_backend_pid()`;
      return running.length === 0;
    });
  });

  it('is stopped while it waits for other counts of its organization', async () => {
    const seconds = 1;
    const limited = await startTestServer({
      beside: server,
      settings: { ROLE: 'api', READ_TIMEOUT_SECONDS: `${seconds}` },
    });
    const count = async () => {
      const { errors } = await limited.client.send('{ contacts { totalCount } }');
      expect(errors).toMatchObject([
        { path: ['contacts', 'totalCount'], extensions: { code: 'QUERY_TIMEOUT' } },
      ]);
    };
    const started = performance.now();
    await server.app.db
      .$transaction(async (tx) => {
        await tx.$executeRaw`LOCK TABLE contacts IN ACCESS EXCLUSIVE MODE`;
        await Promise.all(Array.from({ length: 10 }, count));
      })
      .finally(() => limited.close());
    // One wait and one statement, not ten statements after each other.
    expect(performance.now() - started).toBeLessThan(5 * seconds * 1000);
  });

  it('is not part of a mutation or an export', async () => {
    const { contactCount, url } = await runMutation(
      server.client,
      'exportContacts',
      { filter: { search: 'contact' } },
      'contactCount url',
    );
    expect(contactCount).toBe(CONTACTS);
    const file = await (await fetch(url)).text();
    expect(file.trimEnd().split('\n')).toHaveLength(CONTACTS + 1);
  });
});

describe('counts of one organization', () => {
  it.each([
    ['of whole lists', '{ contacts { totalCount } }'],
    ['of relations', '{ contactFolders { nodes { contacts { totalCount } } } }'],
  ])('leave connections to the others: %s', async (_name, query) => {
    const limited = await startTestServer({
      beside: server,
      settings: { ROLE: 'api', READ_TIMEOUT_SECONDS: '5', DATABASE_CONNECTIONS: '16' },
    });
    const other = await limited.newOrganization();
    let finished = 0;
    const count = () => limited.client.send(query).finally(() => (finished += 1));
    let counts: Promise<unknown>[] = [];
    await server.app.db.$transaction(async (tx) => {
      await tx.$executeRaw`LOCK TABLE contacts IN ACCESS EXCLUSIVE MODE`;
      counts = Array.from({ length: 10 }, count);
      await until('a count to wait', async () => {
        const waiting = await server.app.db.$queryRaw<unknown[]>`
          SELECT 1 FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event_type = 'Lock'`;
        return waiting.length > 0;
      });
      const { data } = await other.client.send('{ agents { nodes { id } } }');
      expect([data, finished]).toEqual([{ agents: { nodes: [] } }, 0]);
    });
    await Promise.all(counts);
    await limited.close();
  });
});
