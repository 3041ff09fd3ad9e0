/** The mutation that creates access tokens. */
import { mutation } from '../../graphql/mutation.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { createAccessToken, MAX_TOKEN_SECONDS } from '../access-tokens.ts';

mutation('createAccessToken', {
  description:
    'Creates a short-lived, read-only access token for a browser, optionally restricted to one call or one campaign. It can be used only from addresses of the `ipAllowList` of the API key. A request that is repeated with its idempotency key returns a new token.',
  scope: 'write',
  changesNothing: true,
  input: (t) => ({
    expiresInSeconds: t.int({
      description: `Lifetime in seconds, 30 to ${formatNumber(MAX_TOKEN_SECONDS)}. It never exceeds that of the API key. Default: 3,600.`,
    }),
    callId: t.id({
      description:
        'ID of a call (`cal_…`). Restricts the token to this call and its events. Of its agent the token can read only `id` and `name`.',
    }),
    campaignId: t.id({
      description:
        'ID of a campaign (`cmp_…`). Restricts the token to this campaign, its contacts, its calls and their events. Of its agent the token can read only `id` and `name`. Cannot be combined with `callId`.',
    }),
  }),
  run: (input, { app, viewer }) => createAccessToken(app, viewer, input),
  payload: {
    accessToken: {
      type: 'String',
      description:
        'Access token. Pass it in place of an API key, in the `Authorization` header or in `connectionParams`.',
    },
    expiresAt: { type: 'DateTime', description: 'Time at which the token expires.' },
  },
});
