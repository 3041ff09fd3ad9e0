/**
 * Ensures that transfers of agents follow their organization's rule for premium numbers. Ultravox stores the targets
 * and transfers inbound calls without asking, so none may remain when the rule changes.
 */
import type { Tx } from '../app.ts';
import { publicId } from '../ids.ts';
import type { Checks } from '../infra/checks.ts';
import type { OrganizationListener } from '../organizations/listeners.ts';
import { lockPhoneNumberRules } from '../organizations/service.ts';
import type { Viewer } from '../viewer.ts';
import type { BuiltInConfig } from './settings.ts';
import { premiumNumberOf } from './settings-input.ts';

const MAX_NAMED = 10;

function premiumTarget(config: BuiltInConfig | null | undefined): string | null {
  const { transfer } = config ?? {};
  if (!transfer?.target || !(transfer.cold || transfer.warm)) return null;
  return premiumNumberOf(transfer.target);
}

/** Checks a transfer target by the current rule, which stays locked until the transaction ends. */
export async function checkPremiumTarget(
  tx: Tx,
  viewer: Viewer,
  checks: Checks,
  config: BuiltInConfig | null | undefined,
): Promise<void> {
  const number = premiumTarget(config);
  if (!number) return;
  const rules = await lockPhoneNumberRules(tx, viewer);
  checks.phoneNumber(number, ['builtInConfig', 'transfer', 'target'], rules);
}

/** Objects to forbidding premium numbers while agents transfer calls to them. */
export const premiumTargetListener: OrganizationListener = {
  async premiumNumbersForbidden(tx, organizationId) {
    const agents = await tx.$queryRaw<{ id: string; name: string; config: BuiltInConfig }[]>`
      SELECT id, name, built_in_config AS config FROM agents
      WHERE organization_id = ${organizationId}::uuid AND deleted_at IS NULL
        AND built_in_config -> 'transfer' ->> 'target' IS NOT NULL
      ORDER BY id`;
    const affected = agents.filter(({ config }) => premiumTarget(config) !== null);
    if (affected.length === 0) return [];
    const names = affected.slice(0, MAX_NAMED).map(({ name }) => JSON.stringify(name));
    const others = affected.length > MAX_NAMED ? ` and ${affected.length - MAX_NAMED} others` : '';
    return [
      {
        code: 'INVALID_STATE',
        message: `Agents transfer calls to premium numbers: ${names.join(', ')}${others}. Change their \`builtInConfig\` first.`,
        path: ['allowPremiumNumbers'],
        details: { agentIds: affected.map(({ id }) => publicId('Agent', id)) },
      },
    ];
  },
};
