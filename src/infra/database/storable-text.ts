/** Removes characters that PostgreSQL cannot store: null characters and lone surrogates. */
export function toStorableText(text: string): string {
  return text.replaceAll('\u0000', '').toWellFormed();
}

/** The first `length` UTF-16 code units of a text, without half of a surrogate pair at the end. */
export function truncateText(text: string, length: number): string {
  const start = text.slice(0, length);
  return /[\uD800-\uDBFF]$/.test(start) ? start.slice(0, -1) : start;
}

/**
 * Maximum nesting levels of JSON. With a few thousand more, PostgreSQL and `JSON.stringify` exceed the depth of their
 * stacks.
 */
const MAX_NESTING = 500;

/**
 * Parses JSON, and applies `toStorableText` to every string and key.
 *
 * @throws if the text is not JSON, or nested too deep to be stored.
 */
export function parseStorableJson(json: string): unknown {
  // A null character is never without escape in JSON, and a lone surrogate only if the JSON comes from a longer text.
  const mayNeedChanges = json.includes('\\u') || !json.isWellFormed();
  const value: unknown = JSON.parse(json, mayNeedChanges ? storable : undefined);
  if (isNestedDeeper(value, MAX_NESTING)) throw new Error('The JSON is nested too deep');
  return value;
}

function storable(_key: string, value: unknown): unknown {
  if (typeof value === 'string') return toStorableText(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value);
  if (entries.every(([key]) => key === toStorableText(key))) return value;
  return Object.fromEntries(entries.map(([key, member]) => [toStorableText(key), member]));
}

/** Whether a value has more nesting levels of objects and lists. Not recursive, so the stack suffices. */
function isNestedDeeper(value: unknown, levels: number): boolean {
  let current = [value].filter(isContainer);
  for (let level = 0; current.length > 0; level += 1) {
    if (level === levels) return true;
    current = current.flatMap((container) => Object.values(container).filter(isContainer));
  }
  return false;
}

function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
