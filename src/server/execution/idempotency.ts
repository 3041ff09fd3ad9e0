/**
 * Idempotency keys: a mutation that is sent again with the same key returns the stored result.
 *
 * A record with a lease is written before the mutation runs. If the process crashes, the next request
 * after the lease runs the mutation again with the same object ids (see `newObjectId`), so it finds
 * what was already created. A mutation that would fail when it is repeated stores its result in the transaction
 * of its change (see `commitResult`). If a run must be repeated, because of top-level errors or a mutation that may
 * succeed later, the results of finished mutations are stored, and only the others run again.
 */
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { type DocumentNode, type ExecutionResult, Kind, print } from 'graphql';
import type { App } from '../../app.ts';
import { RequestError } from '../../errors.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { runInBatches } from '../../infra/database/run-in-batches.ts';
import { type Lease, leaseIsFree, newLease, whileRenewing } from '../../infra/jobs/lease.ts';
import type { Idempotency, Viewer } from '../../viewer.ts';
import { checkAwaited } from './awaited.ts';
import { rowsFromText, rowsToText } from './rows-as-text.ts';

const RETENTION_HOURS = 24;
const LEASE_SECONDS = 20;
/** Interval at which a request looks whether another one still runs the mutation: it doubles up to the second value. */
const WAIT_MS = { min: 100, max: 1_000 };

export interface IdempotentOperation {
  key: string;
  document: DocumentNode;
  operationName: string | null | undefined;
  variables: unknown;
  /** Whether nobody waits for the result anymore. */
  isDisconnected: (() => boolean) | undefined;
}

/**
 * Runs `execute` once for a key. Later calls return the stored result.
 *
 * @throws RequestError IDEMPOTENCY_KEY_REUSED if the key was used for another operation, or by a caller with other rights.
 */
export async function runIdempotent(
  app: App,
  viewer: Viewer,
  operation: IdempotentOperation,
  execute: (viewer: Viewer) => Promise<ExecutionResult>,
): Promise<ExecutionResult> {
  const fingerprints = fingerprintsOf(app, operation, viewer);
  const id: RecordId = { organizationId: viewer.organizationId, key: operation.key };
  for (;;) {
    const claim = await claimKey(app, id, fingerprints);
    if (!Object.values(fingerprints).includes(claim.fingerprint)) {
      throw new RequestError(
        'IDEMPOTENCY_KEY_REUSED',
        'This idempotency key was already used for another operation, with other variables, or by a caller with other scopes. Use a new key for each request.',
      );
    }
    if (claim.response !== null) {
      const stored = JSON.parse(app.cipher.decrypt(claim.response, cipherContext(id)));
      return { ...stored, extensions: { ...stored.extensions, idempotentReplay: true } };
    }
    if (claim.lease) {
      const idempotency = {
        seed: `${id.organizationId}/${id.key}`,
        at: claim.createdAt,
        results: storedResults(app, id, claim.fieldResults),
        ...committedResults(app, id, claim.lease, claim.committedResults),
      };
      return run(app, { id, lease: claim.lease, results: idempotency.results }, () =>
        execute({ ...viewer, idempotency }),
      );
    }
    await waitForOther(app, id, operation.isDisconnected);
  }
}

/**
 * Waits until another request, which runs the mutation, has stored its result or lost its lease.
 *
 * @throws RequestError UNAVAILABLE if the process stops, or if the client has gone away
 */
async function waitForOther(
  app: App,
  { organizationId, key }: RecordId,
  isDisconnected: IdempotentOperation['isDisconnected'],
): Promise<void> {
  for (let waitMs = WAIT_MS.min; ; waitMs = Math.min(2 * waitMs, WAIT_MS.max)) {
    await pause(waitMs, undefined, { signal: app.closing }).catch(() => undefined);
    checkAwaited(app, isDisconnected);
    // Only reads, since many requests may wait for one key.
    const running = await app.rows.$queryRaw<object[]>`
      SELECT 1 FROM idempotency_keys
      WHERE organization_id = ${organizationId}::uuid AND key = ${key}
        AND response IS NULL AND NOT ${leaseIsFree({ until: 'lease_until' })}`;
    if (running.length === 0) return;
  }
}

interface RecordId {
  organizationId: string;
  key: string;
}

function cipherContext({ organizationId, key }: RecordId): string {
  return `idempotency:${organizationId}:${key}`;
}

type Results = Idempotency['results'];

function storedResults(app: App, id: RecordId, stored: string | null): Results {
  if (stored === null) return new Map();
  const results = rowsFromText(app.cipher.decrypt(stored, cipherContext(id)));
  return new Map(results as [string, object][]);
}

function committedResults(
  { cipher }: App,
  id: RecordId,
  lease: Lease,
  stored: unknown,
): Pick<Idempotency, 'committed' | 'commit'> {
  const results = Object.entries((stored ?? {}) as Record<string, string>);
  return {
    committed: new Map(
      results.map(([seed, text]) => [seed, rowsFromText(cipher.decrypt(text, cipherContext(id)))]),
    ),
    async commit(tx, seed, result) {
      const text = cipher.encrypt(rowsToText(result), cipherContext(id));
      await lease.renew(tx, {
        set: Prisma.sql`committed_results =
          coalesce(committed_results, '{}') || jsonb_build_object(${seed}::text, ${text}::text)`,
      });
    },
  };
}

interface Run {
  id: RecordId;
  lease: Lease;
  /** Filled by the mutations as they run. */
  results: Results;
}

/** Runs the operation while renewing the lease, then stores its result, or the results that need not run again. */
async function run(
  app: App,
  { id, lease, results }: Run,
  execute: () => Promise<ExecutionResult>,
): Promise<ExecutionResult> {
  const renewal = {
    seconds: LEASE_SECONDS,
    renew: () => lease.renew(app.db),
    failed: app.failures.recorder('renewIdempotencyLease'),
  };
  return whileRenewing(renewal, async () => {
    const result = await execute();
    const encrypt = (text: string) => app.cipher.encrypt(text, cipherContext(id));
    const final = [...results].filter(([, value]) => value !== null);
    const isComplete = !result.errors?.length && final.length === results.size;
    const response = isComplete ? encrypt(JSON.stringify(result)) : null;
    const fields = isComplete || final.length === 0 ? null : encrypt(rowsToText(final));
    await lease.release(app.db, {
      set: Prisma.sql`response = ${response}, field_results = ${fields}`,
    });
    return result;
  });
}

interface Claim {
  fingerprint: string;
  response: string | null;
  fieldResults: string | null;
  committedResults: unknown;
  createdAt: Date;
  /** Null if another request runs the mutation or has run it. */
  lease: Lease | null;
}

async function claimKey(app: App, id: RecordId, fingerprints: Fingerprints): Promise<Claim> {
  const { organizationId, key } = id;
  const { keyed, plain } = fingerprints;
  const lease = newLease({
    columns: { table: 'idempotency_keys', id: 'lease_id', until: 'lease_until' },
    row: Prisma.sql`organization_id = ${organizationId}::uuid AND key = ${key}`,
    seconds: LEASE_SECONDS,
  });
  const now = app.now();
  const isExpired = Prisma.sql`stored.created_at < ${expiry(now)}`;
  const inserted = await app.db.$executeRaw`
    INSERT INTO idempotency_keys AS stored
      (organization_id, key, fingerprint, lease_until, lease_id, created_at)
    VALUES (${organizationId}::uuid, ${key}, ${keyed}, ${lease.expiry}, ${lease.id}::uuid, ${now})
    ON CONFLICT (organization_id, key) DO UPDATE SET
      lease_until = EXCLUDED.lease_until, lease_id = EXCLUDED.lease_id,
      fingerprint = EXCLUDED.fingerprint,
      response = NULL,
      field_results = CASE WHEN ${isExpired} THEN NULL ELSE stored.field_results END,
      committed_results = CASE WHEN ${isExpired} THEN NULL ELSE stored.committed_results END,
      created_at = CASE WHEN ${isExpired} THEN EXCLUDED.created_at ELSE stored.created_at END
    WHERE ${isExpired}
      OR (stored.response IS NULL AND stored.fingerprint IN (EXCLUDED.fingerprint, ${plain})
        AND ${leaseIsFree({ until: 'stored.lease_until' })})`;
  const row = await app.db.idempotencyKey.findUnique({
    where: { organizationId_key: id },
  });
  if (!row) return claimKey(app, id, fingerprints);
  return { ...row, lease: inserted === 1 && row.leaseId === lease.id ? lease : null };
}

function expiry(now: Date): Date {
  return new Date(now.getTime() - RETENTION_HOURS * 3_600_000);
}

/** Deletes keys after their retention time. */
export async function dropExpiredIdempotencyKeys(app: App): Promise<void> {
  const before = expiry(app.now());
  await runInBatches(
    app.closing,
    (limit) => app.db.$executeRaw`
      DELETE FROM idempotency_keys WHERE (organization_id, key) IN (
        SELECT organization_id, key FROM idempotency_keys WHERE created_at < ${before}
        LIMIT ${limit})`,
  );
}

/**
 * Equal for equal operations and variables of callers with equal rights, regardless of formatting.
 * The rights are included because a stored result is returned without checking scopes.
 */
interface Fingerprints {
  /** Stored. Keyed, so that a password among the variables cannot be guessed from it. */
  keyed: string;
  /** Accepted too, since a record of an earlier version has it until it expires. */
  plain: string;
}

function fingerprintsOf(
  { cipher }: App,
  { document, operationName, variables }: IdempotentOperation,
  { scopes, onlyCallId, onlyCampaignId }: Viewer,
): Fingerprints {
  const definitions = document.definitions.filter(
    (definition) =>
      definition.kind !== Kind.OPERATION_DEFINITION ||
      !operationName ||
      definition.name?.value === operationName,
  );
  const text = print({ ...document, definitions });
  const rights = [...scopes].sort().join() + (onlyCallId ?? onlyCampaignId ?? '');
  const content = [text, canonical(variables), rights].join('\0');
  return {
    keyed: cipher.derive(`idempotency\0${content}`),
    plain: createHash('sha256').update(content).digest('hex'),
  };
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
