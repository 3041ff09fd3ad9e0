/** Divides the rows of a sorted list into ranges of indexes. */

/** A query as for Prisma. */
export interface SortedQuery {
  where?: object;
  orderBy?: unknown;
  take?: number;
}

interface Ranges {
  /** Condition of all rows. */
  where: object;
  /** Conditions of the rows of each range, and their order. The rows of a range come before those of the next one. */
  ranges: { where: object; orderBy: unknown }[];
}

/**
 * The ranges of a query. There are several only if it sorts by a nullable column first and says where nulls are sorted,
 * and if `OR` in its condition has an alternative for rows with a value and one for those without. For all together,
 * PostgreSQL would have to sort them: an index has its nulls at the other end in one of the two directions, and may
 * not contain them.
 */
export function rangesOf({ where = {}, orderBy }: SortedQuery): Ranges {
  const [first, ...others] = [orderBy].flat() as Record<string, unknown>[];
  const [[column, order] = []] = Object.entries(first ?? {});
  const { OR: alternatives, ...common } = where as Record<string, unknown>;
  const whole = { where, ranges: [{ where: {}, orderBy }] };
  const { sort, nulls } = (order ?? {}) as { sort?: unknown; nulls?: unknown };
  if (column === undefined || !nulls || !Array.isArray(alternatives)) return whole;
  const withValue = alternatives.filter((each) => each[column]?.not === null);
  const without = alternatives.filter((each) => each[column] === null);
  const known = withValue.length + without.length;
  if (known === 0 || known !== alternatives.length || withValue.length > 1 || without.length > 1)
    return whole;
  const ranges = [
    ...withValue.map((each) => ({ where: each, orderBy: [{ [column]: sort }, ...others] })),
    ...without.map((each) => ({ where: each, orderBy: others })),
  ];
  return { where: common, ranges: nulls === 'last' ? ranges : ranges.reverse() };
}
