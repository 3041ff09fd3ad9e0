/** The graph that Apollo Server and Mercurius serve: the same tables, Prisma, one dataloader per relation. */
import DataLoader from 'dataloader';
import { PrismaClient } from '../../src/generated/prisma/client.ts';
import { newAdapter } from '../../src/infra/database/connections.ts';
import { peerEnvironment } from './environment.ts';

const { databaseUrl, organizationId } = peerEnvironment();
const db = new PrismaClient({
  adapter: newAdapter(databaseUrl, { max: 20 }),
});

export const typeDefs = /* GraphQL */ `
  type Query {
    agent(id: ID!): Agent
    agents(first: Int!): AgentConnection!
    calls(first: Int!): CallConnection!
    campaigns(first: Int!): CampaignConnection!
    phoneNumbers(first: Int!): PhoneNumberConnection!
    contactFolders(first: Int!): ContactFolderConnection!
    contacts(first: Int!): ContactConnection!
    organization: Organization!
    viewer: Viewer!
  }
  type Viewer { organization: Organization! }
  type Organization { id: ID! name: String! }
  type AgentConnection { nodes: [Agent!]! }
  type CallConnection { nodes: [Call!]! }
  type CampaignConnection { nodes: [Campaign!]! }
  type PhoneNumberConnection { nodes: [PhoneNumber!]! }
  type ContactFolderConnection { nodes: [ContactFolder!]! }
  type ContactConnection { nodes: [Contact!]! }
  type Agent {
    id: ID!
    name: String!
    status: String!
    systemPrompt: String!
    createdAt: String!
    calls(first: Int!): CallConnection!
  }
  type Call {
    id: ID!
    status: String!
    phoneNumber: String
    createdAt: String!
    endedAt: String
    number: PhoneNumber
  }
  type Campaign { id: ID! name: String! status: String! }
  type PhoneNumber { id: ID! phoneNumber: String! name: String }
  type ContactFolder { id: ID! name: String! contactCount: Int! }
  type Contact { id: ID! firstName: String phoneNumber: String! }
`;

const AGENT = { id: true, name: true, status: true, systemPrompt: true, createdAt: true } as const;
const CALL = {
  id: true,
  status: true,
  phoneNumber: true,
  createdAt: true,
  endedAt: true,
  agentId: true,
  phoneNumberId: true,
} as const;
const NUMBER = { id: true, phoneNumber: true, name: true } as const;
const NEWEST = [{ createdAt: 'desc' }, { id: 'desc' }] as const;

interface Loaders {
  numbers: DataLoader<string, unknown>;
  /** Pages of calls by agent, one loader for each page size. */
  callsOf: Map<number, DataLoader<string, unknown[]>>;
}

export interface PeerContext {
  loaders: Loaders;
}

export function createContext(): PeerContext {
  const numbers = new DataLoader(async (ids: readonly string[]) => {
    const rows = await db.phoneNumber.findMany({
      where: { organizationId, id: { in: [...ids] } },
      select: NUMBER,
    });
    const byId = new Map(rows.map((row) => [row.id, row]));
    return ids.map((id) => byId.get(id) ?? null);
  });
  return { loaders: { numbers, callsOf: new Map() } };
}

function callsOf({ loaders }: PeerContext, first: number): DataLoader<string, unknown[]> {
  const known = loaders.callsOf.get(first);
  if (known) return known;
  const loader = new DataLoader(async (ids: readonly string[]) => {
    const rows = await db.agent.findMany({
      where: { organizationId, id: { in: [...ids] } },
      select: {
        id: true,
        calls: {
          where: { deletedAt: null },
          select: CALL,
          orderBy: [...NEWEST],
          take: first,
        },
      },
    });
    const byId = new Map(rows.map((row) => [row.id, row.calls]));
    return ids.map((id) => byId.get(id) ?? []);
  });
  loaders.callsOf.set(first, loader);
  return loader;
}

function page<Row>(rows: Promise<Row[]>): Promise<{ nodes: Row[] }> {
  return rows.then((nodes) => ({ nodes }));
}

const organization = (): Promise<unknown> =>
  db.organization.findUnique({ where: { id: organizationId }, select: { id: true, name: true } });

interface First {
  first: number;
}

const iso = (field: 'createdAt' | 'endedAt') => (row: Record<string, Date | null>) =>
  row[field]?.toISOString() ?? null;

export const resolvers = {
  Query: {
    agent: (_: unknown, { id }: { id: string }) =>
      db.agent.findFirst({ where: { id, organizationId, deletedAt: null }, select: AGENT }),
    agents: (_: unknown, { first }: First) =>
      page(
        db.agent.findMany({
          where: { organizationId, deletedAt: null },
          select: AGENT,
          orderBy: [...NEWEST],
          take: first,
        }),
      ),
    calls: (_: unknown, { first }: First) =>
      page(
        db.call.findMany({
          where: { organizationId, deletedAt: null },
          select: CALL,
          orderBy: [...NEWEST],
          take: first,
        }),
      ),
    campaigns: (_: unknown, { first }: First) =>
      page(
        db.campaign.findMany({
          where: { organizationId, deletedAt: null },
          select: { id: true, name: true, status: true },
          orderBy: [...NEWEST],
          take: first,
        }),
      ),
    phoneNumbers: (_: unknown, { first }: First) =>
      page(
        db.phoneNumber.findMany({
          where: { organizationId, releasedAt: null },
          select: NUMBER,
          orderBy: [...NEWEST],
          take: first,
        }),
      ),
    contactFolders: (_: unknown, { first }: First) =>
      page(
        db.contactFolder.findMany({
          where: { organizationId },
          select: { id: true, name: true, contactCount: true },
          orderBy: [...NEWEST],
          take: first,
        }),
      ),
    contacts: (_: unknown, { first }: First) =>
      page(
        db.contact.findMany({
          where: { organizationId },
          select: { id: true, firstName: true, phoneNumber: true },
          orderBy: [...NEWEST],
          take: first,
        }),
      ),
    organization,
    viewer: () => ({}),
  },
  Viewer: { organization },
  Agent: {
    createdAt: iso('createdAt'),
    calls: ({ id }: { id: string }, { first }: First, context: PeerContext) =>
      page(callsOf(context, first).load(id)),
  },
  Call: {
    createdAt: iso('createdAt'),
    endedAt: iso('endedAt'),
    number: (
      { phoneNumberId }: { phoneNumberId: string | null },
      _: unknown,
      { loaders }: PeerContext,
    ) => (phoneNumberId ? loaders.numbers.load(phoneNumberId) : null),
  },
};
