/** Endpoints of the account and its models. */
import { modelsOf } from './calls/call-checks.ts';
import { ACCOUNT_ID } from './calls/call-state.ts';
import { page } from './http/paging.ts';
import type { JsonObject } from './json.ts';
import type { Route, World } from './world.ts';

const FREE_SECONDS = 30 * 60;

function account(world: World): JsonObject {
  const settings = world.settings();
  return {
    accountId: ACCOUNT_ID,
    name: 'Simulator',
    billingUrl: 'https://billing.simulator.invalid/',
    freeTimeUsed: settings.outOfCredit ? `${FREE_SECONDS}s` : '0s',
    freeTimeRemaining: settings.outOfCredit ? '0s' : `${FREE_SECONDS}s`,
    hasActiveSubscription: !settings.outOfCredit,
    subscriptionTier: settings.outOfCredit ? null : 'Pay as you go',
    subscriptionCadence: null,
    subscriptionExpiration: null,
    subscriptionScheduledUpdate: null,
    subscriptionRenewal: null,
    activeCalls: world.liveCalls.size,
    allowedConcurrentCalls: settings.maxConcurrentCalls,
    allowedVoices: settings.allowedVoices,
    allowedCorpora: settings.allowedCorpora,
  };
}

export const accountRoutes: Route[] = [
  {
    method: 'GET',
    path: '/api/accounts',
    handler: (world) => ({ status: 200, body: [account(world)] }),
  },
  {
    method: 'GET',
    path: '/api/accounts/me',
    handler: (world) => ({ status: 200, body: account(world) }),
  },
  {
    method: 'GET',
    path: '/api/models',
    handler: (world, request) =>
      page(
        request,
        modelsOf(world),
        (name) => name,
        (name) => ({ name }),
      ),
  },
];
