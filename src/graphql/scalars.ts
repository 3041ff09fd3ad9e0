/** The scalars beyond GraphQL's own. */
import { GraphQLScalarType, type GraphQLScalarTypeConfig, Kind } from 'graphql';
import {
  GraphQLDateTime,
  GraphQLJSON,
  GraphQLJSONObject,
  GraphQLPhoneNumber,
} from 'graphql-scalars';
import { RequestError } from '../errors.ts';
import { FileFromText, UploadedFile } from '../infra/uploaded-file.ts';
import { builder } from './builder.ts';

/**
 * A text whose form the services check, so that a wrong one is a user error with its path beside
 * the others, and not a document that is refused at the first of them.
 */
function checkedText(
  name: string,
  description: string,
  base: Partial<GraphQLScalarTypeConfig<string, string>> = {},
): GraphQLScalarType<string, string> {
  return new GraphQLScalarType<string, string>({
    ...base,
    name,
    description,
    serialize: (value) => String(value),
    parseValue: (value) => {
      if (typeof value !== 'string')
        throw new RequestError('BAD_USER_INPUT', `${name} must be a string`);
      return value;
    },
    parseLiteral: (node) => {
      if (node.kind !== Kind.STRING)
        throw new RequestError('BAD_USER_INPUT', `${name} must be a string`);
      return node.value;
    },
    coerceInputValue: undefined,
    coerceInputLiteral: undefined,
    coerceOutputValue: undefined,
    valueToLiteral: undefined,
  });
}

builder.addScalarType('DateTime', GraphQLDateTime);
builder.addScalarType('JSON', GraphQLJSON);
builder.addScalarType('JSONObject', GraphQLJSONObject);
builder.addScalarType(
  'E164',
  checkedText(
    'E164',
    'A phone number in E.164 form: "+", country code and number, digits only, such as `+14155550123`.',
    { extensions: GraphQLPhoneNumber.toConfig().extensions },
  ),
);
builder.addScalarType(
  'Duration',
  checkedText('Duration', 'A time span as seconds followed by "s": `30s`, `0.5s`, `3600s`.'),
);
builder.addScalarType(
  'LanguageTag',
  checkedText('LanguageTag', 'A language as a BCP 47 tag, such as `en-US` or `es-MX`.'),
);
builder.addScalarType(
  'Decimal',
  checkedText('Decimal', 'An exact decimal number as text, such as `0.05`; never a float.'),
);
builder.addScalarType(
  'Cursor',
  checkedText(
    'Cursor',
    'A position in the event log of your organization. Larger is later; `"0"` is the beginning of what is kept.',
  ),
);
builder.addScalarType(
  'Url',
  checkedText('Url', 'An absolute address, such as `https://example.com/hook`.'),
);
builder.addScalarType(
  'Upload',
  new GraphQLScalarType<UploadedFile, never>({
    name: 'Upload',
    description:
      'A file, at most 200 MB. Send the request as multipart/form-data, with `null` in its place: `curl /graphql -H "Authorization: Bearer $KEY" -F operations=\'{"query":"mutation($input: ImportContactsInput!) { … }","variables":{"input":{"folderId":"fld_…","file":null}}}\' -F map=\'{"0":["variables.input.file"]}\' -F 0=@contacts.csv`. Or, where no file can be chosen, as in GraphiQL: the text of the file as a string, such as `"phone,first name\\n+14155550142,Ada"`.',
    specifiedByURL: 'https://github.com/jaydenseric/graphql-multipart-request-spec',
    parseValue: (value) => {
      if (value instanceof UploadedFile) return value;
      if (typeof value === 'string') return fileOfText(value);
      throw new RequestError(
        'BAD_USER_INPUT',
        'An Upload is a file of a multipart/form-data request, or the text of one as a string; see the description of the type Upload.',
      );
    },
    parseLiteral: (node) => {
      if (node.kind === Kind.STRING) return fileOfText(node.value);
      throw new RequestError(
        'BAD_USER_INPUT',
        'An Upload is a variable of a multipart/form-data request, or the text of a file as a string.',
      );
    },
    serialize: () => {
      throw new Error('An Upload is never an output');
    },
  }),
);

/** A file that nobody has given a name. */
function fileOfText(text: string): UploadedFile {
  return new FileFromText('text.csv', text);
}
