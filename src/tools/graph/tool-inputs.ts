/** Enums and input types of a tool definition. */
import { builder } from '../../graphql/builder.ts';
import type { mutation } from '../../graphql/mutation.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { MAX_AUTHENTICATION, MAX_TOKEN } from '../authentication-input.ts';
import { MAX_STATIC_RESPONSE, MAX_URL } from '../definition-input.ts';
import { MAX_JSON, MAX_PARAMETERS } from '../parameter-input.ts';

export const ToolHttpMethodEnum = builder.enumType('ToolHttpMethod', {
  description: 'HTTP method of the request that a tool makes.',
  values: {
    GET: { description: 'Has no body, so BODY parameters are not allowed.' },
    POST: { description: 'Sends the BODY parameters as the members of a JSON object.' },
    PUT: { description: 'Sends the BODY parameters as POST does.' },
    PATCH: { description: 'Sends the BODY parameters as POST does.' },
    DELETE: { description: 'Sends the BODY parameters, if any, as POST does.' },
  } as const,
});

export const ToolParameterLocationEnum = builder.enumType('ToolParameterLocation', {
  description: 'Part of the HTTP request that carries a parameter.',
  values: {
    QUERY: { description: 'Query string.' },
    PATH: { description: 'Path of the URL, in place of `{name}`.' },
    HEADER: { description: 'HTTP header of that name.' },
    BODY: { description: 'Member of the JSON body. Not allowed with GET.' },
  } as const,
});

export const ToolKnownValueEnum = builder.enumType('ToolKnownValue', {
  description:
    'Value about the running call that Ultravox can fill into an automatic parameter. None of them is sent unless a parameter asks for it.',
  values: {
    CALL_ID: { description: 'ID of the call at Ultravox. It differs from the `cal_…` ID.' },
    CONVERSATION_HISTORY: { description: 'Messages of the conversation so far.' },
    OUTPUT_SAMPLE_RATE: { description: 'Sample rate of the audio output, in Hz.' },
    CALL_STATE: {
      description: 'JSON object that earlier tool responses have stored as the state of the call.',
    },
    CALL_STAGE_ID: { description: 'ID of the current stage of the call.' },
    THREAD_ID: { description: 'ID of the conversation thread that invokes the tool.' },
    THREAD_STATES: { description: 'States of all threads of the conversation.' },
    CALL_METADATA: {
      description:
        'Metadata of the call at Ultravox. For calls placed through this API it includes the `cal_…` ID as `callId`.',
    },
  } as const,
});

export const ToolReactionEnum = builder.enumType('ToolReaction', {
  description: 'Reaction of the agent to the result of a tool.',
  values: {
    SPEAKS: { description: 'Continues speaking, with the result in mind.' },
    LISTENS: { description: 'Stays silent and listens. Suits tools that only record something.' },
    SPEAKS_ONCE: {
      description: 'Speaks, unless it already spoke right before it invoked the tool.',
    },
  } as const,
});

export const ToolAuthenticationKindEnum = builder.enumType('ToolAuthenticationKind', {
  description: 'Method of authenticating the request of a tool.',
  values: {
    HEADER_API_KEY: { description: 'API key in an HTTP header.' },
    QUERY_API_KEY: { description: 'API key in the query string.' },
    HTTP_AUTH: { description: '`Authorization` header with a scheme such as Bearer.' },
  } as const,
});

export const PARAMETER_LOCATION = 'Part of the request that carries the parameter.';

export const ToolHttpInput = builder.inputType('ToolHttpInput', {
  description: 'HTTP request that a tool makes.',
  fields: (t) => ({
    url: t.field({
      type: 'Url',
      required: true,
      description: `Public https:// URL without a query string or fragment, at most ${formatNumber(MAX_URL)} characters. Each \`{name}\` in its path requires a parameter of that name with the location PATH.`,
    }),
    method: t.field({
      type: ToolHttpMethodEnum,
      description: 'HTTP method. Default: GET for a new tool; unchanged when a tool is updated.',
    }),
  }),
});

const NAME_RULE =
  'Name of the parameter in the request. 1 to 64 letters, digits, "_", "-" or "."; for a header, a valid header name of at most 100 characters. Unique among all parameters of the tool.';

export const ToolDynamicParameterInput = builder.inputType('ToolDynamicParameterInput', {
  description: 'Parameter whose value the model takes from the conversation.',
  fields: (t) => ({
    name: t.string({ required: true, description: NAME_RULE }),
    location: t.field({
      type: ToolParameterLocationEnum,
      required: true,
      description: PARAMETER_LOCATION,
    }),
    schema: t.field({
      type: 'JSONObject',
      required: true,
      description: `JSON Schema of the value, such as \`{"type": "string", "description": "The order number, six digits"}\`; at most ${formatNumber(MAX_JSON)} characters. Draft 2020-12 unless \`$schema\` names draft-07.`,
    }),
    required: t.boolean({ description: 'Whether the model must provide a value. Default: true.' }),
  }),
});

export const ToolStaticParameterInput = builder.inputType('ToolStaticParameterInput', {
  description:
    'Parameter with a fixed value. Do not use it for secrets, because the value can be read through the API.',
  fields: (t) => ({
    name: t.string({ required: true, description: NAME_RULE }),
    location: t.field({
      type: ToolParameterLocationEnum,
      required: true,
      description: PARAMETER_LOCATION,
    }),
    value: t.field({
      type: 'JSON',
      required: true,
      description: `Value to send: any JSON value in the BODY; elsewhere a string, number or boolean. At most ${formatNumber(MAX_JSON)} characters as JSON.`,
    }),
  }),
});

export const ToolAutomaticParameterInput = builder.inputType('ToolAutomaticParameterInput', {
  description: 'Parameter that Ultravox fills in with a value about the call.',
  fields: (t) => ({
    name: t.string({ required: true, description: NAME_RULE }),
    location: t.field({
      type: ToolParameterLocationEnum,
      required: true,
      description: PARAMETER_LOCATION,
    }),
    knownValue: t.field({
      type: ToolKnownValueEnum,
      required: true,
      description: 'Value that Ultravox fills in.',
    }),
  }),
});

export const ToolApiKeyInput = builder.inputType('ToolApiKeyInput', {
  description: 'API key for a tool, sent in a header or in the query string.',
  fields: (t) => ({
    name: t.string({
      required: true,
      description: 'Name of the header or query parameter, such as `X-API-Key`.',
    }),
    value: t.string({
      required: true,
      description: `API key, 1 to ${formatNumber(MAX_TOKEN)} printable ASCII characters. Stored encrypted and never returned.`,
    }),
  }),
});

export const ToolHttpAuthInput = builder.inputType('ToolHttpAuthInput', {
  description: 'Value of the `Authorization: <scheme> <token>` header.',
  fields: (t) => ({
    scheme: t.string({
      required: true,
      description: 'Authentication scheme, such as `Bearer` or `Basic`.',
    }),
    token: t.string({
      required: true,
      description: `Credentials that follow the scheme, 1 to ${formatNumber(MAX_TOKEN)} printable ASCII characters. Stored encrypted and never returned.`,
    }),
  }),
});

export const ToolAuthenticationInput = builder.inputType('ToolAuthenticationInput', {
  description: 'Authentication of the request. Give **exactly one** field.',
  isOneOf: true,
  fields: (t) => ({
    headerApiKey: t.field({ type: ToolApiKeyInput, description: 'API key in an HTTP header.' }),
    queryApiKey: t.field({ type: ToolApiKeyInput, description: 'API key in the query string.' }),
    httpAuth: t.field({ type: ToolHttpAuthInput, description: '`Authorization` header.' }),
  }),
});

type InputFields = Parameters<Parameters<typeof mutation>[1]['input']>[0];

/** Input fields shared by `createTool` and `updateTool`. */
export const definitionFields = (t: InputFields, onUpdate: boolean) => {
  const list = onUpdate ? ' Replaces the whole list; null empties it.' : '';
  return {
    dynamicParameters: t.field({
      type: [ToolDynamicParameterInput],
      maxItems: MAX_PARAMETERS,
      description: `Parameters that the model fills in, at most ${MAX_PARAMETERS}.${list}`,
    }),
    staticParameters: t.field({
      type: [ToolStaticParameterInput],
      maxItems: MAX_PARAMETERS,
      description: `Parameters with fixed values, at most ${MAX_PARAMETERS}.${list}`,
    }),
    automaticParameters: t.field({
      type: [ToolAutomaticParameterInput],
      maxItems: MAX_PARAMETERS,
      description: `Parameters that Ultravox fills in with values about the call, at most ${MAX_PARAMETERS}.${list}`,
    }),
    authentication: t.field({
      type: [ToolAuthenticationInput],
      maxItems: MAX_AUTHENTICATION,
      description: `Credentials of the request, at most ${MAX_AUTHENTICATION}. All of them are sent with each request.${onUpdate ? ' Replaces the whole list, including the keys; null empties it.' : ''}`,
    }),
    timeout: t.field({
      type: 'Duration',
      description: 'Time that the agent waits for the response: `0.1s` to `40s`. Default: `2.5s`.',
    }),
    precomputable: t.boolean({
      description:
        'Whether Ultravox may make the request speculatively, before its result is needed. Set it only if the request has no side effects. Default: false.',
    }),
    defaultReaction: t.field({
      type: ToolReactionEnum,
      description: 'Reaction of the agent to the result. Default: SPEAKS.',
    }),
    staticResponse: t.string({
      description: `Text that the model receives immediately in place of the response, 1 to ${formatNumber(MAX_STATIC_RESPONSE)} characters. Default: the model waits for the response.`,
    }),
  };
};
