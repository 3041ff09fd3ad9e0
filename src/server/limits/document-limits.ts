/** Limits on the size of documents, checked before and right after parsing. */

import {
  type DocumentNode,
  Lexer,
  type ParseOptions,
  parse,
  Source,
  TokenKind,
  visit,
} from 'graphql';
import { LRUCache } from 'lru-cache';
import { RequestError } from '../../errors.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { LIMITS } from './limits.ts';

const MAX_TOKENS = LIMITS.documentTokens.max;
/** Maximum nesting of brackets of all kinds, because the parser recurses. */
const MAX_NESTING = LIMITS.documentNesting.max;
/** Maximum number of fields before fragments are expanded. */
const MAX_FIELDS = LIMITS.fields.max;
/** Maximum number of fields with the same response name in one place. Validation compares all pairs of them. */
const MAX_MERGED_FIELDS = LIMITS.mergedFields.max;
/** Maximum length of a name. Validation compares an unknown name letter by letter with all known ones. */
const MAX_NAME_CHARACTERS = LIMITS.nameCharacters.max;
/** Longer documents are not cached. */
const MAX_CHARACTERS_OF_CACHED = 20_000;
/** Maximum in all. A document takes up to 100 bytes of memory per character, without its query plans. */
const MAX_CACHED_CHARACTERS = 500_000;
/** Number of characters for which each document counts in addition to its text. */
const CACHE_ENTRY_CHARACTERS = 100;

const OPENING = new Set<string>([TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L]);
const CLOSING = new Set<string>([TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R]);

/**
 * @throws RequestError QUERY_TOO_COSTLY for a document that is too long or nested too deeply,
 *   GraphQLError for a syntax error.
 */
export function parseWithinLimits(text: string | Source, options?: ParseOptions): DocumentNode {
  checkTokens(typeof text === 'string' ? new Source(text) : text);
  const document = parse(text, options);
  checkFields(document);
  return document;
}

/** Checks the number of fields. A place is the path of response names from the operation, or from the fragment. */
function checkFields(document: DocumentNode): void {
  const path: string[] = [];
  const merged = new Map<string, number>();
  let fields = 0;
  visit(document, {
    FragmentDefinition: {
      enter({ typeCondition }) {
        path.push(`... on ${typeCondition.name.value}`);
      },
      leave() {
        path.pop();
      },
    },
    Field: {
      enter({ alias, name }) {
        path.push(alias?.value ?? name.value);
        fields += 1;
        if (fields > MAX_FIELDS) throw tooLarge('fields', MAX_FIELDS);
        const place = path.join('.');
        const count = (merged.get(place) ?? 0) + 1;
        if (count > MAX_MERGED_FIELDS) {
          throw tooLarge('fields of the same response name at one place', MAX_MERGED_FIELDS);
        }
        merged.set(place, count);
      },
      leave() {
        path.pop();
      },
    },
  });
}

/** Counts tokens and nesting in one pass without recursion. */
function checkTokens(source: Source): void {
  const lexer = new Lexer(source);
  let tokens = 0;
  let nesting = 0;
  for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) {
    const { kind } = token;
    tokens += 1;
    if (tokens > MAX_TOKENS) throw tooLarge('tokens', MAX_TOKENS);
    if (kind === TokenKind.NAME && token.end - token.start > MAX_NAME_CHARACTERS) {
      throw tooLarge('characters in a name', MAX_NAME_CHARACTERS);
    }
    if (OPENING.has(kind)) nesting += 1;
    else if (CLOSING.has(kind)) nesting -= 1;
    if (nesting > MAX_NESTING) throw tooLarge('levels of brackets', MAX_NESTING);
  }
}

function tooLarge(what: string, max: number): RequestError {
  return new RequestError(
    'QUERY_TOO_COSTLY',
    `The document has more than ${formatNumber(max)} ${what}. Split it, and send values as variables.`,
    { limit: max },
  );
}

export type DocumentCache<T extends object> = LRUCache<string, T>;

/** A cache by document text. Limits its memory too, since callers choose the documents. */
export function createDocumentCache<T extends object>(): DocumentCache<T> {
  return new LRUCache({
    maxSize: MAX_CACHED_CHARACTERS,
    maxEntrySize: MAX_CHARACTERS_OF_CACHED + CACHE_ENTRY_CHARACTERS,
    sizeCalculation: (_, text) => text.length + CACHE_ENTRY_CHARACTERS,
  });
}
