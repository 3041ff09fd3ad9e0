/** Translates the errors in results, for all transports. */
import type { GraphQLError } from 'graphql';
import type { App } from '../../app.ts';
import type { Context } from '../../graphql/context.ts';
import { toGraphQLError, withoutHttp } from '../../graphql/errors/errors.ts';

/**
 * The result with translated errors. Internal errors set the status of the response only if there is no
 * data.
 */
export function translateErrors<R extends { data?: unknown; errors?: readonly GraphQLError[] }>(
  app: App,
  context: Context,
  result: R,
): R {
  if (!result.errors) return result;
  const hasData = result.data !== undefined && result.data !== null;
  const errors = result.errors.map((error) => {
    const translated = toGraphQLError(error, context.requestId, app.log);
    const isOurs = ['INTERNAL', 'UNAVAILABLE', 'QUERY_TIMEOUT'].includes(
      String(translated.extensions.code),
    );
    return hasData && isOurs ? withoutHttp(translated) : translated;
  });
  return { ...result, errors };
}
