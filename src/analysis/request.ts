/** What a language model is asked about a call, and how its answers are kept until they are used. */
import { createHash } from 'node:crypto';
import type { Agent } from '../generated/prisma/client.ts';
import type { LanguageModel } from '../infra/outgoing/language-model.ts';
import type { AnalysisTask, Prompt } from './prompt.ts';

export const TASK_COLUMNS = { successCriteria: true, extractionSchema: true } as const;

export function taskOf({
  successCriteria,
  extractionSchema,
}: Pick<Agent, keyof typeof TASK_COLUMNS>): AnalysisTask {
  return { successCriteria, extractionSchema: extractionSchema as Record<string, unknown> | null };
}

/** An answer that has been paid for. */
export interface PaidAnswer {
  text: string;
  seconds: number;
  inputTokens: number | null;
  outputTokens: number | null;
}

/**
 * Partial result of the step ANALYSIS. It is committed before the model is asked, with the answers there are, and
 * again with each answer: so nobody asks beside a running attempt, and an attempt after a crash uses the answers
 * of the one before. An answer that is on its way when the process is killed is lost, and the model is asked
 * again: only the provider knows whether there was one.
 */
export interface PartialAnalysis {
  task: string;
  /** Of everything that the model receives: answers to another request are of no use. */
  request: string;
  answers: PaidAnswer[];
}

export function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64url');
}

/** What to keep before the model is asked: the answers that an earlier attempt has kept for the same request. */
export function beginAnalysis(
  model: LanguageModel,
  task: AnalysisTask,
  { instructions, content, schema }: Prompt,
  kept: unknown,
): PartialAnalysis {
  const request = hashOf([model.name, instructions, content, schema]);
  const earlier = kept as PartialAnalysis | null;
  const answers = earlier?.request === request ? earlier.answers : [];
  return { task: hashOf(task), request, answers };
}
