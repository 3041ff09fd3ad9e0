import { buildSchema, isAbstractType } from 'graphql';

/** The types behind each interface and union, from the text of `schema.graphql`. Run it when you build. */
export function possibleTypesOf(schemaText: string): Record<string, string[]> {
  const schema = buildSchema(schemaText);
  return Object.fromEntries(
    Object.values(schema.getTypeMap())
      .filter(isAbstractType)
      .map((type) => [type.name, schema.getPossibleTypes(type).map(({ name }) => name)]),
  );
}
