/** Calls with the phone number of a contact. */
import type { GraphQLResolveInfo } from 'graphql';
import { ContactNode } from '../../contacts/graph/contact.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import type { Context } from '../../graphql/context.ts';
import { cursorWriter, readCursor } from '../../graphql/lists/cursors.ts';
import type { SortTerm } from '../../graphql/lists/keyset.ts';
import type { ListArgs } from '../../graphql/lists/list.ts';
import {
  type Connection,
  connectionCost,
  connectionOfPage,
  type RowsQuery,
  readPage,
  sourceOfPage,
} from '../../graphql/lists/page.ts';
import { batched, type Reader, readerOf } from '../../graphql/reading/batched.ts';
import { type RowSelection, rowSelection } from '../../graphql/reading/row-selection.ts';
import { findMany } from '../../graphql/reading/rows.ts';
import { phoneNumberForms } from '../../infra/phone-number.ts';
import { ownedAndNotDeleted } from '../../viewer.ts';
import { CallNode, calls } from './call.ts';

/** A position in the order of the calls. */
interface CallPosition {
  createdAt: Date;
  id: string;
}

interface PageKey {
  phoneNumber: string;
  query: RowsQuery<CallPosition>;
  selection: RowSelection;
}

const LIST = 'Contact.calls';
/** A statement for a single contact costs as much as a count. */
const STATEMENT_COST = 20;
const NODE_PATHS = [['nodes'], ['edges', 'node']];
/** Newest first. */
const ORDER: SortTerm[] = [
  { column: 'createdAt', direction: 'desc' },
  { column: 'id', direction: 'desc' },
];

const loadPage = batched<PageKey, Call[]>(async (reader, keys) => {
  const groups = Map.groupBy(keys, ({ query, selection }) => JSON.stringify([query, selection]));
  const pages = new Map<PageKey, Call[]>();
  for (const group of groups.values()) {
    const [{ query, selection }] = group as [PageKey, ...PageKey[]];
    const found = await findPages(reader, numbersOf(group), query);
    const ids = [...new Set(found.map(({ id }) => id))];
    const where = { ...ownedAndNotDeleted(reader.viewer), id: { in: ids } };
    const rows = await findMany<Call>(
      reader.app,
      'Call',
      { ...selection.query, where },
      selection.options,
    );
    const byId = new Map(rows.map((call) => [call.id, call]));
    const byPosition = Map.groupBy(found, ({ position }) => position);
    group.forEach((key, index) => {
      const page = byPosition.get(index + 1) ?? [];
      const calls = page.flatMap(({ id }) => byId.get(id) ?? []);
      pages.set(key, calls);
    });
  }
  return keys.map((key) => pages.get(key) ?? []);
});

/** Finds the same page of calls for each number. Each form of a number is read in index order. */
function findPages(
  { app, viewer }: Reader,
  numbers: Prisma.Sql,
  { after, before, inclusive, limit, inverted }: RowsQuery<CallPosition>,
): Promise<{ position: number; id: string }[]> {
  const order = inverted ? Prisma.sql`created_at, id` : Prisma.sql`created_at DESC, id DESC`;
  const [later, earlier] = inclusive
    ? [Prisma.sql`>=`, Prisma.sql`<=`]
    : [Prisma.sql`>`, Prisma.sql`<`];
  const beyond = (comparison: Prisma.Sql, place: CallPosition | null) =>
    place
      ? Prisma.sql`AND (created_at, id) ${comparison} (${place.createdAt}::timestamptz, ${place.id}::uuid)`
      : Prisma.empty;
  return app.db.$queryRaw`
    SELECT k.position::int, c.id FROM ${numbers}
    CROSS JOIN LATERAL (
      SELECT of_form.* FROM unnest(phone_number_forms(k.phone_number)) AS f(form)
      CROSS JOIN LATERAL (
        SELECT id, created_at FROM calls
        WHERE organization_id = ${viewer.organizationId}::uuid AND phone_number = f.form
          AND deleted_at IS NULL ${beyond(earlier, after)} ${beyond(later, before)}
        ORDER BY ${order} LIMIT ${limit}
      ) of_form
      ORDER BY ${order} LIMIT ${limit}
    ) c`;
}

const loadCount = batched<{ phoneNumber: string }, number>(async ({ app, viewer }, keys) => {
  const rows = await app.db.$queryRaw<{ position: number; count: number }[]>`
    SELECT k.position::int, count(*)::int AS count FROM ${numbersOf(keys)}
    JOIN calls c ON c.organization_id = ${viewer.organizationId}::uuid
      AND c.phone_number = ANY(phone_number_forms(k.phone_number)) AND c.deleted_at IS NULL
    GROUP BY k.position`;
  const byPosition = new Map(rows.map(({ position, count }) => [position, count]));
  return keys.map((_key, index) => byPosition.get(index + 1) ?? 0);
});

function numbersOf(keys: readonly { phoneNumber: string }[]): Prisma.Sql {
  const numbers = keys.map(({ phoneNumber }) => phoneNumber);
  return Prisma.sql`unnest(${numbers}::text[]) WITH ORDINALITY AS k(phone_number, position)`;
}

function callsOf(
  { phoneNumber }: { phoneNumber: string },
  args: ListArgs,
  context: Context,
  info: GraphQLResolveInfo,
): Connection<unknown> {
  if (isNarrowed(args)) {
    const where = { phoneNumber: { in: phoneNumberForms(phoneNumber) } };
    return calls.matching(LIST, { args, where }, context, info);
  }
  const reader = readerOf(context);
  const { cipher } = reader.app;
  const cursors = { list: LIST, terms: ORDER, organizationId: reader.viewer.organizationId };
  const page = readPage(args, (argument): CallPosition => {
    const [createdAt, id] = readCursor(cipher, cursors, argument);
    return { createdAt: createdAt as Date, id: id as string };
  });
  const write = cursorWriter(cipher, cursors);
  const select: Record<string, true> = { id: true, createdAt: true };
  const selection = rowSelection({ context, info, select, paths: NODE_PATHS, typeName: 'Call' });
  return connectionOfPage(page, {
    ...sourceOfPage(page, (query) => loadPage(reader, { phoneNumber, query, selection })),
    // Rows that are only displayed hold instants as text.
    cursorOf: ({ createdAt, id }) => write([new Date(createdAt), id]),
    totalCount: () => loadCount(reader, { phoneNumber }),
  });
}

/** Whether the calls are read for each contact, in a statement of its own. */
function isNarrowed({ filter, orderBy }: ListArgs): boolean {
  if (Object.values(filter ?? {}).some((value) => value !== null && value !== undefined))
    return true;
  return Boolean(orderBy && (orderBy.field !== 'CREATED_AT' || orderBy.direction !== 'desc'));
}

builder.prismaObjectField(ContactNode, 'calls', (t) =>
  t.connection(
    {
      type: CallNode,
      description:
        'Calls from and to the phone number of the contact: those of all campaigns, of `createCall`, and inbound ones. Contacts with the same phone number have the same calls.',
      args: calls.args as Record<never, never>,
      complexity: (args: ListArgs) => ({
        ...connectionCost(args),
        ...(isNarrowed(args) ? { field: STATEMENT_COST } : {}),
      }),
      select: { phoneNumber: true },
      resolve: (contact, args, context, info) => callsOf(contact, args, context, info) as never,
    },
    calls.connection,
  ),
);
