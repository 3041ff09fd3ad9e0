/** Determines the address to which a carrier must send calls for an agent. */
import type { App } from '../app.ts';
import type { PhoneNumberProvider } from '../generated/prisma/enums.ts';
import { perInstance } from '../infra/per-instance.ts';

const KEEP_MS = 3_600_000;
const KEEP_FAILURE_MS = 10_000;
/** Short, because lists of numbers wait for it. */
const TIMEOUT_MS = 3_000;

interface CachedDomain {
  domain: Promise<string | null>;
  until: number;
}

const cacheOf = perInstance((_app: App) => ({ last: null as CachedDomain | null }));

/** Returns the address; null if the SIP domain of Ultravox cannot be read at the moment. */
export async function inboundAddress(
  app: App,
  provider: PhoneNumberProvider,
  ultravoxAgentId: string,
): Promise<string | null> {
  if (provider !== 'SIP') {
    return `${webOrigin(app.ultravox.baseUrl)}/api/agents/${ultravoxAgentId}/telephony_xml`;
  }
  const domain = await sipDomain(app);
  return domain && `sip:agent_${ultravoxAgentId}@${domain}`;
}

/** Carriers reach Ultravox at a different host than its API. Other servers, such as the simulator, have only one. */
export function webOrigin(baseUrl: string): string {
  return baseUrl.replace(/^https:\/\/api\.ultravox\.ai(?=$|\/)/, 'https://app.ultravox.ai');
}

/** Returns the SIP domain, which is the same for the whole account and is cached for an hour. */
function sipDomain(app: App): Promise<string | null> {
  const now = app.now().getTime();
  const cache = cacheOf(app);
  const { last } = cache;
  if (last && last.until > now) return last.domain;
  const entry: CachedDomain = {
    until: now + KEEP_MS,
    domain: app.ultravox.sip
      .get({ signal: AbortSignal.timeout(TIMEOUT_MS) })
      .then((config) => config.domain)
      .catch(
        app.failures.recorder('sipDomain', {
          message: 'Could not read the SIP domain of Ultravox',
        }),
      )
      .then((domain = null) => {
        if (!domain) entry.until = app.now().getTime() + KEEP_FAILURE_MS;
        return domain;
      }),
  };
  cache.last = entry;
  return entry.domain;
}
