/** Mutations of calls. */
import { builder } from '../../graphql/builder.ts';
import { mutation } from '../../graphql/mutation.ts';
import { publicId } from '../../ids.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { placementProblems } from '../creation/new-call.ts';
import { startTestCall } from '../creation/test-call.ts';
import { deleteCalls, MAX_DELETED } from '../deletion.ts';
import { MAX_METADATA_ENTRIES } from '../metadata.ts';
import { MAX_WAITING_CALLS } from '../placement/limits.ts';
import { createCall, endCall } from '../service.ts';
import { CallNode } from './call.ts';

const VARIABLES =
  'At most 100, with values of at most 10,000 characters. Numbers and booleans become text.';

const CallSettingsInput = builder.inputType('CallSettingsInput', {
  description: 'Settings of one call. Omitted fields follow the agent.',
  fields: (t) => ({
    recordingEnabled: t.boolean({ description: 'Whether to record the call.' }),
    greeting: t.string({
      description:
        'First message of the agent, up to 2,000 characters. {{placeholders}} are replaced by `variables`.',
    }),
    maxDuration: t.field({
      type: 'Duration',
      description: 'Maximum duration of the call, up to `86400s`.',
    }),
    joinTimeout: t.field({
      type: 'Duration',
      description: 'Maximum ringing time, up to `600s`.',
    }),
  }),
});

mutation('createCall', {
  description: `Places an outbound call. Returns once the phone rings, or with a call in status CREATED while a limit is reached, or while Ultravox has no capacity or cannot be reached. Such a call is placed within an hour, or fails; an organization may have ${formatNumber(MAX_WAITING_CALLS)} of them. That can take up to a day while Ultravox does not tell whether it created a call that it had refused. Follow it with \`callEvents\`. Send an idempotency key, so that a repeated request never dials twice.`,
  scope: 'write',
  input: (t) => ({
    agentId: t.id({ required: true, description: 'ID of an agent (`agt_…`) in status ACTIVE.' }),
    phoneNumber: t.field({
      type: 'E164',
      required: true,
      description: 'Phone number to call, in E.164 format.',
    }),
    fromNumber: t.field({
      type: 'E164',
      description:
        'Caller ID: one of the agent’s outbound numbers. Default: the least recently used one other than `phoneNumber`.',
    }),
    variables: t.field({
      type: 'JSONObject',
      description: `Values of the placeholders in the prompt, the greeting and the other messages of the agent, such as \`{ "first_name": "Ada" }\`. Placeholders without a value are empty. ${VARIABLES}`,
    }),
    placeBefore: t.field({
      type: 'DateTime',
      description:
        'The call is placed before this time or not at all, such as the end of the hours in which people may be called. Default: one hour from now, which is the longest that a call waits.',
    }),
    settings: t.field({ type: CallSettingsInput, description: 'Settings of this call.' }),
    metadata: t.field({
      type: 'JSONObject',
      description: `Key-value pairs to find the call by: at most ${MAX_METADATA_ENTRIES}, with values of at most 2,000 characters. Numbers and booleans become text.`,
    }),
  }),
  run: async (input, { app, viewer }) => {
    const call = await createCall(app, viewer, input);
    return { call, userErrors: placementProblems(call) };
  },
  payload: {
    call: {
      type: CallNode,
      description:
        'The created call. If Ultravox rejected it, its status is FAILED, and `userErrors` and `failure` contain the reason.',
    },
  },
});

mutation('startTestCall', {
  description:
    'Starts a call with an agent in a browser, without a phone number. If Ultravox’s limits do not allow it within five seconds, the call is canceled and the error says when to retry.',
  scope: 'write',
  input: (t) => ({
    agentId: t.id({ required: true, description: 'ID of an agent (`agt_…`) in status ACTIVE.' }),
    variables: t.field({
      type: 'JSONObject',
      description: `Values of the placeholders in the prompt, the greeting and the other messages of the agent. ${VARIABLES}`,
    }),
  }),
  run: (input, { app, viewer }) => startTestCall(app, viewer, input),
  payload: {
    call: {
      type: CallNode,
      description: 'The created call. Its status is IN_PROGRESS once a person has joined.',
    },
    joinUrl: {
      type: 'String',
      description:
        'Address to join with the client SDK of Ultravox. It is a secret: anyone who has it can join the call.',
    },
  },
});

mutation('endCall', {
  description:
    'Ends a call. A call that is not dialed yet is canceled, an answered call is hung up, and a ringing call is hung up as soon as it is answered. A campaign does not retry it. Has no effect on an ended call.',
  scope: 'write',
  stops: true,
  input: (t) => ({ id: t.id({ required: true, description: 'ID of the call (`cal_…`).' }) }),
  run: async (input, { app, viewer }) => ({ call: await endCall(app, viewer, input.id) }),
  payload: {
    call: {
      type: CallNode,
      description: 'The call in its current state. Its end is reported by an event.',
    },
  },
});

mutation('deleteCalls', {
  description:
    'Permanently deletes ended calls with their recordings and transcripts. Deletes none if one of them cannot be deleted.',
  scope: 'write',
  input: (t) => ({
    ids: t.idList({
      required: true,
      maxItems: MAX_DELETED,
      description: `IDs of calls (\`cal_…\`), 1 to ${MAX_DELETED}, without duplicates.`,
    }),
  }),
  run: async (input, { app, viewer }) => ({
    deletedCallIds: (await deleteCalls(app, viewer, input.ids)).map((id) => publicId('Call', id)),
  }),
  payload: (t) => ({
    deletedCallIds: t.idList({
      nullable: true,
      description: 'IDs of the deleted calls.',
      resolve: (payload) => payload.deletedCallIds ?? null,
    }),
  }),
});
