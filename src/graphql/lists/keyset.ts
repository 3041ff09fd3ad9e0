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

/** Excludes the rows up to a position in the direction of the terms; if `inclusive`, only those before it. */
export interface Limit {
  terms: readonly SortTerm[];
  position: Position;
  inclusive?: boolean | undefined;
}

/**
 * The rows that match `where` and are beyond all limits, as Prisma's `where`. There need not be a row at a position.
 *
 * If the first column is nullable, `OR` has one alternative for the rows with a value and one for those without. Each
 * is a range of an index; see `rangesOf`.
 */
export function beyondLimits(
  [term]: readonly SortTerm[],
  where: Where,
  limits: readonly Limit[],
): Where {
  if (!term?.nulls) {
    return limits.length === 0 ? where : { AND: [where, ...limits.map(afterPosition)] };
  }
  const alternatives = [false, true].flatMap((isNull) => {
    const conditions = limits.map((limit) => afterPositionIn(limit, isNull));
    return conditions.includes(null)
      ? []
      : [{ [term.column]: isNull ? null : { not: null }, AND: conditions }];
  });
  // Prisma ignores an empty `OR` in some conditions.
  if (alternatives.length === 0) return { AND: [where, { [term.column]: { in: [] } }] };
  return { AND: [where], OR: alternatives };
}

/** The condition for rows with a value, or for those without. Null if none of them is beyond the limit. */
function afterPositionIn({ terms, position, inclusive }: Limit, isNull: boolean): Where | null {
  const [{ nulls, ...term }, ...others] = terms as [SortTerm, ...SortTerm[]];
  const [value = null, ...values] = position;
  if (isNull !== (value === null)) return isNull === (nulls === 'last') ? {} : null;
  return isNull
    ? afterPosition({ terms: others, position: values, inclusive })
    : afterPosition({ terms: [term, ...others], position, inclusive });
}

function afterPosition({ terms, position, inclusive }: Limit): Where {
  const alternatives: Where[] = [];
  const equal: Where[] = [];
  terms.forEach(({ column, direction }, index) => {
    const value = position[index] ?? null;
    alternatives.push({
      AND: [...equal, { [column]: { [direction === 'asc' ? 'gt' : 'lt']: value } }],
    });
    equal.push({ [column]: value });
  });
  if (inclusive) alternatives.push({ AND: equal });
  const bound = boundOf(terms, position);
  return bound ? { AND: [bound, { OR: alternatives }] } : { OR: alternatives };
}

/** A condition that the alternatives imply. PostgreSQL uses it as the start of an index scan. */
function boundOf([term, ...more]: readonly SortTerm[], [value]: Position): Where | null {
  if (!term || more.length === 0 || value === undefined) return null;
  return { [term.column]: { [term.direction === 'asc' ? 'gte' : 'lte']: value } };
}
