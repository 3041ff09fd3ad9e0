import {
  type GraphQLObjectType,
  getNamedType,
  isInterfaceType,
  isLeafType,
  isObjectType,
} from 'graphql';

/** Selects all fields of a type down to a depth, except those with required arguments. Connections have two nodes. */
export function selectEverything(type: GraphQLObjectType, depth: number): string {
  const fields = Object.values(type.getFields()).flatMap((field) => {
    if (field.args.some((arg) => String(arg.type).endsWith('!'))) return [];
    const named = getNamedType(field.type);
    const page = field.args.some(({ name }) => name === 'first') ? '(first: 2)' : '';
    if (isLeafType(named)) return [`${field.name}${page}`];
    if (depth === 0) return [];
    if (isInterfaceType(named)) return [`${field.name} { id }`];
    return isObjectType(named)
      ? [`${field.name}${page} ${selectEverything(named, depth - 1)}`]
      : [];
  });
  return `{ ${['__typename', ...fields].join(' ')} }`;
}
