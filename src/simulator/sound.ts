/** A playable WAV file: a soft tone, one channel, 8 kHz, 16 bits. */
export function toneWav(seconds: number, hertz: number): Buffer {
  const rate = 8000;
  const samples = Math.round(rate * Math.min(Math.max(seconds, 0.1), 10));
  const wav = Buffer.alloc(44 + samples * 2);
  wav.write('RIFF', 0, 'ascii');
  wav.writeUInt32LE(36 + samples * 2, 4);
  wav.write('WAVEfmt ', 8, 'ascii');
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(rate, 24);
  wav.writeUInt32LE(rate * 2, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write('data', 36, 'ascii');
  wav.writeUInt32LE(samples * 2, 40);
  for (let index = 0; index < samples; index += 1) {
    const level = Math.sin((2 * Math.PI * hertz * index) / rate) * 6000;
    wav.writeInt16LE(Math.round(level), 44 + index * 2);
  }
  return wav;
}
