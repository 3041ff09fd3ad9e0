/** The TypeScript types of the API's scalars, for GraphQL Code Generator; explained in docs/scalars.md. */
export const scalars = {
  ID: 'string',
  Cursor: 'string',
  DateTime: 'string',
  Decimal: 'string',
  Duration: 'string',
  E164: 'string',
  JSON: 'unknown',
  JSONObject: 'Record<string, unknown>',
  LanguageTag: 'string',
  Upload: 'Blob | string',
  Url: 'string',
};
