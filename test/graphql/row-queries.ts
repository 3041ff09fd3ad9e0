/** Queries, generated from the tables, that `app.rows` must answer like Prisma. */
import fc from 'fast-check';
import { TABLES } from '../../src/generated/tables.ts';

type Row = Record<string, unknown>;

const MODELS = Object.keys(TABLES);
const COMPARED = new Set(['String', 'Int', 'BigInt', 'Decimal', 'DateTime']);

/** Models of whose every column and relation is read. */
export { MODELS };

function columnsOf(model: string): string[] {
  const columns = Object.entries(TABLES[model]!.columns);
  return columns.filter(([, { type }]) => type !== 'Bytes').map(([name]) => name);
}

function selectionOf(model: string): Record<string, true> {
  return Object.fromEntries(columnsOf(model).map((name) => [name, true]));
}

/** By all columns that can be sorted, so that the order of the rows is certain. */
function orderOf(model: string, direction: 'asc' | 'desc'): object[] {
  return Object.entries(TABLES[model]!.columns)
    .filter(([, { type, isList }]) => !isList && type !== 'Json' && type !== 'Bytes')
    .map(([name]) => ({ [name]: direction }));
}

/** The first rows of a model with all columns, and all related rows without the columns that they are found by. */
export function keylessQuery(model: string): object {
  const relations = Object.entries(TABLES[model]!.relations)
    .filter(([, { isList }]) => !isList)
    .map(([name, { model, on }]) => {
      const keys = on.map(([, to]) => [to, false]);
      return [name, { select: { ...selectionOf(model), ...Object.fromEntries(keys) } }];
    });
  return {
    select: { ...selectionOf(model), ...Object.fromEntries(relations) },
    orderBy: orderOf(model, 'asc'),
    take: 20,
  };
}

/** The first rows of a model with all columns, and all relations with all of theirs. */
export function wholeQuery(model: string): object {
  const relations = Object.entries(TABLES[model]!.relations).map(([name, { model, isList }]) => [
    name,
    isList
      ? { select: selectionOf(model), orderBy: orderOf(model, 'desc'), take: 3 }
      : columnsOf(model).length < Object.keys(TABLES[model]!.columns).length
        ? { select: selectionOf(model) }
        : true,
  ]);
  return {
    select: { ...selectionOf(model), ...Object.fromEntries(relations) },
    orderBy: orderOf(model, 'asc'),
    take: 20,
  };
}

/**
 * The first rows of a model with their lists, each with all related rows of its rows and the rows that those are
 * related to.
 */
export function nestedQuery(model: string): object {
  const lists = Object.entries(TABLES[model]!.relations)
    .filter(([, { isList }]) => isList)
    .map(([name, { model: listed }]) => [
      name,
      {
        select: { ...selectionOf(listed), ...relatedOf(listed, 2) },
        orderBy: orderOf(listed, 'desc'),
        take: 7,
      },
    ]);
  return {
    select: { ...selectionOf(model), ...relatedOf(model, 1), ...Object.fromEntries(lists) },
    orderBy: orderOf(model, 'desc'),
    take: 20,
  };
}

/** Related rows so many relations away, of every second relation without the columns that they are found by. */
function relatedOf(model: string, depth: number): Record<string, object> {
  const relations = Object.entries(TABLES[model]!.relations).filter(([, { isList }]) => !isList);
  return Object.fromEntries(
    relations.map(([name, { model: related, on }], index) => {
      const keys = index % 2 === 0 ? [] : on.map(([, to]) => [to, false]);
      const more = depth > 1 && index % 3 > 0 ? relatedOf(related, depth - 1) : {};
      return [name, { select: { ...selectionOf(related), ...Object.fromEntries(keys), ...more } }];
    }),
  );
}

/** Conditions on the values that the rows have. */
export function conditionsOn(model: string, rows: readonly Row[]): fc.Arbitrary<object> {
  const comparison = fc
    .record({
      column: fc.constantFrom(...comparedColumns(model)),
      values: fc.array(fc.constantFrom(...rows), { minLength: 1, maxLength: 3 }),
      isInsensitive: fc.boolean(),
      operator: fc.constantFrom(
        'equals',
        'in',
        'not',
        'null',
        'contains',
        'startsWith',
        'gt',
        'gte',
        'lt',
        'lte',
      ),
    })
    .map(({ column, values, operator, isInsensitive }) => {
      const { type } = TABLES[model]!.columns[column]!;
      const isNullable = rows.some((row) => row[column] === null);
      const [value, ...more] = values.map((row) => row[column]).filter((each) => each !== null);
      if (operator === 'null' || operator === 'not' || value === undefined) {
        if (!isNullable) return {};
        return { [column]: operator === 'not' ? { not: null } : null };
      }
      if (operator === 'in' && type !== 'Boolean') return { [column]: { in: [value, ...more] } };
      const isText = type === 'String' && typeof value === 'string' && !isUuid(value);
      const insensitive = isInsensitive ? { mode: 'insensitive' } : {};
      if (operator === 'contains' || operator === 'startsWith') {
        const part = isText ? value.slice(operator === 'contains' ? 1 : 0, 4) : '';
        const text = isInsensitive ? part.toUpperCase() : part;
        return isText ? { [column]: { [operator]: text, ...insensitive } } : {};
      }
      if (isText && isInsensitive && operator === 'equals')
        return { [column]: { equals: value.toLowerCase(), ...insensitive } };
      return { [column]: COMPARED.has(type) && operator !== 'in' ? { [operator]: value } : value };
    });
  const related = Object.entries(TABLES[model]!.relations).map(([name, { isList, on }]) => {
    const [from, to] = on.at(-1)!;
    return fc.tuple(fc.constantFrom(...rows), comparison).map(([row, more]) => {
      const condition = row[from] === null ? null : { [to]: row[from] };
      return condition ? { [name]: isList ? { some: condition } : condition, ...more } : more;
    });
  });
  return fc.oneof(
    comparison,
    ...related,
    fc.array(comparison, { maxLength: 3 }).map((all) => ({ AND: all })),
    comparison.map((one) => (Object.keys(one).length > 0 ? { NOT: one } : {})),
    fc
      .array(comparison, { maxLength: 3 })
      .map((any) => ({ OR: any.filter((one) => Object.keys(one).length > 0) })),
  );
}

/** Whether it is the value of a column of type `uuid`, which has no `LIKE`. */
function isUuid(value: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-/.test(value);
}

function comparedColumns(model: string): string[] {
  return Object.entries(TABLES[model]!.columns)
    .filter(([, { type, isList }]) => !isList && type !== 'Json' && type !== 'Bytes')
    .map(([name]) => name);
}

/** The first rows of a model, sorted by a column of each row that they are related to. */
export function sortedByRelatedQuery(model: string): object {
  const terms = Object.entries(TABLES[model]!.relations)
    .filter(([, { isList }]) => !isList)
    .map(([name, { on }]) => ({ [name]: { [on.at(-1)![1]]: 'desc' } }));
  return {
    select: selectionOf(model),
    orderBy: [...terms, ...orderOf(model, 'asc')],
    take: 20,
  };
}

/** The rows of a model that match. */
export function matchingQuery(model: string, where: object): object {
  return { select: selectionOf(model), where, orderBy: orderOf(model, 'asc') };
}
