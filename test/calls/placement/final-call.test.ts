/** Table of the calls after which a campaign contact is not called again, checked against the SQL that decides it. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Finality, finalityOf, isFinal } from '../../../src/calls/placement/final-call.ts';
import { startTestServer, type TestServer } from '../../support/servers/server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ settings: { ROLE: 'api' } });
});
afterAll(() => server?.close());

const AT = '2026-11-20T12:00:00Z';
const RANG = { placement: 'ACCEPTED', ringing_at: AT } as const;
const ANSWERED = { ...RANG, answered_at: AT } as const;

it.each<[string, object, Finality]>([
  ['nobody answered', RANG, 'OPEN'],
  ['it was never created', { placement: 'NOT_CREATED' }, 'OPEN'],
  ['it was withdrawn', { placement: 'WITHDRAWN' }, 'OPEN'],
  ['it ended as never dialed, and was reported afterwards', { placement: 'ACCEPTED' }, 'FINAL'],
  ['nothing was heard', { ...ANSWERED, answered_by: 'UNKNOWN' }, 'OPEN'],
  ['nothing shows who answered', ANSWERED, 'FINAL'],
  ['a person answered', { ...ANSWERED, answered_by: 'HUMAN' }, 'FINAL'],
  ['a voicemail answered', { ...ANSWERED, answered_by: 'VOICEMAIL' }, 'VOICEMAIL'],
  [
    'somebody asked a voicemail not to be called',
    { ...ANSWERED, answered_by: 'VOICEMAIL', dnc_quote: '' },
    'FINAL',
  ],
  ['somebody asked not to be called', { ...RANG, dnc_quote: 'Never again.' }, 'FINAL'],
  ['its end was requested', { ...RANG, end_requested_at: AT }, 'FINAL'],
])('a call is the last one, or not, when %s', async (_, columns, finality) => {
  const [row] = await server.app.db.$queryRaw<{ finality: Finality }[]>`
    SELECT ${finalityOf('k')} AS finality
    FROM jsonb_populate_record(NULL::calls, ${JSON.stringify(columns)}::jsonb) k`;
  expect(row?.finality).toBe(finality);
});

it('counts a voicemail as the last call unless voicemails are retried', () => {
  const results = (retryVoicemail: boolean) =>
    (['FINAL', 'VOICEMAIL', 'OPEN'] as const).map((finality) =>
      isFinal({ finality }, { retryVoicemail }),
    );
  expect(results(false)).toEqual([true, true, false]);
  expect(results(true)).toEqual([true, false, false]);
});
