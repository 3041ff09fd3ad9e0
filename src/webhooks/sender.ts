/**
 * Sends queued deliveries. Each endpoint has its own lane with room for a few concurrent requests, so that slow and
 * dead receivers do not delay the others. Deliveries are claimed for a limited time: those claimed by a process that
 * died are sent again by another.
 */
import type { App } from '../app.ts';
import { Prisma } from '../generated/prisma/client.ts';
import { newId } from '../infra/ids.ts';
import { guardedPost } from '../infra/outgoing/guarded-post.ts';
import { perInstance } from '../infra/per-instance.ts';
import { mayReceive } from './addresses.ts';
import { type AttemptResult, recordAttempt } from './attempts.ts';
import type { ClaimedDelivery, Endpoint } from './claimed-delivery.ts';
import { messageId } from './messages.ts';
import { signingSecretsOf } from './secrets.ts';
import { webhookHeaders } from './signature.ts';

/** Bus topic that announces queued deliveries to the processes that send them. */
const WEBHOOKS_TOPIC = 'webhooks';

const LANE = 5;
/** Number of consecutive failures after which an endpoint gets only one delivery at a time. */
const FAILURES_BEFORE_PROBING = 10;
/** Maximum number of concurrent requests in a process. Endpoints that keep failing share half of them. */
const MAX_REQUESTS = 500;
/** Number of endpoints for which deliveries are claimed concurrently. */
const CLAIMS = 10;
/** Time by which a claim outlasts the timeout of the request. */
const CLAIM_MARGIN_SECONDS = 15;
const MAX_ANSWER_BYTES = 1_024;

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
  sender(app).look();
}

/** SQL condition: whether a delivery is due. */
export function hasDueDeliveries(app: App): Prisma.Sql {
  return Prisma.sql`EXISTS (SELECT 1 FROM webhook_endpoints e WHERE ${isDue(app)})`;
}

const sender = perInstance((app: App) => new Sender(app));

class Sender {
  readonly #app: App;
  /** Number of requests in progress, by endpoint. */
  readonly #lanes = new Map<string, number>();
  /** Number of these requests that belong to endpoints that keep failing. */
  #probes = 0;
  #requests = 0;
  #looking = false;
  #again = false;

  constructor(app: App) {
    this.#app = app;
  }

  start(): void {
    const { bus, closing } = this.#app;
    const stopListening = bus.subscribe(WEBHOOKS_TOPIC, () => this.look());
    closing.addEventListener('abort', stopListening);
  }

  /** Fills the lanes of all endpoints that have due deliveries. Runs do not overlap. */
  look(): void {
    if (this.#app.closing.aborted) return;
    this.#again = true;
    if (this.#looking) return;
    this.#looking = true;
    this.#app.background('sendWebhooks', async () => {
      try {
        while (this.#again && !this.#app.closing.aborted) {
          this.#again = false;
          const due = await dueEndpoints(this.#app);
          for (let start = 0; start < due.length; start += CLAIMS) {
            const some = due.slice(start, start + CLAIMS);
            await Promise.all(some.map((endpoint) => this.#fill(endpoint)));
          }
        }
      } catch (error) {
        this.#app.failures.record('sendWebhooks', error);
      } finally {
        this.#looking = false;
      }
    });
  }

  /** Claims as many deliveries as the lane has room for, and sends them. */
  async #fill(endpoint: Endpoint): Promise<void> {
    if (this.#app.closing.aborted) return;
    const probing = endpoint.consecutiveFailures >= FAILURES_BEFORE_PROBING;
    const busy = this.#lanes.get(endpoint.id) ?? 0;
    const room = Math.min(
      (probing ? 1 : LANE) - busy,
      MAX_REQUESTS - this.#requests,
      probing ? MAX_REQUESTS / 2 - this.#probes : LANE,
    );
    if (room <= 0) return;
    // The room is taken before the statement, since lanes are filled concurrently.
    this.#lanes.set(endpoint.id, busy + room);
    this.#requests += room;
    if (probing) this.#probes += room;
    let claimed: ClaimedDelivery[] = [];
    try {
      claimed = await claim(this.#app, endpoint.id, room);
    } finally {
      this.#leave(endpoint.id, room - claimed.length, probing);
    }
    for (const delivery of claimed) {
      this.#app.background('sendWebhook', () => this.#send(endpoint, delivery, probing));
    }
  }

  async #send(endpoint: Endpoint, delivery: ClaimedDelivery, probing: boolean): Promise<void> {
    try {
      await sendDelivery(this.#app, endpoint, delivery);
    } catch (error) {
      // The claim expires, and the delivery is sent again.
      this.#app.failures.record('sendWebhook', error);
    } finally {
      this.#leave(endpoint.id, 1, probing);
    }
    try {
      const [next] = await dueEndpoints(this.#app, endpoint.id);
      if (next) await this.#fill(next);
    } catch (error) {
      this.#app.failures.record('sendWebhooks', error);
    }
  }

  /** Gives back the room of requests that ended or were not needed. */
  #leave(endpointId: string, count: number, probing: boolean): void {
    this.#requests -= count;
    if (probing) this.#probes -= count;
    const left = (this.#lanes.get(endpointId) ?? 0) - count;
    if (left > 0) this.#lanes.set(endpointId, left);
    else this.#lanes.delete(endpointId);
  }
}

function isDue(app: App): Prisma.Sql {
  const now = app.now();
  return Prisma.sql`e.disabled_at IS NULL AND (e.paused_until IS NULL OR e.paused_until <= ${now})
    AND EXISTS (
      SELECT 1 FROM webhook_deliveries d
      WHERE d.endpoint_id = e.id AND d.next_attempt_at <= ${now}
        AND (d.claimed_until IS NULL OR d.claimed_until < clock_timestamp()))`;
}

/** Enabled endpoints with a due delivery that nobody has claimed. */
async function dueEndpoints(app: App, endpointId?: string): Promise<Endpoint[]> {
  const rows = await app.db.$queryRaw<{ id: string }[]>`
    SELECT e.id FROM webhook_endpoints e
    WHERE (${endpointId ?? null}::uuid IS NULL OR e.id = ${endpointId ?? null}::uuid)
      AND ${isDue(app)}`;
  if (rows.length === 0) return [];
  return app.db.webhookEndpoint.findMany({
    where: { id: { in: rows.map(({ id }) => id) } },
    include: { agent: { select: { id: true, crmWebhookSecret: true } } },
  });
}

function claim(app: App, endpointId: string, count: number): Promise<ClaimedDelivery[]> {
  const seconds = app.config.WEBHOOK_TIMEOUT_SECONDS + CLAIM_MARGIN_SECONDS;
  return app.db.$queryRaw<ClaimedDelivery[]>`
    UPDATE webhook_deliveries d
    SET claim_id = ${newId()}::uuid,
      claimed_until = clock_timestamp() + make_interval(secs => ${seconds}::float8)
    FROM webhook_messages m
    WHERE m.id = d.message_id AND d.id IN (
      SELECT id FROM webhook_deliveries
      WHERE endpoint_id = ${endpointId}::uuid AND next_attempt_at <= ${app.now()}
        AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
      ORDER BY next_attempt_at, id LIMIT ${count}
      FOR UPDATE SKIP LOCKED)
    RETURNING d.id, d.claim_id AS "claimId", d.attempt_count AS "attemptCount", d.tries,
      d.message_id AS "messageId", m.body`;
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
    maxAnswerBytes: MAX_ANSWER_BYTES,
    allowPrivate: mayReceive(app.config, endpoint.url),
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
