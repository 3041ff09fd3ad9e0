/** Random operations over the schema: valid ones, and ones that were then broken. */
import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isInterfaceType,
  isLeafType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import type { Chance } from './chance.ts';
import { type Pool, randomValue } from './values.ts';

export interface Operation {
  kind: 'query' | 'mutation' | 'subscription';
  document: string;
  variables: Record<string, unknown>;
}

interface Building {
  chance: Chance;
  schema: GraphQLSchema;
  pool: Pool;
  /** Name of the root field that is being written. */
  root: string;
  wild: boolean;
  /** Name and type of each variable. */
  declared: Map<string, string>;
  variables: Record<string, unknown>;
  /** Fields that may still be added. */
  room: number;
}

const MAX_FIELDS = 60;
const MAX_DEPTH = 7;
const RARE = [
  '{ then: __typename catch: __typename constructor: __typename }',
  '{ __schema { types { name fields(includeDeprecated: true) { name args { name type { name ofType { name } } } } } } }',
  '{ __type(name: "\\u0000") { name } a: __type(name: "Call") { fields { type { fields { type { name } } } } } }',
  'query A { __typename } query B { agents { totalCount } }',
  'fragment F on Query { ...F } { ...F }',
  '{ ...F } fragment F on Query { agents { nodes { ...G } } } fragment G on Agent { id calls { nodes { agent { id } } } }',
  'query ($x: Int = "no") { calls(first: $x) { totalCount } }',
  '{ __typename @include(if: null) @skip(if: $no) }',
  'subscription { a: callEvents { cursor } b: callEvents { cursor } }',
  'mutation { __typename }',
  '',
  '{',
  '\ufeff{ __typename }',
];

export function randomOperation(chance: Chance, schema: GraphQLSchema, pool: Pool): Operation {
  if (chance.is(0.05)) return { kind: 'query', document: chance.one(RARE), variables: {} };
  const kind = chance.is(0.1) ? 'subscription' : chance.is(0.5) ? 'mutation' : 'query';
  const root =
    kind === 'query'
      ? schema.getQueryType()
      : kind === 'mutation'
        ? schema.getMutationType()
        : schema.getSubscriptionType();
  const building: Building = {
    ...{ chance, schema, pool, room: MAX_FIELDS, root: '', wild: chance.is(0.5) },
    ...{ declared: new Map<string, string>(), variables: {} },
  };
  const fields = Object.values((root as GraphQLObjectType).getFields());
  const count = kind === 'subscription' || chance.is(0.7) ? 1 : 1 + chance.below(4);
  const selections = Array.from({ length: count }, (_, index) => {
    const field = chance.one(fields);
    building.root = field.name;
    return fieldText(building, field, MAX_DEPTH, `r${index}: `);
  });
  const declarations = [...building.declared].map(([name, type]) => `$${name}: ${type}`);
  const header = declarations.length > 0 ? `${kind} (${declarations.join(', ')})` : kind;
  const document = `${header} { ${selections.join(' ')} }`;
  return {
    kind,
    document: chance.is(building.wild ? 0.2 : 0) ? broken(chance, document) : document,
    variables: building.variables,
  };
}

function fieldText(
  building: Building,
  field: GraphQLField<unknown, unknown>,
  depth: number,
  alias = '',
): string {
  building.room -= 1;
  const args = field.args.flatMap((argument) => argumentText(building, argument));
  const type = getNamedType(field.type);
  const selection = isLeafType(type) ? '' : ` ${selectionText(building, type, depth - 1)}`;
  const parts = [alias, field.name, args.length > 0 ? `(${args.join(', ')})` : ''];
  return `${parts.join('')}${conditionText(building)}${selection}`;
}

/** Sometimes a condition on which a field or fragment is selected. */
function conditionText({ chance, declared, variables }: Building): string {
  if (chance.is(0.9)) return '';
  const directive = chance.one(['@skip', '@include']);
  const value = chance.is(0.5);
  if (chance.is(0.3)) return ` ${directive}(if: ${value})`;
  const name = `v${declared.size}`;
  const type = chance.one(['Boolean!', 'Boolean! = true', 'Boolean = false']);
  declared.set(name, type);
  if (type === 'Boolean!' || chance.is(0.5)) {
    variables[name] = type === 'Boolean = false' && chance.is(0.1) ? null : value;
  }
  return ` ${directive}(if: $${name})`;
}

function selectionText(building: Building, type: GraphQLNamedType, depth: number): string {
  const { chance, schema } = building;
  const parts = ['__typename'];
  if (isAbstractType(type)) {
    const concrete = chance.one(schema.getPossibleTypes(type));
    if (depth > 0) {
      const condition = conditionText(building);
      parts.push(
        `... on ${concrete.name}${condition} ${selectionText(building, concrete, depth - 1)}`,
      );
    }
  }
  if (isObjectType(type) || isInterfaceType(type)) {
    const fields = Object.values(type.getFields());
    const wanted = fields.filter(
      ({ type: of }) => isLeafType(getNamedType(of)) || (depth > 0 && building.room > 0),
    );
    for (let count = Math.min(6, wanted.length); count > 0 && wanted.length > 0; count -= 1) {
      const alias = chance.one(['', `f${count}: `, `f${count}: `, count === 1 ? 'then: ' : '']);
      parts.push(fieldText(building, chance.one(wanted), depth, alias || `f${count}: `));
    }
  }
  return `{ ${parts.join(' ')} }`;
}

function argumentText(building: Building, argument: GraphQLArgument): string[] {
  const { chance, pool, root, wild } = building;
  const { name: argumentName } = argument;
  const value = /^(first|last|after|before)$/.test(argumentName)
    ? pagingValue(building, argumentName)
    : randomValue(chance, argument.type, { pool, root, wild, name: argumentName });
  if (value === undefined && !(isNonNullType(argument.type) && chance.is(0.95))) return [];
  const name = `v${building.declared.size}`;
  building.declared.set(name, String(argument.type));
  if (value !== undefined) building.variables[name] = value;
  return [`${argument.name}: $${name}`];
}

function pagingValue({ chance, pool, wild }: Building, name: string): unknown {
  if (!wild) return name === 'first' ? chance.one([undefined, 2, 5]) : undefined;
  return name === 'first' || name === 'last'
    ? chance.one([undefined, undefined, undefined, 1, 5, 100, 101, 0])
    : chance.one([undefined, undefined, undefined, ...pool.cursors.slice(-3), 'x']);
}

/** The text with a part removed, doubled or replaced. */
function broken(chance: Chance, text: string): string {
  const from = chance.below(text.length);
  const to = Math.min(text.length, from + 1 + chance.below(20));
  const part = text.slice(from, to);
  const junk = chance.one([
    '',
    part + part,
    '{'.repeat(200),
    '"""',
    '\u0000',
    '\ud800',
    '$',
    '@skip',
    '...',
    '#',
  ]);
  return text.slice(0, from) + junk + text.slice(to);
}
