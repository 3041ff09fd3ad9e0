/** The sort direction of every `orderBy`. */
import { builder } from '../builder.ts';

export const OrderDirectionEnum = builder.enumType('OrderDirection', {
  description: 'Sort direction. Items with equal values are sorted by ID.',
  values: {
    ASC: {
      value: 'asc',
      description:
        'Ascending: smallest or earliest values first. Text is in the order of the collation of the database; that of the embedded database puts uppercase before lowercase letters, and both before accented letters.',
    },
    DESC: {
      value: 'desc',
      description: 'Descending: largest or latest values first. Text is in the reverse order.',
    },
  } as const,
});

export type OrderDirection = 'asc' | 'desc';
