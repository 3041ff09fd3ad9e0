/** Texts that only this server can read: encrypted with a key, for one context. */
import { describe, expect, it } from 'vitest';
import { createCipher } from '../../src/infra/cipher.ts';

describe('createCipher', () => {
  const cipher = createCipher('a key for tests, of at least 32 characters');
  const sealed = cipher.seal('["a",1]', 'context');

  it('unseals a text only in the same context and with the same key', () => {
    expect(cipher.unseal(sealed, 'context')).toBe('["a",1]');
    expect(cipher.unseal(sealed, 'another context')).toBeNull();
    expect(createCipher('b'.repeat(32)).unseal(sealed, 'context')).toBeNull();
  });

  it('seals equal texts in equal contexts equally, and reveals nothing of them', () => {
    expect(cipher.seal('["a",1]', 'context')).toBe(sealed);
    expect(cipher.seal('["a",2]', 'context').slice(0, 24)).not.toBe(sealed.slice(0, 24));
    expect(Buffer.from(sealed, 'base64url').toString('latin1')).not.toContain('"a"');
  });

  it('unseals nothing if any byte is changed or missing', () => {
    const bytes = Buffer.from(sealed, 'base64url');
    for (let index = 0; index < bytes.length; index += 1) {
      const changed = Buffer.from(bytes);
      changed[index]! ^= 1;
      expect(cipher.unseal(changed.toString('base64url'), 'context')).toBeNull();
      expect(cipher.unseal(bytes.subarray(0, index).toString('base64url'), 'context')).toBeNull();
    }
  });
});
