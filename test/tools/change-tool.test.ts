import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { lockReferences } from '../../src/sync/references.ts';
import { NotReadyError } from '../../src/sync/sync-kind.ts';
import { selectedToolFor } from '../../src/tools/service.ts';
import { sessionOf, untilBlocked } from '../support/locks.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';
import {
  agentWith,
  FULL,
  list,
  MINIMAL,
  mutate,
  read,
  remoteTools,
  rowOf,
  uuid,
  type View,
} from './support.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());
afterEach(() => server.simulator.clearFaults());

const agentRevision = async (agentId: string): Promise<number> =>
  (await server.app.db.agent.findUniqueOrThrow({ where: { id: uuid(agentId) } })).revision;

describe('updateTool', () => {
  it('changes the fields that were sent, clears those that are null and replaces the remote tool', async () => {
    const { tool } = await mutate(server.client, 'createTool', FULL);
    const { tool: changed, userErrors } = await mutate(server.client, 'updateTool', {
      id: tool.id,
      name: 'Change an order',
      timeout: null,
      staticResponse: null,
      http: { url: 'https://api.acme.com/v2/{orderId}/{part}' },
    });
    expect(userErrors).toEqual([]);
    expect(changed).toEqual({
      ...tool,
      name: 'Change an order',
      timeout: null,
      staticResponse: null,
      http: { url: 'https://api.acme.com/v2/{orderId}/{part}', method: 'POST' },
    });
    const [remote] = await remoteTools(server, tool.id);
    expect(remote.definition.timeout).toBeUndefined();
    expect(remote.definition.http.baseUrlPattern).toBe('https://api.acme.com/v2/{orderId}/{part}');
    expect(remote.definition.requirements).toBeDefined();
  });

  it('sends nothing to Ultravox when no field is given', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const before = await rowOf(server, tool.id);
    const { tool: same, userErrors } = await mutate(server.client, 'updateTool', { id: tool.id });
    expect(userErrors).toEqual([]);
    expect(same).toEqual(tool);
    expect(await rowOf(server, tool.id)).toEqual(before);
  });

  it('checks the input against the stored definition', async () => {
    const { tool } = await mutate(server.client, 'createTool', FULL);
    const { userErrors } = await mutate(server.client, 'updateTool', {
      id: tool.id,
      name: null,
      http: { url: 'https://api.acme.com/{orderId}', method: 'GET' },
    });
    expect(userErrors.map(({ path }) => path.join('.')).sort()).toEqual([
      'dynamicParameters.1.location',
      'name',
      'staticParameters.0.location',
      'staticParameters.1.location',
    ]);
    expect(await read(server.client, tool.id)).toEqual(tool);
  });

  it('rejects a modelToolName that another tool of the same agent has', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const { tool: other } = await mutate(server.client, 'createTool', {
      ...MINIMAL,
      modelToolName: 'find_order',
    });
    const rename = (modelToolName: string) =>
      mutate(server.client, 'updateTool', { id: tool.id, modelToolName });
    const agentId = await agentWith(server, tool.id);
    expect((await rename('find_order')).userErrors).toEqual([]);
    expect((await rename('look_up')).tool.modelToolName).toBe('look_up');
    const { organizationId } = await rowOf(server, tool.id);
    await server.app.db.agentTool.create({
      data: { organizationId, agentId: uuid(agentId), toolId: uuid(other.id), position: 1 },
    });
    await server.app.db.agent.update({
      where: { id: uuid(agentId) },
      data: { builtInConfig: { transfer: null, hangUp: true, leaveVoicemail: false } },
    });
    for (const name of ['find_order', 'hangUp']) {
      expect((await rename(name)).userErrors).toMatchObject([
        { code: 'INVALID_INPUT', path: ['modelToolName'], details: { agentIds: [agentId] } },
      ]);
    }
    for (const name of ['search', 'leaveVoicemail']) {
      expect((await rename(name)).tool.modelToolName).toBe(name);
    }
  });

  it('rejects one of two concurrent renames to the same name', async () => {
    const { db } = server.app;
    const [one, two] = await Promise.all(
      ['one', 'two'].map(async (modelToolName) => {
        const { tool } = await mutate(server.client, 'createTool', { ...MINIMAL, modelToolName });
        return tool.id;
      }),
    );
    const { organizationId } = await rowOf(server, one);
    const agentId = uuid(await agentWith(server, one));
    await db.agentTool.create({
      data: { organizationId, agentId, toolId: uuid(two), position: 1 },
    });
    // Keeps the first rename from being committed until the second one has been checked or waits.
    await db.$executeRaw`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END'`;
    await db.$executeRaw`CREATE TRIGGER wait BEFORE UPDATE ON tools FOR EACH ROW EXECUTE FUNCTION wait()`;
    let renaming: Promise<View[]> | undefined;
    await db.$transaction(async (tx) => {
      await tx.$queryRaw`SELECT 1 AS locked FROM pg_advisory_xact_lock(1)`;
      renaming = Promise.all(
        [one, two].map((id) => mutate(server.client, 'updateTool', { id, modelToolName: 'same' })),
      );
      await untilBlocked(db, { holder: await sessionOf(tx), statement: '%', count: 2 });
    });
    const codes = (await renaming!).flatMap(({ userErrors }) => userErrors).map(({ code }) => code);
    await db.$executeRaw`DROP FUNCTION wait CASCADE`;
    expect(codes).toEqual(['INVALID_INPUT']);
  });

  it('applies concurrent updates one after the other', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const schema = { type: 'string' };
    await Promise.all([
      mutate(server.client, 'updateTool', { id: tool.id, timeout: '5s' }),
      mutate(server.client, 'updateTool', { id: tool.id, staticResponse: 'Yes' }),
      mutate(server.client, 'updateTool', {
        id: tool.id,
        dynamicParameters: [{ name: 'q', location: 'QUERY', schema }],
      }),
      mutate(server.client, 'updateTool', { id: tool.id, defaultReaction: 'SPEAKS_ONCE' }),
    ]);
    expect(await read(server.client, tool.id)).toMatchObject({
      timeout: '5s',
      staticResponse: 'Yes',
      dynamicParameters: [{ name: 'q' }],
      defaultReaction: 'SPEAKS_ONCE',
    });
    await until('the last revision', async () => {
      const row = await rowOf(server, tool.id);
      return row.syncedRevision === row.revision;
    });
    const [remote] = await remoteTools(server, tool.id);
    expect(remote.definition).toMatchObject({
      timeout: '5s',
      staticResponse: { responseText: 'Yes' },
      dynamicParameters: [{ name: 'q' }],
      defaultReaction: 'AGENT_REACTION_SPEAKS_ONCE',
    });
  });

  it('leaves the tool ACTIVE while Ultravox is unavailable and sends the change later', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    server.simulator.setFaults([
      { kind: 'status', status: 503, method: 'PUT', path: '^/api/tools', count: 1 },
    ]);
    const input = { id: tool.id, description: 'Newer' };
    const { tool: changed } = await mutate(server.client, 'updateTool', input);
    expect(changed).toMatchObject({ status: 'ACTIVE', description: 'Newer' });
    expect(changed.syncError).toBeTruthy();
    await until(
      'the change',
      async () => (await remoteTools(server, tool.id))[0].definition.description === 'Newer',
    );
  });

  it('rejects a tool of another organization together with every other problem', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const { client } = await server.newOrganization();
    const { userErrors } = await mutate(client, 'updateTool', { id: tool.id, timeout: '1h' });
    expect(userErrors).toMatchObject([
      { code: 'NOT_FOUND', path: ['id'] },
      { code: 'INVALID_INPUT', path: ['timeout'] },
    ]);
    const wrongId = await mutate(client, 'updateTool', { id: 'x', description: null });
    expect(wrongId.userErrors.map(({ code }) => code)).toEqual(['INVALID_ID', 'REQUIRED']);
    expect(await read(client, tool.id)).toBeNull();
    expect((await list(client)).totalCount).toBe(0);
  });

  it('resyncs the agents of the tool only when its authentication changes', async () => {
    const { tool } = await mutate(server.client, 'createTool', FULL);
    const agentId = await agentWith(server, tool.id);
    const before = await agentRevision(agentId);
    const resyncs = async (): Promise<number> => {
      const jobs = await server.app.db.$queryRaw<unknown[]>`
        SELECT 1 FROM pgboss.job
        WHERE name = 'resyncAgents' AND data->>'id' = ${uuid(tool.id)}`;
      return jobs.length;
    };
    expect(await resyncs()).toBe(1);
    await mutate(server.client, 'updateTool', { id: tool.id, description: 'Other text' });
    expect(await resyncs()).toBe(1);
    await mutate(server.client, 'updateTool', {
      id: tool.id,
      authentication: [{ queryApiKey: { name: 'key', value: 'another' } }],
    });
    expect(await resyncs()).toBe(2);
    await until('the agent', async () => (await agentRevision(agentId)) > before);
    const row = await rowOf(server, tool.id);
    expect(Object.values(selectedToolFor(server.app, row).authTokens ?? {})).toEqual(['another']);
    // Tokens must not be sent before Ultravox has the authentication that they belong to.
    expect(() => selectedToolFor(server.app, { ...row, syncedRevision: 2 })).toThrow(NotReadyError);

    const removed = { id: tool.id, authentication: null };
    expect((await mutate(server.client, 'updateTool', removed)).tool.authentication).toEqual([]);
    expect(selectedToolFor(server.app, await rowOf(server, tool.id)).authTokens).toBeUndefined();
    expect((await remoteTools(server, tool.id))[0].definition.requirements).toBeUndefined();
  });
});

describe('deleteTool', () => {
  it('rejects a tool that agents use and lists those agents', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const agentId = await agentWith(server, tool.id);
    const { userErrors } = await mutate(server.client, 'deleteTool', { id: tool.id });
    expect(userErrors).toMatchObject([{ code: 'IN_USE', details: { agentIds: [agentId] } }]);
    await server.app.db.agent.update({
      where: { id: uuid(agentId) },
      data: { deletedAt: new Date() },
    });
    const deleted = await mutate(server.client, 'deleteTool', { id: tool.id });
    expect(deleted.deletedToolId).toBe(tool.id);
    expect(await read(server.client, tool.id)).toBeNull();
    expect(await remoteTools(server, tool.id)).toEqual([]);
    const again = await mutate(server.client, 'deleteTool', { id: tool.id });
    expect(again.userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
  });

  it('waits for a concurrent write that adds the tool to an agent, and is then rejected', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const { db } = server.app;
    const { organizationId, id } = await rowOf(server, tool.id);
    const agentId = await agentWith(
      server,
      (await mutate(server.client, 'createTool', MINIMAL)).tool.id,
    );
    let deleting: Promise<View> | undefined;
    await db.$transaction(async (tx) => {
      expect([...(await lockReferences(tx, 'tools', organizationId, [id])).keys()]).toEqual([id]);
      deleting = mutate(server.client, 'deleteTool', { id: tool.id });
      const statement = '%SELECT id FROM tools%FOR UPDATE';
      await untilBlocked(db, { holder: await sessionOf(tx), statement });
      await tx.agentTool.create({
        data: { organizationId, agentId: uuid(agentId), toolId: id, position: 1 },
      });
    });
    expect((await deleting).userErrors).toMatchObject([{ code: 'IN_USE' }]);
    const other = (await mutate(server.client, 'createTool', MINIMAL)).tool.id;
    await mutate(server.client, 'deleteTool', { id: other });
    await db.$transaction(async (tx) => {
      const locked = await lockReferences(tx, 'tools', organizationId, [uuid(other)]);
      expect(locked).toEqual(new Map());
    });
  });

  it('rejects a tool of another organization', async () => {
    const { tool } = await mutate(server.client, 'createTool', MINIMAL);
    const { client } = await server.newOrganization();
    const { userErrors } = await mutate(client, 'deleteTool', { id: tool.id });
    expect(userErrors).toMatchObject([{ code: 'NOT_FOUND', path: ['id'] }]);
    expect(await read(server.client, tool.id)).not.toBeNull();
  });
});
