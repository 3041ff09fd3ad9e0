/** Checks the `Accept` header: whether an operation can be answered with a type that it names. */
import { RequestError } from '../../errors.ts';

export const JSON_TYPES = ['application/graphql-response+json', 'application/json'];
const EVENT_STREAM = 'text/event-stream';
const STREAM_TYPES = [EVENT_STREAM];
/** Types for results of queries and mutations. */
const RESULT_TYPES = [...JSON_TYPES, EVENT_STREAM, 'multipart/mixed'];

/** Ignores weights, like yoga. */
function accepts(accept: string | undefined, types: readonly string[]): boolean {
  return (accept || '*/*').split(',').some((range) => {
    const [asked = '', ...parameters] = range.replace(/\s/g, '').toLowerCase().split(';');
    const charset = parameters.find((each) => each.includes('charset='));
    const [kind, format] = asked.split('/');
    const matches = (type: string): boolean => {
      const [ownKind, ownFormat] = type.split('/');
      return (kind === '*' || kind === ownKind) && (format === '*' || format === ownFormat);
    };
    return (charset === undefined || charset === 'charset=utf-8') && types.some(matches);
  });
}

export function acceptsEvents(accept: string | undefined): boolean {
  return accepts(accept, STREAM_TYPES);
}

/**
 * Called before execution, since a result of another type could not be sent.
 *
 * @throws RequestError NOT_ACCEPTABLE
 */
export function checkAccept(accept: string | undefined, isSubscription: boolean): void {
  if (accepts(accept, isSubscription ? STREAM_TYPES : RESULT_TYPES)) return;
  throw new RequestError(
    'NOT_ACCEPTABLE',
    isSubscription
      ? 'The results of a subscription are a stream. Send `Accept: text/event-stream` to receive them as server-sent events, or subscribe over a WebSocket at the same address with the protocol graphql-transport-ws, as the library graphql-ws does.'
      : 'The result cannot be sent in a format that the request accepts. Send `Accept: application/graphql-response+json` or `Accept: application/json`, in UTF-8.',
  );
}
