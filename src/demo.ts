/** The demo organization: what a first start without settings has to show. */
import type { App } from './app.ts';
import { createOrganization, ensureApiKey } from './organizations/service.ts';

const NAME = 'Demo organization';

/** Makes the organization if there is none, and sees to it that `key` works. */
export async function prepareDemo(app: App, key: string): Promise<void> {
  const first = await app.db.organization.findFirst({ orderBy: { createdAt: 'asc' } });
  if (first) {
    await ensureApiKey(app, first.id, key);
    return;
  }
  await createOrganization(app, { name: NAME, key });
}
