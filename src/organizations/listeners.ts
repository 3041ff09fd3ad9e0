/** Listeners through which other features can object to changes to an organization. Registered in `start.ts`. */
import type { App, Tx } from '../app.ts';
import type { Problem } from '../errors.ts';
import { perInstance } from '../infra/per-instance.ts';

export interface OrganizationListener {
  /** Called in the transaction that forbids premium numbers. Returns the problems that prevent it. */
  premiumNumbersForbidden(tx: Tx, organizationId: string): Promise<Problem[]>;
}

const listeners = perInstance<App, OrganizationListener[]>(() => []);

/** Registers a listener for this process. Must be called before any request is served. */
export function addOrganizationListener(app: App, listener: OrganizationListener): void {
  listeners(app).push(listener);
}

export async function findPremiumNumbersInUse(
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
