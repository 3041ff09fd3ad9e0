/** Post-call steps of calls in the graph. */
import type { PostCallStep } from '../../generated/prisma/client.ts';
import { PostCallStepKind, PostCallStepStatus } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import { useInstead } from '../../graphql/deprecated-names.ts';
import { listCost } from '../../graphql/lists/page.ts';
import { POST_CALL_STEPS } from '../post-call/steps.ts';
import { CallNode } from './call.ts';

const KindEnum = builder.enumType('PostCallStepKind', {
  description: 'Step that follows the end of an answered call.',
  values: {
    [PostCallStepKind.TRANSCRIPT]: {
      description: 'Fetches the transcript, and finds `answeredBy` and `doNotCallRequested` in it.',
    },
    [PostCallStepKind.SUMMARY]: { description: 'Fetches the summaries once Ultravox has them.' },
    [PostCallStepKind.RECORDING]: { description: 'Waits until the recording is available.' },
    [PostCallStepKind.ANALYSIS]: {
      description:
        'Evaluates the success criteria of the agent, extracts data, and corrects `answeredBy` and `doNotCallRequested`.',
    },
    [PostCallStepKind.EVENT]: {
      description: 'Appends the event ANALYZED once transcript, summary and analysis are finished.',
    },
  } as const,
});

const StatusEnum = builder.enumType('PostCallStepStatus', {
  description: 'Status of a step after a call.',
  values: {
    [PostCallStepStatus.PENDING]: {
      description: 'Waiting for another step, in progress, or to be tried again.',
    },
    [PostCallStepStatus.DONE]: { description: 'Finished.' },
    [PostCallStepStatus.SKIPPED]: { description: 'Nothing to do. See `detail`.' },
    [PostCallStepStatus.FAILED]: { description: 'Given up. See `detail`.' },
  } as const,
});

type Step = Pick<PostCallStep, 'kind' | 'status' | 'attempts' | 'nextAttemptAt' | 'detail'> &
  Pick<PostCallStep, 'finishedAt'>;

const PostCallStepType = builder.objectRef<Step>('PostCallStep').implement({
  description: 'Step after the end of a call, and its progress.',
  authScopes: { readCall: true },
  fields: (t) => ({
    kind: t.expose('kind', { type: KindEnum, description: 'Kind of the step.' }),
    status: t.expose('status', { type: StatusEnum, description: 'Status of the step.' }),
    attemptCount: t.exposeInt('attempts', { description: 'Number of attempts so far.' }),
    attempts: t.exposeInt('attempts', {
      description: 'Number of attempts so far.',
      deprecationReason: useInstead('attemptCount'),
    }),
    nextAttemptAt: t.expose('nextAttemptAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'Time of the next attempt. Delays grow up to an hour. Null while the step waits for another one, and once it is finished.',
    }),
    detail: t.exposeString('detail', {
      nullable: true,
      description:
        'Human-readable reason for the last failed attempt, or why the step was skipped or failed.',
    }),
    finishedAt: t.expose('finishedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Time at which the step finished. Null until then.',
    }),
  }),
});

export const NOT_ANSWERED = 'The call was not answered.';

builder.prismaObjectField(CallNode, 'postCallSteps', (t) =>
  t.field({
    type: [PostCallStepType],
    complexity: listCost(POST_CALL_STEPS.length),
    description:
      'Steps that follow the end of the call: transcript, summary, recording, analysis and the event ANALYZED. Empty before the end. All are SKIPPED if the call was not answered, but not if that is unknown because its end was never reported (`endReason` UNKNOWN).',
    select: { status: true, endedAt: true, answeredAt: true, postCallSteps: true },
    resolve: ({ endedAt, answeredAt, postCallSteps }): Step[] => {
      if (endedAt && !answeredAt && postCallSteps.length === 0) return skippedSteps(endedAt);
      const order = POST_CALL_STEPS.map(({ kind }) => kind);
      return postCallSteps.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
    },
  }),
);

function skippedSteps(finishedAt: Date): Step[] {
  return POST_CALL_STEPS.map(({ kind }) => ({
    kind,
    status: 'SKIPPED',
    attempts: 0,
    nextAttemptAt: null,
    detail: NOT_ANSWERED,
    finishedAt,
  }));
}
