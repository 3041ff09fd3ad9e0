/**
 * Sends queued deliveries. Each endpoint has its own lane with room for a few concurrent requests, so that slow and
 * dead receivers do not delay the others. Deliveries are claimed for a limited time: those claimed by a process that
 * died are sent again by another.
 */
import type { App } from '../../app.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { createByteBudget } from '../../infra/byte-budget.ts';
import { newId } from '../../infra/ids.ts';
import { guardedPost } from '../../infra/outgoing/guarded-post.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { isAllowedReceiver } from '../addresses.ts';
import type { ClaimedDelivery, Endpoint } from '../claimed-delivery.ts';
import { messageId } from '../messages.ts';
import { signingSecretsOf } from '../secrets.ts';
import { webhookHeaders } from '../signature.ts';
import { type AttemptResult, recordAttempt } from './attempts.ts';

/** Bus topic that announces queued deliveries to the processes that send them. */
const WEBHOOKS_TOPIC = 'webhooks';

const MAX_REQUESTS_PER_ENDPOINT = 5;
/** Maximum number of concurrent requests in a process for an organization, which may have hundreds of slow receivers. */
const MAX_REQUESTS_PER_ORGANIZATION = 50;
/** Number of consecutive failures after which an endpoint gets only one delivery at a time. */
const FAILURES_BEFORE_PROBING = 10;
/** Maximum number of concurrent requests in a process. Endpoints that keep failing share half of them. */
const MAX_REQUESTS = 500;
/** Maximum size of the bodies of these requests. Those of an organization share half of it. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;
/** Maximum size of the bodies that are claimed together, in addition to one of any size. */
const CLAIM_BYTES = 4 * 1024 * 1024;
/** Number of endpoints for which deliveries are claimed concurrently. */
const CLAIM_CONCURRENCY = 10;
/** Time by which a claim outlasts the timeout of the request. */
const CLAIM_MARGIN_SECONDS = 15;
const MAX_RESPONSE_BYTES = 1_024;

/** Wakes the senders of every process. Call it after the commit. */
export function announceDeliveries(app: App): void {
  app.bus.publish(WEBHOOKS_TOPIC, null);
}

/** Sends announced deliveries until the app closes. Safe in several processes. */
export function startSender(app: App): void {
  sender(app).start();
}

/** Sends due deliveries: retries, and deliveries whose announcement was lost. */
export async function sendDueDeliveries(app: App): Promise<void> {
  sender(app).sendDue();
}

/** SQL condition: whether a delivery is due. */
export function hasDueDeliveries(app: App): Prisma.Sql {
  return Prisma.sql`EXISTS (${dueEndpoints(app)})`;
}

const sender = perInstance((app: App) => new Sender(app));

class Sender {
  readonly #app: App;
  /** Number of requests in progress, by endpoint. */
  readonly #lanes = new Map<string, number>();
  /** Number of requests in progress, by organization. */
  readonly #organizations = new Map<string, number>();
  /** Bytes of their bodies. */
  readonly #bodies = createByteBudget(MAX_BODY_BYTES);
  /** Number of these requests that belong to endpoints that keep failing. */
  #probes = 0;
  #requests = 0;
  #isSending = false;
  #sendAgain = false;

  constructor(app: App) {
    this.#app = app;
  }

  start(): void {
    const { bus, closing } = this.#app;
    const stopListening = bus.subscribe(WEBHOOKS_TOPIC, () => this.sendDue());
    closing.addEventListener('abort', stopListening);
  }

  /** Fills the lanes of endpoints that have due deliveries while there is room. Runs do not overlap. */
  sendDue(): void {
    if (this.#app.closing.aborted) return;
    this.#sendAgain = true;
    if (this.#isSending) return;
    this.#isSending = true;
    this.#app.background('sendWebhooks', async () => {
      try {
        while (this.#sendAgain && !this.#app.closing.aborted) {
          this.#sendAgain = false;
          await this.#fillDue();
        }
      } catch (error) {
        this.#app.failures.record('sendWebhooks', error);
      } finally {
        this.#isSending = false;
      }
    });
  }

  /** The rest is left to the end of the requests that take up the room. */
  async #fillDue(): Promise<void> {
    if (this.#requests >= MAX_REQUESTS) return;
    const due = this.#inTurn(await this.#app.db.$queryRaw<DueEndpoint[]>(dueEndpoints(this.#app)));
    for (let start = 0; start < due.length; start += CLAIM_CONCURRENCY) {
      if (this.#requests >= MAX_REQUESTS) return;
      const batch = due
        .slice(start, start + CLAIM_CONCURRENCY)
        .filter(({ organizationId }) => !this.#isFull(organizationId));
      if (batch.length === 0) continue;
      const endpoints = await readyEndpoints(
        this.#app,
        batch.map(({ id }) => id),
      );
      await Promise.all(endpoints.map((endpoint) => this.#fill(endpoint)));
    }
  }

  /** Orders endpoints, preferring organizations and then endpoints with the fewest requests. */
  #inTurn(due: readonly DueEndpoint[]): DueEndpoint[] {
    const requestsOf = ({ id }: DueEndpoint) => this.#lanes.get(id) ?? 0;
    const places = new Map(this.#organizations);
    return due
      .toSorted((a, b) => requestsOf(a) - requestsOf(b))
      .map((endpoint) => {
        const place = places.get(endpoint.organizationId) ?? 0;
        places.set(endpoint.organizationId, place + MAX_REQUESTS_PER_ENDPOINT);
        return { endpoint, place };
      })
      .toSorted((a, b) => a.place - b.place)
      .map(({ endpoint }) => endpoint);
  }

  /** Whether there is no room for another request of this organization. */
  #isFull(organizationId: string): boolean {
    const ofOrganization = this.#organizations.get(organizationId) ?? 0;
    return (
      this.#requests >= MAX_REQUESTS ||
      ofOrganization >= MAX_REQUESTS_PER_ORGANIZATION ||
      this.#bodies.room(organizationId) <= 0
    );
  }

  /** Claims as many deliveries as the lane has room for, and sends them. */
  async #fill(endpoint: Endpoint): Promise<void> {
    if (this.#app.closing.aborted) return;
    const isProbing = endpoint.consecutiveFailures >= FAILURES_BEFORE_PROBING;
    const busy = this.#lanes.get(endpoint.id) ?? 0;
    const capacity = Math.min(
      (isProbing ? 1 : MAX_REQUESTS_PER_ENDPOINT) - busy,
      MAX_REQUESTS - this.#requests,
      MAX_REQUESTS_PER_ORGANIZATION - (this.#organizations.get(endpoint.organizationId) ?? 0),
      isProbing ? MAX_REQUESTS / 2 - this.#probes : MAX_REQUESTS_PER_ENDPOINT,
    );
    const bytes = Math.min(this.#bodies.room(endpoint.organizationId), CLAIM_BYTES);
    if (capacity <= 0 || bytes <= 0) return;
    // The room is taken before the statement, since lanes are filled concurrently.
    this.#takeSlots(endpoint, capacity, isProbing);
    this.#bodies.add(endpoint.organizationId, bytes);
    let claimed: ClaimedDelivery[] = [];
    let size = 0;
    let [wasFull, hadRoomForBodies] = [false, true];
    try {
      claimed = await claim(this.#app, endpoint.id, { count: capacity, bytes });
      size = claimed.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0);
    } finally {
      wasFull = this.#isFull(endpoint.organizationId);
      hadRoomForBodies = this.#bodies.room(endpoint.organizationId) > 0;
      this.#takeSlots(endpoint, claimed.length - capacity, isProbing);
      this.#bodies.add(endpoint.organizationId, size - bytes);
    }
    // Other endpoints may have found no room. Not after an error, which might repeat endlessly.
    const gaveBack = claimed.length < capacity || (!hadRoomForBodies && size < bytes);
    if (wasFull && gaveBack) this.sendDue();
    for (const delivery of claimed) {
      this.#app.background('sendWebhook', () => this.#send(endpoint, delivery, isProbing));
    }
  }

  async #send(endpoint: Endpoint, delivery: ClaimedDelivery, isProbing: boolean): Promise<void> {
    try {
      await sendDelivery(this.#app, endpoint, delivery);
    } catch (error) {
      // The claim expires, and the delivery is sent again.
      this.#app.failures.record('sendWebhook', error);
    }
    const wasFull = this.#isFull(endpoint.organizationId);
    this.#takeSlots(endpoint, -1, isProbing);
    this.#bodies.add(endpoint.organizationId, -Buffer.byteLength(delivery.body));
    // Other endpoints may have waited for the room.
    if (wasFull) return this.sendDue();
    try {
      const [next] = await readyEndpoints(this.#app, [endpoint.id]);
      if (next) await this.#fill(next);
    } catch (error) {
      this.#app.failures.record('sendWebhooks', error);
    }
  }

  /** Counts requests of an endpoint; a negative number for those that ended or were not needed. */
  #takeSlots({ id, organizationId }: Endpoint, count: number, isProbing: boolean): void {
    this.#requests += count;
    if (isProbing) this.#probes += count;
    add(this.#lanes, id, count);
    add(this.#organizations, organizationId, count);
  }
}

function add(counts: Map<string, number>, key: string, count: number): void {
  const sum = (counts.get(key) ?? 0) + count;
  if (sum > 0) counts.set(key, sum);
  else counts.delete(key);
}

interface DueEndpoint {
  id: string;
  organizationId: string;
}

/**
 * SQL: enabled endpoints with a due delivery that nobody has claimed. Goes from each endpoint with a pending delivery to
 * the next in the index of pending deliveries, since most endpoints have none.
 */
function dueEndpoints(app: App): Prisma.Sql {
  const now = app.now();
  return Prisma.sql`
    WITH RECURSIVE pending AS (
      (SELECT endpoint_id FROM webhook_deliveries WHERE next_attempt_at IS NOT NULL
        ORDER BY endpoint_id LIMIT 1)
      UNION ALL
      SELECT further.endpoint_id FROM pending p, LATERAL (
        SELECT endpoint_id FROM webhook_deliveries
        WHERE next_attempt_at IS NOT NULL AND endpoint_id > p.endpoint_id
        ORDER BY endpoint_id LIMIT 1) further
    )
    SELECT e.id, e.organization_id AS "organizationId"
    FROM pending p JOIN webhook_endpoints e ON e.id = p.endpoint_id
    WHERE e.disabled_at IS NULL AND (e.paused_until IS NULL OR e.paused_until <= ${now})
      AND EXISTS (
        SELECT 1 FROM webhook_deliveries d
        WHERE d.endpoint_id = e.id AND d.next_attempt_at <= ${now}
          AND (d.claimed_until IS NULL OR d.claimed_until < clock_timestamp()))`;
}

/** Those of the endpoints that are enabled and not paused. */
function readyEndpoints(app: App, ids: readonly string[]): Promise<Endpoint[]> {
  return app.db.webhookEndpoint.findMany({
    where: {
      id: { in: [...ids] },
      disabledAt: null,
      OR: [{ pausedUntil: null }, { pausedUntil: { lte: app.now() } }],
    },
    include: { agent: { select: { id: true, crmWebhookSecret: true } } },
  });
}

/** Claims the deliveries that are due first, up to a number and a size of their bodies, but at least one. */
function claim(
  app: App,
  endpointId: string,
  { count, bytes }: { count: number; bytes: number },
): Promise<ClaimedDelivery[]> {
  const seconds = app.config.WEBHOOK_TIMEOUT_SECONDS + CLAIM_MARGIN_SECONDS;
  return app.db.$queryRaw<ClaimedDelivery[]>`
    WITH due AS (
      SELECT id, message_id, next_attempt_at FROM webhook_deliveries
      WHERE endpoint_id = ${endpointId}::uuid AND next_attempt_at <= ${app.now()}
        AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
        AND EXISTS (
          SELECT 1 FROM webhook_endpoints WHERE id = ${endpointId}::uuid AND disabled_at IS NULL)
      ORDER BY next_attempt_at, id LIMIT ${count}
      FOR UPDATE SKIP LOCKED
    ), sized AS (
      SELECT due.id, m.body, sum(octet_length(m.body)) OVER (ORDER BY due.next_attempt_at, due.id)
        - octet_length(m.body) AS bytes_before
      FROM due JOIN webhook_messages m ON m.id = due.message_id
    )
    UPDATE webhook_deliveries d
    SET claim_id = ${newId()}::uuid,
      claimed_until = clock_timestamp() + make_interval(secs => ${seconds}::float8)
    FROM sized WHERE d.id = sized.id AND sized.bytes_before < ${bytes}::bigint
    RETURNING d.id, d.claim_id AS "claimId", d.attempt_count AS "attemptCount", d.tries,
      d.message_id AS "messageId", sized.body`;
}

async function sendDelivery(
  app: App,
  endpoint: Endpoint,
  delivery: ClaimedDelivery,
): Promise<void> {
  const startedAt = app.now();
  const began = performance.now();
  const id = messageId(delivery.messageId);
  const secrets = signingSecretsOf(app, endpoint, delivery.tries);
  const answer = await guardedPost({
    url: endpoint.url,
    headers: webhookHeaders({ id, body: delivery.body }, secrets, startedAt),
    body: delivery.body,
    timeoutMs: app.config.WEBHOOK_TIMEOUT_SECONDS * 1000,
    maxResponseBytes: MAX_RESPONSE_BYTES,
    allowPrivate: isAllowedReceiver(app.config, endpoint.url),
    signal: app.closing,
  });
  if (app.closing.aborted && answer.status === null) {
    await releaseClaim(app, delivery);
    return;
  }
  const result: AttemptResult = {
    startedAt,
    durationMs: Math.round(performance.now() - began),
    answer,
    signedWith: secrets?.current ?? null,
  };
  await recordAttempt(app, endpoint, delivery, result);
}

/** Releases a claim when this process ends, so that another process sends the delivery at once. */
async function releaseClaim(app: App, { id, claimId }: ClaimedDelivery): Promise<void> {
  await app.db.$executeRaw`
    UPDATE webhook_deliveries SET claim_id = NULL, claimed_until = NULL
    WHERE id = ${id}::uuid AND claim_id = ${claimId}::uuid`;
}
