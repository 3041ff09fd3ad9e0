/** Inputs and enums of contact imports. */
import { ContactImportStatus } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import type { InputBuilder } from '../../graphql/mutation.ts';
import type { SnakeCase } from '../../infra/rows/columns.ts';
import type { ImportField } from '../import/header-names.ts';
import type { FileEncoding } from '../import/text-encoding.ts';

export const ContactImportStatusEnum = builder.enumType('ContactImportStatus', {
  description: 'Status of a contact import. COMPLETED, FAILED and CANCELLED are final.',
  values: {
    [ContactImportStatus.PENDING]: { description: 'The file is stored. No row has been read.' },
    [ContactImportStatus.RUNNING]: { description: 'Rows are being imported.' },
    [ContactImportStatus.COMPLETED]: {
      description: 'All rows have been read. Rows that failed are in `problems`.',
    },
    [ContactImportStatus.FAILED]: {
      description:
        'The import ended before the end of the file, for the reason in `failure`. Contacts imported until then remain.',
    },
    [ContactImportStatus.CANCELLED]: {
      description: 'The import was canceled. Contacts imported until then remain.',
    },
  } as const,
});

export const ContactImportDuplicateRule = builder.enumType('ContactImportDuplicateRule', {
  description: 'Handling of rows of a file whose phone number is already in the folder.',
  values: {
    SKIP: { description: 'Leave the existing contact unchanged.' },
    UPDATE: {
      description:
        'Update the existing contact, including one created by an earlier row. Empty cells do not clear fields, and metadata is merged by key; keys beyond the maximum are ignored and reported in `warnings`.',
    },
  } as const,
});

const FIELDS: {
  [Field in ImportField as Uppercase<SnakeCase<Field>>]: { value: Field; description: string };
} = {
  PHONE_NUMBER: {
    value: 'phoneNumber',
    description:
      'Phone number. Required. Of several columns, each row uses the first with a valid number, in the order of `mapping`.',
  },
  FIRST_NAME: { value: 'firstName', description: 'First name.' },
  LAST_NAME: { value: 'lastName', description: 'Last name.' },
  NAME: {
    value: 'name',
    description:
      'Full name, split into first and last name. Both "Ada Lovelace" and "Lovelace, Ada" are understood.',
  },
  EMAIL: { value: 'email', description: 'Email address.' },
  COMPANY_NAME: { value: 'companyName', description: 'Company that the person works for.' },
  INDUSTRY: { value: 'industry', description: 'Industry of the company.' },
  LOCATION: { value: 'location', description: 'Location of the person as free text.' },
  PIN_CODE: { value: 'pinCode', description: 'Postal code.' },
  KEYWORDS: { value: 'keywords', description: 'Comma-separated tags.' },
  TIMEZONE: {
    value: 'timezone',
    description:
      'Time zone of the person: an IANA name such as `Europe/Berlin`, a Windows name such as `W. Europe Standard Time`, or an unambiguous abbreviation such as `PST`.',
  },
  DO_NOT_CALL: {
    value: 'doNotCall',
    description:
      'Whether the person must not be called. Any filled cell except "no" (in many languages) adds the phone number to the do-not-call list.',
  },
  CONSENT: {
    value: 'consent',
    description:
      'Whether the person consents to calls. Any filled cell except a date or "yes" (in many languages) adds the phone number to the do-not-call list.',
  },
};

export const ContactImportFieldEnum = builder.enumType('ContactImportField', {
  description: 'Contact fields to which a column can be mapped.',
  values: FIELDS,
});

export const ContactImportFilter = builder.inputType('ContactImportFilter', {
  description: 'Filters for contact imports. All of them must match.',
  fields: (t) => ({
    folderId: t.id({ description: 'Imports into this folder (`fld_…`).' }),
    status: t.field({
      type: [ContactImportStatusEnum],
      description: 'Statuses to include. Default, and when empty: all.',
    }),
  }),
});

export const ColumnMappingInput = builder.inputType('ContactColumnMapping', {
  description:
    'Mapping of a column of the file. With neither `field` nor `metadataKey` the column is ignored.',
  fields: (t) => ({
    column: t.string({ required: true, description: 'Name of the column in the header.' }),
    field: t.field({
      type: ContactImportFieldEnum,
      description: 'Contact field to which the column is mapped.',
    }),
    metadataKey: t.string({
      description: 'Metadata key to which the column is mapped, 1 to 100 characters.',
    }),
  }),
});

const ENCODING_DESCRIPTIONS: Record<FileEncoding, string> = {
  UTF_8: 'UTF-8, with or without a byte order mark.',
  UTF_16LE: 'UTF-16, little-endian. "Unicode Text" of Excel.',
  UTF_16BE: 'UTF-16, big-endian.',
  WINDOWS_1250: 'Central European: Polish, Czech, Slovak, Hungarian, Romanian, Croatian, Slovene.',
  WINDOWS_1251: 'Cyrillic: Russian, Ukrainian, Bulgarian, Serbian.',
  WINDOWS_1252: 'Western European, which includes ISO 8859-1. "CSV" of Excel for Windows.',
  WINDOWS_1253: 'Greek.',
  WINDOWS_1254: 'Turkish.',
  WINDOWS_1255: 'Hebrew.',
  WINDOWS_1256: 'Arabic.',
  WINDOWS_1257: 'Baltic: Estonian, Latvian, Lithuanian.',
  WINDOWS_1258: 'Vietnamese.',
  MACINTOSH: 'MacRoman, Western European. "CSV" of Excel for Mac.',
  SHIFT_JIS: 'Japanese.',
  GB18030: 'Simplified Chinese, which includes GBK and GB2312.',
  BIG5: 'Traditional Chinese.',
  EUC_KR: 'Korean, which includes code page 949.',
};

export const FileEncodingEnum = builder.enumType('FileEncoding', {
  description: 'Character encoding of a text file.',
  values: Object.fromEntries(
    Object.entries(ENCODING_DESCRIPTIONS).map(([value, description]) => [
      value,
      { value: value as FileEncoding, description },
    ]),
  ) as Record<FileEncoding, { value: FileEncoding; description: string }>,
});

/** The `defaultCountry` field of inputs whose phone numbers are written as people write them. */
export function defaultCountryField(t: InputBuilder) {
  return t.string({
    description:
      'Country of phone numbers without a country calling code, as an ISO 3166-1 alpha-2 code such as `US`. Default: such numbers are invalid.',
  });
}

/** The `encoding` field of every input that takes a file. */
export function encodingField(t: InputBuilder) {
  return t.field({
    type: FileEncodingEnum,
    description:
      'Encoding of the file. Default: it is detected. UTF-8, UTF-16 with a byte order mark, and Windows-1252 and MacRoman where no other encoding is possible, are detected; other files are rejected until `encoding` is set.',
  });
}
