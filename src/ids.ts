/** Public IDs, `<prefix>_<uuid>`: the prefix of every type, encoding, decoding, and the message for an invalid ID. */
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
const PUBLIC_ID =
  /^([a-z]{3})_([0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})$/;
const MAX_QUOTED = 60;

/** `Agent` and a UUID → `agt_…`. */
export function publicId(type: NodeType, uuid: string): string {
  return `${ID_PREFIXES[type]}_${uuid}`;
}

/** Parses a public ID of any type; null when it is malformed. */
export function parsePublicId(id: string): { type: NodeType; uuid: string } | null {
  const [, prefix = '', uuid = ''] = PUBLIC_ID.exec(id) ?? [];
  const type = TYPES.get(prefix);
  return type ? { type, uuid } : null;
}

/** The UUID in an ID of this type, or a sentence that describes the problem. */
export function readPublicId(type: NodeType, id: string): { uuid: string } | { problem: string } {
  const parsed = parsePublicId(id);
  if (parsed?.type === type) return { uuid: parsed.uuid };
  const found = parsed ? `the ID of ${withArticle(parsed.type)}` : 'not an ID of this API';
  const expected = `the ID of ${withArticle(type)} (${ID_PREFIXES[type]}_…)`;
  return { problem: `${quoteId(id)} is ${found}; expected ${expected}.` };
}

/** Quotes a value that was sent as an ID, for messages. Long values are cut. */
export function quoteId(id: string): string {
  return JSON.stringify(id.length > MAX_QUOTED ? `${id.slice(0, MAX_QUOTED)}…` : id);
}

/** `a Call`, `an Agent`. */
function withArticle(type: NodeType): string {
  return `${/^[AEIOU]/.test(type) ? 'an' : 'a'} ${type}`;
}
