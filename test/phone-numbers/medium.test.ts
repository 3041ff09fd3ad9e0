import { describe, expect, it } from 'vitest';
import { webOrigin } from '../../src/phone-numbers/inbound-address.ts';
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

  it('calls a SIP URI at the trunk, with its port and transport and credentials', () => {
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

  it('refuses a SIP number without a trunk or credentials', () => {
    const number = { phoneNumber: own, provider: 'SIP' as const, sipServer: 'sip.example.com' };
    expect(() => outgoingMedium(number, person, null)).toThrow('trunk');
    const credentials = { username: 'office', password: 'pass' };
    expect(() => outgoingMedium({ ...number, sipServer: null }, person, credentials)).toThrow();
  });
});

describe('webOrigin', () => {
  it('is the web address of the real Ultravox, and any other base as it stands', () => {
    expect(webOrigin('https://api.ultravox.ai')).toBe('https://app.ultravox.ai');
    expect(webOrigin('http://127.0.0.1:4100')).toBe('http://127.0.0.1:4100');
    expect(webOrigin('https://api.ultravox.ai.example.com')).toBe(
      'https://api.ultravox.ai.example.com',
    );
  });
});
