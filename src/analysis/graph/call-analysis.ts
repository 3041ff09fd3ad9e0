/** Results of the analysis of a call, as fields of calls. */
import { CallFilterInput, CallNode } from '../../calls/graph/call.ts';
import { AnalysisStatusEnum } from '../../calls/graph/call-enums.ts';
import { NOT_ANSWERED } from '../../calls/graph/post-call-step.ts';
import type { CallAnalysis } from '../../generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { mutation } from '../../graphql/mutation.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { analyzeCall, analyzeCalls, MAX_CALLS, MAX_WAITING } from '../service.ts';

const OutcomeType = builder
  .objectRef<{ success: boolean; reason: string | null }>('CallOutcome')
  .implement({
    description: 'Verdict of a language model on a call, by the success criteria of its agent.',
    authScopes: { readCall: true },
    fields: (t) => ({
      success: t.exposeBoolean('success', { description: 'Whether the criteria are met.' }),
      reason: t.exposeString('reason', {
        nullable: true,
        description:
          'Reason for the verdict, as given by the model. Null or empty if it gave none.',
      }),
    }),
  });

interface AnalysisShape {
  status: (typeof AnalysisStatusEnum)['$inferType'];
  detail: string | null;
  result: CallAnalysis | null;
}

const AnalysisType = builder.objectRef<AnalysisShape>('CallAnalysis').implement({
  description:
    'Analysis of a call by a language model: its status, duration and tokens. When a call is analyzed again and the analysis fails, `status` and `error` are those of the failed analysis, and the other fields those of the analysis whose results were kept.',
  authScopes: { readCall: true },
  fields: (t) => ({
    status: t.expose('status', {
      type: AnalysisStatusEnum,
      description: 'Status of the analysis.',
    }),
    error: t.exposeString('detail', {
      nullable: true,
      description:
        'Human-readable reason why the analysis failed, was skipped or is retried. Null otherwise.',
    }),
    omitted: t.string({
      nullable: true,
      description:
        'Turns of a long call that the model did not receive, such as “Turns 40 to 300 of 420 were left out …”. Null if it received all of them.',
      resolve: ({ result }) => result?.omitted ?? null,
    }),
    model: t.string({
      nullable: true,
      description: 'Name of the model. Null until it has answered.',
      resolve: ({ result }) => result?.model ?? null,
    }),
    durationSeconds: t.float({
      nullable: true,
      description: 'Duration of the analysis in seconds. Null until the model has answered.',
      resolve: ({ result }) => result?.seconds ?? null,
    }),
    inputTokens: t.int({
      nullable: true,
      description: 'Number of input tokens. Null if the model does not report it.',
      resolve: ({ result }) => result?.inputTokens ?? null,
    }),
    outputTokens: t.int({
      nullable: true,
      description: 'Number of output tokens. Null if the model does not report it.',
      resolve: ({ result }) => result?.outputTokens ?? null,
    }),
    analyzedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Time at which the model answered. Null until then.',
      resolve: ({ result }) => result?.analyzedAt ?? null,
    }),
  }),
});

builder.prismaObjectFields(CallNode, (t) => ({
  outcome: t.field({
    type: OutcomeType,
    nullable: true,
    description:
      'Verdict by `Agent.successCriteria`. Null until it is available, and if the agent has no criteria. When a call is analyzed again and the analysis fails, the earlier verdict stays. See `analysis`.',
    select: { analysis: { select: { success: true, reason: true } } },
    resolve: ({ analysis }) =>
      analysis && analysis.success !== null
        ? { success: analysis.success, reason: analysis.reason }
        : null,
  }),
  extractedData: t.field({
    type: 'JSONObject',
    nullable: true,
    description:
      'Data extracted from the transcript by `Agent.extractionSchema`. Null until it is available, if it does not match the schema, and if the agent has no schema. When a call is analyzed again and the analysis fails, the earlier data stays. See `analysis`.',
    select: { analysis: { select: { extractedData: true } } },
    resolve: ({ analysis }) => analysis?.extractedData ?? null,
  }),
  analysis: t.field({
    type: AnalysisType,
    description: 'Analysis that produces `outcome` and `extractedData`.',
    select: {
      endedAt: true,
      answeredAt: true,
      analysis: true,
      // All, as for the field `postCallSteps`. Different conditions would take a statement each.
      postCallSteps: true,
    },
    resolve: ({ endedAt, answeredAt, analysis, postCallSteps }): AnalysisShape => {
      const step = postCallSteps.find(({ kind }) => kind === 'ANALYSIS');
      if (step) return { status: step.status, detail: step.detail, result: analysis };
      // The calls that the demo starts with have been analyzed without steps.
      if (analysis) return { status: analysis.status, detail: analysis.error, result: analysis };
      if (endedAt)
        return { status: 'SKIPPED', detail: answeredAt ? null : NOT_ANSWERED, result: null };
      return { status: 'PENDING', detail: null, result: null };
    },
  }),
}));

mutation('analyzeCall', {
  description:
    'Analyzes an ended call again, by the current success criteria and extraction schema of its agent. The call has `analysis.status` PENDING until the model has answered; the event ANALYZED follows. If the analysis fails, the earlier results stay. Calls that are analyzed for the first time go first. A call whose transcript was removed after its retention time cannot be analyzed.',
  scope: 'write',
  input: (t) => ({ id: t.id({ required: true, description: 'ID of the call (`cal_…`).' }) }),
  run: async (input, { app, viewer }) => ({ call: await analyzeCall(app, viewer, input.id) }),
  payload: {
    call: { type: CallNode, description: 'The call.' },
  },
});

mutation('analyzeCalls', {
  description: `Analyzes ended calls again, as \`analyzeCall\` does: all matching calls that were answered and still have a transcript, up to ${formatNumber(MAX_CALLS)}. If more match, or more than ${formatNumber(MAX_WAITING)} would be waiting for analysis, none is analyzed. If other requests add calls at the same time, some may be.`,
  scope: 'write',
  input: (t) => ({
    filter: t.field({
      type: CallFilterInput,
      required: true,
      description: 'Calls to analyze. An empty filter matches all.',
    }),
  }),
  run: async ({ filter }, { app, viewer }) => ({
    callCount: await analyzeCalls(app, viewer, filter),
  }),
  payload: {
    callCount: { type: 'Int', description: 'Number of calls queued for analysis.' },
  },
});
