import { builder } from '../../graphql/builder.ts';
import { mutation } from '../../graphql/mutation.ts';
import { downloadLinkFields } from '../../organizations/graph/download-link.ts';
import { exportCalls } from '../export.ts';
import { CallFilterInput, callsWhere } from './call.ts';

export const ExportFormatEnum = builder.enumType('ExportFormat', {
  description: 'Format of an exported file.',
  values: {
    CSV: {
      description:
        'CSV with a header. Each key of extracted data and metadata has its own column, such as `extracted.email`; up to 200 of each. With more than 10,000 rows, keys that only other calls have may be among them. Cells that a spreadsheet could interpret as a formula are prefixed with an apostrophe.',
    },
    JSON_LINES: {
      description:
        'One JSON object per line. Calls have the fields of `data.call` in webhooks; contacts of campaigns have those of the CSV, with the last call in `lastCall`.',
    },
  } as const,
});

mutation('exportCalls', {
  description:
    'Creates a download link for a file of calls, newest first, with outcome, reason, duration, cost and extracted data. The file contains the state of all calls at the beginning of the download. Requires the scope `WRITE`.',
  scope: 'write',
  input: (t) => ({
    filter: t.field({
      type: CallFilterInput,
      description: 'Calls to export. Default: all calls of the organization.',
    }),
    format: t.field({ type: ExportFormatEnum, description: 'Format of the file. Default: CSV.' }),
  }),
  run: ({ filter, format }, { app, viewer }) =>
    exportCalls(app, viewer, callsWhere(viewer, filter ?? {}), format ?? 'CSV'),
  payload: (t) => ({
    ...downloadLinkFields(t),
    callCount: t.int({
      nullable: true,
      description: 'Number of calls that currently match the filter.',
      resolve: (payload) => payload.callCount ?? null,
    }),
  }),
});
