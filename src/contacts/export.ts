/** Exports contacts, and reports on their imports, over plain HTTP. */
import { z } from 'zod';
import type { App, Tx } from '../app.ts';
import type { Contact, Prisma } from '../generated/prisma/client.ts';
import { publicId } from '../ids.ts';
import { Checks } from '../infra/checks.ts';
import type { ExportFormat, RowWriter } from '../infra/files/export-format.ts';
import { MAX_BATCH_ROWS, readBatches } from '../infra/files/row-batches.ts';
import type { DownloadLink, LinkResponse } from '../organizations/download-links.ts';
import {
  type ExportKind,
  exportLink,
  exportPermission,
  serveExport,
} from '../organizations/export-download.ts';
import type { Viewer } from '../viewer.ts';
import { READ_ONLY_COLUMNS } from './import/column-mapping.ts';
import { personOf, TEXT_COLUMNS } from './person-columns.ts';
import { type ContactFilter, checkContactFilter, contactFilter, contactsWhere } from './search.ts';

export const CONTACT_EXPORT_PATH = '/downloads/contacts';
export const IMPORT_REPORT_PATH = '/downloads/import-reports';
const REPORT_PAGE = 1_000;
/** Several times the maximum number of keys of one contact. */
export const MAX_METADATA_COLUMNS = 500;

const contactsPermission = exportPermission.extend({ filter: contactFilter });
const reportPermission = exportPermission.extend({
  importId: z.uuid(),
  report: z.enum(['problems', 'warnings']),
});

/** Creates a link to a file of matching contacts. The contacts are those that match when the link is followed. */
export async function exportContacts(
  app: App,
  viewer: Viewer,
  { filter, format }: { filter: ContactFilter; format: ExportFormat },
): Promise<DownloadLink & { contactCount: number }> {
  const checks = new Checks();
  const where = await checkContactFilter(app, viewer, checks, { filter, path: ['filter'] });
  checks.throwIfAny();
  const contactCount = await app.db.contact.count({ where });
  return { ...exportLink(app, viewer, CONTACTS, { filter, format }), contactCount };
}

/** Creates a link to a CSV file of the rows of an import that failed, or of those with warnings. */
export function importReportLink(
  app: App,
  viewer: Viewer,
  importId: string,
  report: 'problems' | 'warnings',
): DownloadLink {
  return exportLink(app, viewer, REPORTS, { importId, report, format: 'CSV' });
}

export function downloadContacts(
  app: App,
  request: { query: URLSearchParams },
): Promise<LinkResponse> {
  return serveExport(app, request, CONTACTS);
}

export function downloadImportReport(
  app: App,
  request: { query: URLSearchParams },
): Promise<LinkResponse> {
  return serveExport(app, request, REPORTS);
}

const CONTACT_WRITER: RowWriter<Contact> = {
  columns: [...TEXT_COLUMNS.map(({ name }) => name), ...READ_ONLY_COLUMNS],
  cells: (contact) => [
    ...TEXT_COLUMNS.map(({ field }) => contact[field]),
    contact.callCount,
    contact.lastCallOutcome,
    contact.lastCalledAt?.toISOString() ?? null,
  ],
  keyed: ({ metadata }) => ({ '': metadata }),
  maxKeys: MAX_METADATA_COLUMNS,
  json: (contact) => ({
    id: publicId('Contact', contact.id),
    folderId: publicId('ContactFolder', contact.folderId),
    ...personOf(contact),
    callCount: contact.callCount,
    lastCallOutcome: contact.lastCallOutcome,
    lastCalledAt: contact.lastCalledAt?.toISOString() ?? null,
    createdAt: contact.createdAt.toISOString(),
  }),
};

const CONTACTS: ExportKind<z.output<typeof contactsPermission>, Contact> = {
  path: CONTACT_EXPORT_PATH,
  permission: contactsPermission,
  fileName: () => 'contacts',
  writer: CONTACT_WRITER,
  rows(tx, { organizationId, filter }) {
    const checks = new Checks();
    const where = { organizationId, ...contactsWhere(checks, filter, []) };
    const folderId = checks.id('ContactFolder', filter.folderId, []) ?? null;
    checks.throwIfAny();
    return {
      pages: () => pages(tx, where),
      allKeys: () => metadataKeys(tx, organizationId, folderId),
    };
  },
};

/** Metadata keys used in a folder, or in the whole organization. */
async function metadataKeys(tx: Tx, organizationId: string, folderId: string | null) {
  const keys = await tx.$queryRaw<{ key: string }[]>`
    SELECT DISTINCT jsonb_object_keys(metadata) AS key FROM contacts
    WHERE organization_id = ${organizationId}::uuid
      AND (${folderId}::uuid IS NULL OR folder_id = ${folderId}::uuid)
    ORDER BY key LIMIT ${MAX_METADATA_COLUMNS}`;
  return { '': keys.map(({ key }) => key) };
}

/** Contacts ordered by ID, which is the order of their creation. */
function pages(tx: Tx, where: Prisma.ContactWhereInput): AsyncGenerator<Contact[]> {
  return readBatches<Pick<Contact, 'id'>, Contact>({
    keys: (after) =>
      tx.contact.findMany({
        where: { AND: [where, ...(after ? [{ id: { gt: after.id } }] : [])] },
        orderBy: { id: 'asc' },
        take: MAX_BATCH_ROWS,
        select: { id: true },
      }),
    sizes: (ids) => tx.$queryRaw`
      SELECT id, octet_length(c::text) AS bytes FROM contacts c WHERE id = ANY(${ids}::uuid[])`,
    rows: (ids) => tx.contact.findMany({ where: { id: { in: ids } } }),
  });
}

interface ReportRow {
  row: number;
  phoneNumber: string | null;
  reason: string;
}

const REPORTS: ExportKind<z.output<typeof reportPermission>, ReportRow> = {
  path: IMPORT_REPORT_PATH,
  permission: reportPermission,
  fileName: ({ importId, report }) => `${publicId('ContactImport', importId)}-${report}`,
  writer: {
    columns: ['row', 'phone_number', 'reason'],
    cells: ({ row, phoneNumber, reason }) => [row, phoneNumber, reason],
    keyed: null,
    json: (row) => row,
  },
  rows: (tx, permission) => ({
    pages: () => reportPages(tx, permission),
    allKeys: () => Promise.resolve({}),
  }),
};

async function* reportPages(
  tx: Tx,
  { organizationId, importId, report }: z.output<typeof reportPermission>,
): AsyncGenerator<ReportRow[]> {
  let after = 0;
  for (;;) {
    const page = {
      where: { importId, import: { organizationId }, row: { gt: after } },
      orderBy: { row: 'asc' },
      take: REPORT_PAGE,
    } as const;
    const rows =
      report === 'problems'
        ? await tx.contactImportProblem.findMany(page)
        : await tx.contactImportWarning.findMany(page);
    if (rows.length > 0) yield rows;
    if (rows.length < REPORT_PAGE) return;
    after = rows.at(-1)!.row;
  }
}
