/** Adds people in a file who must not be called to the do-not-call list. */
import type { App } from '../../app.ts';
import { addOptOuts, type OptOut } from '../../contacts/do-not-call.ts';
import { contactRowReader, optOutsOf } from '../../contacts/import/row-reader.ts';
import type { Viewer } from '../../viewer.ts';
import { type CheckedSource, csvRowsOf } from './contact-sources.ts';

const BATCH = 1_000;

/**
 * Adds the opt-outs of a source to the do-not-call list. Called before the contacts are written and outside of their
 * transaction, so that nobody who opted out is called, even if the contacts are not added.
 *
 * @returns the number of rows with an opt-out.
 */
export async function listOptOuts(
  app: App,
  { organizationId }: Pick<Viewer, 'organizationId'>,
  { contacts }: CheckedSource,
): Promise<number> {
  if (contacts.kind !== 'FILE') return 0;
  const { columns } = contacts.mapping;
  // Only a file that can have opt-outs is read again.
  if (!columns.some(({ field }) => field === 'doNotCall' || field === 'consent')) return 0;
  const readRow = contactRowReader(columns, contacts.rules);
  let rows = 0;
  let batch: OptOut[] = [];
  const write = async (): Promise<void> => {
    await addOptOuts(app.db, { organizationId, now: app.now() }, batch);
    batch = [];
  };
  for await (const { cells, problem } of csvRowsOf(contacts)) {
    const { optOut } = problem ? { optOut: null } : readRow(cells);
    if (optOut === null) continue;
    rows += 1;
    batch.push(...optOutsOf(optOut));
    if (batch.length >= BATCH) await write();
  }
  await write();
  return rows;
}
