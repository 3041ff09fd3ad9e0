/** Phone number lists of `Agent`. */
import { builder } from '../../graphql/builder.ts';
import { useInstead } from '../../graphql/deprecated-names.ts';
import { listCost } from '../../graphql/lists/page.ts';
import { phoneNumbers } from '../../phone-numbers/graph/phone-number.ts';
import { AgentNode } from './agent.ts';

const ANSWERED = 'Phone numbers that the agent answers';
const CALLED_FROM = 'Phone numbers that the agent calls from';
const OLDEST_FIRST = {
  field: 'CREATED_AT',
  direction: 'asc',
  description: 'oldest first',
} as const;

phoneNumbers.related(AgentNode, 'inboundNumbers', {
  relation: 'inboundPhoneNumbers',
  defaultSort: OLDEST_FIRST,
  description: `${ANSWERED}. Released numbers are not included.`,
});
phoneNumbers.related(AgentNode, 'outboundNumbers', {
  relation: 'outboundPhoneNumbers',
  defaultSort: OLDEST_FIRST,
  description: `${CALLED_FROM}. Calls without \`fromNumber\` use the least recently used one. Released numbers are not included.`,
});

/** Limit of the deprecated lists. The connections have none, since an agent may have any number of phone numbers. */
const MAX_LISTED = 100;
const LISTED = {
  query: { where: { releasedAt: null }, orderBy: { id: 'asc' }, take: MAX_LISTED },
  complexity: listCost(MAX_LISTED),
} as const;

builder.prismaObjectField('Agent', 'inboundPhoneNumbers', (t) =>
  t.relation('inboundPhoneNumbers', {
    ...LISTED,
    description: `${ANSWERED}: the ${MAX_LISTED} oldest ones.`,
    deprecationReason: useInstead('inboundNumbers'),
  }),
);
builder.prismaObjectField('Agent', 'outboundPhoneNumbers', (t) =>
  t.relation('outboundPhoneNumbers', {
    ...LISTED,
    description: `${CALLED_FROM}: the ${MAX_LISTED} oldest ones.`,
    deprecationReason: useInstead('outboundNumbers'),
  }),
);
