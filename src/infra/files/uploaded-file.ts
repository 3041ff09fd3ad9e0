/** A file uploaded with a request, available while the request runs. */
import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

const READ_BYTES = 256 * 1024;

/** An uploaded file. Its properties identify the content: idempotency compares files by them. */
export abstract class UploadedFile {
  readonly filename: string;
  /** Size as sent. Bytes beyond the limit are counted but not stored. */
  readonly sizeBytes: number;
  readonly sha256: string;

  constructor(seen: { filename: string; sizeBytes: number; sha256: string }) {
    this.filename = seen.filename;
    this.sizeBytes = seen.sizeBytes;
    this.sha256 = seen.sha256;
  }

  /** Reads from the beginning each time. A file on disk is never held in memory as a whole. */
  abstract read(): AsyncGenerator<Buffer>;
  abstract close(): Promise<void>;
}

class FileOnDisk extends UploadedFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle, seen: { filename: string; sizeBytes: number; sha256: string }) {
    super(seen);
    this.#handle = handle;
  }

  async *read(): AsyncGenerator<Buffer> {
    for (let position = 0; ; ) {
      const { bytesRead, buffer } = await this.#handle.read(
        Buffer.allocUnsafe(READ_BYTES),
        0,
        READ_BYTES,
        position,
      );
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** A file given as a string. */
export class FileFromText extends UploadedFile {
  readonly #content: Buffer;

  constructor(filename: string, text: string) {
    const content = Buffer.from(text);
    const sha256 = createHash('sha256').update(content).digest('hex');
    super({ filename, sizeBytes: content.length, sha256 });
    this.#content = content;
  }

  async *read(): AsyncGenerator<Buffer> {
    yield this.#content;
  }

  async close(): Promise<void> {}
}

export interface Spool {
  write(chunk: Buffer): Promise<void>;
  /** The file, which the caller must close. */
  finish(): UploadedFile;
  /** Deletes the data written so far. */
  discard(): Promise<void>;
}

/**
 * Stores a file chunk by chunk, up to `maxBytes`. It is unlinked from the start, so the system deletes
 * it when the process ends.
 */
export async function openSpool(filename: string, maxBytes: number): Promise<Spool> {
  const name = path.join(tmpdir(), `truedy-upload-${randomUUID()}`);
  const handle = await open(name, 'wx+', 0o600);
  await unlink(name);
  const hash = createHash('sha256');
  let sizeBytes = 0;
  return {
    async write(chunk) {
      hash.update(chunk);
      const kept = chunk.subarray(0, Math.max(0, maxBytes - sizeBytes));
      sizeBytes += chunk.length;
      for (let from = 0; from < kept.length; ) {
        from += (await handle.write(kept, from)).bytesWritten;
      }
    },
    finish: () => new FileOnDisk(handle, { filename, sizeBytes, sha256: hash.digest('hex') }),
    discard: () => handle.close(),
  };
}
