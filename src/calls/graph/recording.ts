/** The recording of a call in the graph: a status and a link. */
import { builder } from '../../graphql/builder.ts';
import { EXPIRES_WITH_CREDENTIAL } from '../../graphql/credential-expiry.ts';
import { LINK_MINUTES } from '../../organizations/download-links.ts';
import { mayHaveBeenAnswered } from '../post-call/start.ts';
import { recordingLink } from '../recordings/serve.ts';
import { CallNode } from './call.ts';

const StatusEnum = builder.enumType('RecordingStatus', {
  description: 'Status of the recording of a call.',
  values: {
    DISABLED: { description: 'Recording was disabled for the call.' },
    NOT_ANSWERED: { description: 'The call ended without an answer; nothing was recorded.' },
    PENDING: { description: 'The call has not ended, or its recording is not available yet.' },
    AVAILABLE: { description: 'The recording can be played. See `url`.' },
    FAILED: { description: 'Ultravox did not make a recording, or could not be asked for it.' },
    EXPIRED: { description: 'Ultravox no longer has the recording.' },
  } as const,
});

interface Recording {
  callId: string;
  status: (typeof StatusEnum)['$inferType'];
  contentType: string | null;
  durationSeconds: number | null;
}

const RecordingType = builder.objectRef<Recording>('CallRecording').implement({
  description: 'Recording of a call.',
  authScopes: { readCall: true },
  fields: (t) => ({
    status: t.expose('status', { type: StatusEnum, description: 'Status of the recording.' }),
    url: t.field({
      type: 'Url',
      nullable: true,
      description: `Link to the audio, for an audio element or a download; supports range requests. Requires no API key, so treat it as a secret. Expires after ${LINK_MINUTES} minutes, or with the API key or token of the request. Null unless AVAILABLE.`,
      extensions: EXPIRES_WITH_CREDENTIAL,
      resolve: ({ callId, status }, _args, { app, viewer, publicUrl }) =>
        viewer && status === 'AVAILABLE'
          ? `${publicUrl}${recordingLink(app, viewer, callId).path}`
          : null,
    }),
    expiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Time at which `url` expires. Null if `url` is null.',
      extensions: EXPIRES_WITH_CREDENTIAL,
      resolve: ({ callId, status }, _args, { app, viewer }) =>
        viewer && status === 'AVAILABLE' ? recordingLink(app, viewer, callId).expiresAt : null,
    }),
    contentType: t.exposeString('contentType', {
      nullable: true,
      description: 'Media type of the audio, such as `audio/wav`. Null unless AVAILABLE.',
    }),
    durationSeconds: t.exposeFloat('durationSeconds', {
      nullable: true,
      description: 'Length of the audio in seconds. Null unless AVAILABLE, and if unknown.',
    }),
  }),
});

builder.prismaObjectField(CallNode, 'recording', (t) =>
  t.field({
    type: RecordingType,
    description: 'Recording of the call.',
    select: {
      id: true,
      recordingEnabled: true,
      ultravoxId: true,
      endReason: true,
      endedAt: true,
      answeredAt: true,
      recordingStatus: true,
      recordingContentType: true,
      recordingSeconds: true,
    },
    resolve: (call): Recording => {
      const status = call.recordingStatus ?? statusWithout(call);
      const isThere = status === 'AVAILABLE';
      return {
        callId: call.id,
        status,
        contentType: isThere ? call.recordingContentType : null,
        durationSeconds: isThere ? call.recordingSeconds : null,
      };
    },
  }),
);

function statusWithout(
  call: Parameters<typeof mayHaveBeenAnswered>[0] & {
    recordingEnabled: boolean;
    endedAt: Date | null;
  },
): Recording['status'] {
  if (!call.recordingEnabled) return 'DISABLED';
  return call.endedAt && !mayHaveBeenAnswered(call) ? 'NOT_ANSWERED' : 'PENDING';
}
