/** Sound of recordings and voice previews. */
import type { CallRecord } from '../world.ts';

const RATE = 8000;
const HEADER = 44;
const MAX_SECONDS = 180;

/** A playable WAV file: a soft tone, one channel, 8 kHz, 16 bits. */
export function toneWav(seconds: number, hertz: number): Buffer {
  return wav(Math.min(Math.max(seconds, 0.1), 10), () => hertz);
}

/** Recording of a call: a low tone while the agent speaks, a high one while the other side does. */
export function callWav(record: CallRecord): Buffer {
  const spoken = record.transcript.flatMap(({ message }) => {
    const hertz = { MESSAGE_ROLE_AGENT: 330, MESSAGE_ROLE_USER: 520 }[String(message.role)];
    const span = message.timespan as { start?: string; end?: string } | undefined;
    const [start, end] = [Number.parseFloat(span?.start ?? ''), Number.parseFloat(span?.end ?? '')];
    return hertz === undefined || !(end > start) ? [] : [{ hertz, start, end }];
  });
  const seconds = Math.min(Math.max(record.talkedMs / 1000, 0.1), MAX_SECONDS);
  let at = 0;
  return wav(seconds, (second) => {
    while (spoken[at] && second > (spoken[at]?.end ?? 0)) at += 1;
    const line = spoken[at];
    return line && second >= line.start ? line.hertz : 0;
  });
}

function wav(seconds: number, hertzAt: (second: number) => number): Buffer {
  const samples = Math.round(RATE * seconds);
  const file = Buffer.alloc(HEADER + samples * 2);
  file.write('RIFF', 0, 'ascii');
  file.writeUInt32LE(36 + samples * 2, 4);
  file.write('WAVEfmt ', 8, 'ascii');
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20);
  file.writeUInt16LE(1, 22);
  file.writeUInt32LE(RATE, 24);
  file.writeUInt32LE(RATE * 2, 28);
  file.writeUInt16LE(2, 32);
  file.writeUInt16LE(16, 34);
  file.write('data', 36, 'ascii');
  file.writeUInt32LE(samples * 2, 40);
  for (let index = 0; index < samples; index += 1) {
    const hertz = hertzAt(index / RATE);
    const level = Math.sin((2 * Math.PI * hertz * index) / RATE) * 6000;
    file.writeInt16LE(Math.round(level), HEADER + index * 2);
  }
  return file;
}
