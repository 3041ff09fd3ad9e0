/** Connections to the telephone network: a configuration per provider, and SIP. */
import type { z } from 'zod';
import type { RequestOptions } from '../attempt.ts';
import { path } from '../transport.ts';
import {
  sipConfigSchema,
  type TelephonyProviders,
  telnyxConfigSchema,
  twilioConfigSchema,
  type UpdateSipConfigRequest,
} from '../wire.ts';
import type { Api } from './lists.ts';

const configSchemas: {
  [Provider in keyof TelephonyProviders]: z.ZodType<TelephonyProviders[Provider]['config']>;
} = { twilio: twilioConfigSchema, telnyx: telnyxConfigSchema };

export function telephonyConfigsApi({ requestJson, requestNoContent }: Api) {
  return {
    get: <Provider extends keyof TelephonyProviders>(
      provider: Provider,
      options: RequestOptions = {},
    ) =>
      requestJson<TelephonyProviders[Provider]['config']>(
        { method: 'GET', path: path`/api/telephony_configs/${provider}`, ...options },
        configSchemas[provider],
      ),
    create: <Provider extends keyof TelephonyProviders>(
      provider: Provider,
      body: TelephonyProviders[Provider]['create'],
      options: RequestOptions = {},
    ) =>
      requestJson<TelephonyProviders[Provider]['config']>(
        {
          method: 'POST',
          path: path`/api/telephony_configs/${provider}`,
          json: body,
          ...options,
        },
        configSchemas[provider],
      ),
    update: <Provider extends keyof TelephonyProviders>(
      provider: Provider,
      body: TelephonyProviders[Provider]['update'],
      options: RequestOptions = {},
    ) =>
      requestJson<TelephonyProviders[Provider]['config']>(
        {
          method: 'PATCH',
          path: path`/api/telephony_configs/${provider}`,
          json: body,
          ...options,
        },
        configSchemas[provider],
      ),
    delete: (provider: keyof TelephonyProviders, options: RequestOptions = {}) =>
      requestNoContent({
        method: 'DELETE',
        path: path`/api/telephony_configs/${provider}`,
        ...options,
      }),
  };
}

export function sipApi({ requestJson }: Api) {
  return {
    get: (options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: '/api/sip', ...options }, sipConfigSchema),
    update: (body: UpdateSipConfigRequest, options: RequestOptions = {}) =>
      requestJson({ method: 'PATCH', path: '/api/sip', json: body, ...options }, sipConfigSchema),
  };
}
