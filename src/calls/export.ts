/** Exports of calls over plain HTTP. */
import type { z } from 'zod';
import { type App, forReading, type Tx } from '../app.ts';
import type { Call, Prisma } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import {
  type ExportFormat,
  MAX_KEY_COLUMNS,
  type RowWriter,
} from '../infra/files/export-format.ts';
import { MAX_BATCH_ROWS, readBatches } from '../infra/files/row-batches.ts';
import type { DownloadLink, LinkResponse } from '../organizations/download-links.ts';
import {
  type ExportKind,
  exportLink,
  exportPermission,
  serveExport,
} from '../organizations/export-download.ts';
import type { Viewer } from '../viewer.ts';
import { CALL_RECORD, type CallRecordRow, callRecord } from './record.ts';
import { type CallFilter, callFilter, callsWhere, checkCallFilter } from './search.ts';

export const CALL_EXPORT_PATH = '/downloads/calls';

/** Creates a link to a file of matching calls. The calls are those that match when the link is followed. */
export async function exportCalls(
  app: App,
  viewer: Viewer,
  { filter, format }: { filter: CallFilter; format: ExportFormat },
): Promise<DownloadLink & { callCount: number }> {
  const where = await checkCallFilter(app, viewer, filter);
  const link = exportLink(app, viewer, CALLS, { filter, format });
  return { ...link, callCount: await forReading(app).db.call.count({ where }) };
}

export function downloadCalls(
  app: App,
  request: { query: URLSearchParams },
): Promise<LinkResponse> {
  return serveExport(app, request, CALLS);
}

/** Newest first, like lists. */
function pages(tx: Tx, where: Prisma.CallWhereInput): AsyncGenerator<CallRecordRow[]> {
  return readBatches<Pick<Call, 'id' | 'createdAt'>, CallRecordRow>({
    keys: (after) =>
      tx.call.findMany({
        where: { AND: [where, after ? behind(after) : {}] },
        orderBy: [{ createdAt: 'desc' }, { id: 'desc' }],
        take: MAX_BATCH_ROWS,
        select: { id: true, createdAt: true },
      }),
    sizes: (ids) => tx.$queryRaw`
      SELECT id, octet_length(c::text) + coalesce(octet_length(a::text), 0) AS bytes
      FROM calls c LEFT JOIN call_analyses a ON a.call_id = c.id
      WHERE c.id = ANY(${ids}::uuid[])`,
    rows: (ids) => tx.call.findMany({ where: { id: { in: ids } }, include: CALL_RECORD }),
  });
}

function behind({ createdAt, id }: Pick<Call, 'id' | 'createdAt'>): Prisma.CallWhereInput {
  return { OR: [{ createdAt: { lt: createdAt } }, { createdAt, id: { lt: id } }] };
}

const WRITER: RowWriter<CallRecordRow> = {
  columns: [
    ...['id', 'status', 'end_reason', 'failure', 'direction', 'medium', 'phone_number'],
    ...['from_number', 'to_number', 'agent_id', 'agent_name', 'campaign_id', 'campaign_name'],
    ...['campaign_contact_id', 'client_id', 'created_at', 'ringing_at', 'answered_at', 'ended_at'],
    ...['duration_seconds', 'billing_status', 'billed_duration_seconds', 'cost', 'currency'],
    ...['answered_by', 'summary', 'success', 'reason'],
  ],
  cells(row) {
    const call = callRecord(row);
    return [
      ...[call.id, call.status, call.endReason, call.failure, call.direction, call.medium],
      ...[call.phoneNumber, call.fromNumber, call.toNumber, call.agent.id, call.agent.name],
      ...[call.campaign?.id ?? null, call.campaign?.name ?? null],
      ...[call.campaignContact?.id ?? null, call.campaignContact?.clientId ?? null],
      ...[call.createdAt, call.ringingAt, call.answeredAt, call.endedAt, call.durationSeconds],
      ...[call.billingStatus, call.billedDurationSeconds],
      ...[call.cost?.amount ?? null, call.cost?.currency ?? null, call.answeredBy, call.summary],
      ...[call.outcome ? String(call.outcome.success) : null, call.outcome?.reason ?? null],
    ];
  },
  keyed: ({ analysis, metadata }) => ({ extracted: analysis?.extractedData, metadata }),
  json: callRecord,
};

const permissionSchema = exportPermission.extend({ filter: callFilter });

const CALLS: ExportKind<z.output<typeof permissionSchema>, CallRecordRow> = {
  path: CALL_EXPORT_PATH,
  permission: permissionSchema,
  fileName: () => 'calls',
  writer: WRITER,
  rows(tx, { organizationId, filter }) {
    const checks = new Checks();
    const where = { organizationId, deletedAt: null, ...callsWhere(checks, filter, ['filter']) };
    checks.throwIfAny();
    return {
      pages: () => pages(tx, where),
      allKeys: () => keysOfOrganization(tx, organizationId),
    };
  },
};

async function keysOfOrganization(tx: Tx, organizationId: string) {
  const metadata = await tx.$queryRaw<{ key: string }[]>`
    SELECT DISTINCT jsonb_object_keys(metadata) AS key FROM calls
    WHERE organization_id = ${organizationId}::uuid AND deleted_at IS NULL
    ORDER BY key LIMIT ${MAX_KEY_COLUMNS}`;
  const extracted = await tx.$queryRaw<{ key: string }[]>`
    SELECT DISTINCT jsonb_object_keys(extracted_data) AS key FROM call_analyses
    WHERE organization_id = ${organizationId}::uuid AND jsonb_typeof(extracted_data) = 'object'
    ORDER BY key LIMIT ${MAX_KEY_COLUMNS}`;
  return {
    extracted: extracted.map(({ key }) => key),
    metadata: metadata.map(({ key }) => key),
  };
}
