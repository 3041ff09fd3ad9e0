/** The step SUMMARY after a call. */
import type { Call } from '../../generated/prisma/client.ts';
import { toStorableText } from '../../infra/database/storable-text.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';
import type { StepHandler } from './steps.ts';

/** The step SUMMARY: Ultravox writes the summaries shortly after the call, and may also report them unprompted. */
export const fetchSummary: StepHandler = async (app, call, { signal }) => {
  if (call.summary !== null) return { status: 'DONE' };
  if (!call.ultravoxId) return { status: 'SKIPPED', detail: 'Ultravox does not know the call.' };
  let change: SummaryColumns;
  try {
    change = summaryChange(call, await app.ultravox.calls.get(call.ultravoxId, { signal }));
  } catch (error) {
    if (!(error instanceof UltravoxError && error.kind === 'not_found')) throw error;
    return { status: 'FAILED', detail: 'Ultravox no longer has the call.' };
  }
  if (change.summary === undefined) {
    return { status: 'NOT_YET', detail: 'Ultravox has written no summary.', otherwise: 'SKIPPED' };
  }
  return {
    status: 'DONE',
    save: async () => ({ change }),
  };
};

interface SummaryColumns {
  summary?: string;
  shortSummary?: string;
}

/** The summaries that Ultravox reports and the call does not have yet. */
export function summaryChange(
  call: Pick<Call, 'summary' | 'shortSummary'>,
  seen: Pick<UltravoxCall, 'summary' | 'shortSummary'>,
): SummaryColumns {
  const change: SummaryColumns = {};
  for (const key of ['summary', 'shortSummary'] as const) {
    const text = toStorableText(seen[key] ?? '').trim();
    if (text !== '' && text !== call[key]) change[key] = text;
  }
  return change;
}
