/** Downloads of large exports: speed, and memory of the server while it sends them. */
import type { Server } from '../support/processes.ts';
import { type Section, table } from '../support/results.ts';
import { type LargeServer, rounded } from './server.ts';

const SECONDS = 30;

export async function exportsAtSize(server: LargeServer): Promise<Section> {
  const campaign = await largestCampaign(server);
  const rows: string[][] = [];
  for (const [name, field, args] of [
    ['4 million calls', 'exportCalls', ''],
    ['a million campaign contacts', 'exportCampaignContacts', `, campaignId: "${campaign}"`],
  ]) {
    for (const format of ['JSON_LINES', 'CSV']) {
      const asked = await server.ask(
        'large',
        `mutation { ${field}(input: { format: ${format}${args} }) { url } }`,
      );
      const { pathname, search } = new URL(asked.data[String(field)].url);
      const seen = await download(
        server.server,
        new URL(`${pathname}${search}`, server.server.url),
      );
      rows.push([`${name}, ${format}`, ...seen]);
    }
  }
  return {
    title: 'Exports at size',
    text: `The first ${SECONDS} seconds of a download.`,
    table: table(
      ['export', 'first byte, ms', 'rows a second', 'MB at the start', 'MB at most'],
      rows,
    ),
  };
}

/** ID of the campaign with the most contacts; most campaigns have none. */
async function largestCampaign(server: LargeServer): Promise<string> {
  const { data } = await server.ask(
    'large',
    '{ campaigns(first: 100) { nodes { id counts { total } } } }',
  );
  const campaigns: { id: string; counts: { total: number } }[] = data.campaigns.nodes;
  const [largest] = campaigns.toSorted((a, b) => b.counts.total - a.counts.total);
  if (!largest || largest.counts.total === 0) throw new Error('No campaign has contacts');
  return largest.id;
}

async function download(server: Server, url: URL): Promise<string[]> {
  const stop = new AbortController();
  const before = await server.memoryBytes();
  const startedAt = performance.now();
  const response = await fetch(url, { signal: stop.signal });
  let [lines, firstByte, most] = [0, 0, before];
  const end = startedAt + SECONDS * 1_000;
  for await (const chunk of response.body ?? []) {
    firstByte ||= performance.now() - startedAt;
    for (const byte of chunk) if (byte === 0x0a) lines += 1;
    most = Math.max(most, await server.memoryBytes());
    if (performance.now() > end) break;
  }
  const seconds = (performance.now() - startedAt - firstByte) / 1_000;
  stop.abort();
  const megabytes = (bytes: number): string => rounded(bytes / 1e6);
  return [rounded(firstByte), rounded(lines / seconds), megabytes(before), megabytes(most)];
}
