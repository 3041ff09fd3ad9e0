/** Serves the GraphiQL page; includes the demo key only for clients that may see it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { App } from '../../app.ts';
import { newId } from '../../infra/ids.ts';
import { clientAddress, type Services } from '../authentication.ts';
import { sendError } from '../http/http-responses.ts';
import { ASSETS_PATH, createGraphiQL, type GraphiQLSettings } from './graphiql.ts';

export function wantsPage(request: IncomingMessage): boolean {
  return (
    (request.method === 'GET' || request.method === 'HEAD') &&
    (request.headers.accept ?? '').includes('text/html')
  );
}

export interface Page {
  html: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  asset: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
}

export function createPage({ app, rateLimits }: Services, settings: GraphiQLSettings): Page {
  const graphiql = createGraphiQL(settings);

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    await rateLimits.chargeUnauthenticated(clientAddress(app, request));
    const withKey = settings.demoKey !== null && maySeeKey(app, request);
    const html = await graphiql.page({ withKey });
    response.writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      vary: 'accept, host',
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    });
    response.end(html);
  }

  async function answerAsset(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const name = (request.url ?? '').split('?')[0]?.slice(ASSETS_PATH.length) ?? '';
    const asset = await graphiql.asset(name);
    if (!asset) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('Not found');
      return;
    }
    const zipped = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '');
    response.writeHead(200, {
      'content-type': asset.contentType,
      // The name contains a hash of the content.
      'cache-control': 'public, max-age=31536000, immutable',
      vary: 'accept-encoding',
      'x-content-type-options': 'nosniff',
      ...(zipped ? { 'content-encoding': 'gzip' } : {}),
    });
    response.end(zipped ? asset.zipped : asset.body);
  }

  const refusing =
    (handle: Page['html']): Page['html'] =>
    (request, response) =>
      handle(request, response).catch((error: unknown) => sendError(app, response, error, newId()));
  return { html: refusing(answer), asset: refusing(answerAsset) };
}

/**
 * Whether the page may contain the demo key: on the host of PUBLIC_URL, or for a browser on this
 * machine that used a local host name. An attacker's DNS could point any other host name here, and a page of
 * that origin could then read the key.
 */
function maySeeKey(app: App, request: IncomingMessage): boolean {
  const host = request.headers.host?.toLowerCase();
  if (!host) return false;
  const publicUrl = app.config.PUBLIC_URL;
  if (publicUrl && new URL(publicUrl).host === host) return true;
  const { headers, socket } = request;
  if (headers.forwarded || headers['x-forwarded-for'] || headers.via) return false;
  const from = socket.remoteAddress?.replace(/^::ffff:/, '') ?? '';
  if (from !== '::1' && !from.startsWith('127.')) return false;
  const port = socket.localPort === 80 ? '(:80)?' : `:${socket.localPort}`;
  return new RegExp(`^(localhost|127\\.0\\.0\\.1|\\[::1\\])${port}$`).test(host);
}
