/** Chooses the handler of a request by method and path. */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** Handles errors itself. Its result is ignored. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => unknown;

export interface Router {
  /** Registers a handler. `GET` also answers `HEAD`. A `*` at the end of a path matches any rest. */
  on(method: string, path: string, handler: Handler): Router;
  /** Answers 404 for an unknown path and 405 with `Allow` for another method. */
  handle: Handler;
}

export function createRouter(): Router {
  const routes = new Map<string, Map<string, Handler>>();
  const router: Router = {
    on(method, path, handler) {
      const methods = routes.get(path) ?? new Map<string, Handler>();
      routes.set(path, methods.set(method, handler));
      return router;
    },
    handle(request, response) {
      const path = (request.url ?? '/').split('?')[0] ?? '/';
      const methods =
        routes.get(path) ??
        routes.get(withoutSlashesAtEnd(path)) ??
        (path.endsWith('/') ? undefined : routes.get(withWildcardEnd(path)));
      if (!methods) return refuse(response, 404, 'Not found');
      const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '');
      const handler = methods.get(method);
      if (handler) return handler(request, response);
      const allowed = [...methods.keys()].flatMap((name) =>
        name === 'GET' ? [name, 'HEAD'] : name,
      );
      return refuse(response, 405, 'Method not allowed', { allow: allowed.join(', ') });
    },
  };
  return router;
}

function withWildcardEnd(path: string): string {
  return `${path.slice(0, path.lastIndexOf('/') + 1)}*`;
}

function withoutSlashesAtEnd(path: string): string {
  let end = path.length;
  while (path[end - 1] === '/') end -= 1;
  return path.slice(0, end);
}

function refuse(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'text/plain', ...headers }).end(text);
}
