/** Defines what a language model is asked about a call, and keeps its answers until they are used. */
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
 * Partial result of the step ANALYSIS. It is committed before the model is asked, with the answers so far, and again
 * after each answer. So no request duplicates a running attempt, and an attempt after a crash uses the answers of the
 * previous one. An answer in transit when the process is killed is lost, and the model is asked again: only the
 * provider knows whether there was one.
 */
export interface PartialAnalysis {
  task: string;
  /** Hash of everything that the model receives. Answers to a different request cannot be used. */
  request: string;
  answers: PaidAnswer[];
}

export function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64url');
}

/** Returns what to keep before the model is asked, with answers kept by an earlier attempt at the same request. */
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
