/** Generates API keys, and hashes them for storage. */
import { hash, randomBytes } from 'node:crypto';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const API_KEY = /^truedy_[A-Za-z0-9]{32}$/;

export function isApiKey(credential: string): boolean {
  return API_KEY.test(credential);
}

export function hashKey(key: string): string {
  return hash('sha256', key);
}

/** Generates `truedy_` and 32 letters and digits, each equally likely if the bytes are random. */
export function newApiKey(bytes: () => Uint8Array = () => randomBytes(48)): string {
  let key = '';
  while (key.length < 32) {
    for (const byte of bytes()) {
      if (byte < 248 && key.length < 32) key += ALPHABET[byte % 62];
    }
  }
  return `truedy_${key}`;
}

/** The stored columns of a key: a prefix to recognize it, and its hash. */
export function secretColumns(key: string): { prefix: string; hash: string } {
  return { prefix: key.slice(0, 'truedy_'.length + 4), hash: hashKey(key) };
}
