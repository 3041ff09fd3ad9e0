/** The DoNotCallEntry type with its queries and mutations. */
import { RequestError } from '../../errors.ts';
import { builder } from '../../graphql/builder.ts';
import { List } from '../../graphql/lists/list.ts';
import { mutation } from '../../graphql/mutation.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { canonicalPhoneNumber, phoneNumberForms } from '../../infra/phone-number.ts';
import { ownedBy } from '../../viewer.ts';
import {
  addToDoNotCall,
  MAX_ENTRIES,
  MAX_REASON,
  MAX_SOURCE,
  removeFromDoNotCall,
} from '../do-not-call.ts';
import { doNotCallWhere } from '../search.ts';

const DoNotCallEntryType = builder.prismaObject('DoNotCallEntry', {
  select: { organizationId: true, phoneNumber: true },
  description:
    'Phone number that the organization must not call. Identified by the number; it has no ID.',
  authScopes: { read: true },
  fields: (t) => ({
    phoneNumber: t.expose('phoneNumber', {
      type: 'E164',
      description: 'Phone number that must not be called.',
    }),
    reason: t.exposeString('reason', {
      nullable: true,
      description: 'Reason why the number must not be called. Null if none was given.',
    }),
    source: t.exposeString('source', {
      nullable: true,
      description: 'Source of the entry, such as "national register". Null if none was given.',
    }),
    createdAt: t.expose('createdAt', {
      type: 'DateTime',
      description: 'Time at which the number was added to the list.',
    }),
  }),
});

const DoNotCallFilter = builder.inputType('DoNotCallFilter', {
  description: 'Filters for do-not-call entries. All of them must match.',
  fields: (t) => ({
    search: t.string({
      description: 'Substring of the phone number. Spaces, parentheses and hyphens are ignored.',
    }),
    source: t.string({ description: 'Entries with exactly this source.' }),
  }),
});

builder.queryFields((t) => ({
  doNotCallEntry: t.withAuth({ read: true }).prismaField({
    type: DoNotCallEntryType,
    nullable: true,
    description:
      'Looks up the do-not-call entry of a phone number. Null if the number is not on the list.',
    args: {
      phoneNumber: t.arg({ type: 'E164', required: true, description: 'Phone number to look up.' }),
    },
    resolve: (query, _root, args, { app, viewer }) => {
      const phoneNumber = canonicalPhoneNumber(args.phoneNumber);
      if (!phoneNumber) {
        throw new RequestError(
          'BAD_USER_INPUT',
          '`phoneNumber` must be a phone number in E.164 format, such as `+14155550123`.',
        );
      }
      return app.db.doNotCallEntry.findFirst({
        ...query,
        where: { ...ownedBy(viewer), phoneNumber: { in: phoneNumberForms(phoneNumber) } },
      });
    },
  }),
}));

const doNotCallEntries = new List({
  type: DoNotCallEntryType,
  items: 'do-not-call entries',
  visible: ownedBy,
  filter: { type: DoNotCallFilter, where: doNotCallWhere },
  key: 'phoneNumber',
  sort: { CREATED_AT: { column: 'createdAt', description: 'Sort by creation time.' } },
  defaultSort: { field: 'CREATED_AT', direction: 'desc', description: 'newest first' },
});

doNotCallEntries.query('doNotCallEntries', {
  description: 'Do-not-call list of the organization.',
  authScopes: { read: true },
});

const DoNotCallEntryInput = builder.inputType('DoNotCallEntryInput', {
  description: 'Entry to add to the do-not-call list.',
  fields: (t) => ({
    phoneNumber: t.field({ type: 'E164', required: true, description: 'Phone number to add.' }),
    reason: t.string({
      description: `Reason why the number must not be called, at most ${MAX_REASON} characters.`,
    }),
    source: t.string({
      description: `Source of the entry, such as "national register", at most ${MAX_SOURCE} characters.`,
    }),
  }),
});

mutation('addToDoNotCall', {
  description:
    'Adds phone numbers to the do-not-call list: all of them, or none if one is invalid. From then on, `createCall` rejects these numbers, campaigns skip them, and waiting calls to them are not dialed. A call that is being dialed or rings cannot be stopped; it is hung up as soon as it is answered. Answered calls continue. For a number that is already on the list, a given reason or source replaces the existing one.',
  scope: 'write',
  stops: true,
  input: (t) => ({
    entries: t.field({
      type: [DoNotCallEntryInput],
      maxItems: MAX_ENTRIES,
      required: true,
      description: `Entries to add, 1 to ${formatNumber(MAX_ENTRIES)}.`,
    }),
  }),
  run: (input, { app, viewer }) => addToDoNotCall(app, viewer, input.entries),
  payload: {
    entries: {
      type: [DoNotCallEntryType],
      description: 'The entries, one for each distinct phone number.',
    },
    addedCount: { type: 'Int', description: 'Number of entries that were not on the list before.' },
  },
});

mutation('removeFromDoNotCall', {
  description:
    'Removes phone numbers from the do-not-call list. Numbers that are not on the list are ignored.',
  scope: 'write',
  input: (t) => ({
    phoneNumbers: t.field({
      type: ['E164'],
      maxItems: MAX_ENTRIES,
      required: true,
      description: `Phone numbers to remove, 1 to ${formatNumber(MAX_ENTRIES)}.`,
    }),
  }),
  run: async (input, { app, viewer }) => {
    const removedPhoneNumbers = await removeFromDoNotCall(app, viewer, input.phoneNumbers);
    return { removedCount: removedPhoneNumbers.length, removedPhoneNumbers };
  },
  payload: (t) => ({
    removedCount: t.int({
      nullable: true,
      description: 'Number of phone numbers that were removed.',
      resolve: (payload) => payload.removedCount ?? null,
    }),
    removedPhoneNumbers: t.field({
      type: ['E164'],
      nullable: true,
      description: 'Phone numbers of the entries that were removed, as they were stored.',
      resolve: (payload) => payload.removedPhoneNumbers ?? null,
    }),
  }),
});
