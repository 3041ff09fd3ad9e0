/** Every list of the graph: its query, and rows for it with few distinct sort values. */
import type { App } from '../../../src/app.ts';
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import type { ToolDefinition } from '../../../src/tools/definition.ts';
import { accepted } from '../../support/calling.ts';
import type { TestServer } from '../../support/servers/server.ts';

/** A row to be made: which of a few values its sort columns have. */
export interface RowSeed {
  a: number;
  b: number;
}

export interface ListCase {
  /** The type and the field. */
  list: string;
  /** Values of `orderBy.field`. Absent: the list has one order. */
  sort?: readonly string[];
  /** Arguments beside those for paging. */
  args?: string;
  /** What tells the items apart. Default: `id`. */
  identity?: string;
  /** Replaces the rows by others and returns the id of the parent. */
  fill: (world: World, rows: readonly RowSeed[]) => Promise<string | undefined>;
  /** The query around the list, and where it is in the answer. Default: by `Query` or `node`. */
  within?: { document: (list: string) => string; path: readonly string[] };
  /** Takes a row out of the list for good. */
  remove: (app: App, id: string) => Promise<unknown>;
  /** Whether it is a row that others need. */
  isFixed?: (world: World, id: string) => boolean;
  /** Moves a row within the list. */
  move?: (app: App, id: string, row: RowSeed) => Promise<unknown>;
}

/** What rows refer to. */
export interface World {
  server: TestServer;
  app: App;
  organizationId: string;
  voiceId: string;
  agentId: string;
  knowledgeBaseId: string;
  folderId: string;
  importId: string;
  numberId: string;
  campaignId: string;
  campaignContactId: string;
  callId: string;
}

export async function createWorld(server: TestServer): Promise<World> {
  const { app, organizationId } = server;
  const { db } = app;
  const world: World = {
    server,
    app,
    organizationId,
    voiceId: newId(),
    agentId: newId(),
    knowledgeBaseId: newId(),
    folderId: newId(),
    importId: newId(),
    numberId: newId(),
    campaignId: newId(),
    campaignContactId: newId(),
    callId: newId(),
  };
  const { voiceId, agentId, folderId, campaignId } = world;
  const common = { organizationId, status: 'ACTIVE', syncedRevision: 1 } as const;
  await db.voice.create({ data: { id: voiceId, ...common, type: 'REFERENCE', name: 'Voice' } });
  await db.agent.create({ data: { id: agentId, ...common, ...AGENT, voiceId, name: 'Parent' } });
  await db.knowledgeBase.create({
    data: { id: world.knowledgeBaseId, ...common, name: 'Parent' },
  });
  await db.contactFolder.create({ data: { id: folderId, organizationId, name: 'Parent' } });
  await db.contactImport.create({
    data: { id: world.importId, organizationId, folderId, ...IMPORT, sizeBytes: 1 },
  });
  await db.phoneNumber.create({
    data: { id: world.numberId, organizationId, phoneNumber: '+19999', provider: 'SIP' },
  });
  await db.campaign.create({
    data: { id: campaignId, organizationId, agentId, ...CAMPAIGN, name: 'Parent' },
  });
  await db.campaignContact.create({
    data: { id: world.campaignContactId, ...campaignContactRow(world, 1_000), createdAt: at(0) },
  });
  await db.call.create({ data: { id: world.callId, ...callRow(world), deletedAt: null } });
  return world;
}

/** A call that has ended, so that nothing happens to it. */
export const callRow = ({ organizationId, agentId, numberId, campaignId }: World) => ({
  organizationId,
  agentId,
  phoneNumberId: numberId,
  campaignId,
  direction: 'OUTBOUND' as const,
  medium: 'SIP' as const,
  status: 'COMPLETED' as const,
  ...accepted(),
  maxDurationSeconds: 60,
  joinTimeoutSeconds: 30,
  endedAt: new Date(),
});

export const campaignContactRow = ({ organizationId, campaignId }: World, position: number) => ({
  organizationId,
  campaignId,
  position,
  identity: `id:${position}`,
  phoneNumber: numberOf(0, position),
  status: 'SCHEDULED' as const,
  nextEligibleAt: new Date(),
});

export const CAMPAIGN = {
  status: 'DRAFT' as const,
  contactSource: 'MANUAL' as const,
  phoneRotationStrategy: 'RANDOM' as const,
  scheduleType: 'IMMEDIATE' as const,
  timezone: 'UTC',
  workingDays: [1, 2, 3, 4, 5],
  maxConcurrentCalls: 1,
  retryFailed: false,
  maxRetryAttempts: 0,
  retryDelaySeconds: 60,
};

const AGENT = {
  systemPrompt: 'Be brief.',
  model: 'ultravox-v0.7',
  temperature: 0.3,
  recordingEnabled: false,
};

const TOOL = {
  modelToolName: 'tool',
  description: 'A tool.',
  definition: {
    http: { url: 'https://example.com/lookup', method: 'GET' },
    authentication: [],
    authenticationRevision: 1,
    dynamicParameters: [],
    staticParameters: [],
    automaticParameters: [],
    timeout: null,
    precomputable: false,
    defaultReaction: 'SPEAKS',
    staticResponse: null,
  } satisfies ToolDefinition,
};

const IMPORT = {
  filename: 'contacts.csv',
  status: 'COMPLETED' as const,
  mapping: { columns: [] },
  updateExisting: false,
};

const times = [0, 1, 2].map((day) => new Date(Date.UTC(2026, 0, 1 + day)));
export const at = (value: number): Date => times[value % 3]!;
export const word = (value: number): string => `word ${value % 3}`;
export const uuid = (id: string): string => id.slice(4);

const synced = ({ organizationId }: World) =>
  ({ id: newId(), organizationId, status: 'ACTIVE', syncedRevision: 1 }) as const;
export const named = ({ a, b }: RowSeed) => ({
  name: word(b),
  createdAt: at(a),
  updatedAt: at(a + b),
});

const agentRow = (world: World, seed: RowSeed) => ({
  ...synced(world),
  ...AGENT,
  ...named(seed),
  voiceId: world.voiceId,
});

/** With `b` of 0 a contact has no name. */
const person = ({ a, b }: RowSeed) => ({
  createdAt: at(a),
  firstName: b === 0 ? null : word(a),
  lastName: b === 0 ? null : word(a + b),
});

export const RESOURCE_CASES: ListCase[] = [
  {
    list: 'Query.agents',
    sort: ['CREATED_AT', 'UPDATED_AT', 'NAME'],
    fill: fillAgents,
    isFixed: ({ agentId }, id) => uuid(id) === agentId,
    remove: ({ db }, id) => db.agent.delete({ where: { id: uuid(id) } }),
    move: ({ db }, id, seed) => db.agent.update({ where: { id: uuid(id) }, data: named(seed) }),
  },
  ...['Voice.agents', 'Tool.agents', 'KnowledgeBase.agents'].map(
    (list): ListCase => ({
      list,
      sort: ['CREATED_AT', 'NAME'],
      fill: (world, rows) => fillAgentsOf(list, world, rows),
      isFixed: ({ agentId }, id) => uuid(id) === agentId,
      remove: ({ db }, id) =>
        db.agent.update({ where: { id: uuid(id) }, data: { deletedAt: new Date() } }),
      move: ({ db }, id, seed) => db.agent.update({ where: { id: uuid(id) }, data: named(seed) }),
    }),
  ),
  {
    list: 'Query.voices',
    sort: ['CREATED_AT', 'NAME', 'LANGUAGE'],
    args: 'filter: { search: "word" }',
    async fill(world, rows) {
      const { db } = world.app;
      await db.voice.deleteMany({ where: { name: { startsWith: 'word' } } });
      const data = rows.map((seed) => ({
        ...synced(world),
        ...named(seed),
        type: 'REFERENCE' as const,
        language: seed.b === 0 ? null : word(seed.b),
      }));
      await db.voice.createMany({ data });
      return undefined;
    },
    remove: ({ db }, id) => db.voice.delete({ where: { id: uuid(id) } }),
    move: ({ db }, id, { a, b }) =>
      db.voice.update({
        where: { id: uuid(id) },
        data: { name: word(a), language: b === 0 ? null : word(b) },
      }),
  },
  {
    list: 'Query.tools',
    sort: ['CREATED_AT', 'UPDATED_AT', 'NAME'],
    async fill(world, rows) {
      const { db } = world.app;
      await db.agentTool.deleteMany({});
      await db.tool.deleteMany({});
      const data = rows.map((seed) => ({ ...synced(world), ...named(seed), ...TOOL }));
      await db.tool.createMany({ data });
      return undefined;
    },
    remove: ({ db }, id) => db.tool.delete({ where: { id: uuid(id) } }),
    move: ({ db }, id, seed) => db.tool.update({ where: { id: uuid(id) }, data: named(seed) }),
  },
  {
    list: 'Query.knowledgeBases',
    sort: ['CREATED_AT', 'UPDATED_AT', 'NAME'],
    async fill(world, rows) {
      const { db } = world.app;
      await db.knowledgeBase.deleteMany({ where: { id: { not: world.knowledgeBaseId } } });
      await db.knowledgeBase.createMany({
        data: rows.map((seed) => ({ ...synced(world), ...named(seed) })),
      });
      return undefined;
    },
    isFixed: ({ knowledgeBaseId }, id) => uuid(id) === knowledgeBaseId,
    remove: ({ db }, id) => db.knowledgeBase.delete({ where: { id: uuid(id) } }),
    move: ({ db }, id, seed) =>
      db.knowledgeBase.update({ where: { id: uuid(id) }, data: named(seed) }),
  },
  {
    list: 'KnowledgeBase.sources',
    sort: ['CREATED_AT'],
    async fill(world, rows) {
      const { db } = world.app;
      const { knowledgeBaseId } = world;
      await db.knowledgeSource.deleteMany({});
      await db.knowledgeSource.createMany({
        data: rows.map((seed) => ({
          ...synced(world),
          ...named(seed),
          knowledgeBaseId,
          kind: 'WEB' as const,
        })),
      });
      return publicId('KnowledgeBase', knowledgeBaseId);
    },
    remove: ({ db }, id) =>
      db.knowledgeSource.update({ where: { id: uuid(id) }, data: { deletedAt: new Date() } }),
    move: ({ db }, id, seed) =>
      db.knowledgeSource.update({ where: { id: uuid(id) }, data: named(seed) }),
  },
  {
    list: 'Query.contactFolders',
    sort: ['CREATED_AT', 'NAME', 'CONTACT_COUNT'],
    async fill(world, rows) {
      const { db } = world.app;
      const { organizationId } = world;
      await db.contactFolder.deleteMany({ where: { id: { not: world.folderId } } });
      await db.contactFolder.createMany({
        data: rows.map((seed) => ({
          id: newId(),
          organizationId,
          ...named(seed),
          contactCount: seed.b,
        })),
      });
      return undefined;
    },
    isFixed: ({ folderId }, id) => uuid(id) === folderId,
    remove: ({ db }, id) => db.contactFolder.delete({ where: { id: uuid(id) } }),
    move: ({ db }, id, seed) =>
      db.contactFolder.update({ where: { id: uuid(id) }, data: named(seed) }),
  },
  ...['Query.contacts', 'ContactFolder.contacts'].map(
    (list): ListCase => ({
      list,
      sort: ['CREATED_AT', 'PHONE_NUMBER', 'FIRST_NAME', 'LAST_NAME'],
      async fill(world, rows) {
        const { db } = world.app;
        const { organizationId, folderId } = world;
        await db.contact.deleteMany({});
        await db.contact.createMany({
          data: rows.map((seed, index) => ({
            id: newId(),
            organizationId,
            folderId,
            phoneNumber: numberOf(seed.a, index),
            searchText: '',
            ...person(seed),
          })),
        });
        return publicId('ContactFolder', folderId);
      },
      remove: ({ db }, id) => db.contact.delete({ where: { id: uuid(id) } }),
      move: ({ db }, id, seed) =>
        db.contact.update({ where: { id: uuid(id) }, data: person(seed) }),
    }),
  ),
  {
    list: 'Query.contactImports',
    sort: ['CREATED_AT', 'SIZE'],
    fill: fillImports,
    isFixed: ({ importId }, id) => uuid(id) === importId,
    remove: ({ db }, id) => db.contactImport.delete({ where: { id: uuid(id) } }),
    move: ({ db }, id, { a, b }) =>
      db.contactImport.update({
        where: { id: uuid(id) },
        data: { createdAt: at(a), sizeBytes: b },
      }),
  },
  {
    list: 'ContactFolder.imports',
    fill: fillImports,
    isFixed: ({ importId }, id) => uuid(id) === importId,
    remove: ({ db }, id) => db.contactImport.delete({ where: { id: uuid(id) } }),
  },
  {
    list: 'ContactImport.problems',
    identity: 'row',
    async fill({ app, importId }, rows) {
      await app.db.contactImportProblem.deleteMany({});
      await app.db.contactImportProblem.createMany({
        data: rows.map((_seed, row) => ({ importId, row, reason: 'No number.' })),
      });
      return publicId('ContactImport', importId);
    },
    remove: ({ db }, row) => db.contactImportProblem.deleteMany({ where: { row: Number(row) } }),
  },
  {
    list: 'ContactImport.warnings',
    identity: 'row',
    async fill({ app, importId }, rows) {
      await app.db.contactImportWarning.deleteMany({});
      await app.db.contactImportWarning.createMany({
        data: rows.map((_seed, row) => ({ importId, row, reason: 'Ignored "email".' })),
      });
      return publicId('ContactImport', importId);
    },
    remove: ({ db }, row) => db.contactImportWarning.deleteMany({ where: { row: Number(row) } }),
  },
  {
    list: 'Query.doNotCallEntries',
    sort: ['CREATED_AT'],
    identity: 'phoneNumber',
    async fill({ app, organizationId }, rows) {
      await app.db.doNotCallEntry.deleteMany({});
      await app.db.doNotCallEntry.createMany({
        data: rows.map(({ a, b }, index) => ({
          organizationId,
          phoneNumber: numberOf(b, index),
          createdAt: at(a),
        })),
      });
      return undefined;
    },
    remove: ({ db }, phoneNumber) => db.doNotCallEntry.deleteMany({ where: { phoneNumber } }),
    move: ({ db }, phoneNumber, { a }) =>
      db.doNotCallEntry.updateMany({ where: { phoneNumber }, data: { createdAt: at(a) } }),
  },
  ...['Query.apiKeys', 'Organization.apiKeys'].map(
    (list): ListCase => ({
      list,
      sort: ['CREATED_AT'],
      async fill({ app, organizationId }, rows) {
        await app.db.apiKey.deleteMany({ where: { prefix: 'test' } });
        await app.db.apiKey.createMany({
          data: rows.map(({ a }) => ({
            id: newId(),
            organizationId,
            name: 'Key',
            prefix: 'test',
            hash: newId(),
            createdAt: at(a),
          })),
        });
        return publicId('Organization', organizationId);
      },
      // The key of the test itself is left alone.
      remove: ({ db }, id) => db.apiKey.deleteMany({ where: { id: uuid(id), prefix: 'test' } }),
      move: ({ db }, id, { a }) =>
        db.apiKey.updateMany({
          where: { id: uuid(id), prefix: 'test' },
          data: { createdAt: at(a) },
        }),
    }),
  ),
];

export const numberOf = (group: number, index: number): string =>
  `+1${group}${String(index).padStart(3, '0')}`;

async function fillImports(world: World, rows: readonly RowSeed[]): Promise<string> {
  const { db } = world.app;
  const { organizationId, folderId } = world;
  await db.contactImport.deleteMany({ where: { id: { not: world.importId } } });
  await db.contactImport.createMany({
    data: rows.map(({ a, b }) => ({
      id: newId(),
      organizationId,
      folderId,
      ...IMPORT,
      sizeBytes: b,
      createdAt: at(a),
    })),
  });
  return publicId('ContactFolder', folderId);
}

async function fillAgents(world: World, rows: readonly RowSeed[]): Promise<string> {
  const { db } = world.app;
  await db.agent.deleteMany({ where: { id: { not: world.agentId } } });
  await db.agent.createMany({ data: rows.map((seed) => agentRow(world, seed)) });
  return publicId('Voice', world.voiceId);
}

/** As `fillAgents`, for a list of the agents that use an object: all of them use it. */
async function fillAgentsOf(list: string, world: World, rows: readonly RowSeed[]): Promise<string> {
  const { db } = world.app;
  const { organizationId, knowledgeBaseId } = world;
  const voice = await fillAgents(world, rows);
  if (list === 'Voice.agents') return voice;
  const agents = await db.agent.findMany({ select: { id: true } });
  const users = agents.map(({ id: agentId }) => ({ organizationId, agentId, position: 0 }));
  if (list === 'KnowledgeBase.agents') {
    await db.agentKnowledgeBase.deleteMany({});
    await db.agentKnowledgeBase.createMany({
      data: users.map((user) => ({ ...user, knowledgeBaseId })),
    });
    return publicId('KnowledgeBase', knowledgeBaseId);
  }
  const tool = await db.tool.create({ data: { ...synced(world), name: 'Parent', ...TOOL } });
  await db.agentTool.deleteMany({});
  await db.agentTool.createMany({ data: users.map((user) => ({ ...user, toolId: tool.id })) });
  return publicId('Tool', tool.id);
}
