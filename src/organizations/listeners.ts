/** Listeners through which other features object to changes of an organization. Registered in `start.ts`. */
import type { App, Tx } from '../app.ts';
import type { Problem } from '../errors.ts';
import { perInstance } from '../infra/per-instance.ts';

export interface OrganizationListener {
  /** Called in the transaction that forbids premium numbers. Returns what prevents it. */
  premiumNumbersForbidden(tx: Tx, organizationId: string): Promise<Problem[]>;
}

const listeners = perInstance<App, OrganizationListener[]>(() => []);

/** Registers a listener for this process. To be called before any request is served. */
export function addOrganizationListener(app: App, listener: OrganizationListener): void {
  listeners(app).push(listener);
}

export async function objectionsToForbidding(
  app: App,
  tx: Tx,
  organizationId: string,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const listener of listeners(app)) {
    problems.push(...(await listener.premiumNumbersForbidden(tx, organizationId)));
  }
  return problems;
}
