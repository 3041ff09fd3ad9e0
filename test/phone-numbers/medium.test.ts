import { describe, expect, it, vi } from 'vitest';
import type { App } from '../../src/app.ts';
import { createFailures } from '../../src/infra/failures.ts';
import { createLogger } from '../../src/infra/logger.ts';
import { inboundAddress, webOrigin } from '../../src/phone-numbers/inbound-address.ts';
import { outgoingMedium } from '../../src/phone-numbers/medium.ts';

const own = '+14155550100';
const person = '+4915112345678';

describe('outgoingMedium', () => {
  it.each([
    ['TWILIO', 'twilio'],
    ['TELNYX', 'telnyx'],
  ] as const)('lets %s dial with the account at Ultravox', (provider, member) => {
    const number = { phoneNumber: own, provider, sipServer: null };
    expect(outgoingMedium(number, person, null)).toEqual({
      [member]: { outgoing: { to: person, from: own } },
    });
  });

  it('calls a SIP URI at the server of the trunk, with port, transport and credentials', () => {
    const number = {
      phoneNumber: own,
      provider: 'SIP' as const,
      sipServer: 'sip.example.com:5061;transport=tls',
    };
    expect(outgoingMedium(number, person, { username: 'office', password: 'pass' })).toEqual({
      sip: {
        outgoing: {
          to: 'sip:+4915112345678@sip.example.com:5061;transport=tls',
          from: own,
          username: 'office',
          password: 'pass',
        },
      },
    });
  });

  it('rejects a SIP number without server or credentials', () => {
    const number = { phoneNumber: own, provider: 'SIP' as const, sipServer: 'sip.example.com' };
    expect(() => outgoingMedium(number, person, null)).toThrow('server or credentials');
    const credentials = { username: 'office', password: 'pass' };
    expect(() => outgoingMedium({ ...number, sipServer: null }, person, credentials)).toThrow();
  });
});

describe('webOrigin', () => {
  it('maps the API host of Ultravox and keeps any other base URL', () => {
    expect(webOrigin('https://api.ultravox.ai')).toBe('https://app.ultravox.ai');
    expect(webOrigin('http://127.0.0.1:4100')).toBe('http://127.0.0.1:4100');
    expect(webOrigin('https://api.ultravox.ai.example.com')).toBe(
      'https://api.ultravox.ai.example.com',
    );
  });
});

describe('inboundAddress', () => {
  function appWith(get: () => Promise<{ domain: string | null }>) {
    const clock = { now: new Date('2026-11-20T12:00:00Z') };
    const app = {
      ultravox: { baseUrl: 'https://api.ultravox.ai', sip: { get } },
      failures: createFailures({ log: createLogger({ level: 'silent' }) }),
      now: () => clock.now,
    } as unknown as App;
    const later = (seconds: number) => {
      clock.now = new Date(clock.now.getTime() + seconds * 1000);
    };
    return { app, later };
  }

  it('needs no request for Twilio and Telnyx', async () => {
    const get = vi.fn();
    const { app } = appWith(get);
    const address = 'https://app.ultravox.ai/api/agents/a1/telephony_xml';
    expect(await inboundAddress(app, 'TWILIO', 'a1')).toBe(address);
    expect(await inboundAddress(app, 'TELNYX', 'a1')).toBe(address);
    expect(get).not.toHaveBeenCalled();
  });

  it('requests the SIP domain once an hour', async () => {
    const get = vi.fn(async () => ({ domain: 'acme.sip.ultravox.ai' }));
    const { app, later } = appWith(get);
    const all = await Promise.all(['a1', 'a2'].map((id) => inboundAddress(app, 'SIP', id)));
    expect(all).toEqual(['sip:agent_a1@acme.sip.ultravox.ai', 'sip:agent_a2@acme.sip.ultravox.ai']);
    later(3599);
    await inboundAddress(app, 'SIP', 'a1');
    expect(get).toHaveBeenCalledTimes(1);
    later(2);
    await inboundAddress(app, 'SIP', 'a1');
    expect(get).toHaveBeenCalledTimes(2);
  });

  it('is null while the SIP domain cannot be read, which is retried soon', async () => {
    const get = vi
      .fn<() => Promise<{ domain: string | null }>>()
      .mockRejectedValueOnce(new Error('no answer'))
      .mockResolvedValue({ domain: 'acme.sip.ultravox.ai' });
    const { app, later } = appWith(get);
    expect(await inboundAddress(app, 'SIP', 'a1')).toBeNull();
    later(5);
    expect(await inboundAddress(app, 'SIP', 'a1')).toBeNull();
    expect(get).toHaveBeenCalledTimes(1);
    later(6);
    expect(await inboundAddress(app, 'SIP', 'a1')).toBe('sip:agent_a1@acme.sip.ultravox.ai');
  });
});
