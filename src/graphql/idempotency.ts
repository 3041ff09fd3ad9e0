/**
 * Idempotency keys: a mutation sent again under the same key gives the stored result and does
 * nothing. The record is made before the mutation runs. A run that dies leaves it with a lease; who
 * comes next runs the mutation again, and arrives at the same object ids (see `newObjectId`), so
 * what the dead run had already made is found and not made twice.
 */
import { createHash } from 'node:crypto';
import { type DocumentNode, type ExecutionResult, Kind, print } from 'graphql';
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import { newId } from '../infra/ids.ts';
import type { Viewer } from '../organizations/viewer.ts';

const RETENTION_HOURS = 24;
const LEASE_SECONDS = 20;
const WAIT_MS = 100;
const MAX_KEY = 200;

export interface IdempotentOperation {
  key: string;
  document: DocumentNode;
  operationName: string | null | undefined;
  variables: unknown;
}

/**
 * Runs `execute` at most once for a key, and gives its stored result otherwise.
 *
 * @throws RequestError IDEMPOTENCY_KEY_REUSED when the key was used for anything else.
 */
export async function once(
  app: App,
  viewer: Viewer,
  operation: IdempotentOperation,
  execute: (viewer: Viewer) => Promise<ExecutionResult>,
): Promise<ExecutionResult> {
  checkKey(operation.key);
  const fingerprint = fingerprintOf(operation, viewer);
  const { organizationId } = viewer;
  const { key } = operation;
  const context = `idempotency:${organizationId}:${key}`;
  for (;;) {
    const claim = await claimKey(app, organizationId, key, fingerprint);
    if (claim.fingerprint !== fingerprint) {
      throw new RequestError(
        'IDEMPOTENCY_KEY_REUSED',
        'This idempotency key was already used for another operation or other variables. Use a new key for each thing you want done.',
      );
    }
    if (claim.response !== null) {
      const stored = JSON.parse(app.cipher.decrypt(claim.response, context)) as ExecutionResult;
      return { ...stored, extensions: { ...stored.extensions, idempotentReplay: true } };
    }
    if (claim.leaseId) {
      return run(app, organizationId, key, claim.leaseId, context, () =>
        execute({
          ...viewer,
          idempotency: { seed: `${organizationId}/${key}`, at: claim.createdAt },
        }),
      );
    }
    // Somebody else is at it: wait for the result, or for the lease to run out.
    await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
  }
}

async function run(
  app: App,
  organizationId: string,
  key: string,
  leaseId: string,
  context: string,
  execute: () => Promise<ExecutionResult>,
): Promise<ExecutionResult> {
  const mine = { organizationId, key, leaseId };
  const renewal = setInterval(
    () => {
      app.db.idempotencyKey
        .updateMany({ where: mine, data: { leaseUntil: leaseEnd() } })
        .catch((error) => app.log.warn({ err: error }, 'An idempotency lease was not renewed'));
    },
    (LEASE_SECONDS * 1000) / 3,
  );
  try {
    const result = await execute();
    if (result.errors?.length) {
      // A refusal of the whole, or our own failure: not a result to keep. The next try runs.
      await app.db.idempotencyKey.updateMany({
        where: mine,
        data: { leaseUntil: null, leaseId: null },
      });
      return result;
    }
    const response = app.cipher.encrypt(JSON.stringify(result), context);
    await app.db.idempotencyKey.updateMany({
      where: mine,
      data: { response, leaseUntil: null, leaseId: null },
    });
    return result;
  } finally {
    clearInterval(renewal);
  }
}

interface Claim {
  fingerprint: string;
  response: string | null;
  createdAt: Date;
  /** Set when the caller is the one to run it. */
  leaseId: string | null;
}

async function claimKey(
  app: App,
  organizationId: string,
  key: string,
  fingerprint: string,
): Promise<Claim> {
  const leaseId = newId();
  const now = new Date();
  const inserted = await app.db.$executeRaw`
    INSERT INTO idempotency_keys (organization_id, key, fingerprint, lease_until, lease_id, created_at)
    VALUES (${organizationId}::uuid, ${key}, ${fingerprint}, ${leaseEnd()}, ${leaseId}::uuid, ${now})
    ON CONFLICT (organization_id, key) DO UPDATE SET
      lease_until = EXCLUDED.lease_until, lease_id = EXCLUDED.lease_id,
      fingerprint = CASE WHEN idempotency_keys.created_at < ${expiry(now)} THEN EXCLUDED.fingerprint ELSE idempotency_keys.fingerprint END,
      response = NULL,
      created_at = CASE WHEN idempotency_keys.created_at < ${expiry(now)} THEN EXCLUDED.created_at ELSE idempotency_keys.created_at END
    WHERE idempotency_keys.created_at < ${expiry(now)}
      OR (idempotency_keys.response IS NULL
        AND idempotency_keys.fingerprint = EXCLUDED.fingerprint
        AND (idempotency_keys.lease_until IS NULL OR idempotency_keys.lease_until < ${now}))`;
  const row = await app.db.idempotencyKey.findUnique({
    where: { organizationId_key: { organizationId, key } },
  });
  if (!row) return claimKey(app, organizationId, key, fingerprint);
  return { ...row, leaseId: inserted === 1 && row.leaseId === leaseId ? leaseId : null };
}

function leaseEnd(): Date {
  return new Date(Date.now() + LEASE_SECONDS * 1000);
}

function expiry(now: Date): Date {
  return new Date(now.getTime() - RETENTION_HOURS * 3_600_000);
}

/** Drops keys that are past their time. */
export async function dropExpiredIdempotencyKeys(app: App): Promise<void> {
  await app.db.idempotencyKey.deleteMany({ where: { createdAt: { lt: expiry(app.now()) } } });
}

function checkKey(key: string): void {
  if (key.length === 0 || key.length > MAX_KEY || !/^[\x21-\x7e]+$/.test(key)) {
    throw new RequestError(
      'BAD_USER_INPUT',
      `An idempotency key has 1 to ${MAX_KEY} visible ASCII characters, for example a UUID.`,
    );
  }
}

/**
 * The same for the same operation and variables, however they are laid out, by callers who may do
 * the same: a stored answer is given before scopes are looked at.
 */
function fingerprintOf(
  { document, operationName, variables }: IdempotentOperation,
  { scopes, onlyCallId, onlyCampaignId }: Viewer,
): string {
  const definitions = document.definitions.filter(
    (definition) =>
      definition.kind !== Kind.OPERATION_DEFINITION ||
      !operationName ||
      definition.name?.value === operationName,
  );
  const text = print({ ...document, definitions });
  const rights = [...scopes].sort().join() + (onlyCallId ?? onlyCampaignId ?? '');
  return createHash('sha256')
    .update([text, canonical(variables), rights].join('\0'))
    .digest('hex');
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value && typeof value === 'object') {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}
