/**
 * The Ultravox REST API, by resource.
 *
 * - Every response is parsed, and every failure of a request is an `UltravoxError`.
 * - Reads are attempted up to three times when the connection or the service fails, and wait for a
 *   `Retry-After` of up to 5 s. Writes are attempted once, because the API has no idempotency keys:
 *   check `outcomeUnknown` before repeating one.
 * - Deleting a resource that does not exist fails as `not_found`.
 * - The API key is sent only to the configured address.
 */
import type { UltravoxClientSettings } from './attempt.ts';
import { accountApi } from './resources/account.ts';
import { agentsApi } from './resources/agents.ts';
import { callsApi } from './resources/calls.ts';
import { corporaApi } from './resources/corpora.ts';
import { type Api, listsOf } from './resources/lists.ts';
import { sipApi, telephonyConfigsApi } from './resources/telephony.ts';
import { toolsApi } from './resources/tools.ts';
import { voicesApi } from './resources/voices.ts';
import { webhooksApi } from './resources/webhooks.ts';
import { createTransport } from './transport.ts';

export type { RequestOptions, RequestReport, UltravoxClientSettings } from './attempt.ts';
export type { ReadMessages } from './resources/calls.ts';
export type { Audio } from './transport.ts';

export type UltravoxClient = ReturnType<typeof resources> & {
  /** The same client, with all requests aborted by the signal. */
  withSignal(signal: AbortSignal): UltravoxClient;
};

export function createUltravoxClient(settings: UltravoxClientSettings): UltravoxClient {
  return {
    ...resources(settings),
    withSignal: (signal) =>
      createUltravoxClient({
        ...settings,
        signal: settings.signal ? AbortSignal.any([settings.signal, signal]) : signal,
      }),
  };
}

function resources(settings: UltravoxClientSettings) {
  const transport = createTransport(settings);
  const api: Api = { ...transport, ...listsOf(transport) };
  return {
    /** Address of Ultravox, without `/api`. */
    baseUrl: settings.baseUrl.replace(/\/+$/, ''),
    account: accountApi(api),
    agents: agentsApi(api),
    calls: callsApi(api),
    tools: toolsApi(api),
    corpora: corporaApi(api),
    voices: voicesApi(api),
    webhooks: webhooksApi(api),
    /** One configuration per provider; credentials are returned as prefixes only. */
    telephonyConfigs: telephonyConfigsApi(api),
    sip: sipApi(api),
  };
}
