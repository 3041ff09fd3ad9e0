/** Mutations of phone numbers. */
import { builder } from '../../graphql/builder.ts';
import { mutation } from '../../graphql/mutation.ts';
import { importPhoneNumber } from '../import.ts';
import {
  assignPhoneNumber,
  MAX_NAME,
  releasePhoneNumber,
  unassignPhoneNumber,
} from '../service.ts';
import { updatePhoneNumber } from '../update.ts';
import { PhoneNumberDirectionEnum, PhoneNumberNode } from './phone-number.ts';

const REUSE_ACCOUNT =
  'In `importPhoneNumber`, omit all fields for another number of an account whose credentials you have already provided.';

const TwilioAccountInput = builder.inputType('TwilioAccountInput', {
  description: `Credentials of a Twilio account. A new token for the same account replaces the stored one, for all its numbers. ${REUSE_ACCOUNT}`,
  fields: (t) => ({
    accountSid: t.string({ description: 'Account SID, "AC" followed by 32 hexadecimal digits.' }),
    authToken: t.string({
      description: 'Auth token, 1 to 200 characters. Stored encrypted and never returned.',
    }),
  }),
});

const TelnyxAccountInput = builder.inputType('TelnyxAccountInput', {
  description: `Credentials of a Telnyx account. New keys for the same account replace the stored ones, for all its numbers. ${REUSE_ACCOUNT}`,
  fields: (t) => ({
    accountSid: t.string({
      description: 'ID of the Telnyx account (organization), 1 to 100 characters.',
    }),
    apiKey: t.string({
      description: 'API key (v2), 1 to 200 characters. Stored encrypted and never returned.',
    }),
    publicKey: t.string({
      description:
        'Public key that verifies webhooks of Telnyx, 1 to 200 characters. Stored encrypted and never returned.',
    }),
    applicationSid: t.string({
      description:
        'ID of the TeXML application, 1 to 40 characters. Stored encrypted and never returned.',
    }),
  }),
});

const SipTrunkInput = builder.inputType('SipTrunkInput', {
  description: 'SIP trunk of one phone number.',
  fields: (t) => ({
    server: t.string({
      required: true,
      description:
        'Host of the trunk, optionally with a port and a transport, such as "sip.example.com" or "sip.example.com:5061;transport=tls". Default: port 5060 over UDP.',
    }),
    username: t.string({
      required: true,
      description: 'Username for the trunk, 1 to 100 characters.',
    }),
    password: t.string({
      required: true,
      description:
        'Password for the trunk, 1 to 200 characters. Stored encrypted and never returned.',
    }),
  }),
});

const PhoneNumberProviderInput = builder.inputType('PhoneNumberProviderInput', {
  description: 'Carrier of a phone number. Give **exactly one** field.',
  isOneOf: true,
  fields: (t) => ({
    twilio: t.field({
      type: TwilioAccountInput,
      description:
        'Twilio account. Fails with CARRIER_ACCOUNT_CONFLICT when Ultravox already holds another Twilio account, or the same one with another token that was not imported here.',
    }),
    telnyx: t.field({
      type: TelnyxAccountInput,
      description:
        'Telnyx account. Fails with CARRIER_ACCOUNT_CONFLICT when Ultravox already holds another Telnyx account, or the same one with another public key that was not imported here.',
    }),
    sip: t.field({ type: SipTrunkInput, description: 'SIP trunk.' }),
  }),
});

mutation('importPhoneNumber', {
  description:
    'Imports a phone number of your carrier. A Twilio or Telnyx account is sent to Ultravox. If Ultravox refuses the account, nothing is imported and the mutation fails with ULTRAVOX_REFUSED. If Ultravox cannot be reached, the number is DRAFT and the account is sent again automatically. While another request changes the credentials of the account, a mutation with credentials fails with INVALID_STATE and a `retryAt`. To take calls, assign an inbound agent and configure `inboundAddress` at the carrier.',
  scope: 'write',
  input: (t) => ({
    phoneNumber: t.field({
      type: 'E164',
      required: true,
      description: 'Phone number in E.164 format, such as `+14155550123`.',
    }),
    name: t.string({ description: `Display name, 1 to ${MAX_NAME} characters. Default: none.` }),
    provider: t.field({
      type: PhoneNumberProviderInput,
      required: true,
      description: 'Carrier of the number, with credentials.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await importPhoneNumber(app, viewer, input),
  }),
  payload: {
    phoneNumber: { type: PhoneNumberNode, description: 'The imported phone number.' },
  },
});

mutation('updatePhoneNumber', {
  description:
    'Changes the display name or the credentials of a phone number. Omitted fields stay unchanged. New credentials of a Twilio or Telnyx account are sent to Ultravox. If Ultravox refuses them, nothing is changed and the mutation fails with ULTRAVOX_REFUSED. If Ultravox cannot be reached, they are sent again automatically; until they are accepted, `syncError` states the reason. While another request changes the credentials of the account, the mutation fails with INVALID_STATE and a `retryAt`. To change the agents of the number, use `assignPhoneNumber` and `unassignPhoneNumber`.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the phone number (`num_…`).' }),
    name: t.string({
      description: `New display name, 1 to ${MAX_NAME} characters. Null removes it.`,
    }),
    provider: t.field({
      type: PhoneNumberProviderInput,
      description:
        'Carrier of the number with new credentials, such as a rotated token. All of its fields are required. It must be the same provider and the same Twilio or Telnyx account, whose other numbers then use the new credentials too. A SIP trunk is replaced as a whole, for this number only and for its next calls. Cannot be null.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await updatePhoneNumber(app, viewer, input),
  }),
  payload: {
    phoneNumber: { type: PhoneNumberNode, description: 'The updated phone number.' },
  },
});

mutation('assignPhoneNumber', {
  description:
    'Assigns an agent to one direction of a phone number, in place of the current agent. The other direction is unchanged. The agent does not have to be ACTIVE.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the phone number (`num_…`).' }),
    agentId: t.id({ required: true, description: 'ID of the agent (`agt_…`).' }),
    direction: t.field({
      type: PhoneNumberDirectionEnum,
      required: true,
      description: 'Direction to assign. To assign both, use the mutation twice.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await assignPhoneNumber(app, viewer, input),
  }),
  payload: {
    phoneNumber: {
      type: PhoneNumberNode,
      description:
        'The updated phone number. After a change of the inbound agent, configure its new `inboundAddress` at the carrier.',
    },
  },
});

mutation('unassignPhoneNumber', {
  description:
    'Removes the agent from one direction of a phone number. Calls in progress continue. Has no effect if no agent is assigned.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the phone number (`num_…`).' }),
    direction: t.field({
      type: PhoneNumberDirectionEnum,
      required: true,
      description: 'Direction to unassign. The other one is unchanged.',
    }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await unassignPhoneNumber(app, viewer, input),
  }),
  payload: {
    phoneNumber: { type: PhoneNumberNode, description: 'The updated phone number.' },
  },
});

mutation('releasePhoneNumber', {
  description:
    'Releases a phone number. It stays yours at the carrier; here it is unassigned from its agents, no longer listed, and reachable only through its calls and `node`. Fails with INVALID_STATE while a call of the number has not ended. If it is the last number of a Twilio or Telnyx account, the account is removed from Ultravox, unless it was configured there before your import. Has no effect on a released number.',
  scope: 'write',
  input: (t) => ({
    id: t.id({ required: true, description: 'ID of the phone number (`num_…`).' }),
  }),
  run: async (input, { app, viewer }) => ({
    phoneNumber: await releasePhoneNumber(app, viewer, input),
  }),
  payload: {
    phoneNumber: { type: PhoneNumberNode, description: 'The released phone number.' },
  },
});
