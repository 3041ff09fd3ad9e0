import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readConfig, SETTINGS } from '../src/config.ts';
import { ConfigError } from '../src/errors.ts';

describe('readConfig', () => {
  it('accepts an empty environment', () => {
    expect(readConfig({})).toMatchObject({ PORT: 4000, ROLE: 'all', HOST: '127.0.0.1' });
  });

  it('reports every invalid setting at once', () => {
    const wrong = {
      PORT: 'eighty',
      ROLE: 'boss',
      DATABASE_URL: 'mysql://localhost',
      REDIS_URL: 'localhost',
      ULTRAVOX_API_KEY: 'short',
      PRICE_PER_MINUTE: '5 cents',
      DEMO_API_KEY: 'truedy_',
      TRUST_PROXY: 'yes',
      ENCRYPTION_KEY: 'short',
    };
    let message = '';
    try {
      readConfig(wrong);
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      message = (error as Error).message;
    }
    for (const name of Object.keys(wrong)) expect(message).toContain(`- ${name} `);
  });

  it('requires what another setting depends on', () => {
    expect(() => readConfig({ DATABASE_URL: 'postgres://localhost/x' })).toThrow(
      'ENCRYPTION_KEY is required',
    );
    expect(() => readConfig({ ULTRAVOX_API_KEY: `abcdefgh.${'a'.repeat(32)}` })).toThrow(
      'PUBLIC_URL is required',
    );
    const key = `abcdefgh.${'a'.repeat(32)}`;
    expect(() =>
      readConfig({ ULTRAVOX_API_KEY: key, ULTRAVOX_BASE_URL: 'https://api.eu.ultravox.ai' }),
    ).toThrow('PUBLIC_URL is required');
    for (const url of ['http://127.0.0.1:4010', 'http://localhost:4010', 'http://[::1]:4010'])
      readConfig({ ULTRAVOX_API_KEY: key, ULTRAVOX_BASE_URL: url });
    expect(() => readConfig({ ROLE: 'worker' })).toThrow('DATABASE_URL is required');
  });

  it('treats an empty value as absent', () => {
    expect(readConfig({ PORT: '', DATABASE_URL: ' ' }).PORT).toBe(4000);
  });
});

describe('documentation of settings', () => {
  const names = Object.keys(SETTINGS);

  it('lists every setting with its default in the README', () => {
    const rows = [
      ...readFileSync('README.md', 'utf8').matchAll(/^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$/gm),
    ];
    expect(rows.map(([, name]) => name)).toEqual(names);
    for (const [, name, fallback, about] of rows) {
      const setting: { default?: string; about: string } = SETTINGS[name as keyof typeof SETTINGS];
      expect(fallback).toBe(setting.default === undefined ? '–' : `\`${setting.default}\``);
      expect(about).toBe(setting.about);
    }
  });

  it('lists every setting in .env.example', () => {
    const lines = readFileSync('.env.example', 'utf8').matchAll(/^# ?([A-Z_]+)=/gm);
    expect([...lines].map(([, name]) => name)).toEqual(names);
  });
});
