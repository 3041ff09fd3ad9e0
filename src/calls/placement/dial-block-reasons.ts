/** Checks right before a call is sent whether its number must not be dialed after all. */
import type { App, Tx } from '../../app.ts';
import { isOnDoNotCallList } from '../../contacts/do-not-call.ts';
import type { UserErrorCode } from '../../errors.ts';
import type { Call } from '../../generated/prisma/client.ts';
import { Checks } from '../../infra/checks.ts';
import { canonicalPhoneNumber } from '../../infra/phone-number.ts';
import { phoneNumberRules } from '../../organizations/service.ts';
import { CANCELLED } from '../status.ts';

/** Reason why a number must not be dialed, as the end of its call. */
export interface DialBlockReason {
  failureCode: UserErrorCode;
  endReason: 'SYSTEM_ERROR' | 'INVALID_NUMBER';
  failure: string;
}

/** End of a call that was not sent because its number is on the do-not-call list. */
export const ON_DO_NOT_CALL_LIST = {
  transition: 'WITHDRAW',
  status: 'FAILED',
  failureCode: 'DO_NOT_CALL',
  endReason: 'SYSTEM_ERROR',
  failure: 'The number was added to the do-not-call list before it was dialed.',
} as const;

/** A campaign's only caller ID may also be one of its contacts. */
const SAME_AS_CALLER_ID: DialBlockReason = {
  failureCode: 'INVALID_INPUT',
  endReason: 'INVALID_NUMBER',
  failure: 'The number is the caller ID itself. Nobody was called.',
};

/**
 * Checks the number again right before it is dialed, because the contact may have been stored under older rules. The
 * statement that uses the claim checks the do-not-call list for all forms of a canonical number. A failing query
 * throws, so that nothing is dialed.
 */
export async function findDialBlockReason(app: App, call: Call): Promise<DialBlockReason | null> {
  const { phoneNumber } = call;
  if (phoneNumber === null) return null;
  const isCanonical = canonicalPhoneNumber(phoneNumber) === phoneNumber;
  if (!isCanonical && (await isListed(app.db, call))) return ON_DO_NOT_CALL_LIST;
  if (canonicalPhoneNumber(phoneNumber) === call.ownNumber) return SAME_AS_CALLER_ID;
  const checks = new Checks();
  checks.phoneNumber(phoneNumber, ['phoneNumber'], { allowPremium: false });
  const [problem] = checks.problems;
  if (!problem) return null;
  if (problem.code === 'PREMIUM_NUMBER' && (await phoneNumberRules(app, call)).allowPremium) {
    return null;
  }
  const { code: failureCode, message: failure } = problem;
  return { failureCode, endReason: 'INVALID_NUMBER', failure };
}

/**
 * End of a call that was not dialed and whose end was requested: by a user, or because its number was added to the
 * do-not-call list while its request was on the way.
 */
export async function requestedEnd(tx: Tx, call: Call) {
  return (await isListed(tx, call)) ? ON_DO_NOT_CALL_LIST : CANCELLED;
}

export async function isListed(
  db: App['db'] | Tx,
  { organizationId, phoneNumber }: Call,
): Promise<boolean> {
  return phoneNumber !== null && (await isOnDoNotCallList(db, organizationId, phoneNumber));
}
