/** Encrypts stored secrets, and derives keys for other purposes. */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  hkdfSync,
  randomBytes,
} from 'node:crypto';
import { LRUCache } from 'lru-cache';

export interface Cipher {
  /** Encrypts with AES-256-GCM and a random nonce. Decryption requires the same `context`. */
  encrypt(plain: string, context: string): string;
  /** @throws Error if the text was altered, or encrypted with another key or context. */
  decrypt(encrypted: string, context: string): string;
  /**
   * Encrypts strings that clients send back, such as cursors, with AES-256-GCM. Equal strings and contexts give equal
   * results. `unseal` returns null for any other string.
   */
  seal(plain: string, context: string): string;
  unseal(sealed: string, context: string): string | null;
  /** A secret of 64 hex characters, always the same for the same key and purpose. */
  derive(purpose: string): string;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SEAL_VERSION = Buffer.of(1);
/** Results of `seal` that are kept, because lists are often read again and each row of a page may have a cursor. */
const MAX_SEALED = 10_000;

/** @param key any string of at least 32 characters; the actual keys are derived from it. */
export function createCipher(key: string): Cipher {
  const root = createHash('sha256').update(key).digest();
  const subkey = (purpose: string): Buffer =>
    Buffer.from(hkdfSync('sha256', root, Buffer.alloc(0), purpose, 32));
  const dataKey = subkey('data');
  const sealKey = subkey('seal');
  const nonceKey = subkey('seal nonce');
  const deriveKey = subkey('derive');
  const known = new LRUCache<string, string>({ max: MAX_SEALED });

  function seal(content: string, plain: string, context: string): string {
    // Derived from the whole content, so that different contents never share a nonce.
    const nonce = createHmac('sha256', nonceKey).update(content).digest().subarray(0, NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', sealKey, nonce);
    cipher.setAAD(Buffer.from(context));
    const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
    return Buffer.concat([SEAL_VERSION, nonce, cipher.getAuthTag(), body]).toString('base64url');
  }

  return {
    encrypt(plain, context) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', dataKey, nonce);
      cipher.setAAD(Buffer.from(context));
      const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      return `v1.${Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64url')}`;
    },
    decrypt(encrypted, context) {
      const [version, payload] = encrypted.split('.');
      if (version !== 'v1' || !payload) throw new Error('Unknown format of an encrypted value');
      const bytes = Buffer.from(payload, 'base64url');
      const bodyAt = NONCE_BYTES + TAG_BYTES;
      const decipher = createDecipheriv('aes-256-gcm', dataKey, bytes.subarray(0, NONCE_BYTES));
      decipher.setAAD(Buffer.from(context));
      decipher.setAuthTag(bytes.subarray(NONCE_BYTES, bodyAt));
      const body = [decipher.update(bytes.subarray(bodyAt)), decipher.final()];
      return Buffer.concat(body).toString('utf8');
    },
    seal(plain, context) {
      const content = `${Buffer.byteLength(context)}:${context}${plain}`;
      let sealed = known.get(content);
      if (sealed === undefined) {
        sealed = seal(content, plain, context);
        known.set(content, sealed);
      }
      return sealed;
    },
    unseal(sealed, context) {
      const bytes = Buffer.from(sealed, 'base64url');
      const tagAt = SEAL_VERSION.length + NONCE_BYTES;
      const bodyAt = tagAt + TAG_BYTES;
      if (bytes.length < bodyAt || bytes[0] !== SEAL_VERSION[0]) return null;
      const nonce = bytes.subarray(SEAL_VERSION.length, tagAt);
      const decipher = createDecipheriv('aes-256-gcm', sealKey, nonce);
      decipher.setAAD(Buffer.from(context));
      decipher.setAuthTag(bytes.subarray(tagAt, bodyAt));
      try {
        const body = [decipher.update(bytes.subarray(bodyAt)), decipher.final()];
        return Buffer.concat(body).toString('utf8');
      } catch {
        return null;
      }
    },
    derive(purpose) {
      return createHmac('sha256', deriveKey).update(purpose).digest('hex');
    },
  };
}
