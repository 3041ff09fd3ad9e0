/** Calls with the phone number of a contact. */
import { ContactNode } from '../../contacts/graph/contact.ts';
import { builder } from '../../graphql/builder.ts';
import type { ListArgs } from '../../graphql/lists/list.ts';
import { connectionCost } from '../../graphql/lists/page.ts';
import { phoneNumberForms } from '../../infra/phone-number.ts';
import { CallNode, calls } from './call.ts';

builder.prismaObjectField(ContactNode, 'calls', (t) =>
  t.connection(
    {
      type: CallNode,
      description:
        'Calls from and to the phone number of the contact: those of all campaigns, of `createCall`, and inbound ones. Contacts with the same phone number have the same calls.',
      args: calls.args as Record<never, never>,
      complexity: connectionCost,
      select: { phoneNumber: true },
      resolve: ({ phoneNumber }, args: ListArgs, context, info) => {
        const values = phoneNumberForms(phoneNumber);
        const by = { column: 'phoneNumber', sortedBy: 'createdAt', values } as const;
        return calls.withValues('Contact.calls', { args, by }, context, info) as never;
      },
    },
    calls.connection,
  ),
);
