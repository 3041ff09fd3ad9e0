/** Keyset pagination: identifies a position in a sorted list by the values of its sort columns. */

export interface SortTerm {
  column: string;
  direction: 'asc' | 'desc';
  /** Where rows without a value are sorted in this direction. Only for nullable columns. */
  nulls?: 'first' | 'last';
}

export type SortValue = string | number | bigint | boolean | Date | null;

/** One value for each term of the order. The last term makes positions unique. */
export type Position = readonly SortValue[];

type Where = Record<string, unknown>;

/** The terms as Prisma's `orderBy`. */
export function orderBy(terms: readonly SortTerm[]): Where[] {
  return terms.map(({ column, direction, nulls }) => ({
    [column]: nulls ? { sort: direction, nulls } : direction,
  }));
}

export function reversed(terms: readonly SortTerm[]): SortTerm[] {
  return terms.map(({ column, direction, nulls }) => ({
    column,
    direction: direction === 'asc' ? 'desc' : 'asc',
    ...(nulls ? { nulls: nulls === 'first' ? 'last' : 'first' } : {}),
  }));
}

/**
 * The rows after a position, or at it and after it if `inclusive`, as Prisma's `where`. There need not be a row at
 * the position.
 */
export function afterPosition(
  terms: readonly SortTerm[],
  position: Position,
  { inclusive = false }: { inclusive?: boolean } = {},
): Where {
  const alternatives: Where[] = [];
  const equal: Where[] = [];
  terms.forEach((term, index) => {
    const value = position[index] ?? null;
    const further = beyond(term, value);
    if (further) alternatives.push({ AND: [...equal, further] });
    equal.push({ [term.column]: value });
  });
  if (inclusive) alternatives.push({ AND: equal });
  const bound = boundOf(terms, position);
  return bound ? { AND: [bound, { OR: alternatives }] } : { OR: alternatives };
}

function beyond({ column, direction, nulls }: SortTerm, value: SortValue): Where | null {
  if (value === null) return nulls === 'first' ? { [column]: { not: null } } : null;
  const further = { [column]: { [direction === 'asc' ? 'gt' : 'lt']: value } };
  return nulls === 'last' ? { OR: [further, { [column]: null }] } : further;
}

/** A condition that the alternatives imply. PostgreSQL uses it as the start of an index scan. */
function boundOf([term, ...more]: readonly SortTerm[], [value]: Position): Where | null {
  if (!term || more.length === 0 || term.nulls || value === undefined) return null;
  return { [term.column]: { [term.direction === 'asc' ? 'gte' : 'lte']: value } };
}
