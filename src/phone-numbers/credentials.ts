/** Encrypts carrier credentials, bound to the row to which they belong. */
import { z } from 'zod';
import type { App } from '../app.ts';
import type { SipCredentials } from './medium.ts';

const sipSchema = z.object({ username: z.string(), password: z.string() });
const twilioSchema = z.object({ authToken: z.string() });
const telnyxSchema = z.object({
  apiKey: z.string(),
  publicKey: z.string(),
  applicationSid: z.string(),
});

export type TwilioSecrets = z.output<typeof twilioSchema>;
export type TelnyxSecrets = z.output<typeof telnyxSchema>;

const numberContext = (id: string): string => `phone_numbers/${id}/credentials`;
const configContext = (id: string): string => `telephony_configs/${id}/credentials`;

export function encryptSip(
  app: Pick<App, 'cipher'>,
  numberId: string,
  credentials: SipCredentials,
): string {
  return app.cipher.encrypt(JSON.stringify(credentials), numberContext(numberId));
}

export function decryptSip(
  app: Pick<App, 'cipher'>,
  number: { id: string; credentials: string | null },
): SipCredentials {
  if (!number.credentials) throw new Error('The SIP number has no credentials');
  return sipSchema.parse(
    JSON.parse(app.cipher.decrypt(number.credentials, numberContext(number.id))),
  );
}

export function encryptCarrier(
  app: Pick<App, 'cipher'>,
  configId: string,
  secrets: TwilioSecrets | TelnyxSecrets,
): string {
  return app.cipher.encrypt(JSON.stringify(secrets), configContext(configId));
}

export function decryptTwilio(
  app: Pick<App, 'cipher'>,
  config: { id: string; credentials: string },
) {
  return twilioSchema.parse(decryptCarrier(app, config));
}

export function decryptTelnyx(
  app: Pick<App, 'cipher'>,
  config: { id: string; credentials: string },
) {
  return telnyxSchema.parse(decryptCarrier(app, config));
}

/** Decrypts the credentials without validating them, for comparison. */
export function decryptCarrier(
  app: Pick<App, 'cipher'>,
  config: { id: string; credentials: string },
): unknown {
  return JSON.parse(app.cipher.decrypt(config.credentials, configContext(config.id)));
}
