import { describe, expect, it } from 'vitest';
import type { App } from '../../src/app.ts';
import { createRates } from '../../src/graphql/rates.ts';

describe('subscriptions of an organization', () => {
  it('are at most a thousand at once in a process; one that ends makes room, once', () => {
    const rates = createRates({ config: { RATE_LIMIT_PER_MINUTE: 0 } } as App);
    const viewer = (organizationId: string) => ({
      ...{ organizationId, apiKeyId: 'key', scopes: new Set<never>() },
    });
    const ends = Array.from({ length: 1_000 }, () => rates.openSubscription(viewer('a')));
    expect(() => rates.openSubscription(viewer('a'))).toThrow('at most 1000 subscriptions');
    rates.openSubscription(viewer('b'));
    ends[0]?.();
    ends[0]?.();
    rates.openSubscription(viewer('a'));
    expect(() => rates.openSubscription(viewer('a'))).toThrow('at most 1000 subscriptions');
  });
});
