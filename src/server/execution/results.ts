/** Translates the errors in results, for all transports. */
import type { GraphQLError } from 'graphql';
import type { App } from '../../app.ts';
import type { Context } from '../../graphql/context.ts';
import { toGraphQLError, withoutHttp } from '../../graphql/errors/errors.ts';

/** Log entries for the errors of one operation, which may have thousands of fields that fail for the same reason. */
const MAX_LOGGED = 10;

/**
 * Translates the errors of a result, and logs at most `MAX_LOGGED` of them. Internal errors set the status of the
 * response only if there is no data.
 */
export function translateErrors<R extends { data?: unknown; errors?: readonly GraphQLError[] }>(
  app: App,
  context: Context,
  result: R,
): R {
  if (!result.errors) return result;
  const hasData = result.data !== undefined && result.data !== null;
  const { requestId } = context;
  let count = 0;
  const write = (level: 'warn' | 'error') => (fields: object | string, message?: string) => {
    count += 1;
    if (count <= MAX_LOGGED) app.log[level](fields as object, message);
  };
  const log = { warn: write('warn'), error: write('error') };
  const errors = result.errors.map((error) => {
    const translated = toGraphQLError(error, requestId, log);
    const isOurs = ['INTERNAL', 'UNAVAILABLE', 'QUERY_TIMEOUT'].includes(
      String(translated.extensions.code),
    );
    return hasData && isOurs ? withoutHttp(translated) : translated;
  });
  const omitted = count - MAX_LOGGED;
  if (omitted > 0) app.log.warn({ requestId, omitted }, 'More errors of the operation');
  return { ...result, errors };
}
