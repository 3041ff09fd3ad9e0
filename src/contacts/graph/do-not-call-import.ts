/** The mutation that imports a do-not-call list from a file. */
import { builder } from '../../graphql/builder.ts';
import { formatNumber } from '../../graphql/format-number.ts';
import { mutation } from '../../graphql/mutation.ts';
import { importDoNotCall, type RowProblem } from '../import/do-not-call.ts';
import { MAX_FILE_BYTES, MAX_ROWS } from '../import/service.ts';
import { defaultCountryField, encodingField } from './contact-import-inputs.ts';

const DoNotCallImportProblemType = builder
  .objectRef<RowProblem>('DoNotCallImportProblem')
  .implement({
    description: 'Row of a file without a valid phone number.',
    fields: (t) => ({
      row: t.exposeInt('row', {
        description:
          'Number of the row. Row 1 is the first with a phone number. Empty rows are not counted.',
      }),
      phoneNumber: t.exposeString('phoneNumber', {
        nullable: true,
        description:
          'Content of the phone number column, truncated to 60 characters. Null if it was empty.',
      }),
      reason: t.exposeString('reason', {
        description: 'Human-readable reason why the row was not imported.',
      }),
    }),
  });

mutation('importDoNotCall', {
  description: `Adds all phone numbers of a file to the do-not-call list. The file is a CSV with one or more phone number columns, or a plain list with one number per line, of at most ${formatNumber(MAX_ROWS)} rows. Returns when all numbers are on the list. Importing the same file again adds nothing. Send the request as multipart/form-data; see the scalar \`Upload\`.`,
  scope: 'write',
  input: (t) => ({
    file: t.field({
      type: 'Upload',
      required: true,
      description: `CSV file or plain list of phone numbers, at most ${MAX_FILE_BYTES / 2 ** 20} MB.`,
    }),
    reason: t.string({
      description:
        'Reason recorded with every number, at most 500 characters. Default: existing entries keep their reasons.',
    }),
    source: t.string({
      description:
        'Source recorded with every number, at most 100 characters. Default: existing entries keep their sources.',
    }),
    defaultCountry: defaultCountryField(t),
    encoding: encodingField(t),
  }),
  run: (input, { app, viewer }) => importDoNotCall(app, viewer, input),
  payload: {
    addedCount: { type: 'Int', description: 'Number of phone numbers added to the list.' },
    presentCount: {
      type: 'Int',
      description:
        'Number of rows whose phone number was already on the list or in an earlier row.',
    },
    failedCount: { type: 'Int', description: 'Number of rows without a valid phone number.' },
    problems: {
      type: [DoNotCallImportProblemType],
      description: 'First 1,000 rows without a valid phone number.',
    },
  },
});
