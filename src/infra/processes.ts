/** Looks at processes of the machine. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { platform } from 'node:os';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Whether a process with this id is running. False for a zombie. */
export async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  if (platform() !== 'linux') return true;
  // Undefined if the process has ended meanwhile.
  const stat = await linuxStat(pid);
  return stat !== undefined && stat.state !== 'Z';
}

/**
 * Distinguishes a process from a later one with the same id, which is common in containers. Empty if
 * the system does not provide it.
 */
export async function processStartTime(pid: number): Promise<string> {
  return (await linuxStat(pid))?.startTime ?? '';
}

/** Command line of a process. Undefined if unknown. */
export async function commandLine(pid: number): Promise<string | undefined> {
  try {
    if (platform() === 'linux')
      return (await readFile(`/proc/${pid}/cmdline`, 'utf8')) || undefined;
    return (await run('ps', ['-ww', '-o', 'args=', '-p', String(pid)])).stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}

async function linuxStat(pid: number) {
  if (platform() !== 'linux') return undefined;
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name and may contain anything, so fields are counted after it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0], startTime: fields[19] };
  } catch {
    return undefined;
  }
}
