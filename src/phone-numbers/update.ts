/** Changes phone numbers: their names, and the credentials of their carriers. */
import type { App } from '../app.ts';
import type { PhoneNumber } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import type { Viewer } from '../viewer.ts';
import { claimAccount, restoreCredentials, sendAccount } from './account-changes.ts';
import {
  type AccountCarrier,
  addMissing,
  type Carrier,
  type CarrierInput,
  checkCarrier,
  trunkColumns,
} from './carriers.ts';
import { MAX_NAME, requireNumber, updateNumber } from './service.ts';

export interface UpdatePhoneNumberInput {
  id: string;
  /** Null removes it; undefined keeps it. */
  name?: string | null | undefined;
  /** Its carrier, with new credentials. */
  provider?: CarrierInput | null | undefined;
}

/**
 * Changes the name, the credentials of the carrier account, or the SIP trunk.
 *
 * Order: the credentials and a job are committed, the account is sent to Ultravox, then the name is changed. If Ultravox
 * refuses the account, the credentials that it last accepted are restored, and the name stays as it is. Until then no
 * other request can change the credentials. If Ultravox cannot be reached, the job sends the account later. After a
 * crash in between, the job also sends the account, and the name stays as it is; a refusal is then shown as the sync
 * error of the number, and repeating the update restores the earlier credentials. A SIP trunk is not at Ultravox, and
 * changes together with the name.
 */
export async function updatePhoneNumber(
  app: App,
  viewer: Viewer,
  input: UpdatePhoneNumberInput,
): Promise<PhoneNumber> {
  const checks = new Checks();
  const id = checks.id('PhoneNumber', input.id, ['id']);
  const name = checks.text(input.name ?? undefined, ['name'], { min: 1, max: MAX_NAME });
  const provider = checks.notNull(input.provider, ['provider']);
  const carrier = provider && checkCarrier(checks, provider);
  const number = await requireNumber(app.db, checks, viewer, id);
  if (number && carrier) await checkSameCarrier(app, checks, number, carrier);
  checks.throwIfAny();
  if (carrier && carrier.provider !== 'SIP') await replaceCredentials(app, viewer, id!, carrier);
  return updateNumber(app.db, viewer, id!, {
    ...(input.name === undefined ? {} : { name: name ?? null }),
    ...(carrier?.provider === 'SIP' ? trunkColumns(app, id!, carrier) : {}),
  });
}

/** The number keeps its carrier, and its account if it has one. Credentials cannot be omitted. */
async function checkSameCarrier(
  app: App,
  checks: Checks,
  { provider }: PhoneNumber,
  carrier: Carrier,
): Promise<void> {
  if (carrier.provider !== provider) {
    const message = `The provider of the number is ${provider} and cannot be changed. Release the number and import it again with the other provider.`;
    checks.add('INVALID_INPUT', message, carrier.path);
    return;
  }
  if (carrier.provider === 'SIP') return;
  const { account, members, path } = carrier;
  if (!account) {
    for (const name of members) addMissing(checks, path, name);
    return;
  }
  const config = await app.db.telephonyConfig.findUnique({ where: { provider } });
  if (config && config.accountSid !== account.sid) {
    const sid = [...path, 'accountSid'];
    const message = `\`${sid.join('.')}\` is not the account of the number, which cannot be changed. To use another account, release all numbers of this one and import them again.`;
    checks.add('INVALID_INPUT', message, sid);
  }
}

/** @throws UserInputError if Ultravox refuses the account; the credentials are then as before. */
async function replaceCredentials(
  app: App,
  viewer: Viewer,
  id: string,
  carrier: AccountCarrier,
): Promise<void> {
  const sent = await app.db.$transaction(async (tx) => {
    const checks = new Checks();
    const claimed = await claimAccount(app, tx, viewer, { checks, carrier });
    // The number cannot be released while the account is locked. Without it the account might have no number at all.
    await requireNumber(tx, checks, viewer, id);
    checks.throwIfAny();
    return claimed;
  });
  if (!sent) return;
  await sendAccount(app, sent, {
    consequence: 'so its credentials were not changed. Check them and try again.',
    undo: async (tx, config) => config && restoreCredentials(app, tx, config, sent),
  });
}
