import { describe, expect, it } from 'vitest';
import { readConfig } from '../../../src/config.ts';
import { isAtOrBelow } from '../../../src/infra/outgoing/addresses.ts';

function isAllowed(setting: string, url: string): boolean {
  const { WEBHOOK_ALLOWED_URLS = [] } = readConfig({ WEBHOOK_ALLOWED_URLS: setting });
  return isAtOrBelow(WEBHOOK_ALLOWED_URLS, url);
}

describe('WEBHOOK_ALLOWED_URLS', () => {
  it.each([
    ['http://host:8080/hooks', 'http://host:8080/hooks'],
    ['http://host:8080/hooks/', 'http://host:8080/hooks'],
    ['http://host:8080/hooks', 'http://host:8080/hooks/1?a=b'],
    ['HTTP://HOST:80/hooks', 'http://host/hooks'],
    ['https://host/hooks', 'https://Host:443/hooks/1'],
    ['http://host', 'http://host/anything'],
    ['http://other, http://host', 'http://host/'],
  ])('%s accepts %s', (setting, url) => {
    expect(isAllowed(setting, url)).toBe(true);
  });

  it.each([
    ['http://host/hooks', 'http://host/hooks-2'],
    ['http://host/hooks', 'http://host/hooks/../admin'],
    ['http://host/hooks', 'http://host/HOOKS'],
    ['http://host/hooks', 'https://host/hooks'],
    ['http://host/hooks', 'http://host:81/hooks'],
    ['http://host/hooks', 'http://host.example.com/hooks'],
    ['http://host/hooks', 'http://host@example.com/hooks'],
    ['http://host/hooks', 'no address'],
  ])('%s does not accept %s', (setting, url) => {
    expect(isAllowed(setting, url)).toBe(false);
  });
});
