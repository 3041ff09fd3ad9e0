/** IDs in arguments of queries. */
import { RequestError } from '../errors.ts';
import { ID_PREFIXES, type NodeType, parsePublicId, quoteId, readPublicId } from '../ids.ts';

/** @throws RequestError BAD_USER_INPUT for anything that is not an ID of this API. */
export function decodeAnyId(id: string): { type: NodeType; uuid: string } {
  const parsed = parsePublicId(id);
  if (parsed) return parsed;
  const known = Object.entries(ID_PREFIXES).map(([name, prefix]) => `${prefix}_ (${name})`);
  throw new RequestError(
    'BAD_USER_INPUT',
    `${quoteId(id)} is not an ID of this API. IDs are one of ${known.join(', ')}, followed by a UUID.`,
  );
}

/**
 * The UUID in an ID argument of a query. In mutations, services decode the inputs instead, so that an
 * invalid ID is one user error among others.
 *
 * @throws RequestError BAD_USER_INPUT for an ID of another type.
 */
export function requireId(type: NodeType, id: string): string {
  const read = readPublicId(type, id);
  if ('problem' in read) throw new RequestError('BAD_USER_INPUT', read.problem);
  return read.uuid;
}

/** Like `requireId`, for an optional argument. An empty string is refused, since it would stand for all objects. */
export function optionalId(type: NodeType, id: string | null | undefined): string | null {
  return id === null || id === undefined ? null : requireId(type, id);
}

/** Description of an argument that takes the ID of an object of this type. */
export function idDescription(type: NodeType): string {
  const words = type.replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return `ID of the ${words[0]?.toLowerCase()}${words.slice(1)} (\`${ID_PREFIXES[type]}_…\`).`;
}
