/** Links for downloading exports, and the responses to them. */
import { z } from 'zod';
import type { App, Tx } from '../app.ts';
import { exportLines, type RowSource, type RowWriter } from '../infra/files/export-format.ts';
import type { Viewer } from '../viewer.ts';
import {
  type DownloadLink,
  fileResponse,
  LINK_REFUSED,
  type LinkResponse,
  linkOwner,
  readLink,
  signLink,
} from './download-links.ts';

/** Permission in the link of every export. Each kind of export adds which rows it covers. */
export const exportPermission = linkOwner.extend({
  format: z.enum(['CSV', 'JSON_LINES']),
});
type ExportPermission = z.output<typeof exportPermission>;

export interface ExportKind<Permission extends ExportPermission, Row> {
  path: string;
  permission: z.ZodType<Permission>;
  /** Without the extension. */
  fileName: (permission: Permission) => string;
  writer: RowWriter<Row>;
  rows: (tx: Tx, permission: Permission) => RowSource<Row>;
}

const kindOf = (path: string) => ({ path, purpose: `export ${path}` });

/** Creates a link to an export. */
export function exportLink<Permission extends ExportPermission>(
  app: App,
  viewer: Viewer,
  { path }: Pick<ExportKind<Permission, unknown>, 'path' | 'permission'>,
  permission: Omit<Permission, 'apiKeyId' | 'organizationId'>,
): DownloadLink {
  return signLink(app, viewer, kindOf(path), permission);
}

/**
 * Serves a link: 403 if it has expired or its key is no longer usable, otherwise the lines, from one snapshot. The
 * stream is aborted when the key expires or is revoked.
 */
export async function serveExport<Permission extends ExportPermission, Row>(
  app: App,
  { query }: { query: URLSearchParams },
  { path, permission, fileName, writer, rows }: ExportKind<Permission, Row>,
): Promise<LinkResponse> {
  const allowed = await readLink(app, query, { ...kindOf(path), permission });
  if (!allowed) return LINK_REFUSED;
  const { format } = allowed;
  const csv = format === 'CSV';
  return fileResponse(app, allowed, {
    name: `${fileName(allowed)}.${csv ? 'csv' : 'jsonl'}`,
    contentType: csv ? 'text/csv; charset=utf-8' : 'application/jsonl; charset=utf-8',
    lines: (tx) => exportLines(format, writer, rows(tx, allowed)),
  });
}
