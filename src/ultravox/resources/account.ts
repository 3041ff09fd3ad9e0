/** The account of the API key. */
import type { RequestOptions } from '../attempt.ts';
import { accountSchema } from '../wire.ts';
import type { Api } from './lists.ts';

export function accountApi({ requestJson }: Api) {
  return {
    /** Also the cheapest check of the API key. */
    me: (options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: '/api/accounts/me', ...options }, accountSchema),
  };
}
