/** Encryption at rest for secrets that are kept for others, and keys derived for our own use. */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  hkdfSync,
  randomBytes,
} from 'node:crypto';

export interface Cipher {
  /** AES-256-GCM, a fresh nonce each time; `context` must be given again to decrypt. */
  encrypt(plain: string, context: string): string;
  /** Throws when the text was altered, or was encrypted with another key or context. */
  decrypt(encrypted: string, context: string): string;
  /** A secret of 64 hex characters that the same key and purpose always give. */
  derive(purpose: string): string;
}

/** `key` is any text of at least 32 characters; what is used is derived from it. */
export function createCipher(key: string): Cipher {
  const root = createHash('sha256').update(key).digest();
  const subkey = (purpose: string): Buffer =>
    Buffer.from(hkdfSync('sha256', root, Buffer.alloc(0), purpose, 32));
  const dataKey = subkey('data');

  return {
    encrypt(plain, context) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', dataKey, nonce);
      cipher.setAAD(Buffer.from(context));
      const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      return `v1.${Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64url')}`;
    },
    decrypt(encrypted, context) {
      const [version, payload] = encrypted.split('.');
      if (version !== 'v1' || !payload)
        throw new Error('Not an encrypted value of a known version');
      const bytes = Buffer.from(payload, 'base64url');
      const decipher = createDecipheriv('aes-256-gcm', dataKey, bytes.subarray(0, 12));
      decipher.setAAD(Buffer.from(context));
      decipher.setAuthTag(bytes.subarray(12, 28));
      return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString(
        'utf8',
      );
    },
    derive(purpose) {
      return createHmac('sha256', subkey('derive')).update(purpose).digest('hex');
    },
  };
}
