/** Removes characters that PostgreSQL cannot store: null characters and lone surrogates. */
export function toStorableText(text: string): string {
  return text.replaceAll('\u0000', '').toWellFormed();
}

/** Reviver for `JSON.parse` that applies `toStorableText` to every string and key. */
export function storableJson(_key: string, value: unknown): unknown {
  if (typeof value === 'string') return toStorableText(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value);
  if (entries.every(([key]) => key === toStorableText(key))) return value;
  return Object.fromEntries(entries.map(([key, member]) => [toStorableText(key), member]));
}
