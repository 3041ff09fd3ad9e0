/** What can be done with calls. */
import { builder } from '../graphql/builder.ts';
import { mutation } from '../graphql/mutation.ts';
import { deleteCalls } from './deletion.ts';
import { CallNode } from './schema.ts';
import { createCall, endCall, placementProblems, startTestCall } from './service.ts';

const CallSettingsInput = builder.inputType('CallSettingsInput', {
  description: 'What this call alone should do; absent members follow the agent.',
  fields: (t) => ({
    recordingEnabled: t.boolean({ description: 'Whether it is recorded.' }),
    greeting: t.string({ description: 'What the agent says first; at most 2,000 characters.' }),
    maxDuration: t.field({
      type: 'Duration',
      description: 'The longest it may last, up to `86400s`.',
    }),
    joinTimeout: t.field({
      type: 'Duration',
      description: 'The longest it may ring, up to `600s`.',
    }),
  }),
});

mutation('createCall', {
  description:
    'Calls somebody. Answers once the phone rings, or with a call that is CREATED while Ultravox has no room; watch it with `callEvents`. Send it with an idempotency key, and a lost answer never makes the phone ring twice.',
  scope: 'write',
  input: (t) => ({
    agentId: t.id({ required: true, description: 'Who talks: the `agt_…` id of an ACTIVE agent.' }),
    phoneNumber: t.field({
      type: 'E164',
      required: true,
      description: 'Whom to call, in E.164 form.',
    }),
    fromNumber: t.field({
      type: 'E164',
      description:
        'The caller ID: one of the agent’s outbound numbers. Absent: the one of them that called longest ago.',
    }),
    variables: t.field({
      type: 'JSONObject',
      description:
        'Texts for the placeholders of the prompt, such as `{ "first_name": "Ada" }`. One without a text is left empty.',
    }),
    settings: t.field({ type: CallSettingsInput, description: 'What this call alone should do.' }),
    metadata: t.field({
      type: 'JSONObject',
      description: 'Your own keys with text values, to find the call again; at most 50.',
    }),
  }),
  run: async (input, { app, viewer }) => {
    const call = await createCall(app, viewer, input);
    return { call, userErrors: placementProblems(call) };
  },
  payload: (t) => ({
    call: t.field({
      type: CallNode,
      nullable: true,
      description:
        'The call. If Ultravox refused to dial it, it is FAILED, and `userErrors` and `failure` say why.',
      resolve: (payload) => payload.call ?? null,
    }),
  }),
});

mutation('startTestCall', {
  description: 'Talk to an agent in the browser, without a phone or a number.',
  scope: 'write',
  input: (t) => ({
    agentId: t.id({ required: true, description: 'The `agt_…` id of an ACTIVE agent.' }),
    variables: t.field({
      type: 'JSONObject',
      description: 'Texts for the placeholders of the prompt.',
    }),
  }),
  run: (input, { app, viewer }) => startTestCall(app, viewer, input),
  payload: (t) => ({
    call: t.field({
      type: CallNode,
      nullable: true,
      description: 'The call; it is IN_PROGRESS once somebody has joined.',
      resolve: (payload) => payload.call ?? null,
    }),
    joinUrl: t.string({
      nullable: true,
      description: 'For Ultravox’s client SDK. Whoever has it can join: keep it to its user.',
      resolve: (payload) => payload.joinUrl ?? null,
    }),
  }),
});

mutation('endCall', {
  description:
    'Ends a call: cancels one that is not dialled yet, hangs up one that is live, and hangs up one that rings as soon as it is answered. Ending an ended call changes nothing.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'The `cal_…` id.' }) }),
  run: async (input, { app, viewer }) => ({ call: await endCall(app, viewer, input.id) }),
  payload: (t) => ({
    call: t.field({
      type: CallNode,
      nullable: true,
      description: 'The call as it is now; its end comes with an event.',
      resolve: (payload) => payload.call ?? null,
    }),
  }),
});

mutation('deleteCalls', {
  description:
    'Deletes ended calls for good, with recording and transcript. All of them, or none when one cannot go.',
  scope: 'write',
  input: (t) => ({
    ids: t.idList({ required: true, description: '1 to 100 `cal_…` ids, each once.' }),
  }),
  run: async (input, { app, viewer }) => ({
    deletedCallIds: (await deleteCalls(app, viewer, input.ids)).map((id) => `cal_${id}`),
  }),
  payload: (t) => ({
    deletedCallIds: t.idList({
      nullable: true,
      description: 'What was deleted.',
      resolve: (payload) => payload.deletedCallIds ?? null,
    }),
  }),
});
