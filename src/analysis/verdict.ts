/** Parses the answer of the language model to the analysis of a call. */
import type { ModelFindings } from '../calls/post-call/findings.ts';
import { parseStorableJson, truncateText } from '../infra/database/storable-text.ts';
import { schemaViolation } from '../infra/json-schema/validate.ts';
import type { AnalysisTask } from './prompt.ts';

export interface Verdict {
  success: boolean | null;
  reason: string | null;
  extractedData: Record<string, unknown> | null;
  /** Quotations in it are not checked yet. Null if the answer is unreadable. */
  findings: ModelFindings | null;
  /** Human-readable problem with the answer; null if there is none. */
  problem: string | null;
}

export const EMPTY_VERDICT: Verdict = {
  success: null,
  reason: null,
  extractedData: null,
  findings: null,
  problem: null,
};

const MAX_REASON = 2_000;
const MAX_DATA = 100_000;
const MAX_PROBLEM = 500;

/** Parses an answer. Only the requested fields are read; all other content is ignored. */
export async function readVerdict(task: AnalysisTask, text: string): Promise<Verdict> {
  const verdict: Verdict = { ...EMPTY_VERDICT };
  const answer = parseObject(text);
  if (!answer) {
    return { ...verdict, problem: 'The language model did not answer with a JSON object.' };
  }
  verdict.findings = findingsIn(answer);
  const problems: string[] = [];
  if (task.successCriteria !== null) {
    const { success, reason } = answer;
    if (typeof success === 'boolean') {
      verdict.success = success;
      verdict.reason = typeof reason === 'string' ? truncateText(reason, MAX_REASON) : '';
    } else problems.push('The language model did not say whether the call succeeded.');
  }
  if (task.extractionSchema !== null) {
    const { extractedData } = answer;
    const violation = await dataProblem(task.extractionSchema, extractedData);
    if (violation === null) verdict.extractedData = extractedData as Record<string, unknown>;
    else problems.push(`The extracted data does not fit the schema: ${violation}.`);
  }
  const problem = truncateText(problems.join(' '), MAX_PROBLEM);
  return { ...verdict, problem: problem === '' ? null : problem };
}

/** Reads the optional findings of an answer. Values of another form are ignored. */
function findingsIn({
  answeredBy,
  answeredByQuote,
  doNotCallQuote,
}: Record<string, unknown>): ModelFindings {
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  return {
    answeredBy: answeredBy === 'HUMAN' || answeredBy === 'VOICEMAIL' ? answeredBy : null,
    answeredByQuote: text(answeredByQuote),
    doNotCallQuote: text(doNotCallQuote),
  };
}

async function dataProblem(schema: Record<string, unknown>, data: unknown): Promise<string | null> {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    return 'extractedData must be object';
  }
  if (JSON.stringify(data).length > MAX_DATA) return 'extractedData is too large';
  return schemaViolation({ schema, data, name: 'extractedData' });
}

/** Parses a JSON object, also in a Markdown fence, which some models always add. Null if there is none. */
function parseObject(text: string): Record<string, unknown> | null {
  const trimmed = text.trim();
  const isFenced = trimmed.startsWith('```') && trimmed.endsWith('```');
  const json = isFenced ? trimmed.slice(3, -3).replace(/^json/, '') : trimmed;
  try {
    const value: unknown = parseStorableJson(json);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
