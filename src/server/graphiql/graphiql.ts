/** The GraphiQL page and its assets. It loads nothing from other hosts. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { TabIds } from './tab.ts';
import { graphiqlTabs } from './tabs.ts';

export interface GraphiQLSettings {
  /** API key of the demo organization, filled in as a header. Null if there is none. */
  demoKey: string | null;
  /** IDs for the variables of the tabs. Called for each page. */
  ids(): Promise<Partial<TabIds>>;
}

export interface Asset {
  contentType: string;
  body: Buffer;
  zipped: Buffer;
}

export interface GraphiQL {
  /** The page: a few kilobytes of HTML, with the demo key if `withKey` is true. */
  page(options: { withKey: boolean }): Promise<string>;
  /** The asset with that name; null if there is none. Its content never changes. */
  asset(name: string): Promise<Asset | null>;
}

export const ASSETS_PATH = '/graphql/assets/';

const compress = promisify(gzip);

/** Reads and compresses the assets (nine megabytes) on first use. */
export function createGraphiQL(settings: GraphiQLSettings): GraphiQL {
  let loading: Promise<Assets> | undefined;
  const load = (): Promise<Assets> => {
    loading ??= loadAssets();
    return loading;
  };
  return {
    async page({ withKey }) {
      const { urls } = await load();
      const demoKey = withKey ? settings.demoKey : null;
      return renderPage(urls, graphiqlOptions(demoKey, demoKey ? await settings.ids() : {}));
    },
    async asset(name) {
      return (await load()).byName.get(name) ?? null;
    },
  };
}

interface Assets {
  byName: Map<string, Asset>;
  urls: Record<AssetName, string>;
}

type AssetName = keyof Awaited<ReturnType<typeof readAssets>>;

async function loadAssets(): Promise<Assets> {
  const byName = new Map<string, Asset>();
  const urls: Partial<Record<AssetName, string>> = {};
  for (const [file, text] of Object.entries(await readAssets()) as [AssetName, string][]) {
    const body = Buffer.from(text);
    const hash = createHash('sha256').update(body).digest('hex').slice(0, 16);
    const { name, ext } = path.parse(file);
    const contentType = ext === '.css' ? 'text/css' : 'text/javascript';
    const hashed = `${name}.${hash}${ext}`;
    urls[file] = `${ASSETS_PATH}${hashed}`;
    byName.set(hashed, {
      contentType: `${contentType}; charset=utf-8`,
      body,
      zipped: await compress(body),
    });
  }
  return { byName, urls: urls as Record<AssetName, string> };
}

interface Bundle {
  css: string;
  js: string;
  editorWorkerService: string;
  graphqlWorker: string;
  jsonWorker: string;
}

async function readAssets() {
  // The package exports only the whole page; its parts are in a file next to it.
  const entry = createRequire(import.meta.url).resolve('@graphql-yoga/render-graphiql');
  const file = path.join(path.dirname(entry), '../esm/graphiql.js');
  const bundle = (await import(pathToFileURL(file).href)) as Bundle;
  const own = (name: string): Promise<string> =>
    readFile(path.join(import.meta.dirname, 'browser', name), 'utf8');
  return {
    'graphiql.css': bundle.css,
    'page.css': await own('page.css'),
    'events.js': await own('events.js'),
    'tabs.js': await own('tabs.js'),
    'graphiql.js': bundle.js,
    'editor-worker.js': bundle.editorWorkerService,
    'json-worker.js': bundle.jsonWorker,
    // A custom scalar, such as JSON, may be anything. The original marks objects as errors.
    'graphql-worker.js': bundle.graphqlWorker.replace(
      'definition.type = ["string", "number", "boolean", "integer"]',
      'definition.type = ["string", "number", "boolean", "integer", "object", "array"]',
    ),
  };
}

function graphiqlOptions(demoKey: string | null, ids: Partial<TabIds>) {
  const headers = JSON.stringify({ Authorization: `Bearer ${demoKey ?? 'truedy_…'}` }, null, 2);
  return {
    title: 'Truedy GraphQL',
    defaultHeaders: headers,
    subscriptionsProtocol: 'SSE',
    defaultEditorToolsVisibility: 'variables',
    defaultTabs: graphiqlTabs(ids).map(({ query, variables }) => ({
      query,
      variables: variables ? JSON.stringify(variables, null, 2) : null,
      headers,
    })),
  };
}

function renderPage(urls: Record<AssetName, string>, options: object): string {
  const workers = {
    editorWorkerService: urls['editor-worker.js'],
    json: urls['json-worker.js'],
    graphql: urls['graphql-worker.js'],
  };
  // Escaped, so that `</script>` in a value does not end the element.
  const settings = JSON.stringify({ workers, options }).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Truedy GraphQL</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${urls['graphiql.css']}">
<link rel="stylesheet" href="${urls['page.css']}">
</head>
<body class="no-focus-outline">
<noscript>GraphiQL needs JavaScript.</noscript>
<div id="root"></div>
<section id="events" aria-label="Events"><header></header><div></div></section>
<script type="application/json" id="settings">${settings}</script>
<script type="module" src="${urls['events.js']}"></script>
<script type="module" src="${urls['tabs.js']}"></script>
<script defer src="${urls['graphiql.js']}"></script>
</body>
</html>
`;
}
