/** Copies the files that a script needs to a directory that any account can read. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

export interface AccessibleCopy {
  /** Path of the Node.js that runs this test. */
  node: string;
  /** Path in the copy of a file of this checkout. */
  resolve(file: string): string;
}

/**
 * Copies Node.js, files of this checkout, and packages with their dependencies, because the checkout may
 * be in a directory that only its owner can enter.
 */
export async function makeAccessibleCopy(
  directory: string,
  { files, packages }: { files: string[]; packages: string[] },
): Promise<AccessibleCopy> {
  const copied = [...files, 'package.json', ...(await packagesWithDependencies(packages))];
  for (const file of copied) {
    await mkdir(path.dirname(path.join(directory, file)), { recursive: true });
    await cp(path.join(root, file), path.join(directory, file), {
      recursive: true,
      verbatimSymlinks: true,
    });
  }
  const node = path.join(directory, 'node');
  await cp(process.execPath, node);
  await run('chmod', ['-R', 'a+rX', directory]);
  return { node, resolve: (file) => path.join(directory, file) };
}

async function packagesWithDependencies(names: string[]): Promise<string[]> {
  const found = new Set<string>();
  const queue = [...names];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    const folder = path.join('node_modules', name);
    const file = path.join(root, folder, 'package.json');
    // An optional dependency for another platform, or one inside the folder of its dependent.
    if (found.has(folder) || !(await stat(file).catch(() => undefined))) continue;
    found.add(folder);
    const { dependencies, optionalDependencies } = JSON.parse(await readFile(file, 'utf8')) as {
      dependencies?: Record<string, string>;
      optionalDependencies?: Record<string, string>;
    };
    queue.push(...Object.keys({ ...dependencies, ...optionalDependencies }));
  }
  return [...found];
}
