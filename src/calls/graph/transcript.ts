/** Transcript and summary of a call in the graph, and what was found in them. */
import { TurnSpeaker } from '../../generated/prisma/enums.ts';
import { builder } from '../../graphql/builder.ts';
import { useInstead } from '../../graphql/deprecated-names.ts';
import { List } from '../../graphql/lists/list.ts';
import { CallNode } from './call.ts';
import { AnsweredByEnum } from './call-enums.ts';

const TurnSpeakerEnum = builder.enumType('TurnSpeaker', {
  description: 'Speaker of a turn.',
  values: {
    [TurnSpeaker.AGENT]: { description: 'The agent.' },
    [TurnSpeaker.USER]: {
      description: 'The person, or a voicemail. Its text is made by speech recognition.',
    },
    [TurnSpeaker.TOOL]: { description: 'A tool that the agent used.' },
  } as const,
});

export const TranscriptTurn = builder.prismaObject('CallTurn', {
  name: 'TranscriptTurn',
  select: { callId: true, position: true },
  description: 'Utterance in a call, or use of a tool by the agent.',
  authScopes: { readCall: true },
  fields: (t) => ({
    position: t.exposeInt('position', {
      description: 'Position of the turn in the call. Ascending, with possible gaps.',
    }),
    speaker: t.expose('speaker', { type: TurnSpeakerEnum, description: 'Speaker of the turn.' }),
    text: t.exposeString('text', { description: 'Text that was spoken. Empty for a tool.' }),
    startSeconds: t.exposeFloat('startSeconds', {
      nullable: true,
      description: 'Start in seconds since the answer. Null if Ultravox did not report it.',
    }),
    endSeconds: t.exposeFloat('endSeconds', {
      nullable: true,
      description:
        'End in seconds since the answer; for a tool, when its result arrived. Null if Ultravox did not report it.',
    }),
    toolName: t.exposeString('toolName', {
      nullable: true,
      description: 'Name of the tool, as the model sees it. Null unless a tool was used.',
    }),
    toolArguments: t.field({
      type: 'JSON',
      nullable: true,
      description: 'Arguments that the model gave to the tool. Null unless a tool was used.',
      select: { toolArguments: true },
      resolve: (turn) => turn.toolArguments,
    }),
    toolResult: t.exposeString('toolResult', {
      nullable: true,
      description: 'Result of the tool, as the model received it. Null if there was none.',
    }),
    toolError: t.exposeString('toolError', {
      nullable: true,
      description: 'Error of the tool, as Ultravox reports it. Null if there was none.',
    }),
    stage: t.exposeInt('stage', {
      description: 'Number of the stage of the call, starting at 1. Tools can begin new stages.',
    }),
  }),
});

const turns = new List({
  type: TranscriptTurn,
  items: 'turns',
  visible: () => ({}),
  sort: { POSITION: { column: 'position', description: 'Sort by position.' } },
  defaultSort: { field: 'POSITION', direction: 'asc', description: 'as spoken' },
  key: 'position',
});

turns.related(CallNode, 'transcript', {
  relation: 'turns',
  description:
    'Turns of the conversation, in order. Available seconds after the end of the call (see `postCallSteps`), until retention removes them. For a live call, subscribe to `callEvents` of type TRANSCRIPT_TURN.',
  fixedSort: { field: 'POSITION', direction: 'asc' },
});

const DO_NOT_CALL_REQUESTED = {
  select: { dncQuote: true },
  resolve: ({ dncQuote }: { dncQuote: string | null }) => dncQuote !== null,
} as const;
const DO_NOT_CALL_QUOTE = {
  select: { dncQuote: true },
  resolve: ({ dncQuote }: { dncQuote: string | null }) => dncQuote || null,
} as const;

builder.prismaObjectFields(CallNode, (t) => ({
  summary: t.exposeString('summary', {
    nullable: true,
    description: 'Summary of the conversation by Ultravox. Null until it is written.',
  }),
  shortSummary: t.exposeString('shortSummary', {
    nullable: true,
    description: 'Summary in one sentence by Ultravox. Null until it is written.',
  }),
  answeredBy: t.expose('answeredBy', {
    type: AnsweredByEnum,
    nullable: true,
    description:
      'Who answered the call, according to the use of `leaveVoicemail`, to phrases in the transcript and, if the call is analyzed, to the language model. A request not to be called again shows a person, unless the agent left a message or the language model heard a voicemail. Null if the call was not answered, and until the transcript is available.',
  }),
  answeredByEvidence: t.exposeString('answeredByEvidence', {
    nullable: true,
    description:
      'Human-readable evidence for `answeredBy`. Null if `answeredBy` is null, and once retention has removed the transcript.',
  }),
  doNotCallRequested: t.boolean({
    description:
      'Whether the person asked not to be called again: in common English, Spanish, German or French phrases or, if the call is analyzed, in any words and language. Unusual wording may be missed, and a sentence that resembles a request may count as one. Once true it stays, whatever a later analysis finds. The campaign of the call does not call this contact again; other campaigns and `createCall` still do, unless the number is on the do-not-call list. Such numbers are added to the do-not-call list only if `Organization.addDoNotCallRequests` is set; otherwise add them with `addToDoNotCall`.',
    ...DO_NOT_CALL_REQUESTED,
  }),
  dncRequested: t.boolean({
    description: 'Whether the person asked not to be called again.',
    deprecationReason: useInstead('doNotCallRequested'),
    ...DO_NOT_CALL_REQUESTED,
  }),
  doNotCallQuote: t.string({
    nullable: true,
    description:
      'Words with which the person asked not to be called again. Null if the person did not ask, and once retention has removed the transcript.',
    ...DO_NOT_CALL_QUOTE,
  }),
  dncQuote: t.string({
    nullable: true,
    description: 'Words with which the person asked not to be called again.',
    deprecationReason: useInstead('doNotCallQuote'),
    ...DO_NOT_CALL_QUOTE,
  }),
}));
