/**
 * Files to take away: the contacts of a filter, and what was wrong with the rows of an import. They
 * are fetched over plain HTTP with a link that carries its own permission and soon ends, so that a
 * browser can follow it, and are read from the database in pages while they are sent.
 */
import { z } from 'zod';
import type { App } from '../app.ts';
import type { Contact, Prisma } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { publicId } from '../infra/ids.ts';
import { readToken, signToken } from '../infra/signed-token.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';
import { csvLine } from './csv.ts';
import { KEPT_COLUMNS } from './import-mapping.ts';
import { type ContactFilter, contactsWhere } from './search.ts';

export const DOWNLOAD_PATH = '/downloads';
export const LINK_MINUTES = 15;
const PAGE = 1_000;
/** Each key of the metadata has a column of its own, up to so many. */
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
const permission = z.discriminatedUnion('what', [
  z.object({
    what: z.literal('contacts'),
    organizationId: z.uuid(),
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
    what: z.literal('importProblems'),
    organizationId: z.uuid(),
    importId: z.uuid(),
  }),
]);
type Permission = z.output<typeof permission>;

export interface DownloadLink {
  /** To be put after the address of the server. */
  path: string;
  expiresAt: Date;
}

function linkTo(app: App, payload: Permission): DownloadLink {
  const expiresAt = new Date(app.now().getTime() + LINK_MINUTES * 60_000);
  const token = signToken(app.cipher.derive('download'), payload, expiresAt);
  return { path: `${DOWNLOAD_PATH}?token=${token}`, expiresAt };
}

/** A link to a CSV of the contacts that the filter means when it is followed. */
export async function exportContacts(
  app: App,
  viewer: Viewer,
  filter: ContactFilter,
): Promise<DownloadLink & { contactCount: number }> {
  const checks = new Checks();
  const where = contactsWhere(checks, filter, ['filter']);
  if (filter.folderId && checks.problems.length === 0) {
    const folder = await app.db.contactFolder.count({
      where: { ...ownedBy(viewer), id: filter.folderId.slice(4) },
    });
    if (folder === 0) checks.add('NOT_FOUND', 'There is no such folder.', ['filter', 'folderId']);
  }
  checks.throwIfAny();
  const contactCount = await app.db.contact.count({ where: { ...ownedBy(viewer), ...where } });
  return {
    ...linkTo(app, { what: 'contacts', ...ownedBy(viewer), filter } as Permission),
    contactCount,
  };
}

/** A link to a CSV of the rows of an import that could not be imported. */
export function importProblemsLink(
  app: App,
  contactImport: { id: string; organizationId: string },
): DownloadLink {
  const { id, organizationId } = contactImport;
  return linkTo(app, { what: 'importProblems', organizationId, importId: id });
}

export interface Download {
  status: number;
  body: string | AsyncIterable<string>;
  contentType?: string;
  headers?: Record<string, string>;
}

/** What is behind a link. */
export function download(app: App, { query }: { query: URLSearchParams }): Download {
  const token = readToken(app.cipher.derive('download'), query.get('token') ?? '', app.now());
  const allowed = permission.safeParse(token);
  if (!allowed.success) {
    return {
      status: 403,
      body: `This link is not valid, or not any more: links last ${LINK_MINUTES} minutes. Ask for a new one.`,
    };
  }
  const { data } = allowed;
  return data.what === 'contacts'
    ? file('contacts.csv', contactLines(app, data.organizationId, data.filter))
    : file(`${publicId('imp', data.importId)}-problems.csv`, problemLines(app, data));
}

function file(filename: string, body: AsyncIterable<string>): Download {
  return {
    status: 200,
    body,
    contentType: 'text/csv; charset=utf-8',
    headers: {
      'content-disposition': `attachment; filename="${filename}"`,
      'cache-control': 'private, no-store',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    },
  };
}

async function* contactLines(
  app: App,
  organizationId: string,
  filter: ContactFilter,
): AsyncGenerator<string> {
  const checks = new Checks();
  const where = { organizationId, ...contactsWhere(checks, filter, []) };
  checks.throwIfAny();
  const keys = await metadataKeys(app, where);
  yield csvLine([...FIELD_COLUMNS.map(([column]) => column), ...KEPT_COLUMNS, ...keys]);
  for await (const contacts of pages(app, where)) {
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

/** In the order in which they are met; those beyond the limit are left out. */
async function metadataKeys(app: App, where: Prisma.ContactWhereInput): Promise<string[]> {
  const keys = new Set<string>();
  for await (const contacts of pages(app, where, { id: true, metadata: true })) {
    for (const { metadata } of contacts) {
      for (const key of Object.keys(metadata as object)) {
        if (keys.size < MAX_METADATA_COLUMNS) keys.add(key);
      }
    }
  }
  return [...keys];
}

/** By id, which is the order in which they were made. */
async function* pages(
  app: App,
  where: Prisma.ContactWhereInput,
  select?: Prisma.ContactSelect,
): AsyncGenerator<Contact[]> {
  let after: string | null = null;
  for (;;) {
    const contacts: Contact[] = await app.db.contact.findMany({
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

async function* problemLines(
  app: App,
  { organizationId, importId }: { organizationId: string; importId: string },
): AsyncGenerator<string> {
  yield csvLine(['row', 'phone_number', 'reason']);
  let after = 0;
  for (;;) {
    const problems = await app.db.contactImportProblem.findMany({
      where: { importId, import: { organizationId }, row: { gt: after } },
      orderBy: { row: 'asc' },
      take: PAGE,
    });
    yield problems
      .map(({ row, phoneNumber, reason }) => csvLine([row, phoneNumber, reason]))
      .join('');
    if (problems.length < PAGE) return;
    after = problems.at(-1)!.row;
  }
}
