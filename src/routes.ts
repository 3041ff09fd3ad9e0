/** HTTP routes other than GraphQL. */
import type { App } from './app.ts';
import { CALL_EXPORT_PATH, downloadCalls } from './calls/export.ts';
import { RECORDING_PATH, serveRecording } from './calls/recordings/serve.ts';
import { ULTRAVOX_WEBHOOK_PATH } from './calls/ultravox/webhook-registration.ts';
import { countFailedWebhooks, receiveUltravoxWebhook } from './calls/ultravox/webhooks.ts';
import { CAMPAIGN_EXPORT_PATH, downloadCampaignContacts } from './campaigns/contacts/export.ts';
import {
  CONTACT_EXPORT_PATH,
  downloadContacts,
  downloadImportReport,
  IMPORT_REPORT_PATH,
} from './contacts/export.ts';
import { health } from './server/health.ts';
import type { PlainEndpoint } from './server/http/plain-endpoint.ts';
import type { PlainRoute } from './server/server.ts';
import { servePreview, VOICE_PREVIEW_PATH } from './voices/preview.ts';

const REFUSED_WEBHOOK_LOG_INTERVAL_MS = 60_000;

const DOWNLOADS = [
  [CALL_EXPORT_PATH, downloadCalls],
  [CAMPAIGN_EXPORT_PATH, downloadCampaignContacts],
  [CONTACT_EXPORT_PATH, downloadContacts],
  [IMPORT_REPORT_PATH, downloadImportReport],
] as const;

export function plainRoutes(app: App): PlainRoute[] {
  return [
    { method: 'POST', path: ULTRAVOX_WEBHOOK_PATH, endpoint: ultravoxWebhook(app) },
    ...DOWNLOADS.map(
      ([path, serve]): PlainRoute => ({
        method: 'GET',
        path,
        endpoint: async (request) => serve(app, request),
      }),
    ),
    {
      method: 'GET',
      path: RECORDING_PATH,
      endpoint: async (request) => serveRecording(app, request),
    },
    {
      method: 'GET',
      path: VOICE_PREVIEW_PATH,
      endpoint: async (request) => servePreview(app, request),
    },
    { method: 'GET', path: '/health', endpoint: health(app, () => countFailedWebhooks(app)) },
  ];
}

/** Receives Ultravox webhooks. Logs the number of refused ones at most once a minute. */
function ultravoxWebhook(app: App): PlainEndpoint {
  let loggedAt = 0;
  let count = 0;
  return async (request) => {
    const answer = await receiveUltravoxWebhook(app, request);
    if (answer.status < 400) return answer;
    count += 1;
    if (Date.now() - loggedAt >= REFUSED_WEBHOOK_LOG_INTERVAL_MS) {
      app.log.warn(
        { status: answer.status, reason: answer.body, count },
        'A webhook was refused: forged, too old, or signed with the secret of another ENCRYPTION_KEY',
      );
      loggedAt = Date.now();
      count = 0;
    }
    return answer;
  };
}
