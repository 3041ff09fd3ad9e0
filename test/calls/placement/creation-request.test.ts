/** The creation request of a call: medium, metadata, variables and settings. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requestFor } from '../../../src/calls/placement/creation-request.ts';
import { publicId } from '../../../src/ids.ts';
import { newId } from '../../../src/infra/ids.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';
import {
  addNumber,
  type Caller,
  callOf,
  dial,
  dialsOf,
  isBilled,
  newCaller,
  newPerson,
  rowOf,
  typesOf,
  uuidOf,
  waitForCall,
} from '../support.ts';

const TALKED = ['CREATED', 'RINGING', 'IN_PROGRESS', 'COMPLETED', 'BILLED'];

describe('the creation request of a call', () => {
  let server: TestServer;
  let caller: Caller;
  let id: string;

  beforeAll(async () => {
    server = await startTestServer();
    caller = await newCaller(server, {
      greetingSettings: { firstSpeaker: 'AGENT', text: 'Hi', delay: '1s' },
    });
    const made = await dial(caller, '+14155550160', {
      variables: { first_name: 'Ada' },
      settings: { recordingEnabled: true },
    });
    id = made.id;
  });
  afterAll(() => server.close());

  async function requestWith(change: { number?: object; settings?: object; alone?: boolean } = {}) {
    const call = await server.app.db.call.findUniqueOrThrow({
      where: { id: uuidOf(id) },
      include: { agent: true, number: true },
    });
    return requestFor(server.app, {
      ...call,
      settings: change.settings ? { ...change.settings } : call.settings,
      number: change.alone ? null : { ...call.number!, ...change.number },
    });
  }

  it('uses the carrier of the phone number', async () => {
    expect((await requestWith()).medium).toEqual({
      sip: {
        outgoing: {
          to: 'sip:+14155550160@sip.example.com',
          from: caller.ownNumber,
          username: 'desk',
          password: 'sip-password',
        },
      },
    });
    const outgoing = { to: '+14155550160', from: caller.ownNumber };
    for (const provider of ['TWILIO', 'TELNYX'] as const) {
      expect((await requestWith({ number: { provider } })).medium).toEqual({
        [provider.toLowerCase()]: { outgoing },
      });
    }
    expect((await requestWith({ alone: true })).medium).toEqual({ webRtc: {} });
  });

  it('contains our IDs, the variables and only the given settings', async () => {
    expect(await requestWith({ settings: {} })).toEqual({
      medium: expect.anything(),
      metadata: { callId: id, organizationId: publicId('Organization', server.organizationId) },
      templateContext: { first_name: 'Ada' },
      recordingEnabled: true,
    });
    const settings = { greeting: 'Hello', maxDuration: '90s', joinTimeout: '20s' };
    expect(await requestWith({ settings })).toMatchObject({
      maxDuration: '90s',
      joinTimeout: '20s',
      firstSpeakerSettings: { agent: { text: 'Hello', delay: '1s' } },
    });
  });

  it('is the only place that contains the password of a SIP trunk', async () => {
    await waitForCall(caller.client, id, 'billed', isBilled);
    const { ultravoxId } = await rowOf(server, id);
    const kept = await server.app.db.$queryRaw`
      SELECT to_jsonb(c)::text AS text FROM calls c
      UNION ALL SELECT to_jsonb(n)::text FROM phone_numbers n
      UNION ALL SELECT to_jsonb(w)::text FROM ultravox_webhooks w
      WHERE ultravox_call_id = ${ultravoxId}`;
    expect(JSON.stringify(kept)).not.toContain('sip-password');
    expect(JSON.stringify(await callOf(caller.client, id))).not.toContain('sip-password');
  });

  it('dials over Twilio', async () => {
    const twilio = await newCaller(server);
    const number = await addNumber(server.client, twilio.agentId, ['OUTBOUND'], {
      twilio: { accountSid: `AC${'0123456789abcdef'.repeat(2)}`, authToken: newId() },
    });
    const made = await dial(twilio, newPerson(), { fromNumber: number.phoneNumber });
    const call = await waitForCall(server.client, made.id, 'billed', isBilled);
    expect(call).toMatchObject({ medium: 'TWILIO', fromNumber: number.phoneNumber });
    expect(typesOf(call)).toEqual(TALKED);
    expect(await dialsOf(server, made.id)).toMatchObject([{ to: made.phoneNumber }]);
  });
});
