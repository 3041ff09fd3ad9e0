/** Queries of corpora. */
import type { JsonObject } from '../json.ts';
import type { DocumentRecord } from '../world.ts';

const CHUNK = 800;

/** Finds the passages that share the most words with a query, with plausible scores. */
export function resultsFor(
  documents: DocumentRecord[],
  query: string,
  limit: number,
): JsonObject[] {
  const wanted = wordsOf(query);
  const results: { score: number; result: JsonObject }[] = [];
  for (const item of documents) {
    const whole = item.exampleQueries.length > 0;
    const passages = whole ? [item.text] : chunksOf(item.text);
    for (const content of passages) {
      const found = wordsOf(whole ? item.exampleQueries.join(' ') : content);
      const shared = [...wanted].filter((word) => found.has(word)).length;
      const score = Number((0.3 + (0.65 * shared) / Math.max(1, wanted.size)).toFixed(4));
      const citation: JsonObject = {
        sourceId: item.sourceId ?? '',
        documentId: item.documentId,
        title: item.fileName,
      };
      if (item.publicUrl !== null) citation.publicUrl = item.publicUrl;
      results.push({ score, result: { content, score, citation } });
    }
  }
  return results
    .sort((a, b) => b.score - a.score)
    .slice(0, limit)
    .map(({ result }) => result);
}

function wordsOf(text: string): Set<string> {
  return new Set(text.toLowerCase().match(/[\p{L}\p{N}]{2,}/gu) ?? []);
}

function chunksOf(text: string): string[] {
  const chunks: string[] = [];
  let current = '';
  for (const paragraph of text.split(/\n\s*\n/)) {
    if (current !== '' && current.length + paragraph.length > CHUNK) {
      chunks.push(current);
      current = '';
    }
    current = current === '' ? paragraph.trim() : `${current}\n\n${paragraph.trim()}`;
  }
  if (current !== '') chunks.push(current);
  return chunks;
}
