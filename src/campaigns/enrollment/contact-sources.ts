/** Checks and reads the sources of a campaign's contacts: a folder, contacts by ID, rows, or a CSV file. */
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import type { App } from '../../app.ts';
import { type ContactColumns, type ContactInput, contactColumns } from '../../contacts/fields.ts';
import {
  type ColumnMappingInput,
  headerTest,
  type ImportMapping,
  mapColumns,
} from '../../contacts/import/column-mapping.ts';
import { CsvReader, type CsvRow, cellText } from '../../contacts/import/csv.ts';
import { readRows } from '../../contacts/import/csv-rows.ts';
import { readHeader } from '../../contacts/import/header.ts';
import { contactRowReader } from '../../contacts/import/row-reader.ts';
import { checkFile, MAX_ROW_BYTES } from '../../contacts/import/service.ts';
import { type FileEncoding, readText } from '../../contacts/import/text-encoding.ts';
import type { ProblemPath } from '../../errors.ts';
import type { CampaignContactSource } from '../../generated/prisma/enums.ts';
import { Checks } from '../../infra/checks.ts';
import { truncateText } from '../../infra/database/storable-text.ts';
import type { UploadedFile } from '../../infra/files/uploaded-file.ts';
import { formatNumber } from '../../infra/format-number.ts';
import type { PhoneNumberRules } from '../../infra/phone-number.ts';
import { phoneNumberRules } from '../../organizations/service.ts';
import { ownedBy, type Viewer } from '../../viewer.ts';

/** Maximum number of contacts of a campaign, from all sources. */
export const MAX_CAMPAIGN_CONTACTS = 100_000;
/** Maximum number of rows or IDs in one request. */
export const MAX_LISTED_CONTACTS = 10_000;
export const MAX_SOURCE_BYTES = 50 * 1024 * 1024;
export const MAX_CLIENT_ID = 200;
/** Rows checked before yielding to the event loop. */
const SLICE_ROWS = 500;
const MAX_REASON = 1_000;
const MAX_SHOWN_NUMBER = 60;

/** A row of the input: a contact, with the caller's own ID if there is one. */
export interface CampaignContactRow extends ContactInput {
  phoneNumber: string;
  clientId?: string | null | undefined;
}

/** At most one of the first four fields is given. */
export interface ContactSourceInput {
  contactFolderId?: string | null | undefined;
  contactIds?: readonly string[] | null | undefined;
  contacts?: readonly CampaignContactRow[] | null | undefined;
  contactsFile?: UploadedFile | null | undefined;
  /** Mapping of the columns of a file. */
  mapping?: readonly ColumnMappingInput[] | null | undefined;
  /** Encoding of a file. Default: detected. */
  encoding?: FileEncoding | null | undefined;
  /** Country of numbers without a country code, ISO 3166-1 alpha-2. */
  defaultCountry?: string | null | undefined;
}

export interface RowProblem {
  /** 1 is the first row after the header. */
  row: number;
  phoneNumber: string | null;
  reason: string;
}

/** Result of adding contacts. */
export interface AddedContacts {
  addedCount: number;
  /** Rows whose own ID or, without one, number was already in the campaign or in an earlier row. */
  duplicateCount: number;
  /** Invalid rows of a file. */
  problemCount: number;
  /** The first 100 invalid rows. */
  problems: readonly RowProblem[];
  /** Number of rows of a file with ignored cells. */
  warningCount: number;
  /** The first 100 of these rows. */
  warnings: readonly RowProblem[];
  /** Number of rows of a file that an opt-out column put on the do-not-call list. */
  doNotCallCount: number;
}

/** A valid row in the form in which it is stored. */
export interface SourceRow extends ContactColumns {
  clientId: string | null;
  /** Which cells of the file were ignored, and why; null if none were. */
  warning: RowProblem | null;
}

/** Stored contacts of the organization, to be copied. */
export type StoredSource =
  | { readonly kind: 'FOLDER'; readonly folderId: string }
  | { readonly kind: 'IDS'; readonly contactIds: readonly string[] };

/** A file that has been read to its end once. */
export interface FileSource {
  readonly kind: 'FILE';
  readonly file: UploadedFile;
  readonly mapping: ImportMapping;
  /** Position in the text right after the header, in bytes. */
  readonly headerEnd: number;
  /** Index of the column with the caller's own IDs; -1 if there is none. */
  readonly clientIdColumn: number;
  readonly rules: PhoneNumberRules;
}

export type SourceOfContacts =
  | StoredSource
  | { readonly kind: 'ROWS'; readonly rows: readonly SourceRow[] }
  | FileSource;

/** A source that passed all checks that are possible before its rows are read. */
export interface CheckedSource {
  readonly contactSource: CampaignContactSource;
  readonly contactFolderId: string | null;
  readonly contacts: SourceOfContacts;
}

const SOURCE_FIELDS = ['contactFolderId', 'contactIds', 'contacts', 'contactsFile'] as const;

/**
 * Checks the source of an input without writing anything. Returns null if none was given, or if it has
 * problems, which are added to `checks`.
 */
export async function checkSource(
  app: App,
  viewer: Viewer,
  checks: Checks,
  { input, required }: { input: ContactSourceInput; required: boolean },
): Promise<CheckedSource | null> {
  const before = checks.problems.length;
  const given = SOURCE_FIELDS.filter((name) => input[name] !== null && input[name] !== undefined);
  if (given.length > 1) {
    checks.add(
      'INVALID_INPUT',
      `Only one source of contacts can be given. Omit ${given
        .slice(1)
        .map((name) => `\`${name}\``)
        .join(' and ')}, or \`${given[0]}\`.`,
      [given[1]!],
    );
  } else if (given.length === 0 && required) {
    const names = SOURCE_FIELDS.map((name) => `\`${name}\``);
    checks.add('REQUIRED', `Specify the contacts with one of ${names.join(', ')}.`, []);
  }
  if (input.mapping && !input.contactsFile) {
    checks.add('INVALID_INPUT', '`mapping` requires a `contactsFile`.', ['mapping']);
  }
  const rules = {
    ...(await phoneNumberRules(app, viewer)),
    defaultCountry: checks.country(input.defaultCountry, ['defaultCountry']),
  };
  const { contactFolderId, contactIds, contacts, contactsFile } = input;
  const found: (SourceOfContacts | undefined)[] = [
    contactFolderId ? await checkSourceFolder(app, viewer, checks, contactFolderId) : undefined,
    contactIds ? await checkIds(app, viewer, checks, contactIds) : undefined,
    contacts ? await checkRows(checks, contacts, rules) : undefined,
    contactsFile
      ? await checkFile(
          checks,
          contactsFile,
          () => inspectFile(checks, contactsFile, input, rules),
          { path: ['contactsFile'], maxBytes: MAX_SOURCE_BYTES },
        )
      : undefined,
  ];
  // An empty string is not an ID.
  if (contactFolderId === '') checks.id('ContactFolder', '', ['contactFolderId']);
  const source = found.find((candidate) => candidate !== undefined);
  if (!source || checks.problems.length > before) return null;
  return {
    contactSource:
      source.kind === 'FOLDER' ? 'FOLDER' : source.kind === 'FILE' ? 'CSV' : ('MANUAL' as const),
    contactFolderId: source.kind === 'FOLDER' ? source.folderId : null,
    contacts: source,
  };
}

/** Returns undefined if there are problems, like the functions below. */
export async function checkSourceFolder(
  app: App,
  viewer: Viewer,
  checks: Checks,
  folderId: string,
): Promise<StoredSource | undefined> {
  const path = ['contactFolderId'];
  const id = checks.id('ContactFolder', folderId, path);
  if (!id) return undefined;
  const folder = await app.db.contactFolder.findFirst({
    where: { ...ownedBy(viewer), id },
    select: { contactCount: true },
  });
  if (!folder) return checks.add('NOT_FOUND', 'Contact folder not found.', path);
  if (folder.contactCount === 0) {
    return checks.add(
      'EMPTY_CONTACT_SOURCE',
      'The folder has no contacts. Add some, or choose another folder.',
      path,
    );
  }
  if (folder.contactCount > MAX_CAMPAIGN_CONTACTS) {
    return checks.add(
      'LIMIT_EXCEEDED',
      `The folder has ${formatNumber(folder.contactCount)} contacts, but a campaign can have at most ${formatNumber(MAX_CAMPAIGN_CONTACTS)}. Split the folder.`,
      path,
    );
  }
  return { kind: 'FOLDER', folderId: id };
}

export async function checkIds(
  app: App,
  viewer: Viewer,
  checks: Checks,
  contactIds: readonly string[],
): Promise<StoredSource | undefined> {
  if (!hasContacts(checks, contactIds, ['contactIds'])) return undefined;
  const ids = contactIds.map((id, index) => checks.id('Contact', id, ['contactIds', index]));
  const known = ids.filter((id) => id !== undefined);
  const found = await app.db.$queryRaw<{ id: string }[]>`
    SELECT id FROM contacts
    WHERE id = ANY(${known}::uuid[]) AND organization_id = ${viewer.organizationId}::uuid`;
  const there = new Set(found.map(({ id }) => id));
  ids.forEach((id, index) => {
    if (id && !there.has(id)) {
      checks.add('NOT_FOUND', 'Contact not found.', ['contactIds', index]);
    }
  });
  return { kind: 'IDS', contactIds: known };
}

async function checkRows(
  checks: Checks,
  contacts: readonly CampaignContactRow[],
  rules: PhoneNumberRules,
): Promise<SourceOfContacts | undefined> {
  if (!hasContacts(checks, contacts, ['contacts'])) return undefined;
  const rows: SourceRow[] = [];
  for (const [index, { clientId, ...contact }] of contacts.entries()) {
    if (index % SLICE_ROWS === SLICE_ROWS - 1) await yieldToEventLoop();
    const path = ['contacts', index];
    const columns = contactColumns(checks, contact, path, rules);
    const id = checks.text(clientId, [...path, 'clientId'], { min: 1, max: MAX_CLIENT_ID });
    // Trimmed like the cells of a file, so that both are the same contact.
    if (columns) rows.push({ ...columns, clientId: id?.trim() ?? null, warning: null });
  }
  return { kind: 'ROWS', rows };
}

function hasContacts(checks: Checks, list: readonly unknown[], path: ProblemPath): boolean {
  if (list.length > 0) return true;
  checks.add('EMPTY_CONTACT_SOURCE', 'The list must have at least one contact.', path);
  return false;
}

/** Reads the whole file to check that it is text, and counts its rows. */
async function inspectFile(
  checks: Checks,
  file: UploadedFile,
  { mapping, encoding }: Pick<ContactSourceInput, 'mapping' | 'encoding'>,
  rules: PhoneNumberRules,
): Promise<FileSource | undefined> {
  const path = ['contactsFile'];
  const given = mapping ?? [];
  const { format, cells, end } = await readHeader(file, { encoding, isHeader: headerTest(given) });
  const ofColumns = new Checks();
  const columns = mapColumns(ofColumns, cells, given);
  for (const { code, message, path: at } of ofColumns.problems) {
    checks.add(code, message, at[0] === 'file' ? path : at);
  }
  const clientIdColumn = columns.findIndex(
    ({ column }) =>
      /^client[ _-]?id$/i.test(column) && !given.some((use) => use.column.trim() === column),
  );
  const own = columns[clientIdColumn];
  if (own) columns[clientIdColumn] = { ...own, field: null, metadataKey: null };
  const source: FileSource = {
    kind: 'FILE',
    file,
    mapping: { ...format, columns },
    headerEnd: end,
    clientIdColumn,
    rules,
  };
  let count = 0;
  for await (const _row of csvRowsOf(source)) {
    count += 1;
    if (count > MAX_CAMPAIGN_CONTACTS) break;
  }
  if (count === 0) {
    return checks.add('EMPTY_CONTACT_SOURCE', 'The file has no rows after the header.', path);
  }
  if (count > MAX_CAMPAIGN_CONTACTS) {
    return checks.add(
      'LIMIT_EXCEEDED',
      `The file has more than ${formatNumber(MAX_CAMPAIGN_CONTACTS)} rows, the maximum number of contacts of a campaign. Split the file.`,
      path,
    );
  }
  return source;
}

/** Yields the rows after the header. */
export async function* csvRowsOf({ file, mapping, headerEnd }: FileSource): AsyncGenerator<CsvRow> {
  const reader = new CsvReader(mapping, MAX_ROW_BYTES);
  for await (const row of readRows(reader, readText(file.read(), mapping.encoding))) {
    if (row.end > headerEnd) yield row;
  }
}

/** A row of a source, or the problem of an invalid row. */
export interface ReadRow {
  row: SourceRow | RowProblem;
  /** Position in the file right after the row, in bytes. */
  end: number;
}

export async function* rowsOfFile(source: FileSource): AsyncGenerator<ReadRow> {
  const readRow = contactRowReader(source.mapping.columns, source.rules);
  let number = 0;
  for await (const csvRow of csvRowsOf(source)) {
    number += 1;
    yield { row: sourceRowOf(csvRow, { number, source, readRow }), end: csvRow.end };
  }
}

function sourceRowOf(
  { cells, problem }: CsvRow,
  {
    number,
    source,
    readRow,
  }: { number: number; source: FileSource; readRow: ReturnType<typeof contactRowReader> },
): SourceRow | RowProblem {
  const bad = (reason: string, phoneNumber: string | null = null): RowProblem => ({
    row: number,
    phoneNumber: phoneNumber && truncateText(phoneNumber, MAX_SHOWN_NUMBER),
    reason: truncateText(reason, MAX_REASON),
  });
  if (problem) return bad(problem);
  const clientId = cellText(cells[source.clientIdColumn] ?? '') || null;
  const read = readRow(cells);
  const checks = new Checks();
  checks.text(clientId, ['clientId'], { max: MAX_CLIENT_ID });
  const reasons = [
    ...('reason' in read ? [read.reason] : []),
    ...checks.problems.map(({ message }) => message),
  ];
  if ('contact' in read && reasons.length === 0) {
    const warning = read.warning === null ? null : bad(read.warning, read.contact.phoneNumber);
    return { ...read.contact, clientId, warning };
  }
  return bad(reasons.join(' '), 'reason' in read ? read.phoneNumber : read.contact.phoneNumber);
}
