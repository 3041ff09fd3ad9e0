import { expect, it, vi } from 'vitest';
import { createLogger, type Logger } from '../../src/infra/logger.ts';

/** What a logger writes. */
function written(write: (log: Logger) => void): string {
  const chunks: string[] = [];
  const output = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    chunks.push(String(chunk));
    return true;
  });
  try {
    write(createLogger({ level: 'info', pretty: true }));
  } finally {
    output.mockRestore();
  }
  return chunks.join('');
}

it('writes values of callers so that they begin no line and control no terminal', () => {
  const forged = 'x\n12:00:00 info  forged\r\u001b[31m\u2028\u0085y';
  const text = written((log) =>
    log.warn({ name: forged, list: [forged], err: new Error(forged) }, forged),
  );
  const lines = text.split(/\r\n|[\n\r\u2028\u2029\u0085]/);
  expect(lines.pop()).toBe('');
  expect(lines.length).toBeGreaterThan(2);
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d warn {2}x\\n12:00:00 info {2}forged\\r\\u001b\[31m/);
  for (const line of lines.slice(1)) expect(line).toMatch(/^ {4}\S/);
  expect(text).not.toContain('\u001b');
});

it('redacts secrets of carriers and of callers', () => {
  const secrets = { authToken: 'hidden', credentials: 'hidden', apiKey: 'hidden' };
  const text = written((log) => log.info({ ...secrets, account: { ...secrets, sid: 'shown' } }));
  expect(text).toContain('shown');
  expect(text).not.toContain('hidden');
});
