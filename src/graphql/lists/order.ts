/** The sort direction of every `orderBy`. */
import { builder } from '../builder.ts';

export const OrderDirectionEnum = builder.enumType('OrderDirection', {
  description: 'Sort direction. Items with equal values are sorted by ID.',
  values: {
    ASC: {
      value: 'asc',
      description: 'Ascending: smallest, earliest or alphabetically first values first.',
    },
    DESC: {
      value: 'desc',
      description: 'Descending: largest, latest or alphabetically last values first.',
    },
  } as const,
});

export type OrderDirection = 'asc' | 'desc';
