/** Recordings of calls, at addresses that expire. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { refuse } from '../json.ts';
import type { Request, Route, World } from '../world.ts';
import { findCall } from './calls.ts';
import { callWav } from './sound.ts';

function recordingSignature(world: World, callId: string, expires: string): string {
  return createHmac('sha256', world.signingKey).update(`${callId}:${expires}`).digest('hex');
}

/** The whole recording or the requested range, in the way object storage responds. */
function rangeOf(wav: Buffer, request: Request | null) {
  const headers = { 'content-type': 'audio/wav', 'accept-ranges': 'bytes' };
  const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(String(request?.headers.range)) ?? [];
  if (from === undefined || to === undefined || `${from}${to}` === '') {
    return { status: 200, raw: wav, headers };
  }
  const first = from === '' ? Math.max(0, wav.length - Number(to)) : Number(from);
  const last = from === '' || to === '' ? wav.length - 1 : Math.min(Number(to), wav.length - 1);
  if (first >= wav.length) {
    const size = { 'content-range': `bytes */${wav.length}` };
    return { status: 416, raw: '', headers: { ...headers, ...size } };
  }
  const part = { 'content-range': `bytes ${first}-${last}/${wav.length}` };
  return { status: 206, raw: wav.subarray(first, last + 1), headers: { ...headers, ...part } };
}

export const recordingRoutes: Route[] = [
  {
    method: 'GET',
    path: '/api/calls/:callId/recording',
    handler(world, request) {
      const record = findCall(world, request);
      const recorded = record.call.recordingEnabled === true && record.joinedAt !== null;
      if (!recorded || record.endedAt === null) throw refuse(404, 'No recording available.');
      const expires = String(world.now() + world.settings().recordingUrlSeconds * 1000);
      const signature = recordingSignature(world, record.callId, expires);
      const location = `${request.origin}/recordings/${record.callId}.wav?expires=${expires}&signature=${signature}`;
      return { status: 302, headers: { location } };
    },
  },
  {
    method: 'GET',
    path: '/recordings/:file',
    open: true,
    handler(world, request) {
      const callId = (request.params.file ?? '').replace(/\.wav$/, '');
      const expires = request.query.get('expires') ?? '';
      const expected = Buffer.from(recordingSignature(world, callId, expires));
      const given = Buffer.from(request.query.get('signature') ?? '');
      const valid = given.length === expected.length && timingSafeEqual(given, expected);
      if (!valid || Number(expires) < world.now()) throw refuse(403, 'Request has expired.');
      const record = world.calls.get(callId);
      if (record === undefined) throw refuse(404, 'Not found.');
      return rangeOf(callWav(record), world.settings().recordingRanges ? request : null);
    },
  },
];
