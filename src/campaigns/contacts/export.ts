/** Exports the contacts of a campaign, with their results, over plain HTTP. */
import { z } from 'zod';
import type { App, Tx } from '../../app.ts';
import { durationOf, verdictOf } from '../../calls/record.ts';
import { personOf, TEXT_COLUMNS } from '../../contacts/person-columns.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { publicId } from '../../ids.ts';
import { Checks } from '../../infra/checks.ts';
import {
  type ExportFormat,
  MAX_KEY_COLUMNS,
  type RowWriter,
} from '../../infra/files/export-format.ts';
import { MAX_BATCH_ROWS, readBatches } from '../../infra/files/row-batches.ts';
import type { DownloadLink, LinkResponse } from '../../organizations/download-links.ts';
import {
  type ExportKind,
  exportLink,
  exportPermission,
  serveExport,
} from '../../organizations/export-download.ts';
import type { Viewer } from '../../viewer.ts';
import { visibleCampaigns } from '../visibility.ts';
import {
  type CampaignContactFilter,
  campaignContactFilter,
  campaignContactsWhere,
} from './search.ts';

export const CAMPAIGN_EXPORT_PATH = '/downloads/campaign-contacts';

/** Creates a link to a file of matching contacts. The contacts are those that match when the link is followed. */
export async function exportCampaignContacts(
  app: App,
  viewer: Viewer,
  campaignId: string,
  { filter, format }: { filter: CampaignContactFilter; format: ExportFormat },
): Promise<DownloadLink & { contactCount: number }> {
  const checks = new Checks();
  const id = checks.id('Campaign', campaignId, ['campaignId']);
  const condition = campaignContactsWhere(checks, filter, ['filter']);
  if (id) {
    const where = { AND: [visibleCampaigns(viewer), { id }] };
    const found = await app.db.campaign.count({ where });
    if (found === 0) checks.add('NOT_FOUND', 'Campaign not found.', ['campaignId']);
  }
  checks.throwIfAny();
  return {
    ...exportLink(app, viewer, CONTACTS, { campaignId: id!, filter, format }),
    contactCount: await app.db.campaignContact.count({
      where: { campaignId: id!, ...condition },
    }),
  };
}

export function downloadCampaignContacts(
  app: App,
  request: { query: URLSearchParams },
): Promise<LinkResponse> {
  return serveExport(app, request, CONTACTS);
}

const CALLS = {
  where: { deletedAt: null },
  orderBy: { createdAt: 'asc' },
  select: {
    id: true,
    status: true,
    answeredAt: true,
    endedAt: true,
    costAmount: true,
    costCurrency: true,
    answeredBy: true,
    summary: true,
    analysis: true,
  },
} satisfies Prisma.CampaignContact$callsArgs;

type Row = Prisma.CampaignContactGetPayload<{ include: { calls: typeof CALLS } }>;

function pages(tx: Tx, where: Prisma.CampaignContactWhereInput): AsyncGenerator<Row[]> {
  return readBatches<Pick<Row, 'id' | 'position'>, Row>({
    keys: (after) =>
      tx.campaignContact.findMany({
        where: { AND: [where, { position: { gt: after?.position ?? -1 } }] },
        orderBy: { position: 'asc' },
        take: MAX_BATCH_ROWS,
        select: { id: true, position: true },
      }),
    sizes: (ids) => tx.$queryRaw`
      SELECT id, octet_length(c::text) + (
        SELECT coalesce(sum(coalesce(octet_length(summary), 0) + coalesce(octet_length(a::text), 0)), 0)
        FROM calls LEFT JOIN call_analyses a ON a.call_id = calls.id
        WHERE campaign_contact_id = c.id)::integer AS bytes
      FROM campaign_contacts c WHERE id = ANY(${ids}::uuid[])`,
    rows: (ids) =>
      tx.campaignContact.findMany({ where: { id: { in: ids } }, include: { calls: CALLS } }),
  });
}

function campaignContactRecord(row: Row) {
  const last = row.calls.at(-1) ?? null;
  const billed = row.calls.filter(({ costAmount }) => costAmount !== null);
  const cost = billed.reduce(
    (sum, { costAmount }) => sum.plus(costAmount ?? 0),
    new Prisma.Decimal(0),
  );
  const iso = (at: Date | null): string | null => at?.toISOString() ?? null;
  return {
    id: publicId('CampaignContact', row.id),
    clientId: row.clientId,
    ...personOf(row),
    status: row.status,
    skipReason: row.skipReason,
    attempts: row.attempts,
    endReason: row.endReason,
    scheduledAt: iso(row.scheduledAt),
    calledAt: iso(row.calledAt),
    finishedAt: iso(row.finishedAt),
    /** Total of all calls. */
    cost:
      billed.length > 0
        ? { amount: cost.toString(), currency: billed[0]?.costCurrency ?? null }
        : null,
    lastCall: last && {
      id: publicId('Call', last.id),
      status: last.status,
      durationSeconds: durationOf(last),
      answeredBy: last.answeredBy,
      summary: last.summary,
      outcome: verdictOf(last),
      extractedData: last.analysis?.extractedData ?? null,
    },
  };
}

const WRITER: RowWriter<Row> = {
  columns: [
    ...['id', 'client_id', ...TEXT_COLUMNS.map(({ name }) => name)],
    ...['status', 'skip_reason', 'attempts', 'end_reason', 'scheduled_at', 'called_at'],
    ...['finished_at', 'cost', 'currency', 'call_id', 'call_status', 'duration_seconds'],
    ...['answered_by', 'summary', 'success', 'reason'],
  ],
  cells(row) {
    const contact = campaignContactRecord(row);
    const { lastCall, cost } = contact;
    const outcome = lastCall?.outcome;
    return [
      ...[contact.id, contact.clientId, ...TEXT_COLUMNS.map(({ field }) => contact[field])],
      ...[contact.status, contact.skipReason],
      ...[contact.attempts, contact.endReason, contact.scheduledAt, contact.calledAt],
      ...[contact.finishedAt, cost?.amount ?? null, cost?.currency ?? null, lastCall?.id ?? null],
      ...[
        lastCall?.status ?? null,
        lastCall?.durationSeconds ?? null,
        lastCall?.answeredBy ?? null,
      ],
      ...[
        lastCall?.summary ?? null,
        outcome ? String(outcome.success) : null,
        outcome?.reason ?? null,
      ],
    ];
  },
  keyed: ({ calls, metadata }) => ({ extracted: calls.at(-1)?.analysis?.extractedData, metadata }),
  json: campaignContactRecord,
};

const permissionSchema = exportPermission.extend({
  campaignId: z.uuid(),
  filter: campaignContactFilter,
});

const CONTACTS: ExportKind<z.output<typeof permissionSchema>, Row> = {
  path: CAMPAIGN_EXPORT_PATH,
  permission: permissionSchema,
  fileName: ({ campaignId }) => `${publicId('Campaign', campaignId)}-contacts`,
  writer: WRITER,
  rows(tx, { campaignId, filter }) {
    const checks = new Checks();
    const condition = campaignContactsWhere(checks, filter, ['filter']);
    // Contacts are deleted with their campaign, even for links created before.
    const where = { campaign: { id: campaignId, deletedAt: null }, ...condition };
    checks.throwIfAny();
    return {
      pages: () => pages(tx, where),
      allKeys: () => keysOfCampaign(tx, campaignId),
    };
  },
};

async function keysOfCampaign(tx: Tx, campaignId: string) {
  const metadata = await tx.$queryRaw<{ key: string }[]>`
    SELECT DISTINCT jsonb_object_keys(metadata) AS key FROM campaign_contacts
    WHERE campaign_id = ${campaignId}::uuid ORDER BY key LIMIT ${MAX_KEY_COLUMNS}`;
  const extracted = await tx.$queryRaw<{ key: string }[]>`
    SELECT DISTINCT jsonb_object_keys(extracted_data) AS key
    FROM calls JOIN call_analyses ON call_id = id
    WHERE campaign_id = ${campaignId}::uuid AND jsonb_typeof(extracted_data) = 'object'
    ORDER BY key LIMIT ${MAX_KEY_COLUMNS}`;
  return {
    extracted: extracted.map(({ key }) => key),
    metadata: metadata.map(({ key }) => key),
  };
}
