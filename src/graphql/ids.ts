/** Public IDs: the prefix of every type, encoding and decoding. */
import { RequestError } from '../errors.ts';
import { parsePublicId, publicId, withArticle } from '../infra/ids.ts';

export const ID_PREFIXES = {
  Organization: 'org',
  ApiKey: 'key',
  Voice: 'voc',
  Tool: 'tol',
  KnowledgeBase: 'knb',
  KnowledgeSource: 'src',
  Agent: 'agt',
  PhoneNumber: 'num',
  Call: 'cal',
  Contact: 'ctc',
  ContactFolder: 'fld',
  ContactImport: 'imp',
  Campaign: 'cmp',
  CampaignContact: 'cct',
  WebhookEndpoint: 'whe',
  WebhookDelivery: 'whd',
} as const;

export type NodeType = keyof typeof ID_PREFIXES;

const TYPES = new Map<string, NodeType>(
  Object.entries(ID_PREFIXES).map(([type, prefix]) => [prefix, type as NodeType]),
);

export function toPublicId(type: NodeType, uuid: string): string {
  return publicId(ID_PREFIXES[type], uuid);
}

/** @throws RequestError BAD_USER_INPUT for anything that is not an ID of this API. */
export function decodeAnyId(id: string): { type: NodeType; uuid: string } {
  const parsed = parsePublicId(id);
  const type = parsed && TYPES.get(parsed.prefix);
  if (!parsed || !type) {
    const known = Object.entries(ID_PREFIXES).map(([name, prefix]) => `${prefix}_ (${name})`);
    throw new RequestError(
      'BAD_USER_INPUT',
      `"${id.slice(0, 60)}" is not an ID of this API. IDs are one of ${known.join(', ')}, followed by a UUID.`,
    );
  }
  return { type, uuid: parsed.uuid };
}

/**
 * The UUID in an ID argument of a query. Services decode the inputs of mutations instead, so that a
 * wrong ID is one user error among others.
 *
 * @throws RequestError BAD_USER_INPUT for an ID of another type.
 */
export function requireId(type: NodeType, id: string): string {
  const decoded = decodeAnyId(id);
  if (decoded.type !== type) {
    throw new RequestError(
      'BAD_USER_INPUT',
      `"${id.slice(0, 60)}" is the ID of ${withArticle(decoded.type)}; expected the ID of ${withArticle(type)} (${ID_PREFIXES[type]}_…).`,
    );
  }
  return decoded.uuid;
}

/** Description of an argument that takes the id of an object of the type. */
export function idDescription(type: NodeType): string {
  const words = type.replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return `ID of the ${words[0]?.toLowerCase()}${words.slice(1)} (\`${ID_PREFIXES[type]}_…\`).`;
}
