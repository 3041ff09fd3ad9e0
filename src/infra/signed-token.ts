/** Short-lived signed tokens for links. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';

/** A date in a payload. */
export const signedDate = z.iso.datetime().transform((text) => new Date(text));

/** Creates a token. The payload is signed, not encrypted. */
export function signToken(secret: string, payload: object, expiresAt: Date): string {
  const body = Buffer.from(JSON.stringify({ payload, expires: expiresAt.getTime() })).toString(
    'base64url',
  );
  return `${body}.${signature(secret, body)}`;
}

/** The payload. Null if the signature is invalid or the token has expired. */
export function readToken(secret: string, token: string, now: Date): unknown {
  const [body, given, ...more] = token.split('.');
  if (!body || !given || more.length > 0) return null;
  const expected = Buffer.from(signature(secret, body));
  const received = Buffer.from(given);
  if (expected.length !== received.length || !timingSafeEqual(expected, received)) return null;
  const { payload, expires } = JSON.parse(Buffer.from(body, 'base64url').toString()) as {
    payload: unknown;
    expires: number;
  };
  return expires > now.getTime() ? payload : null;
}

function signature(secret: string, body: string): string {
  return createHmac('sha256', secret).update(body).digest('base64url');
}
