/** Custom scalars. */
import { GraphQLScalarType, type GraphQLScalarTypeConfig, Kind } from 'graphql';
import {
  GraphQLDateTime,
  GraphQLJSON,
  GraphQLJSONObject,
  GraphQLPhoneNumber,
} from 'graphql-scalars';
import { RequestError } from '../errors.ts';
import { FileFromText, UploadedFile } from '../infra/files/uploaded-file.ts';
import { builder } from './builder.ts';

/**
 * A string whose format is checked by services instead of the scalar, so that an invalid value is a user
 * error with a path, reported together with all others.
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

const JSON_STANDARD = 'https://www.rfc-editor.org/rfc/rfc8259';

const dateTime = GraphQLDateTime.toConfig();
builder.addScalarType(
  'DateTime',
  new GraphQLScalarType<Date, Date | string>({
    ...dateTime,
    description:
      'Time in RFC 3339 format, in UTC with milliseconds: `2026-11-20T14:05:00.000Z`. Inputs may have any offset, such as `2026-11-20T09:05:00-05:00`.',
    // Converted here, because `JSON.stringify` is slow for results that contain dates.
    coerceOutputValue: (value) =>
      value instanceof Date ? value.toISOString() : dateTime.coerceOutputValue(value),
    serialize: undefined,
  }),
);
builder.addScalarType(
  'JSON',
  new GraphQLScalarType({
    ...GraphQLJSON.toConfig(),
    description: 'Any JSON value.',
    specifiedByURL: JSON_STANDARD,
  }),
);
builder.addScalarType(
  'JSONObject',
  new GraphQLScalarType({
    ...GraphQLJSONObject.toConfig(),
    description: 'JSON object.',
    specifiedByURL: JSON_STANDARD,
  }),
);
builder.addScalarType(
  'E164',
  checkedText(
    'E164',
    'Phone number in E.164 format: "+" followed by country code and number, digits only, such as `+14155550123`.',
    { extensions: GraphQLPhoneNumber.toConfig().extensions },
  ),
);
builder.addScalarType(
  'Duration',
  checkedText(
    'Duration',
    'Duration in seconds, followed by "s", such as `30s`, `0.5s` or `3600s`.',
  ),
);
builder.addScalarType(
  'LanguageTag',
  checkedText('LanguageTag', 'Language as a BCP 47 tag, such as `en-US` or `es-MX`.'),
);
builder.addScalarType(
  'Decimal',
  checkedText('Decimal', 'Exact decimal number as a string, such as `0.05`.'),
);
builder.addScalarType(
  'Cursor',
  checkedText(
    'Cursor',
    'Position in the event log of the organization, as a decimal number in a string. Larger positions are later; `"0"` is before the oldest event kept.',
  ),
);
builder.addScalarType(
  'Url',
  checkedText(
    'Url',
    'Absolute URL, such as `https://example.com/hook`. Inputs are stored and returned as the WHATWG URL standard parses them.',
  ),
);
builder.addScalarType(
  'Upload',
  new GraphQLScalarType<UploadedFile, never>({
    name: 'Upload',
    description:
      'File, at most 200 MB. Send a multipart/form-data request with `null` in place of the file: `curl /graphql -H "Authorization: Bearer $KEY" -F operations=\'{"query":"mutation($input: ImportContactsInput!) { … }","variables":{"input":{"folderId":"fld_…","file":null}}}\' -F map=\'{"0":["variables.input.file"]}\' -F 0=@contacts.csv`. Where no file can be selected, as in GraphiQL, pass the text of the file as a string, such as `"phone,first name\\n+14155550142,Ada"`.',
    specifiedByURL: 'https://github.com/jaydenseric/graphql-multipart-request-spec',
    parseValue: (value) => {
      if (value instanceof UploadedFile) return value;
      if (typeof value === 'string') return fileOfText(value);
      throw new RequestError(
        'BAD_USER_INPUT',
        'An Upload must be a file of a multipart/form-data request, or the text of a file as a string. See the description of the type Upload.',
      );
    },
    parseLiteral: (node) => {
      if (node.kind === Kind.STRING) return fileOfText(node.value);
      throw new RequestError(
        'BAD_USER_INPUT',
        'An Upload must be a variable of a multipart/form-data request, or the text of a file as a string.',
      );
    },
    serialize: () => {
      throw new Error('An Upload is never an output');
    },
  }),
);

/** An uploaded file from a string, which has no file name of its own. */
function fileOfText(text: string): UploadedFile {
  return new FileFromText('text.csv', text);
}
