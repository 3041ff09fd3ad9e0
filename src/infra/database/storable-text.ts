/** Removes characters that PostgreSQL cannot store: null characters and lone surrogates. */
export function toStorableText(text: string): string {
  return text.replaceAll('\u0000', '').toWellFormed();
}

/** The first `length` UTF-16 code units of a text, without half of a surrogate pair at the end. */
export function truncateText(text: string, length: number): string {
  const start = text.slice(0, length);
  return /[\uD800-\uDBFF]$/.test(start) ? start.slice(0, -1) : start;
}

/** Parses JSON, and applies `toStorableText` to every string and key. */
export function parseStorableJson(json: string): unknown {
  // A null character is never without escape in JSON, and a lone surrogate only if the JSON comes from a longer text.
  const mayNeedChanges = json.includes('\\u') || !json.isWellFormed();
  return JSON.parse(json, mayNeedChanges ? storable : undefined);
}

function storable(_key: string, value: unknown): unknown {
  if (typeof value === 'string') return toStorableText(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value);
  if (entries.every(([key]) => key === toStorableText(key))) return value;
  return Object.fromEntries(entries.map(([key, member]) => [toStorableText(key), member]));
}
