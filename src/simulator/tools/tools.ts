/** Endpoints of tools, and the rules for their definitions. */
import { randomUUID } from 'node:crypto';
import { choice, page, searchTerm } from '../http/paging.ts';
import {
  HttpError,
  isObject,
  type JsonObject,
  listAt,
  objectAt,
  Problems,
  refuse,
  stringAt,
  stringsAt,
} from '../json.ts';
import type { Shape } from '../shapes/shape.ts';
import { checkBody } from '../shapes/shape.ts';
import { toolDefinition } from '../shapes/tool-shapes.ts';
import { isoTime, type Request, type Route, type World } from '../world.ts';
import { builtinTools } from './builtin-tools.ts';

const toolBody: Shape = {
  kind: 'object',
  required: ['name', 'definition'],
  fields: {
    name: { kind: 'string', min: 1, max: 40 },
    definition: toolDefinition,
    // Read-only.
    toolId: { kind: 'any' },
    created: { kind: 'any' },
    ownership: { kind: 'any' },
  },
};

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];

/** Checks rules for a tool definition beyond the types of its members. */
export function checkDefinition(
  world: World,
  definition: JsonObject,
  path: string,
  problems: Problems,
): void {
  const http = objectAt(definition, 'http');
  if (http !== undefined) {
    const url = stringAt(http, 'baseUrlPattern') ?? '';
    const secure = /^https:\/\/[^/\s]/.test(url);
    const allowed = secure || (world.settings().allowHttpTools && /^http:\/\/[^/\s]/.test(url));
    if (!allowed) problems.add(`${path}.http.baseUrlPattern`, 'Must be an HTTPS URL.');
    else if (url.includes('?')) {
      problems.add(`${path}.http.baseUrlPattern`, 'Must not have a query string.');
    }
    if (!METHODS.includes(stringAt(http, 'httpMethod') ?? '')) {
      problems.add(`${path}.http.httpMethod`, 'Not a valid HTTP method.');
    }
  }
  const names = new Set<string>();
  for (const kind of ['dynamicParameters', 'staticParameters', 'automaticParameters']) {
    for (const parameter of listAt(definition, kind)) {
      if (!isObject(parameter)) continue;
      const name = stringAt(parameter, 'name') ?? '';
      if (names.has(name)) problems.add(`${path}.${kind}`, `Duplicate parameter name: ${name}.`);
      names.add(name);
      if (http === undefined && parameter.location !== 'PARAMETER_LOCATION_BODY') {
        problems.add(`${path}.${kind}`, 'Only body parameters are allowed for this kind of tool.');
      }
    }
  }
}

export function findTool(world: World, toolId: string): JsonObject | undefined {
  return (
    world.tools.get(toolId.toLowerCase()) ??
    builtinTools.find((tool) => tool.toolId === toolId.toLowerCase())
  );
}

/** Finds a tool by name. A tool of the account takes precedence over a built-in one. */
function findToolByName(world: World, name: string): JsonObject | undefined {
  return (
    world.tools.values().findLast((tool) => tool.name === name) ??
    builtinTools.find((tool) => tool.name === name)
  );
}

/** Resolves the selected tools of a call and reports those that do not exist. */
export function resolveTools(
  world: World,
  selected: JsonObject[],
  path: string,
  problems: Problems,
): JsonObject[] {
  const names = new Set<string>();
  const resolved: JsonObject[] = [];
  selected.forEach((choice, index) => {
    const here = `${path}.${index}`;
    const found = lookUp(world, choice, here, problems);
    if (found === undefined) return;
    const overrides = objectAt(choice, 'parameterOverrides') ?? {};
    const required = stringsAt(
      objectAt(found.definition, 'requirements'),
      'requiredParameterOverrides',
    );
    for (const parameter of required) {
      if (overrides[parameter] === undefined || overrides[parameter] === null) {
        problems.add(
          `${here}.parameterOverrides`,
          `Missing required parameter override: ${parameter}.`,
        );
      }
    }
    const name = stringAt(choice, 'nameOverride') ?? found.name;
    if (name === undefined) problems.add(`${here}.modelToolName`, 'A tool name is required.');
    else if (names.has(name)) problems.add(here, `Duplicate tool name: ${name}.`);
    else {
      names.add(name);
      resolved.push({
        callToolId: randomUUID(),
        toolId: found.toolId,
        name,
        definition: callTool(found.definition, choice, overrides),
      });
    }
  });
  return resolved;
}

function lookUp(
  world: World,
  choice: JsonObject,
  path: string,
  problems: Problems,
): { toolId: string | null; name: string | undefined; definition: JsonObject } | undefined {
  const temporary = objectAt(choice, 'temporaryTool');
  if (temporary !== undefined) {
    checkDefinition(world, temporary, `${path}.temporaryTool`, problems);
    return { toolId: null, name: stringAt(temporary, 'modelToolName'), definition: temporary };
  }
  const toolId = stringAt(choice, 'toolId');
  const toolName = stringAt(choice, 'toolName');
  const tool =
    toolId !== undefined
      ? findTool(world, toolId)
      : toolName !== undefined
        ? findToolByName(world, toolName)
        : undefined;
  const definition = objectAt(tool, 'definition');
  if (tool === undefined || definition === undefined) {
    problems.add(path, `Tool ${toolId ?? toolName ?? ''} does not exist.`);
    return undefined;
  }
  return {
    toolId: stringAt(tool, 'toolId') ?? null,
    name: stringAt(definition, 'modelToolName') ?? stringAt(tool, 'name'),
    definition,
  };
}

function callTool(definition: JsonObject, choice: JsonObject, overrides: JsonObject): JsonObject {
  const { modelToolName: _name, requirements: _needs, ...rest } = definition;
  const result: JsonObject = { ...rest };
  const overridden = new Set(Object.keys(overrides));
  const locations = new Map<string, string>();
  for (const kind of ['dynamicParameters', 'staticParameters']) {
    const kept: JsonObject[] = [];
    for (const parameter of listAt(definition, kind)) {
      if (!isObject(parameter)) continue;
      const name = stringAt(parameter, 'name') ?? '';
      if (overridden.has(name)) {
        locations.set(name, stringAt(parameter, 'location') ?? 'PARAMETER_LOCATION_BODY');
      } else kept.push(parameter);
    }
    result[kind] = kept;
  }
  result.staticParameters = [
    ...listAt(result, 'staticParameters'),
    ...Object.entries(overrides).map(([name, value]) => ({
      name,
      location: locations.get(name) ?? 'PARAMETER_LOCATION_BODY',
      value,
    })),
  ];
  const description = stringAt(choice, 'descriptionOverride');
  if (description !== undefined) result.description = description;
  return result;
}

function readTool(world: World, request: Request): { name: string; definition: JsonObject } {
  const problems = new Problems();
  const body = checkBody(toolBody, request.body, { problems, ignored: request.ignored });
  const definition = objectAt(body, 'definition') ?? {};
  checkDefinition(world, definition, 'definition', problems);
  const name = stringAt(body, 'name') ?? '';
  if (definition.modelToolName === undefined && !/^[a-zA-Z0-9_-]{1,64}$/.test(name)) {
    problems.add('definition.modelToolName', 'Must match ^[a-zA-Z0-9_-]{1,64}$.');
  }
  problems.throwIfAny();
  return { name, definition: { modelToolName: name, ...definition } };
}

function privateTool(world: World, request: Request): JsonObject {
  const id = (request.params.toolId ?? '').toLowerCase();
  const tool = world.tools.get(id);
  if (tool !== undefined) return tool;
  if (builtinTools.some((builtin) => builtin.toolId === id)) {
    throw refuse(403, 'You do not have permission to perform this action.');
  }
  throw refuse(404, 'No Tool matches the given query.');
}

const ORDERS: Record<string, (a: JsonObject, b: JsonObject) => number> = {
  display: (a, b) => byOwner('public')(a, b) || (isPublic(a) ? byName(a, b) : newest(a, b)),
  alphabetic: (a, b) => byName(a, b),
  reverseAlphabetic: (a, b) => byName(b, a),
  chronologic: (a, b) => newest(b, a),
  reverseChronologic: (a, b) => newest(a, b),
  default: (a, b) => byOwner('private')(a, b) || newest(a, b),
};

function isPublic(tool: JsonObject): boolean {
  return tool.ownership === 'public';
}
function byOwner(first: string) {
  return (a: JsonObject, b: JsonObject) =>
    Number(b.ownership === first) - Number(a.ownership === first);
}
function byName(a: JsonObject, b: JsonObject): number {
  return String(a.name).localeCompare(String(b.name));
}
function newest(a: JsonObject, b: JsonObject): number {
  return String(b.created).localeCompare(String(a.created));
}

export const toolRoutes: Route[] = [
  {
    method: 'GET',
    path: '/api/tools',
    handler(world, request) {
      const ownership = choice(request, 'ownership', ['private', 'public']);
      const order = choice(request, 'sortOrder', Object.keys(ORDERS)) ?? 'default';
      const term = searchTerm(request);
      const items = [...world.tools.values().reverse(), ...builtinTools]
        .filter((tool) => ownership === undefined || tool.ownership === ownership)
        .filter((tool) => term === undefined || JSON.stringify(tool).toLowerCase().includes(term))
        .sort(ORDERS[order]);
      return page(
        request,
        items,
        (tool) => String(tool.toolId),
        (tool) => tool,
      );
    },
  },
  {
    method: 'POST',
    path: '/api/tools',
    handler(world, request) {
      if (request.form !== undefined) {
        throw new HttpError(400, { file: ['The simulator takes tools as JSON only.'] });
      }
      const { name, definition } = readTool(world, request);
      const tool: JsonObject = {
        toolId: randomUUID(),
        name,
        created: isoTime(world.now()),
        definition,
        ownership: 'private',
      };
      world.tools.put(String(tool.toolId), tool);
      return { status: 201, body: tool };
    },
  },
  {
    method: 'GET',
    path: '/api/tools/:toolId',
    handler(world, request) {
      const tool = findTool(world, request.params.toolId ?? '');
      if (tool === undefined) throw refuse(404, 'No Tool matches the given query.');
      return { status: 200, body: tool };
    },
  },
  {
    method: 'PUT',
    path: '/api/tools/:toolId',
    handler(world, request) {
      const existing = privateTool(world, request);
      const { name, definition } = readTool(world, request);
      const tool = { ...existing, name, definition };
      world.tools.put(String(existing.toolId), tool);
      return { status: 200, body: tool };
    },
  },
  {
    method: 'DELETE',
    path: '/api/tools/:toolId',
    handler(world, request) {
      world.tools.delete(String(privateTool(world, request).toolId));
      return { status: 204 };
    },
  },
];
