/** The enum of the formats of exported files. */
import { builder } from './builder.ts';

export const ExportFormatEnum = builder.enumType('ExportFormat', {
  description: 'Format of an exported file.',
  values: {
    CSV: {
      description:
        'CSV with a header. Each key of extracted data and metadata has its own column, such as `extracted.email`; up to 200 of each, and up to 500 columns for the metadata of contacts. With more than 10,000 rows, keys that only other objects have may be among them. Cells that a spreadsheet could interpret as a formula are prefixed with an apostrophe, which `importContacts` removes.',
    },
    JSON_LINES: {
      description:
        'One JSON object per line. Calls have the fields of `data.call` in webhooks; contacts have those of the CSV, and contacts of campaigns the last call in `lastCall`.',
    },
  } as const,
});
