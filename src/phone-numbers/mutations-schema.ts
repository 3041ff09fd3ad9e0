import { builder } from '../graphql/builder.ts';
import { mutation } from '../graphql/mutation.ts';
import { PhoneNumberDirectionEnum, PhoneNumberNode } from './schema.ts';
import {
  assignPhoneNumber,
  importPhoneNumber,
  releasePhoneNumber,
  renamePhoneNumber,
  unassignPhoneNumber,
} from './service.ts';

const FURTHER =
  'Leave all members out for further numbers of an account that you have already brought.';

const TwilioAccountInput = builder.inputType('TwilioAccountInput', {
  description: `Credentials of a Twilio account. Giving the account again with another token replaces the token. ${FURTHER}`,
  fields: (t) => ({
    accountSid: t.string({ description: '"AC" and 32 hexadecimal digits.' }),
    authToken: t.string({ description: 'The auth token; kept encrypted and never shown again.' }),
  }),
});

const TelnyxAccountInput = builder.inputType('TelnyxAccountInput', {
  description: `Credentials of a Telnyx account. Giving the account again with other keys replaces the keys. ${FURTHER}`,
  fields: (t) => ({
    accountSid: t.string({ description: 'The id of the account (organization) at Telnyx.' }),
    apiKey: t.string({ description: 'An API key v2; kept encrypted and never shown again.' }),
    publicKey: t.string({
      description: 'The public key with which Telnyx signs its webhooks; kept encrypted too.',
    }),
    applicationSid: t.string({
      description: 'The id of the TeXML application of the number; at most 40 characters.',
    }),
  }),
});

const SipTrunkInput = builder.inputType('SipTrunkInput', {
  description: 'A SIP trunk, for this number alone. Nobody else has to use the same carrier.',
  fields: (t) => ({
    server: t.string({
      required: true,
      description:
        'Host, and if needed port and transport: "sip.example.com" or "sip.example.com:5061;transport=tls". UDP by default.',
    }),
    username: t.string({
      required: true,
      description: 'User name at the trunk; 1 to 100 characters.',
    }),
    password: t.string({
      required: true,
      description: '1 to 200 characters; kept encrypted and never shown again.',
    }),
  }),
});

const PhoneNumberProviderInput = builder.inputType('PhoneNumberProviderInput', {
  description: 'Who carries the number: exactly one member.',
  isOneOf: true,
  fields: (t) => ({
    twilio: t.field({
      type: TwilioAccountInput,
      description: 'Through Twilio. CARRIER_ACCOUNT_CONFLICT when Ultravox holds another account.',
    }),
    telnyx: t.field({
      type: TelnyxAccountInput,
      description: 'Through Telnyx. CARRIER_ACCOUNT_CONFLICT when Ultravox holds another account.',
    }),
    sip: t.field({ type: SipTrunkInput, description: 'Through a SIP trunk; always possible.' }),
  }),
});

mutation('importPhoneNumber', {
  description:
    'Brings in a number that you have at a carrier. With Twilio and Telnyx the account is handed to Ultravox: when that refuses it nothing is imported (ULTRAVOX_REFUSED); when it cannot be reached the number is there as DRAFT and this is done later by itself. Calls to the number come in once it has an inbound agent and the carrier sends them to its `inboundAddress`.',
  scope: 'write',
  input: (t) => ({
    phoneNumber: t.field({
      type: 'E164',
      required: true,
      description: 'In E.164 form, such as "+14155550123".',
    }),
    name: t.string({ description: 'What to call it; 1 to 100 characters.' }),
    provider: t.field({
      type: PhoneNumberProviderInput,
      required: true,
      description: 'Who carries it, with the credentials.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await importPhoneNumber(app, viewer, input),
  }),
  payload: (t) => ({
    phoneNumber: t.field({
      type: PhoneNumberNode,
      nullable: true,
      description: 'The imported number.',
      resolve: (payload) => payload.phoneNumber ?? null,
    }),
  }),
});

mutation('renamePhoneNumber', {
  description: 'Gives a phone number another name.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `num_…` id.' }),
    name: t.string({ required: true, description: 'The new name; 1 to 100 characters.' }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await renamePhoneNumber(app, viewer, input),
  }),
  payload: (t) => ({
    phoneNumber: t.field({
      type: PhoneNumberNode,
      nullable: true,
      description: 'The number under its new name.',
      resolve: (payload) => payload.phoneNumber ?? null,
    }),
  }),
});

mutation('assignPhoneNumber', {
  description:
    'Puts an agent into one of the two slots of a number. An agent that is in that slot already is replaced; the other slot stays as it is. The agent need not be active yet.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `num_…` id.' }),
    agentId: t.id({ required: true, description: 'The `agt_…` id of the agent.' }),
    direction: t.field({
      type: PhoneNumberDirectionEnum,
      required: true,
      description: 'Which slot. For both, use the mutation twice.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await assignPhoneNumber(app, viewer, input),
  }),
  payload: (t) => ({
    phoneNumber: t.field({
      type: PhoneNumberNode,
      nullable: true,
      description:
        'The number with its new agent. After a change of the inbound agent set its `inboundAddress` at the carrier.',
      resolve: (payload) => payload.phoneNumber ?? null,
    }),
  }),
});

mutation('unassignPhoneNumber', {
  description:
    'Empties one of the two slots of a number; that it is empty already does no harm. Calls that are running go on.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'The `num_…` id.' }),
    direction: t.field({
      type: PhoneNumberDirectionEnum,
      required: true,
      description: 'Which slot; the other one stays as it is.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await unassignPhoneNumber(app, viewer, input),
  }),
  payload: (t) => ({
    phoneNumber: t.field({
      type: PhoneNumberNode,
      nullable: true,
      description: 'The number with the slot empty.',
      resolve: (payload) => payload.phoneNumber ?? null,
    }),
  }),
});

mutation('releasePhoneNumber', {
  description:
    'Removes a number here; at your carrier it stays yours. It leaves its agents and all lists, and is still seen from its calls. INVALID_STATE while a call on it has not ended. With the last number of a Twilio or Telnyx account that account is removed from Ultravox. Releasing it again changes nothing.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'The `num_…` id.' }) }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await releasePhoneNumber(app, viewer, input),
  }),
  payload: (t) => ({
    phoneNumber: t.field({
      type: PhoneNumberNode,
      nullable: true,
      description: 'The released number.',
      resolve: (payload) => payload.phoneNumber ?? null,
    }),
  }),
});
