/** Where a carrier has to send calls so that they reach an agent. */
import type { App } from '../app.ts';
import type { PhoneNumberProvider } from '../generated/prisma/enums.ts';

const KEEP_MS = 3_600_000;
const KEEP_FAILURE_MS = 10_000;
/** A list of numbers must not wait for an Ultravox that does not answer. */
const PATIENCE_MS = 3_000;

interface Known {
  domain: Promise<string | null>;
  until: number;
}

const known = new WeakMap<App, Known>();

/** Null when the SIP domain cannot be found out at the moment. */
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

/** Carriers reach the real Ultravox under another name than the API; a stand-in has only one. */
export function webOrigin(baseUrl: string): string {
  return baseUrl.replace(/^https:\/\/api\.ultravox\.ai(?=$|\/)/, 'https://app.ultravox.ai');
}

/** The domain is the same for the whole account and hardly ever changes: asked for once an hour. */
function sipDomain(app: App): Promise<string | null> {
  const now = app.now().getTime();
  const last = known.get(app);
  if (last && last.until > now) return last.domain;
  const entry: Known = {
    until: now + KEEP_MS,
    domain: app.ultravox.sip
      .get({ signal: AbortSignal.timeout(PATIENCE_MS) })
      .then((config) => config.domain)
      .catch((error: unknown) => {
        app.log.warn({ err: error }, 'The SIP domain of Ultravox is not known at the moment');
        return null;
      })
      .then((domain) => {
        if (!domain) entry.until = app.now().getTime() + KEEP_FAILURE_MS;
        return domain;
      }),
  };
  known.set(app, entry);
  return entry.domain;
}
