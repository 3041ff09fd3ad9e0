/**
 * Keeps temporary files of tests in memory if there is room: each database has hundreds of files, which on a disk took
 * half of the time to start a server.
 */
import { accessSync, constants, statfsSync } from 'node:fs';
import { freemem } from 'node:os';

const IN_MEMORY = '/dev/shm';
/** Required free space. The databases of a whole run need less than a quarter of it. */
const NEEDED_BYTES = 8 * 2 ** 30;

/** Has no effect if TMPDIR is set, or if the machine has too little memory. */
export function keepTemporaryFilesInMemory(): void {
  if (process.env.TMPDIR || freemem() < NEEDED_BYTES) return;
  try {
    const { bavail, bsize } = statfsSync(IN_MEMORY);
    if (bavail * bsize < NEEDED_BYTES) return;
    accessSync(IN_MEMORY, constants.W_OK | constants.X_OK);
    process.env.TMPDIR = IN_MEMORY;
  } catch {
    // The directory does not exist, or this user cannot write to it.
  }
}
