/** Entry of `npm start`. Keeps compiled modules for the next start, where the folder can be written. */
import { enableCompileCache } from 'node:module';
import path from 'node:path';

enableCompileCache(path.join(import.meta.dirname, '../node_modules/.cache/compile'));
await import('./cli.ts');
