/** Shapes of tool definitions and of the tools that a call selects. */
import type { Shape } from './shape.ts';
import { anyObject, boolean, object, oneOf, text, textMap, texts } from './shape-parts.ts';

const location = oneOf(
  'PARAMETER_LOCATION_QUERY',
  'PARAMETER_LOCATION_PATH',
  'PARAMETER_LOCATION_HEADER',
  'PARAMETER_LOCATION_BODY',
);

const TOOL_NAME = /^[a-zA-Z0-9_-]{1,64}$/;

export const toolDefinition: Shape = {
  kind: 'object',
  exactlyOne: ['http', 'client', 'dataConnection'],
  fields: {
    modelToolName: { kind: 'string', pattern: TOOL_NAME },
    description: text,
    dynamicParameters: {
      kind: 'list',
      of: object({ name: text, location, schema: anyObject, required: boolean }, [
        'name',
        'location',
        'schema',
      ]),
    },
    staticParameters: {
      kind: 'list',
      of: object({ name: text, location, value: { kind: 'any' } }, ['name', 'location']),
    },
    automaticParameters: {
      kind: 'list',
      of: object(
        {
          name: text,
          location,
          knownValue: oneOf(
            'KNOWN_PARAM_CALL_ID',
            'KNOWN_PARAM_CONVERSATION_HISTORY',
            'KNOWN_PARAM_OUTPUT_SAMPLE_RATE',
            'KNOWN_PARAM_CALL_STATE',
            'KNOWN_PARAM_CALL_STAGE_ID',
            'KNOWN_PARAM_THREAD_ID',
            'KNOWN_PARAM_THREAD_STATES',
            'KNOWN_PARAM_CALL_METADATA',
          ),
        },
        ['name', 'location', 'knownValue'],
      ),
    },
    requirements: object({
      httpSecurityOptions: object({
        options: {
          kind: 'list',
          of: object({
            requirements: {
              kind: 'map',
              of: {
                kind: 'object',
                exactlyOne: ['queryApiKey', 'headerApiKey', 'httpAuth'],
                fields: {
                  queryApiKey: object({ name: text }),
                  headerApiKey: object({ name: text }),
                  httpAuth: object({ scheme: text }),
                },
              },
            },
            ultravoxCallTokenRequirement: object({ scopes: texts }),
          }),
        },
      }),
      requiredParameterOverrides: texts,
    }),
    timeout: { kind: 'duration', positive: true, maxSeconds: 40 },
    precomputable: boolean,
    http: object({ baseUrlPattern: text, httpMethod: text }, ['baseUrlPattern', 'httpMethod']),
    client: object({}),
    dataConnection: object({}),
    defaultReaction: oneOf(
      'AGENT_REACTION_UNSPECIFIED',
      'AGENT_REACTION_SPEAKS',
      'AGENT_REACTION_LISTENS',
      'AGENT_REACTION_SPEAKS_ONCE',
    ),
    staticResponse: object({ responseText: text }),
  },
};

export const selectedTool: Shape = {
  kind: 'object',
  exactlyOne: ['toolId', 'toolName', 'temporaryTool'],
  fields: {
    toolId: text,
    toolName: text,
    temporaryTool: toolDefinition,
    nameOverride: { kind: 'string', pattern: TOOL_NAME },
    descriptionOverride: text,
    authTokens: textMap,
    parameterOverrides: anyObject,
    transitionId: text,
  },
};
