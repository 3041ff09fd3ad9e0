/** The account of the API key, and the models that it can use. */
import type { z } from 'zod';
import type { RequestOptions } from '../attempt.ts';
import { accountSchema, modelSchema } from '../wire.ts';
import type { Api } from './lists.ts';

export function accountApi({ listOf, requestJson }: Api) {
  const models = listOf<z.output<typeof modelSchema>, object>('/api/models', modelSchema);
  return {
    /** Also the cheapest check of the API key. */
    me: (options: RequestOptions = {}) =>
      requestJson({ method: 'GET', path: '/api/accounts/me', ...options }, accountSchema),
    /** Names of the language models. Asked once, and without a pause for others, since a user waits for the answer. */
    models: async (options: RequestOptions = {}): Promise<string[]> => {
      const once = { ...options, maxAttempts: 1, pauseRule: 'own' } as const;
      const all = await Array.fromAsync(models.listAll({}, once));
      return all.map(({ name }) => name);
    },
  };
}
