/** Outcomes of the past calls that the demo organization starts with. */
import type { App } from '../app.ts';

/** Records verdicts on calls that no model has seen, for the demo. Skips calls that have one. */
export async function addPastOutcomes(
  app: App,
  organizationId: string,
  outcomes: readonly { callId: string; success: boolean; reason: string }[],
): Promise<void> {
  await app.db.callAnalysis.createMany({
    data: outcomes.map((outcome) => ({
      organizationId,
      ...outcome,
      status: 'DONE' as const,
      model: 'demo',
      inputTokens: 900,
      outputTokens: 60,
      analyzedAt: app.now(),
    })),
    skipDuplicates: true,
  });
}
