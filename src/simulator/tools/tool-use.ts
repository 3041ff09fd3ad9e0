/** Endpoints to test a tool and to list its usage. */
import { exampleArguments } from '../calls/dialogue.ts';
import { page } from '../http/paging.ts';
import { post } from '../http/post.ts';
import {
  isObject,
  type Json,
  type JsonObject,
  listAt,
  objectAt,
  refuse,
  stringAt,
} from '../json.ts';
import type { Reply, Request, Route, World } from '../world.ts';
import { findTool } from './tools.ts';

const DEFAULT_TIMEOUT_MS = 2500;

/** Endpoints to test a tool and to list its usage. */
export const toolUseRoutes: Route[] = [
  {
    method: 'GET',
    path: '/api/tools/:toolId/history',
    handler(world, request) {
      const toolId = String(existing(world, request).toolId);
      const calls = world.calls
        .values()
        .filter((call) => call.tools.some((tool) => tool.toolId === toolId))
        .reverse();
      return page(
        request,
        calls,
        (call) => call.callId,
        (call) => ({ call: call.call, errorCount: 0 }),
      );
    },
  },
  {
    method: 'POST',
    path: '/api/tools/:toolId/test',
    async handler(world, request): Promise<Reply> {
      const definition = objectAt(existing(world, request), 'definition') ?? {};
      const given = isObject(request.body) ? request.body : {};
      const fallback = exampleArguments(definition);
      const http = objectAt(definition, 'http');
      if (http === undefined) return { status: 200, body: { ok: true } };
      const { url, body, headers } = httpCall(definition, http, { ...fallback, ...given });
      if (url.includes('.invalid/')) return { status: 200, body: { ok: true } };
      const method = stringAt(http, 'httpMethod') ?? 'POST';
      const answer = await post(url, method === 'GET' ? '' : body, {
        method,
        headers,
        timeoutMs: DEFAULT_TIMEOUT_MS,
      });
      if (answer.status === null) {
        return { status: 400, body: { detail: `The tool could not be reached: ${answer.error}` } };
      }
      return {
        status: answer.status,
        raw: answer.body,
        headers: { 'content-type': String(answer.headers['content-type'] ?? 'text/plain') },
      };
    },
  },
];

function existing(world: World, request: Request): JsonObject {
  const tool = findTool(world, request.params.toolId ?? '');
  if (tool === undefined) throw refuse(404, 'No Tool matches the given query.');
  return tool;
}

function httpCall(definition: JsonObject, http: JsonObject, given: JsonObject) {
  const body: JsonObject = {};
  const query = new URLSearchParams();
  const headers: Record<string, string> = {};
  let url = stringAt(http, 'baseUrlPattern') ?? '';
  const place = (parameter: JsonObject, value: Json): void => {
    const name = stringAt(parameter, 'name') ?? '';
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    if (parameter.location === 'PARAMETER_LOCATION_QUERY') query.set(name, text);
    else if (parameter.location === 'PARAMETER_LOCATION_HEADER') headers[name] = text;
    else if (parameter.location === 'PARAMETER_LOCATION_PATH') {
      url = url.replaceAll(`{${name}}`, encodeURIComponent(text));
    } else body[name] = value;
  };
  for (const kind of ['dynamicParameters', 'staticParameters']) {
    for (const parameter of listAt(definition, kind)) {
      if (!isObject(parameter)) continue;
      const value = given[stringAt(parameter, 'name') ?? ''] ?? parameter.value;
      if (value !== undefined) place(parameter, value);
    }
  }
  const target = query.size === 0 ? url : `${url}?${query}`;
  return { url: target, body: JSON.stringify(body), headers };
}
