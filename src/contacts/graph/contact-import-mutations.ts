/** Mutations that start and cancel contact imports. */

import { useInstead } from '../../graphql/deprecated-names.ts';
import { mutation } from '../../graphql/mutation.ts';
import { formatNumber } from '../../infra/format-number.ts';
import {
  cancelContactImport,
  importContacts,
  MAX_IMPORT_BYTES,
  MAX_MAPPINGS,
  MAX_ROWS,
} from '../import/service.ts';
import { ContactImportNode } from './contact-import.ts';
import {
  ColumnMappingInput,
  ContactImportDuplicateRule,
  defaultCountryField,
  encodingField,
} from './contact-import-inputs.ts';

mutation('importContacts', {
  description: `Imports contacts from a CSV file into a folder. Returns as soon as the file is stored; follow the import with \`contactImportProgress\`. Send the request as multipart/form-data; see the scalar \`Upload\`. The file has a header row, which titles and a line such as \`sep=;\` may precede, uses commas, semicolons, tabs or | as delimiter, and has at most ${formatNumber(MAX_ROWS)} rows. Rows without a valid phone number are reported in \`problems\`, and the others are imported. Other invalid cells, such as an unknown time zone, are ignored and reported in \`warnings\`. The extension of a phone number is kept as the metadata key \`extension\`. Cells such as "NULL", "N/A", "None" and "-" are empty.`,
  scope: 'write',
  input: (t) => ({
    folderId: t.id({
      required: true,
      description: 'ID of the folder that receives the contacts (`fld_…`).',
    }),
    file: t.field({
      type: 'Upload',
      required: true,
      description: `CSV file, at most ${MAX_IMPORT_BYTES / 2 ** 20} MB.`,
    }),
    mapping: t.field({
      type: [ColumnMappingInput],
      maxItems: MAX_MAPPINGS,
      description:
        'Mappings of columns. Other columns are mapped by their names, such as "Phone", "First Name" and "Email" and their equivalents in exports of CRMs and in other languages, or to metadata under their names. Of several phone number columns, at most 50, each row uses the first with a valid number; unused numbers become metadata. Columns such as "Do Not Call", "Opt Out" and "Consent" add all phone numbers of a row to the do-not-call list, also those in phone number columns that are mapped to metadata or ignored, and even if its contact is invalid, but not if the row has more cells than the header; numbers that cannot be read are reported.',
    }),
    defaultCountry: defaultCountryField(t),
    encoding: encodingField(t),
    onDuplicate: t.field({
      type: ContactImportDuplicateRule,
      description:
        'Handling of phone numbers that are already in the folder or in an earlier row. Default: SKIP.',
    }),
    updateExisting: t.boolean({
      description:
        'Whether a row updates an existing contact with the same phone number, which is UPDATE of `onDuplicate`. If false, such rows are skipped.',
      deprecationReason: useInstead('onDuplicate'),
    }),
  }),
  run: async (input, { app, viewer }) => ({
    contactImport: await importContacts(app, viewer, input),
  }),
  payload: {
    contactImport: { type: ContactImportNode, description: 'The created import.' },
  },
});

mutation('cancelContactImport', {
  description:
    'Cancels a contact import. Contacts imported until then remain, and opt-outs stay on the do-not-call list; those of the other rows are not added. Has no effect on an import that is already canceled.',
  scope: 'write',
  stops: true,
  input: (t) => ({ id: t.id({ required: true, description: 'ID of the import (`imp_…`).' }) }),
  run: async (input, { app, viewer }) => ({
    contactImport: await cancelContactImport(app, viewer, input),
  }),
  payload: {
    contactImport: { type: ContactImportNode, description: 'The canceled import.' },
  },
});
