/** Which way a list goes: the same two words for every `orderBy`. */
import { builder } from './builder.ts';

export const OrderDirectionEnum = builder.enumType('OrderDirection', {
  description: 'Which way a list goes. Objects that are equal in the field go by their id.',
  values: {
    ASC: { value: 'asc', description: 'Smallest, earliest or first in the alphabet first.' },
    DESC: { value: 'desc', description: 'Largest, latest or last in the alphabet first.' },
  } as const,
});

export type OrderDirection = 'asc' | 'desc';
