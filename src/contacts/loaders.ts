/** Whether the contacts of a list may be called, read together. */
import DataLoader from 'dataloader';
import type { App } from '../app.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';

const loaders = new WeakMap<object, DataLoader<string, boolean>>();

/** It remembers nothing, because a mutation may follow another in one execution. */
export function loadDoNotCall(
  { app, viewer, execution }: { app: App; viewer: Viewer; execution: object },
  phoneNumber: string,
): Promise<boolean> {
  let loader = loaders.get(execution);
  if (!loader) {
    loader = new DataLoader<string, boolean>(
      async (numbers) => {
        const entries = await app.db.doNotCallEntry.findMany({
          where: { ...ownedBy(viewer), phoneNumber: { in: [...new Set(numbers)] } },
          select: { phoneNumber: true },
        });
        const listed = new Set(entries.map((entry) => entry.phoneNumber));
        return numbers.map((number) => listed.has(number));
      },
      { cache: false },
    );
    loaders.set(execution, loader);
  }
  return loader.load(phoneNumber);
}
