/** Entry point of `npm start`. Caches compiled modules for the next start if the folder is writable. */
import { enableCompileCache } from 'node:module';
import path from 'node:path';

enableCompileCache(path.join(import.meta.dirname, '../node_modules/.cache/compile'));
await import('./cli.ts');
