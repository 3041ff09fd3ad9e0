/** The state machine of campaign statuses. */
import { describe, expect, it } from 'vitest';
import {
  type CampaignAction,
  campaignAfter,
  isCampaignTerminal,
  isRepeated,
  statusesBefore,
} from '../../src/campaigns/status.ts';
import type { CampaignStatus } from '../../src/generated/prisma/enums.ts';

describe('campaignAfter', () => {
  const moved = (status: CampaignStatus, action: CampaignAction, startsLater = false) => {
    const step = campaignAfter(status, action, { startsLater });
    return step.allowed ? step.status : step.message;
  };

  it('leads through scheduling, start, pause, resume and completion', () => {
    expect(moved('DRAFT', 'SCHEDULE', true)).toBe('SCHEDULED');
    expect(moved('DRAFT', 'SCHEDULE')).toBe('ACTIVE');
    expect(moved('SCHEDULED', 'START')).toBe('ACTIVE');
    expect(moved('SCHEDULED', 'PAUSE')).toBe('PAUSED');
    expect(moved('ACTIVE', 'PAUSE')).toBe('PAUSED');
    expect(moved('PAUSED', 'RESUME', true)).toBe('SCHEDULED');
    expect(moved('PAUSED', 'RESUME')).toBe('ACTIVE');
    expect(moved('ACTIVE', 'COMPLETE')).toBe('COMPLETED');
    expect(moved('PAUSED', 'EDIT')).toBe('PAUSED');
    expect(moved('PAUSED', 'DELETE')).toBe('CANCELLED');
  });

  it('leads out of no final status', () => {
    for (const status of ['COMPLETED', 'FAILED', 'CANCELLED'] as const) {
      expect(isCampaignTerminal(status)).toBe(true);
      for (const action of ['SCHEDULE', 'PAUSE', 'RESUME', 'EDIT', 'APPEND', 'CANCEL'] as const) {
        expect(moved(status, action)).toMatch(
          new RegExp(`^The campaign is ${status} and cannot be .*ended`),
        );
      }
      for (const action of ['START', 'COMPLETE', 'FAIL'] as const) {
        expect(campaignAfter(status, action).allowed).toBe(false);
      }
      expect(moved(status, 'DELETE')).toBe(status);
    }
  });

  it('gives the statuses that an action turns into another', () => {
    expect(statusesBefore('COMPLETE', 'COMPLETED')).toEqual(['ACTIVE', 'PAUSED']);
    expect(statusesBefore('DELETE', 'CANCELLED')).toEqual(['DRAFT', 'SCHEDULED', 'PAUSED']);
  });

  it('knows what is repeated, which the circuit breaker does not do', () => {
    expect(isRepeated('PAUSED', 'PAUSE')).toBe(true);
    expect(campaignAfter('PAUSED', 'PAUSE').allowed).toBe(false);
    expect(isRepeated('ACTIVE', 'PAUSE')).toBe(false);
    expect(isRepeated('COMPLETED', 'CANCEL')).toBe(false);
  });

  it('explains each rejection', () => {
    expect(moved('PAUSED', 'PAUSE')).toBe(
      'The campaign is PAUSED and cannot be paused: it is already paused.',
    );
    expect(moved('DRAFT', 'PAUSE')).toBe(
      'The campaign is DRAFT and cannot be paused: it has not been scheduled.',
    );
    expect(moved('ACTIVE', 'RESUME')).toContain('only a PAUSED campaign can');
    expect(moved('DRAFT', 'RESUME')).toContain('Schedule it');
    expect(moved('ACTIVE', 'SCHEDULE')).toContain('updateCampaign');
    expect(moved('PAUSED', 'SCHEDULE')).toContain('Resume it');
    expect(moved('ACTIVE', 'DELETE')).toContain('Cancel it first');
  });
});
