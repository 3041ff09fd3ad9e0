/** Carrier accounts: their input, and their ownership. Each account belongs to one organization. */
import type { App, Tx } from '../app.ts';
import type { ProblemPath } from '../errors.ts';
import type { PhoneNumber, TelephonyConfig } from '../generated/prisma/client.ts';
import type { Checks } from '../infra/checks.ts';
import { isUnambiguousHost } from '../infra/outgoing/addresses.ts';
import { enqueueSync } from '../sync/service.ts';
import type { Viewer } from '../viewer.ts';
import { encryptSip, type TelnyxSecrets, type TwilioSecrets } from './credentials.ts';
import { accountInUse, telephonyConfigSync } from './sync.ts';

type Maybe = string | null | undefined;

/** Exactly one member is given. */
export interface CarrierInput {
  twilio?: { accountSid?: Maybe; authToken?: Maybe } | null | undefined;
  telnyx?:
    | { accountSid?: Maybe; apiKey?: Maybe; publicKey?: Maybe; applicationSid?: Maybe }
    | null
    | undefined;
  sip?: { server: string; username: string; password: string } | null | undefined;
}

export interface AccountCarrier {
  provider: 'TWILIO' | 'TELNYX';
  path: ProblemPath;
  members: string[];
  account: Account | null;
}

interface Trunk {
  provider: 'SIP';
  path: ProblemPath;
  server: string;
  username: string;
  password: string;
}

export type Carrier = AccountCarrier | Trunk;

export interface Account {
  sid: string;
  secrets: TwilioSecrets | TelnyxSecrets;
}

const TWILIO_SID = /^AC[0-9a-fA-F]{32}$/;
const SIP_SERVER =
  /^(?<host>(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?::(?<port>\d{1,5}))?(?:;transport=(?:tcp|tls|udp))?$/i;

/** Returns undefined if the input is invalid. Messages never quote a value, because it may be a secret. */
export function checkCarrier(checks: Checks, input: CarrierInput): Carrier | undefined {
  const before = checks.problems.length;
  const carrier = readCarrier(checks, input);
  return checks.problems.length > before ? undefined : carrier;
}

function readCarrier(checks: Checks, input: CarrierInput): Carrier | undefined {
  if (input.twilio) {
    const path = ['provider', 'twilio'];
    const { accountSid, authToken } = input.twilio;
    const members = { accountSid, authToken };
    if (isEmptyInput(members)) return carrierOf('TWILIO', path, members, null);
    const sid = accountSid ?? '';
    if (accountSid && !TWILIO_SID.test(accountSid)) {
      checks.add(
        'INVALID_INPUT',
        '`provider.twilio.accountSid` must be "AC" followed by 32 hexadecimal digits, as shown in the Twilio console.',
        [...path, 'accountSid'],
      );
    }
    const values = required(checks, members, path, { accountSid: 34, authToken: 200 });
    const account = values && { sid, secrets: { authToken: values.authToken } };
    return account && carrierOf('TWILIO', path, members, account);
  }
  if (input.telnyx) {
    const path = ['provider', 'telnyx'];
    const { accountSid, apiKey, publicKey, applicationSid } = input.telnyx;
    const members = { accountSid, apiKey, publicKey, applicationSid };
    if (isEmptyInput(members)) return carrierOf('TELNYX', path, members, null);
    const limits = { accountSid: 100, apiKey: 200, publicKey: 200, applicationSid: 40 };
    const values = required(checks, members, path, limits);
    if (!values) return undefined;
    const { accountSid: sid, ...secrets } = values;
    return carrierOf('TELNYX', path, members, { sid, secrets });
  }
  if (input.sip) return readSip(checks, input.sip);
  return checks.add('REQUIRED', 'Provide one of `twilio`, `telnyx` and `sip`.', ['provider']);
}

function readSip(
  checks: Checks,
  sip: { server: string; username: string; password: string },
): Carrier {
  const path = ['provider', 'sip'];
  const match = SIP_SERVER.exec(sip.server);
  const port = Number(match?.groups?.port ?? 5060);
  const hostLength = match?.groups?.host?.length ?? 0;
  const isHost = isUnambiguousHost(match?.groups?.host ?? '');
  if (!match || !isHost || port < 1 || port > 65_535 || hostLength > 253) {
    checks.add(
      'INVALID_INPUT',
      '`provider.sip.server` must be a host name or IPv4 address, optionally with a port and a transport, such as "sip.example.com:5061;transport=tls".',
      [...path, 'server'],
    );
  }
  checks.text(sip.username, [...path, 'username'], { min: 1, max: 100 });
  checks.text(sip.password, [...path, 'password'], { min: 1, max: 200 });
  return { provider: 'SIP', path, ...sip };
}

/** `account` is null for an input without credentials: the account that the organization has imported is used. */
function carrierOf(
  provider: 'TWILIO' | 'TELNYX',
  path: ProblemPath,
  members: object,
  account: Account | null,
): Carrier {
  return { provider, path, members: Object.keys(members), account };
}

function isEmptyInput(members: Record<string, Maybe>): boolean {
  return Object.values(members).every((value) => value === null || value === undefined);
}

/** Requires all members. `limits` holds their maximum lengths. */
function required<Name extends string>(
  checks: Checks,
  members: Record<Name, Maybe>,
  path: ProblemPath,
  limits: Record<Name, number>,
): Record<Name, string> | undefined {
  const before = checks.problems.length;
  const names = Object.keys(limits) as Name[];
  for (const name of names) {
    const value = members[name];
    if (value === null || value === undefined) addMissing(checks, path, name);
    else checks.text(value, [...path, name], { min: 1, max: limits[name] });
  }
  return checks.problems.length > before ? undefined : (members as Record<Name, string>);
}

export function addMissing(checks: Checks, path: ProblemPath, name: string): void {
  checks.add(
    'REQUIRED',
    `\`${[...path, name].join('.')}\` is required. Credentials can be omitted only to import a number of an account from which you have imported one before.`,
    [...path, name],
  );
}

/**
 * Reports why the organization cannot use this account. An account of another organization and another account of the
 * same organization cause the same problem, so that nothing about other organizations is revealed.
 */
export function checkOwnership(
  checks: Checks,
  viewer: Viewer,
  carrier: AccountCarrier,
  config: TelephonyConfig | null,
): void {
  const own = config?.organizationId === viewer.organizationId;
  const { account } = carrier;
  if (account ? config && (!own || config.accountSid !== account.sid) : config && !own) {
    checks.add('CARRIER_ACCOUNT_CONFLICT', accountInUse(carrier.provider), carrier.path);
  } else if (!account && (!config || config.deletedAt)) {
    for (const name of carrier.members) addMissing(checks, carrier.path, name);
  }
}

/** Returns the columns of a phone number that belong to its trunk. */
export function trunkColumns(
  app: App,
  numberId: string,
  { server, username, password }: Trunk,
): Pick<PhoneNumber, 'sipServer' | 'sipUsername' | 'credentials'> {
  return {
    sipServer: server,
    sipUsername: username,
    credentials: encryptSip(app, numberId, { username, password }),
  };
}

/** Returns the row of the provider, locked until the transaction ends. Lock it before its phone numbers. */
export async function lockConfig(
  tx: Tx,
  provider: 'TWILIO' | 'TELNYX',
): Promise<TelephonyConfig | null> {
  await tx.$queryRaw`
    SELECT 1 FROM telephony_configs WHERE provider = ${provider}::"PhoneNumberProvider" FOR UPDATE`;
  return tx.telephonyConfig.findUnique({ where: { provider } });
}

/**
 * Deletes the account if the organization has no number of it left. If it may be at Ultravox, it is removed there after
 * the transaction, and then the row is deleted.
 *
 * @returns the ID of the row to sync; null if there is nothing to remove at Ultravox.
 */
export async function deleteIfUnused(
  app: App,
  tx: Tx,
  config: TelephonyConfig,
): Promise<string | null> {
  const { id, organizationId, provider } = config;
  const left = await tx.phoneNumber.count({
    where: { organizationId, provider, releasedAt: null },
  });
  if (left > 0) return null;
  if (!config.remoteId && !config.remoteAttemptAt) {
    await tx.telephonyConfig.delete({ where: { provider } });
    return null;
  }
  await tx.telephonyConfig.update({
    where: { provider },
    data: { deletedAt: app.now(), revision: { increment: 1 } },
  });
  await enqueueSync(app, tx, telephonyConfigSync, config);
  return id;
}
