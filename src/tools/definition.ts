/** The HTTP definition of a tool, as stored and as expected by Ultravox. */
import type {
  BaseToolDefinition,
  KnownValue,
  SecurityRequirement,
  ParameterLocation as WireLocation,
} from '../ultravox/wire.ts';

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export type ParameterLocation = 'QUERY' | 'PATH' | 'HEADER' | 'BODY';
export type KnownParameterValue =
  | 'CALL_ID'
  | 'CONVERSATION_HISTORY'
  | 'OUTPUT_SAMPLE_RATE'
  | 'CALL_STATE'
  | 'CALL_STAGE_ID'
  | 'THREAD_ID'
  | 'THREAD_STATES'
  | 'CALL_METADATA';
export type ToolReaction = 'SPEAKS' | 'LISTENS' | 'SPEAKS_ONCE';
export type AuthenticationKind = 'HEADER_API_KEY' | 'QUERY_API_KEY' | 'HTTP_AUTH';

export interface ToolHttp {
  url: string;
  method: HttpMethod;
}
export interface DynamicParameter {
  name: string;
  location: ParameterLocation;
  schema: Record<string, unknown>;
  required: boolean;
}
export interface StaticParameter {
  name: string;
  location: ParameterLocation;
  value: unknown;
}
export interface AutomaticParameter {
  name: string;
  location: ParameterLocation;
  knownValue: KnownParameterValue;
}
/** Without the token, which is stored only in `tools.secrets`, under `key`. */
export interface ToolAuthentication {
  key: string;
  kind: AuthenticationKind;
  /** Name of the header or query parameter, or the HTTP scheme. */
  name: string;
}

/** Content of the column `tools.definition`. */
export interface ToolDefinition {
  http: ToolHttp;
  dynamicParameters: DynamicParameter[];
  staticParameters: StaticParameter[];
  automaticParameters: AutomaticParameter[];
  authentication: ToolAuthentication[];
  /** Revision of the row in which the authentication last changed. */
  authenticationRevision: number;
  timeout: string | null;
  precomputable: boolean;
  defaultReaction: ToolReaction;
  staticResponse: string | null;
}

/** Converts `Look up an order` to `look_up_an_order`. Undefined if no letter or digit remains. */
export function deriveModelToolName(name: string): string | undefined {
  const derived = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_+/, '')
    .slice(0, 64)
    .replace(/_+$/, '');
  return derived === '' ? undefined : derived;
}

const wireLocation = (location: ParameterLocation): WireLocation =>
  `PARAMETER_LOCATION_${location}`;

function wireRequirement({ kind, name }: ToolAuthentication): SecurityRequirement {
  if (kind === 'HEADER_API_KEY') return { headerApiKey: { name } };
  if (kind === 'QUERY_API_KEY') return { queryApiKey: { name } };
  return { httpAuth: { scheme: name } };
}

/** The definition to send to Ultravox. It contains no tokens; agents carry those. */
export function wireDefinition(tool: {
  modelToolName: string;
  description: string;
  definition: ToolDefinition;
}): BaseToolDefinition {
  const { definition } = tool;
  const requirements = definition.authentication.map(
    (entry) => [entry.key, wireRequirement(entry)] as const,
  );
  return {
    modelToolName: tool.modelToolName,
    description: tool.description,
    http: { baseUrlPattern: definition.http.url, httpMethod: definition.http.method },
    dynamicParameters: definition.dynamicParameters.map((parameter) => ({
      ...parameter,
      location: wireLocation(parameter.location),
    })),
    staticParameters: definition.staticParameters.map((parameter) => ({
      ...parameter,
      location: wireLocation(parameter.location),
    })),
    automaticParameters: definition.automaticParameters.map((parameter) => ({
      ...parameter,
      location: wireLocation(parameter.location),
      knownValue: `KNOWN_PARAM_${parameter.knownValue}` satisfies KnownValue,
    })),
    ...(requirements.length > 0
      ? {
          requirements: {
            httpSecurityOptions: { options: [{ requirements: Object.fromEntries(requirements) }] },
          },
        }
      : {}),
    ...(definition.timeout ? { timeout: definition.timeout } : {}),
    precomputable: definition.precomputable,
    defaultReaction: `AGENT_REACTION_${definition.defaultReaction}`,
    ...(definition.staticResponse
      ? { staticResponse: { responseText: definition.staticResponse } }
      : {}),
  };
}
