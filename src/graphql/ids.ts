/** The prefix of each type's public id: the one place where they are listed. */
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
} as const;

export type NodeType = keyof typeof ID_PREFIXES;

const TYPES = new Map<string, NodeType>(
  Object.entries(ID_PREFIXES).map(([type, prefix]) => [prefix, type as NodeType]),
);

export function toPublicId(type: NodeType, uuid: string): string {
  return publicId(ID_PREFIXES[type], uuid);
}

/** For the Node interface: any id of ours. */
export function decodeAnyId(id: string): { type: NodeType; uuid: string } {
  const parsed = parsePublicId(id);
  const type = parsed && TYPES.get(parsed.prefix);
  if (!parsed || !type) {
    const known = Object.entries(ID_PREFIXES).map(([name, prefix]) => `${prefix}_ (${name})`);
    throw new RequestError(
      'BAD_USER_INPUT',
      `"${id.slice(0, 60)}" is not an id of this API. Ids look like ${known.join(', ')}, followed by a UUID.`,
    );
  }
  return { type, uuid: parsed.uuid };
}

/**
 * The UUID in an id argument of a query. Inputs of mutations are read by the services instead, so
 * that a wrong id is one user error among others.
 */
export function requireId(type: NodeType, id: string): string {
  const decoded = decodeAnyId(id);
  if (decoded.type !== type) {
    throw new RequestError(
      'BAD_USER_INPUT',
      `"${id.slice(0, 60)}" is the id of ${withArticle(decoded.type)}; ${withArticle(type)} id (${ID_PREFIXES[type]}_…) is needed here.`,
    );
  }
  return decoded.uuid;
}
