import { RequestError } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import { builder, checkPage, connectionCost } from '../graphql/builder.ts';
import { connectionOf } from '../graphql/connection.ts';
import { mutation } from '../graphql/mutation.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';
import { addToDoNotCall, MAX_ENTRIES, removeFromDoNotCall } from './do-not-call.ts';
import { toE164 } from './record.ts';

const DoNotCallEntryType = builder.prismaObject('DoNotCallEntry', {
  description:
    'A number that nothing here calls, and why. It has no id: the number says which it is.',
  authScopes: { read: true },
  fields: (t) => ({
    phoneNumber: t.expose('phoneNumber', { type: 'E164', description: 'The number.' }),
    reason: t.exposeString('reason', {
      nullable: true,
      description: 'Why, in your words; null when nobody said.',
    }),
    source: t.exposeString('source', {
      nullable: true,
      description: 'Where it came from, such as "national register"; null when nobody said.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was added.' }),
  }),
});

const DoNotCallEntryConnection = connectionOf(DoNotCallEntryType);

const DoNotCallFilter = builder.inputType('DoNotCallFilter', {
  description: 'Which entries; everything given must hold.',
  fields: (t) => ({
    search: t.string({
      description: 'Part of the number; spaces, brackets and dashes do not matter.',
    }),
    source: t.string({ description: 'Only those with exactly this source.' }),
  }),
});

function matching(
  viewer: Viewer,
  filter: typeof DoNotCallFilter.$inferInput | null | undefined,
): Prisma.DoNotCallEntryWhereInput {
  const { search, source } = filter ?? {};
  const digits = search?.replace(/[\s().\-/]/g, '');
  if (digits && !/^\+?\d*$/.test(digits)) {
    throw new RequestError('BAD_USER_INPUT', '`filter.search` is part of a phone number: digits.');
  }
  return {
    ...ownedBy(viewer),
    ...(digits ? { phoneNumber: { contains: digits } } : {}),
    ...(source ? { source: source.replaceAll('\u0000', '\uFFFD') } : {}),
  };
}

builder.queryFields((t) => ({
  doNotCallEntry: t.withAuth({ read: true }).prismaField({
    type: DoNotCallEntryType,
    nullable: true,
    description: 'The entry of a number; null when it is not on the list.',
    args: {
      phoneNumber: t.arg({ type: 'E164', required: true, description: 'The number.' }),
    },
    resolve: (query, _root, args, { app, viewer }) => {
      const phoneNumber = toE164(args.phoneNumber);
      if (!phoneNumber) {
        throw new RequestError(
          'BAD_USER_INPUT',
          '`phoneNumber` is not a phone number in E.164 form, such as "+14155550123".',
        );
      }
      return app.db.doNotCallEntry.findFirst({
        ...query,
        where: { ...ownedBy(viewer), phoneNumber },
      });
    },
  }),
  doNotCallEntries: t.withAuth({ read: true }).prismaConnection(
    {
      type: DoNotCallEntryType,
      cursor: 'organizationId_phoneNumber',
      description: 'The do-not-call list of your organization, what was added last first.',
      complexity: connectionCost,
      args: {
        filter: t.arg({ type: DoNotCallFilter, description: 'Which of them. Absent: all.' }),
      },
      totalCount: (_root, { filter }, { app, viewer }) =>
        app.db.doNotCallEntry.count({ where: matching(viewer!, filter) }),
      resolve: (query, _root, args, { app, viewer }) => {
        checkPage(args);
        // Whether a cursor leads anywhere must tell nothing of another organization's list.
        const from = query.cursor?.organizationId_phoneNumber;
        if (from && from.organizationId !== viewer.organizationId) {
          throw new RequestError('BAD_USER_INPUT', 'This is not a cursor of this list.');
        }
        return app.db.doNotCallEntry.findMany({
          ...query,
          where: matching(viewer, args.filter),
          orderBy: [{ createdAt: 'desc' }, { phoneNumber: 'desc' }],
        });
      },
    },
    DoNotCallEntryConnection,
  ),
}));

const DoNotCallEntryInput = builder.inputType('DoNotCallEntryInput', {
  description: 'A number for the do-not-call list.',
  fields: (t) => ({
    phoneNumber: t.field({ type: 'E164', required: true, description: 'The number.' }),
    reason: t.string({ description: 'Why; at most 500 characters.' }),
    source: t.string({
      description: 'Where it comes from, such as "national register"; at most 100 characters.',
    }),
  }),
});

mutation('addToDoNotCall', {
  description:
    'Puts numbers on the do-not-call list: all, or none when one is wrong. From then on `createCall` refuses them and campaigns leave them out. For a number that is on it already, a reason and a source that are given replace what is there.',
  scope: 'write',
  input: (t) => ({
    entries: t.field({
      type: [DoNotCallEntryInput],
      required: true,
      description: `1 to ${MAX_ENTRIES} numbers.`,
    }),
  }),
  run: (input, { app, viewer }) => addToDoNotCall(app, viewer, input.entries),
  payload: (t) => ({
    entries: t.field({
      type: [DoNotCallEntryType],
      nullable: true,
      description: 'The entries as they are now, each number once.',
      resolve: (payload) => payload.entries ?? null,
    }),
    addedCount: t.int({
      nullable: true,
      description: 'How many of them were not on the list before.',
      resolve: (payload) => payload.addedCount ?? null,
    }),
  }),
});

mutation('removeFromDoNotCall', {
  description: 'Takes numbers off the do-not-call list. Those that are not on it are passed over.',
  scope: 'write',
  input: (t) => ({
    phoneNumbers: t.field({
      type: ['E164'],
      required: true,
      description: `1 to ${MAX_ENTRIES} numbers.`,
    }),
  }),
  run: async (input, { app, viewer }) => ({
    removedCount: await removeFromDoNotCall(app, viewer, input.phoneNumbers),
  }),
  payload: (t) => ({
    removedCount: t.int({
      nullable: true,
      description: 'How many were on the list.',
      resolve: (payload) => payload.removedCount ?? null,
    }),
  }),
});
