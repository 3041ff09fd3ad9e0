/** Outcomes of the past calls that the demo organization starts with. */
import type { App } from '../app.ts';
import { ownedBy, type Viewer } from '../viewer.ts';

/** Records verdicts on calls that no model has seen, for the demo. */
export async function addPastOutcomes(
  app: App,
  viewer: Viewer,
  outcomes: readonly { callId: string; success: boolean; reason: string }[],
): Promise<void> {
  await app.db.callAnalysis.createMany({
    data: outcomes.map((outcome) => ({
      ...ownedBy(viewer),
      ...outcome,
      status: 'DONE' as const,
      model: 'demo',
      inputTokens: 900,
      outputTokens: 60,
      analyzedAt: app.now(),
    })),
  });
}
