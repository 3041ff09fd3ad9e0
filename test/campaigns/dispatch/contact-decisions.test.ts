/** Table tests: which contacts are called, without a database. */
import { describe, expect, it } from 'vitest';
import { decideContacts } from '../../../src/campaigns/dispatch/contact-decisions.ts';
import type { DueContact } from '../../../src/campaigns/dispatch/due-contacts.ts';
import type { Campaign } from '../../../src/generated/prisma/client.ts';
import { CLOSES, cycleOf, dueContact, NUMBERS, slotsOf, TOKYO } from './cycles.ts';

const TOKYO_OPENS = new Date('2037-06-03T09:00:00Z');

/** Nine to five here is over when it begins in UTC. */
const NEVER = 'Australia/Brisbane';

describe('decideContacts', () => {
  const decide = (contacts: Partial<DueContact>[], columns: Partial<Campaign> = {}) => {
    let calls = 0;
    const cycle = cycleOf([slotsOf(columns)]);
    return decideContacts(cycle, contacts.map(dueContact), () => `k${++calls}`);
  };

  it.each<[string, Partial<DueContact>, Partial<Campaign>, Date | null]>([
    ['until the window closes', {}, {}, CLOSES],
    [
      'without a deadline when the window never closes',
      {},
      { startMinute: null, endMinute: null },
      null,
    ],
    [
      'until the window closes in its own time zone',
      { timezone: 'Europe/Berlin' },
      {},
      new Date('2037-06-02T15:00:00Z'),
    ],
  ])('calls a contact %s', (_title, contact, columns, placeBefore) => {
    const { attempts, uncalled } = decide([contact], columns);
    expect(attempts).toMatchObject([
      { callId: 'k1', contact: { id: 'p1' }, number: { id: 'n1' }, placeBefore },
    ]);
    expect(uncalled.count).toBe(0);
  });

  it('skips a contact on the do-not-call list, and calls the others', () => {
    const { attempts, uncalled, uncalledCampaignIds } = decide([
      { onDoNotCallList: true },
      { id: 'p2' },
    ]);
    const skip = { id: 'p1', status: 'SKIPPED', skipReason: 'DO_NOT_CALL' };
    expect(uncalled).toMatchObject({ skipped: [skip], dropped: [], deferred: [] });
    expect([...uncalledCampaignIds]).toEqual(['c1']);
    expect(attempts.map(({ contact }) => contact.id)).toEqual(['p2']);
  });

  it('ends a contact that an earlier call has reached, unless it reached a voicemail to retry', () => {
    const voicemail = { finalCalls: [{ id: 'k0', finality: 'VOICEMAIL' as const }] };
    const end = { id: 'p1', status: 'FAILED', reason: 'NOT_RETRIED', callId: 'k0' };
    expect(decide([voicemail]).uncalled).toMatchObject({ dropped: [end], skipped: [] });
    expect(decide([voicemail], { retryVoicemail: true }).attempts).toHaveLength(1);
  });

  it.each<[string, string, Date | null]>([
    ['defers contacts until the window opens in their time zone', TOKYO, TOKYO_OPENS],
    ['skips contacts in whose time zone the window never opens', NEVER, null],
  ])('%s', (_title, timezone, until) => {
    const window = timezone === TOKYO ? { startMinute: 9 * 60, endMinute: 20 * 60 } : {};
    const { attempts, uncalled } = decide([{ timezone }, { id: 'p2', timezone }], window);
    expect(attempts).toEqual([]);
    const skip = { status: 'SKIPPED', skipReason: 'NEVER_OPEN' };
    const defer = { status: 'SCHEDULED', nextEligibleAt: until };
    const moves = ['p1', 'p2'].map((id) => ({ id, ...(until ? defer : skip) }));
    expect(until ? uncalled.deferred : uncalled.skipped).toEqual(moves);
    expect(uncalled.count).toBe(2);
  });

  it.each<[string, Partial<Campaign>, Partial<DueContact>[], [string[], number]]>([
    ['goes on where the campaign stopped', { rotationIndex: 2 }, [{}, {}], [['n3', 'n1'], 1]],
    [
      'keeps the number of a withdrawn call',
      {},
      [{ withdrawnNumberId: 'n2' }, {}],
      [['n2', 'n1'], 1],
    ],
    [
      'skips the number that is to be called',
      {},
      [{ phoneNumber: NUMBERS[0]!.phoneNumber }, {}],
      [['n2', 'n3'], 0],
    ],
    [
      'gives the contact who has the number of its block the next one',
      { phoneRotationStrategy: 'SEQUENTIAL', totalCount: 3 },
      [{ position: 2, phoneNumber: NUMBERS[2]!.phoneNumber }],
      [['n1'], 0],
    ],
    [
      'gives each block of a SEQUENTIAL campaign its number',
      { phoneRotationStrategy: 'SEQUENTIAL', totalCount: 3 },
      [{ position: 2 }, { position: 0 }],
      [['n3', 'n1'], 0],
    ],
  ])('rotation: %s', (_title, columns, contacts, [numbers, index]) => {
    const { attempts, rotation } = decide(contacts, columns);
    expect(attempts.map(({ number }) => number.id)).toEqual(numbers);
    expect(rotation.get('c1')).toBe(index);
  });
});
