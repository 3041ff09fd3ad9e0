/** CSV downloads over plain HTTP. */
import { z } from 'zod';
import type { App, Tx } from '../app.ts';
import type { Contact, Prisma } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { publicId } from '../infra/ids.ts';
import {
  type DownloadLink,
  fileResponse,
  LINK_REFUSED,
  type LinkResponse,
  readLink,
  signLink,
} from '../organizations/download-links.ts';
import { ownedBy, type Viewer } from '../viewer.ts';
import { checkFolder } from './folders.ts';
import { READ_ONLY_COLUMNS } from './import/column-mapping.ts';
import { csvLine } from './import/csv.ts';
import { type ContactFilter, contactsWhere } from './search.ts';

export const DOWNLOAD_PATH = '/downloads';
const LINK = { path: DOWNLOAD_PATH, purpose: 'download' };
const PAGE = 1_000;
/** Each metadata key has its own column, up to this number. */
const MAX_METADATA_COLUMNS = 500;

const FIELD_COLUMNS = [
  ['phone_number', 'phoneNumber'],
  ['first_name', 'firstName'],
  ['last_name', 'lastName'],
  ['email', 'email'],
  ['company_name', 'companyName'],
  ['industry', 'industry'],
  ['location', 'location'],
  ['pin_code', 'pinCode'],
  ['keywords', 'keywords'],
  ['timezone', 'timezone'],
] as const;

const date = z.iso.datetime().transform((text) => new Date(text));
const owner = { organizationId: z.uuid(), apiKeyId: z.uuid() };
const permissionSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('contacts'),
    ...owner,
    filter: z.object({
      folderId: z.string().nullish(),
      search: z.string().nullish(),
      lastCallOutcome: z
        .array(
          z.enum([
            ...['CONTACTED', 'VOICEMAIL', 'NO_ANSWER'],
            ...['ESCALATED', 'INTERESTED', 'NOT_INTERESTED'],
          ] as const),
        )
        .nullish(),
      phoneNumber: z.string().nullish(),
      createdFrom: date.nullish(),
      createdBefore: date.nullish(),
    }),
  }),
  z.object({
    kind: z.literal('importProblems'),
    ...owner,
    importId: z.uuid(),
    /** Links that are older than this field are to problems. */
    report: z.enum(['problems', 'warnings']).default('problems'),
  }),
]);
type Permission = z.output<typeof permissionSchema>;

/** Creates a link to a CSV of the contacts that match the filter when the link is followed. */
export async function exportContacts(
  app: App,
  viewer: Viewer,
  filter: ContactFilter,
): Promise<DownloadLink & { contactCount: number }> {
  const checks = new Checks();
  const where = contactsWhere(checks, filter, ['filter']);
  if (filter.folderId && checks.problems.length === 0) {
    const path = ['filter', 'folderId'];
    await checkFolder(app, viewer, checks, { folderId: filter.folderId, path });
  }
  checks.throwIfAny();
  const contactCount = await app.db.contact.count({ where: { ...ownedBy(viewer), ...where } });
  return { ...signLink(app, viewer, LINK, { kind: 'contacts', filter }), contactCount };
}

/** Creates a link to a CSV of the rows of an import that failed, or of those with warnings. */
export function importReportLink(
  app: App,
  viewer: Viewer,
  importId: string,
  report: 'problems' | 'warnings',
): DownloadLink {
  return signLink(app, viewer, LINK, { kind: 'importProblems', importId, report });
}

/**
 * Serves a link: 403 when it or its key has ended, otherwise the CSV, from one snapshot. It breaks off when the
 * key ends.
 */
export async function download(
  app: App,
  { query }: { query: URLSearchParams },
): Promise<LinkResponse> {
  const allowed = await readLink(app, query, { ...LINK, permission: permissionSchema });
  if (!allowed) return LINK_REFUSED;
  const name =
    allowed.kind === 'contacts'
      ? 'contacts.csv'
      : `${publicId('imp', allowed.importId)}-${allowed.report}.csv`;
  return fileResponse(app, allowed, {
    name,
    contentType: 'text/csv; charset=utf-8',
    lines: (tx) =>
      allowed.kind === 'contacts' ? contactLines(tx, allowed) : reportLines(tx, allowed),
  });
}

async function* contactLines(
  tx: Tx,
  { organizationId, filter }: { organizationId: string; filter: ContactFilter },
): AsyncGenerator<string> {
  const checks = new Checks();
  const where = { organizationId, ...contactsWhere(checks, filter, []) };
  checks.throwIfAny();
  const keys = yield* metadataKeys(tx, where);
  yield csvLine([...FIELD_COLUMNS.map(([column]) => column), ...READ_ONLY_COLUMNS, ...keys]);
  for await (const contacts of pages(tx, where)) {
    yield contacts
      .map((contact) => {
        const metadata = contact.metadata as Record<string, string>;
        return csvLine([
          ...FIELD_COLUMNS.map(([, field]) => contact[field]),
          contact.callCount,
          contact.lastCallOutcome,
          contact.lastCalledAt?.toISOString() ?? null,
          ...keys.map((key) => (Object.hasOwn(metadata, key) ? (metadata[key] ?? null) : null)),
        ]);
      })
      .join('');
  }
}

/**
 * Metadata keys in order of first appearance; those beyond the limit are omitted. Yields nothing to write after
 * each page, so that an export ends there when the client has disconnected.
 */
async function* metadataKeys(
  tx: Tx,
  where: Prisma.ContactWhereInput,
): AsyncGenerator<string, string[]> {
  const keys = new Set<string>();
  for await (const contacts of pages(tx, where, { id: true, metadata: true })) {
    yield '';
    for (const { metadata } of contacts) {
      for (const key of Object.keys(metadata as object)) {
        if (keys.size < MAX_METADATA_COLUMNS) keys.add(key);
      }
    }
  }
  return [...keys];
}

/** Contacts ordered by id, which is the order of their creation. */
async function* pages(
  tx: Tx,
  where: Prisma.ContactWhereInput,
  select?: Prisma.ContactSelect,
): AsyncGenerator<Contact[]> {
  let after: string | null = null;
  for (;;) {
    const contacts: Contact[] = await tx.contact.findMany({
      where: { AND: [where, ...(after ? [{ id: { gt: after } }] : [])] },
      orderBy: { id: 'asc' },
      take: PAGE,
      ...(select ? { select } : {}),
    });
    if (contacts.length > 0) yield contacts;
    if (contacts.length < PAGE) return;
    after = contacts.at(-1)!.id;
  }
}

async function* reportLines(
  tx: Tx,
  { organizationId, importId, report }: Extract<Permission, { kind: 'importProblems' }>,
): AsyncGenerator<string> {
  yield csvLine(['row', 'phone_number', 'reason']);
  let after = 0;
  for (;;) {
    const page = {
      where: { importId, import: { organizationId }, row: { gt: after } },
      orderBy: { row: 'asc' },
      take: PAGE,
    } as const;
    const rows =
      report === 'problems'
        ? await tx.contactImportProblem.findMany(page)
        : await tx.contactImportWarning.findMany(page);
    yield rows.map(({ row, phoneNumber, reason }) => csvLine([row, phoneNumber, reason])).join('');
    if (rows.length < PAGE) return;
    after = rows.at(-1)!.row;
  }
}
