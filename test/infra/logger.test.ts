import { expect, it, vi } from 'vitest';
import { createLogger } from '../../src/infra/logger.ts';

it('writes values of callers so that they begin no line and control no terminal', () => {
  const written: string[] = [];
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    written.push(String(chunk));
    return true;
  });
  try {
    const log = createLogger({ level: 'info', pretty: true });
    const forged = 'x\n12:00:00 info  forged\r\u001b[31m\u2028\u0085y';
    log.warn({ name: forged, list: [forged], err: new Error(forged) }, forged);
  } finally {
    write.mockRestore();
  }
  const lines = written.join('').split(/\r\n|[\n\r\u2028\u2029\u0085]/);
  expect(lines.pop()).toBe('');
  expect(lines.length).toBeGreaterThan(2);
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d warn {2}x\\n12:00:00 info {2}forged\\r\\u001b\[31m/);
  for (const line of lines.slice(1)) expect(line).toMatch(/^ {4}\S/);
  expect(written.join('')).not.toContain('\u001b');
});

it('redacts secrets of carriers and of callers', () => {
  const written: string[] = [];
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    written.push(String(chunk));
    return true;
  });
  try {
    const log = createLogger({ level: 'info', pretty: true });
    const secrets = { authToken: 'hidden', credentials: 'hidden', apiKey: 'hidden' };
    log.info({ ...secrets, account: { ...secrets, sid: 'shown' } });
  } finally {
    write.mockRestore();
  }
  expect(written.join('')).toContain('shown');
  expect(written.join('')).not.toContain('hidden');
});
