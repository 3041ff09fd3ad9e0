/** Where the contacts of a campaign come from: a folder, contacts by id, rows, or a CSV. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CountryCode } from 'libphonenumber-js/max';
import type { App } from '../app.ts';
import { CsvReader, type CsvRow, withoutFormulaGuard } from '../contacts/csv.ts';
import { checkCountry, checkFile, MAX_ROW_BYTES, readHeader } from '../contacts/import.ts';
import {
  type ColumnMappingInput,
  type ImportMapping,
  mapColumns,
  rowReader,
} from '../contacts/import-mapping.ts';
import { readText } from '../contacts/import-text.ts';
import {
  type ContactColumns,
  type ContactInput,
  contactColumns,
  readContactRow,
} from '../contacts/record.ts';
import type { ProblemPath } from '../errors.ts';
import type { CampaignContactSource } from '../generated/prisma/enums.ts';
import { Checks } from '../infra/checks.ts';
import type { UploadedFile } from '../infra/uploaded-file.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';

/** All contacts of one campaign, however they came in. */
export const MAX_CAMPAIGN_CONTACTS = 100_000;
/** Contacts in one request: rows, or ids. */
export const MAX_LISTED_CONTACTS = 10_000;
export const MAX_FILE_BYTES = 50 * 1024 * 1024;
const MAX_CLIENT_ID = 200;
/** Rows that are looked at before others have their turn. */
const TURN_ROWS = 500;
const MAX_REASON = 1_000;
const MAX_SHOWN_NUMBER = 60;

/** One row: a contact as it is, with the caller's own id if there is one. */
export interface CampaignContactRow extends ContactInput {
  phoneNumber: string;
  clientId?: string | null | undefined;
}

/** At most one of the first four. */
export interface ContactSourceInput {
  contactFolderId?: string | null | undefined;
  contactIds?: readonly string[] | null | undefined;
  contacts?: readonly CampaignContactRow[] | null | undefined;
  contactsFile?: UploadedFile | null | undefined;
  /** For a file: what its columns are. */
  mapping?: readonly ColumnMappingInput[] | null | undefined;
  /** For rows and files: ISO 3166-1 alpha-2. */
  defaultCountry?: string | null | undefined;
}

export interface RowProblem {
  /** 1 is the first row after the header. */
  row: number;
  phoneNumber: string | null;
  reason: string;
}

/** What came of adding contacts. */
export interface AddedContacts {
  addedCount: number;
  /** Rows whose number or own id was in the campaign already, or came earlier among them. */
  duplicateCount: number;
  /** Rows of a file that cannot be used. */
  problemCount: number;
  /** The first 100 of them. */
  problems: readonly RowProblem[];
}

/** A row that can be called, in the form in which it is kept. */
export interface SourceRow extends ContactColumns {
  clientId: string | null;
}

/** Contacts of the organization, to be copied. */
export type StoredSource =
  | { readonly kind: 'FOLDER'; readonly folderId: string }
  | { readonly kind: 'IDS'; readonly contactIds: readonly string[] };

/** A file that can be read to its end. */
export interface FileSource {
  readonly kind: 'FILE';
  readonly file: UploadedFile;
  readonly mapping: ImportMapping;
  /** Bytes of the text up to the first row. */
  readonly headerEnd: number;
  /** Which column holds the caller's own ids; -1 for none. */
  readonly clientIdColumn: number;
  readonly country: CountryCode | undefined;
}

export type SourceOfContacts =
  | StoredSource
  | { readonly kind: 'ROWS'; readonly rows: readonly SourceRow[] }
  | FileSource;

/** A source in which nothing is wrong, as far as can be told before its rows are read. */
export interface CheckedSource {
  readonly contactSource: CampaignContactSource;
  readonly contactFolderId: string | null;
  readonly contacts: SourceOfContacts;
}

const SOURCES = ['contactFolderId', 'contactIds', 'contacts', 'contactsFile'] as const;

/**
 * The source that was given, or null when there is none or when something is wrong with it, which is
 * then in `checks`. Writes nothing.
 */
export async function checkSource(
  app: App,
  viewer: Viewer,
  checks: Checks,
  input: ContactSourceInput,
  { required }: { required: boolean },
): Promise<CheckedSource | null> {
  const before = checks.problems.length;
  const given = SOURCES.filter((name) => input[name] !== null && input[name] !== undefined);
  if (given.length > 1) {
    checks.add(
      'INVALID_INPUT',
      `The contacts come from one source. Leave out ${given
        .slice(1)
        .map((name) => `\`${name}\``)
        .join(' and ')}, or \`${given[0]}\`.`,
      [given[1]!],
    );
  } else if (given.length === 0 && required) {
    const names = SOURCES.map((name) => `\`${name}\``);
    checks.add('REQUIRED', `Say who is to be called: give one of ${names.join(', ')}.`, []);
  }
  if (input.mapping && !input.contactsFile) {
    checks.add('INVALID_INPUT', '`mapping` is only for a `contactsFile`; leave it out.', [
      'mapping',
    ]);
  }
  const country = checkCountry(checks, input.defaultCountry);
  const { contactFolderId, contactIds, contacts, contactsFile } = input;
  const found: (SourceOfContacts | undefined)[] = [
    contactFolderId ? await checkFolder(app, viewer, checks, contactFolderId) : undefined,
    contactIds ? await checkIds(app, viewer, checks, contactIds) : undefined,
    contacts ? await checkRows(checks, contacts, country) : undefined,
    contactsFile
      ? await checkFile(
          checks,
          contactsFile,
          () => lookAtFile(checks, contactsFile, input.mapping ?? [], country),
          { path: ['contactsFile'], maxBytes: MAX_FILE_BYTES },
        )
      : undefined,
  ];
  // An empty text is no id.
  if (contactFolderId === '') checks.id('fld', 'ContactFolder', '', ['contactFolderId']);
  const source = found.find((candidate) => candidate !== undefined);
  if (!source || checks.problems.length > before) return null;
  return {
    contactSource:
      source.kind === 'FOLDER' ? 'FOLDER' : source.kind === 'FILE' ? 'CSV' : ('MANUAL' as const),
    contactFolderId: source.kind === 'FOLDER' ? source.folderId : null,
    contacts: source,
  };
}

/** @returns undefined when there is something wrong, as the others below. */
export async function checkFolder(
  app: App,
  viewer: Viewer,
  checks: Checks,
  folderId: string,
): Promise<StoredSource | undefined> {
  const path = ['contactFolderId'];
  const id = checks.id('fld', 'ContactFolder', folderId, path);
  if (!id) return undefined;
  const folder = await app.db.contactFolder.findFirst({
    where: { ...ownedBy(viewer), id },
    select: { contactCount: true },
  });
  if (!folder) return checks.add('NOT_FOUND', 'There is no such folder.', path);
  if (folder.contactCount === 0) {
    return checks.add(
      'EMPTY_CONTACT_SOURCE',
      'The folder has no contacts. Add some, or choose another one.',
      path,
    );
  }
  if (folder.contactCount > MAX_CAMPAIGN_CONTACTS) {
    return checks.add(
      'LIMIT_EXCEEDED',
      `The folder has ${folder.contactCount} contacts; a campaign has at most ${MAX_CAMPAIGN_CONTACTS}. Divide it.`,
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
  if (!checkLength(checks, contactIds.length, ['contactIds'])) return undefined;
  const ids = contactIds.map((id, index) => checks.id('ctc', 'Contact', id, ['contactIds', index]));
  const known = ids.filter((id) => id !== undefined);
  const found = await app.db.$queryRaw<{ id: string }[]>`
    SELECT id FROM contacts
    WHERE id = ANY(${known}::uuid[]) AND organization_id = ${viewer.organizationId}::uuid`;
  const there = new Set(found.map(({ id }) => id));
  ids.forEach((id, index) => {
    if (id && !there.has(id)) {
      checks.add('NOT_FOUND', 'There is no such contact.', ['contactIds', index]);
    }
  });
  return { kind: 'IDS', contactIds: known };
}

async function checkRows(
  checks: Checks,
  contacts: readonly CampaignContactRow[],
  country: CountryCode | undefined,
): Promise<SourceOfContacts | undefined> {
  if (!checkLength(checks, contacts.length, ['contacts'])) return undefined;
  const rows: SourceRow[] = [];
  for (const [index, { clientId, ...contact }] of contacts.entries()) {
    if (index % TURN_ROWS === TURN_ROWS - 1) await nextTurn();
    const path = ['contacts', index];
    const columns = contactColumns(checks, contact, path, country);
    const id = checks.text(clientId, [...path, 'clientId'], { min: 1, max: MAX_CLIENT_ID });
    if (columns) rows.push({ ...columns, clientId: id ?? null });
  }
  return { kind: 'ROWS', rows };
}

function checkLength(checks: Checks, length: number, path: ProblemPath): boolean {
  if (length === 0) {
    checks.add('EMPTY_CONTACT_SOURCE', 'The list is empty. It needs at least one contact.', path);
  } else if (length > MAX_LISTED_CONTACTS) {
    checks.add(
      'LIMIT_EXCEEDED',
      `At most ${MAX_LISTED_CONTACTS} contacts are listed at once; there are ${length}. Divide them, or send a file.`,
      path,
    );
  }
  return length > 0 && length <= MAX_LISTED_CONTACTS;
}

/** Reads the whole file once: that it is text, and how long. */
async function lookAtFile(
  checks: Checks,
  file: UploadedFile,
  given: readonly ColumnMappingInput[],
  country: CountryCode | undefined,
): Promise<FileSource | undefined> {
  const path = ['contactsFile'];
  const { format, cells, end } = await readHeader(file);
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
    country,
  };
  let count = 0;
  for await (const _row of csvRowsOf(source)) {
    count += 1;
    if (count > MAX_CAMPAIGN_CONTACTS) break;
  }
  if (count === 0) {
    return checks.add('EMPTY_CONTACT_SOURCE', 'The file has no row below its header.', path);
  }
  if (count > MAX_CAMPAIGN_CONTACTS) {
    return checks.add(
      'LIMIT_EXCEEDED',
      `The file has more than ${MAX_CAMPAIGN_CONTACTS} rows, and a campaign at most as many contacts. Divide it.`,
      path,
    );
  }
  return source;
}

async function* csvRowsOf({ file, mapping, headerEnd }: FileSource): AsyncGenerator<CsvRow> {
  const reader = new CsvReader(mapping, MAX_ROW_BYTES);
  for await (const piece of readText(file.read())) {
    for (const row of reader.push(piece)) if (row.end > headerEnd) yield row;
  }
  for (const row of reader.finish()) if (row.end > headerEnd) yield row;
}

/** The rows of a file, one after the other, and what is wrong with those that cannot be called. */
export async function* rowsOfFile(source: FileSource): AsyncGenerator<SourceRow | RowProblem> {
  const toInput = rowReader(source.mapping.columns);
  let row = 0;
  for await (const { cells, problem } of csvRowsOf(source)) {
    row += 1;
    const bad = (reason: string, phoneNumber: string | null = null): RowProblem => ({
      row,
      phoneNumber: phoneNumber?.slice(0, MAX_SHOWN_NUMBER).toWellFormed() ?? null,
      reason: reason.slice(0, MAX_REASON).toWellFormed(),
    });
    if (problem) {
      yield bad(problem);
      continue;
    }
    const said = toInput(cells);
    if ('problem' in said) {
      yield bad(said.problem);
      continue;
    }
    const clientId = withoutFormulaGuard((cells[source.clientIdColumn] ?? '').trim()) || null;
    const read = readContactRow(said.input, source.country);
    const checks = new Checks();
    checks.text(clientId, ['clientId'], { max: MAX_CLIENT_ID });
    const reasons = [
      ...('reason' in read ? [read.reason] : []),
      ...checks.problems.map(({ message }) => message),
    ];
    if ('contact' in read && reasons.length === 0) yield { ...read.contact, clientId };
    else yield bad(reasons.join(' '), said.input.phoneNumber ?? null);
  }
}
