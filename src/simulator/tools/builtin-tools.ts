/** The public tools that every account has. Only the ids of the first five are documented. */
import type { Json, JsonObject } from '../json.ts';

const CREATED = '2024-11-01T00:00:00.000Z';

function dynamic(name: string, schema: JsonObject, required: boolean): JsonObject {
  return { name, location: 'PARAMETER_LOCATION_BODY', schema, required };
}

function fixed(values: Record<string, Json>): JsonObject[] {
  return Object.entries(values).map(([name, value]) => ({
    name,
    location: 'PARAMETER_LOCATION_BODY',
    value,
  }));
}

const callId: JsonObject = {
  name: 'call_id',
  location: 'PARAMETER_LOCATION_BODY',
  knownValue: 'KNOWN_PARAM_CALL_ID',
};

function tool(
  toolId: string,
  name: string,
  description: string,
  parts: { dynamic?: JsonObject[]; fixed?: Record<string, Json>; overrides?: string[] },
): JsonObject {
  const definition: JsonObject = {
    modelToolName: name,
    description,
    dynamicParameters: parts.dynamic ?? [],
    staticParameters: fixed(parts.fixed ?? {}),
    automaticParameters: [callId],
    http: { baseUrlPattern: `https://tools.ultravox.invalid/${name}`, httpMethod: 'POST' },
  };
  if (parts.overrides !== undefined) {
    definition.requirements = { requiredParameterOverrides: parts.overrides };
  }
  return { toolId, name, created: CREATED, definition, ownership: 'public' };
}

const text = (description: string): JsonObject => ({ type: 'string', description });

export const builtinTools: readonly JsonObject[] = [
  tool('56294126-5a7d-4948-b67d-3b7e13d55ea7', 'hangUp', 'Ends the call.', {
    dynamic: [dynamic('reason', text('Why the call is over.'), false)],
    fixed: { strict: true },
  }),
  tool(
    '84a31bac-5c1b-41c3-9058-f81acb7ffaa7',
    'queryCorpus',
    'Looks up passages of the knowledge base that fit a question.',
    {
      dynamic: [
        dynamic('query', text('What to look for.'), true),
        dynamic('max_results', { type: 'integer', minimum: 1, maximum: 20, default: 5 }, false),
      ],
      fixed: { minimum_score: 0 },
      overrides: ['corpus_id'],
    },
  ),
  tool(
    '8721c74d-af3f-4dfa-a736-3bc170ef917c',
    'leaveVoicemail',
    'Leaves a message after the tone and ends the call.',
    {
      dynamic: [dynamic('message', text('What to say after the tone.'), true)],
      fixed: { strict: true, result: 'Message left.' },
    },
  ),
  tool('3e9489b1-25de-4032-bb3d-f7b84765ec93', 'playDtmfSounds', 'Presses keys of the telephone.', {
    dynamic: [dynamic('digits', { type: 'string', pattern: '^[0-9*#A-D]+$' }, true)],
    fixed: { toneDuration: '0.2s', spaceDuration: '0.1s' },
  }),
  tool(
    '2fff509d-273f-414e-91ff-aa933435a545',
    'coldTransfer',
    'Hands the caller over to somebody else and leaves the call.',
    {
      fixed: {
        extraHeaders: {},
        holdMusicUrl: null,
        sipVerb: 'REFER',
        from: null,
        username: null,
        password: null,
      },
      overrides: ['target'],
    },
  ),
  tool(
    'c1d5a6e0-7b52-4f0e-9a3c-2f6a0d9b7e14',
    'warmTransfer',
    'Calls somebody, tells them about the caller, and connects the two.',
    {
      fixed: {
        from: null,
        username: null,
        password: null,
        inviteHeaders: {},
        holdMusicUrl: null,
        transferSystemPromptTemplate: 'You hand over a caller. About the call: {context}',
        transferType: 'TRY_REFER',
        referHeaders: {},
      },
      overrides: ['target'],
    },
  ),
];
