/** The words of a tool's definition, and what is sent to make or change one. */
import { builder } from '../graphql/builder.ts';
import type { mutation } from '../graphql/mutation.ts';

export const ToolHttpMethodEnum = builder.enumType('ToolHttpMethod', {
  description: 'The method of the request a tool makes.',
  values: {
    GET: { description: 'Reads; has no body, so no BODY parameters.' },
    POST: { description: 'BODY parameters become the members of a JSON object.' },
    PUT: { description: 'As POST, by convention replacing something.' },
    PATCH: { description: 'As POST, by convention changing part of something.' },
    DELETE: { description: 'By convention removing something.' },
  } as const,
});

export const ToolParameterLocationEnum = builder.enumType('ToolParameterLocation', {
  description: 'Where in the request a parameter goes.',
  values: {
    QUERY: { description: 'Into the query string.' },
    PATH: { description: 'In place of `{name}` in the path of the URL.' },
    HEADER: { description: 'As a header of this name.' },
    BODY: { description: 'As a member of the JSON body. Not with GET.' },
  } as const,
});

export const ToolKnownValueEnum = builder.enumType('ToolKnownValue', {
  description: 'What Ultravox can fill in about the running call. Nothing of it is sent unasked.',
  values: {
    CALL_ID: { description: "Ultravox's id of the call (not the `cal_…` id)." },
    CONVERSATION_HISTORY: { description: 'Everything said so far, as a list of messages.' },
    OUTPUT_SAMPLE_RATE: { description: "Samples per second of the agent's voice." },
    CALL_STATE: { description: 'The JSON object that tools of the call have kept there.' },
    CALL_STAGE_ID: { description: 'The stage of the call that is running.' },
    THREAD_ID: { description: 'The thread of the conversation that calls the tool.' },
    THREAD_STATES: { description: 'The states of all threads of the conversation.' },
    CALL_METADATA: {
      description: 'The metadata of the call at Ultravox, in which our own call id is found.',
    },
  } as const,
});

export const ToolReactionEnum = builder.enumType('ToolReaction', {
  description: 'What the agent does with the result of a tool.',
  values: {
    SPEAKS: { description: 'It speaks about the result. The usual way.' },
    LISTENS: { description: 'It says nothing and goes on listening: for tools that only record.' },
    SPEAKS_ONCE: {
      description: 'It speaks, unless it has spoken just before calling the tool.',
    },
  } as const,
});

export const ToolAuthenticationKindEnum = builder.enumType('ToolAuthenticationKind', {
  description: 'How the request shows that it may be made.',
  values: {
    HEADER_API_KEY: { description: 'A key in a header.' },
    QUERY_API_KEY: { description: 'A key in the query string.' },
    HTTP_AUTH: { description: 'The header `Authorization`, with a scheme such as Bearer.' },
  } as const,
});

export const PLACE_OF_PARAMETER = 'Where in the request it goes.';

export const ToolHttpInput = builder.inputType('ToolHttpInput', {
  description: 'The request a tool makes.',
  fields: (t) => ({
    url: t.field({
      type: 'Url',
      required: true,
      description:
        'A public https:// address without a query string, at most 2000 characters. Each `{name}` in its path needs a parameter of that name with location PATH.',
    }),
    method: t.field({ type: ToolHttpMethodEnum, description: 'Default GET.' }),
  }),
});

const NAME_RULE =
  '1 to 64 letters, digits, "_", "-" or "."; for a header, a header name. Different from all other parameters of the tool.';

export const ToolDynamicParameterInput = builder.inputType('ToolDynamicParameterInput', {
  description: 'A parameter that the model fills in from the conversation.',
  fields: (t) => ({
    name: t.string({ required: true, description: NAME_RULE }),
    location: t.field({
      type: ToolParameterLocationEnum,
      required: true,
      description: PLACE_OF_PARAMETER,
    }),
    schema: t.field({
      type: 'JSONObject',
      required: true,
      description:
        'JSON Schema of the value, such as `{"type": "string", "description": "The order number, six digits"}`. Draft 2020-12, or draft 07 if `$schema` says so.',
    }),
    required: t.boolean({ description: 'Whether the model must give a value. Default true.' }),
  }),
});

export const ToolStaticParameterInput = builder.inputType('ToolStaticParameterInput', {
  description: 'A parameter that always has the same value. Not for secrets: it can be read.',
  fields: (t) => ({
    name: t.string({ required: true, description: NAME_RULE }),
    location: t.field({
      type: ToolParameterLocationEnum,
      required: true,
      description: PLACE_OF_PARAMETER,
    }),
    value: t.field({
      type: 'JSON',
      required: true,
      description: 'What is sent: any JSON in the BODY, elsewhere a text, number or boolean.',
    }),
  }),
});

export const ToolAutomaticParameterInput = builder.inputType('ToolAutomaticParameterInput', {
  description: 'A parameter that Ultravox fills in with something about the call.',
  fields: (t) => ({
    name: t.string({ required: true, description: NAME_RULE }),
    location: t.field({
      type: ToolParameterLocationEnum,
      required: true,
      description: PLACE_OF_PARAMETER,
    }),
    knownValue: t.field({
      type: ToolKnownValueEnum,
      required: true,
      description: 'What is filled in.',
    }),
  }),
});

export const ToolApiKeyInput = builder.inputType('ToolApiKeyInput', {
  description: 'A key under a name.',
  fields: (t) => ({
    name: t.string({
      required: true,
      description: 'Of the header or query parameter, such as `X-API-Key`.',
    }),
    value: t.string({
      required: true,
      description: 'The key: 1 to 4096 printable ASCII characters. Kept encrypted, never shown.',
    }),
  }),
});

export const ToolHttpAuthInput = builder.inputType('ToolHttpAuthInput', {
  description: 'The header `Authorization: <scheme> <token>`.',
  fields: (t) => ({
    scheme: t.string({ required: true, description: 'Such as `Bearer` or `Basic`.' }),
    token: t.string({
      required: true,
      description:
        'What follows the scheme: 1 to 4096 printable ASCII characters. Kept encrypted, never shown.',
    }),
  }),
});

export const ToolAuthenticationInput = builder.inputType('ToolAuthenticationInput', {
  description: 'One way of authenticating the request: exactly one of these.',
  isOneOf: true,
  fields: (t) => ({
    headerApiKey: t.field({ type: ToolApiKeyInput, description: 'A key in a header.' }),
    queryApiKey: t.field({ type: ToolApiKeyInput, description: 'A key in the query string.' }),
    httpAuth: t.field({ type: ToolHttpAuthInput, description: 'The Authorization header.' }),
  }),
});

type InputFields = Parameters<Parameters<typeof mutation>[1]['input']>[0];

/** What both `createTool` and `updateTool` take. */
export const definitionFields = (t: InputFields, onUpdate: boolean) => {
  const list = onUpdate ? ' Replaces the whole list; null empties it.' : '';
  return {
    dynamicParameters: t.field({
      type: [ToolDynamicParameterInput],
      description: `What the model fills in; at most 50.${list}`,
    }),
    staticParameters: t.field({
      type: [ToolStaticParameterInput],
      description: `What is always the same; at most 50.${list}`,
    }),
    automaticParameters: t.field({
      type: [ToolAutomaticParameterInput],
      description: `What Ultravox fills in about the call; at most 50.${list}`,
    }),
    authentication: t.field({
      type: [ToolAuthenticationInput],
      description: `How the request is authenticated; at most 5, all of them sent together.${onUpdate ? ' Replaces all, keys included; null removes all.' : ''}`,
    }),
    timeout: t.field({
      type: 'Duration',
      description: 'How long the agent waits for the answer: up to `40s`. Default: `2.5s`.',
    }),
    precomputable: t.boolean({
      description:
        'Whether Ultravox may make the request ahead of need: only if it changes nothing. Default false.',
    }),
    defaultReaction: t.field({
      type: ToolReactionEnum,
      description: 'What the agent does with the result. Default SPEAKS.',
    }),
    staticResponse: t.string({
      description:
        'Tells the model this at once and does not wait for the answer; 1 to 4000 characters.',
    }),
  };
};
