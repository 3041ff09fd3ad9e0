/** The mutation that imports a do-not-call list from a file. */
import { builder } from '../../graphql/builder.ts';
import { mutation } from '../../graphql/mutation.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { MAX_REASON, MAX_SOURCE } from '../do-not-call.ts';
import { importDoNotCall, type NumberProblem } from '../import/do-not-call.ts';
import { MAX_IMPORT_BYTES, MAX_ROWS } from '../import/service.ts';
import { defaultCountryField, encodingField } from './contact-import-inputs.ts';

const DoNotCallImportProblemType = builder
  .objectRef<NumberProblem>('DoNotCallImportProblem')
  .implement({
    description:
      'Phone number in a file that could not be read, row without one, or column that was not read.',
    fields: (t) => ({
      row: t.exposeInt('row', {
        description:
          'Number of the row. Row 1 is the first after the header, or the first row of a file without a header. Empty rows are not counted.',
      }),
      phoneNumber: t.exposeString('phoneNumber', {
        nullable: true,
        description:
          'Text that is not a valid phone number, or the first that may be one in a column that was not read; truncated to 60 characters. Null if the row has none or could not be read.',
      }),
      reason: t.exposeString('reason', {
        description: 'Human-readable reason why the phone number was not added.',
      }),
    }),
  });

mutation('importDoNotCall', {
  description: `Adds the phone numbers of a file to the do-not-call list. The file is a CSV with a header and one or more phone number columns, or a list of numbers without a header, of at most ${formatNumber(MAX_ROWS)} rows. All phone number columns are read, at most 50. In columns whose name is unknown, such as "Secondary", numbers are added if they are written as phone numbers, such as \`+4930901820\`, \`(415) 555-2671\` or \`030 901820\`; other numbers may be IDs and are not added, but reported in \`problems\`, once for a column that has only such. Dates are ignored, and so are columns whose name has another meaning, such as "First Name" or "Zip". In a file without a header, the only column with numbers is read in any notation, and several are read like columns with an unknown name. A cell may have several numbers, separated by \` ::: \`, semicolons, commas, slashes or line breaks. Numbers that cannot be read are reported in \`problems\`, and the other numbers of their rows are added. Returns when these are on the list. Importing the same file again adds nothing. Send the request as multipart/form-data; see the scalar \`Upload\`.`,
  scope: 'write',
  input: (t) => ({
    file: t.field({
      type: 'Upload',
      required: true,
      description: `CSV file or plain list of phone numbers, at most ${MAX_IMPORT_BYTES / 2 ** 20} MB.`,
    }),
    reason: t.string({
      description: `Reason recorded with every number, at most ${MAX_REASON} characters. Default: existing entries keep their reasons.`,
    }),
    source: t.string({
      description: `Source recorded with every number, at most ${MAX_SOURCE} characters. Default: existing entries keep their sources.`,
    }),
    defaultCountry: defaultCountryField(t),
    encoding: encodingField(t),
  }),
  run: (input, { app, viewer }) => importDoNotCall(app, viewer, input),
  payload: {
    addedCount: { type: 'Int', description: 'Number of phone numbers added to the list.' },
    presentCount: {
      type: 'Int',
      description: 'Number of phone numbers that were already on the list or in an earlier row.',
    },
    failedCount: {
      type: 'Int',
      description:
        'Number of rows without a phone number, or with a problem. Their other phone numbers are on the list.',
    },
    problems: {
      type: [DoNotCallImportProblemType],
      description:
        'First 1,000 phone numbers that could not be read, rows without one, and columns that were not read although they may have phone numbers. A column is reported once, in the first row with such a number.',
    },
  },
});
