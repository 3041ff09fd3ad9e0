import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { signWebhook, verifyWebhook } from '../../src/ultravox/signature.ts';

const rawBody = Buffer.from('{"event":"call.ended","call":{"summary":"Grüße"}}');
const timestamp = '2026-11-20T10:00:00.123456Z';
const now = new Date('2026-11-20T10:00:30Z');
const delivery = {
  rawBody,
  timestampHeader: timestamp,
  signatureHeader: signWebhook('one', rawBody, timestamp),
  secrets: ['one'],
  now,
};

function signed(timestampHeader: string, overrides: Partial<typeof delivery> = {}) {
  const signatureHeader = signWebhook('one', rawBody, timestampHeader);
  return verifyWebhook({ ...delivery, timestampHeader, signatureHeader, ...overrides });
}

describe('signWebhook', () => {
  it('signs the body followed directly by the timestamp', () => {
    const expected = createHmac('sha256', 'one')
      .update(Buffer.concat([rawBody, Buffer.from(timestamp)]))
      .digest('hex');
    expect(signWebhook('one', rawBody, timestamp)).toBe(expected);
    expect(signWebhook('one', rawBody.toString(), timestamp)).toBe(expected);
  });
});

describe('verifyWebhook', () => {
  it('accepts any of several digests under any of several secrets', () => {
    const signatureHeader = `${'0'.repeat(64)}, ${signWebhook('two', rawBody, timestamp)}`;
    expect(verifyWebhook({ ...delivery, signatureHeader, secrets: ['one', 'two'] })).toEqual({
      ok: true,
    });
  });

  it.each([
    ['another secret', { secrets: ['two'] }],
    ['no secret', { secrets: [] }],
    ['another body', { rawBody: Buffer.from('{}') }],
    ['another timestamp', { timestampHeader: '2026-11-20T10:00:01Z' }],
    ['a digest of another length', { signatureHeader: 'abc,,é' }],
  ])('refuses %s', (_, change) => {
    expect(verifyWebhook({ ...delivery, ...change })).toEqual({
      ok: false,
      reason: 'bad_signature',
    });
  });

  it('rejects the empty secret', () => {
    const signatureHeader = signWebhook('', rawBody, timestamp);
    expect(verifyWebhook({ ...delivery, signatureHeader, secrets: [''] })).toMatchObject({
      reason: 'bad_signature',
    });
  });

  it('rejects a delivery without its headers', () => {
    const missing = { ok: false, reason: 'missing_header' };
    expect(verifyWebhook({ ...delivery, timestampHeader: null })).toEqual(missing);
    expect(verifyWebhook({ ...delivery, signatureHeader: undefined })).toEqual(missing);
  });

  it.each([
    '2026-11-20T10:00:00',
    '2026-11-20 10:00:00.5',
    '2026-11-20T11:00:00+01:00',
  ])('reads %s as ten o’clock UTC', (timestampHeader) => {
    expect(signed(timestampHeader)).toEqual({ ok: true });
    expect(signed(timestampHeader, { now: new Date('2026-11-20T10:01:02Z') })).toMatchObject({
      reason: 'too_old',
    });
  });

  it('accepts an older delivery with a larger tolerance', () => {
    const late = { ...delivery, now: new Date('2026-11-20T10:04:00Z') };
    expect(verifyWebhook(late)).toMatchObject({ reason: 'too_old' });
    expect(verifyWebhook({ ...late, toleranceSeconds: 300 })).toEqual({ ok: true });
  });

  it('accepts a clock slightly ahead, and rejects one far ahead', () => {
    expect(signed('2026-11-20T10:00:35Z')).toEqual({ ok: true });
    expect(signed('2026-11-20T10:01:00Z')).toEqual({ ok: false, reason: 'in_the_future' });
  });

  it.each([
    'yesterday',
    '1795168800',
    '2026-13-40T00:00:00Z',
  ])('rejects the timestamp %s', (text) => {
    expect(signed(text)).toEqual({ ok: false, reason: 'bad_timestamp' });
  });
});
