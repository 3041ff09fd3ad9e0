/** Formats results as Markdown, and saves them to the results file. */
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';

export interface Section {
  title: string;
  text: string;
  table: string;
}

const RESULTS = new URL('../RESULTS.md', import.meta.url);
/** Text after this line is written by people and is kept. */
const NOTES = '<!-- notes -->';

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Describes where and when something was measured. */
export function measuredAt(): string {
  const commit = execFileSync('git', ['describe', '--always', '--dirty'], {
    encoding: 'utf8',
  }).trim();
  const [cpu] = os.cpus();
  const machine = `${os.cpus().length} cores (${cpu?.model.trim()}), ${Math.round(os.totalmem() / 2 ** 30)} GiB, ${os.type()} ${os.release()}, Node ${process.version}`;
  return `at commit ${commit}, on ${new Date().toISOString().slice(0, 10)}, on one machine: ${machine}`;
}

/** Writes sections in place of those with the same titles. Keeps other sections and the notes. */
export async function saveSections(sections: readonly Section[], head?: string): Promise<void> {
  const old = await readFile(RESULTS, 'utf8').catch(() => '');
  const [body = '', notes = '\n'] = old.split(NOTES);
  const [oldHead = '', ...parts] = body.split(/^## /m);
  const kept = new Map(parts.map((part) => [part.slice(0, part.indexOf('\n')), part.trim()]));
  for (const { title, text, table: figures } of sections) {
    kept.set(title, `${title}\n\n${text}\n\n${figures}`);
  }
  const text = [
    head ?? oldHead.trim(),
    ...[...kept.values()].map((part) => `## ${part}`),
    `${NOTES}${notes.trimEnd()}`,
  ].join('\n\n');
  await writeFile(RESULTS, `${text}\n`);
}
