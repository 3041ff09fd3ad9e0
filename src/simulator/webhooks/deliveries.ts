/** Deliveries of webhooks and their retries. */
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { type FaultKind, fitsDelivery } from '../faults.ts';
import { post } from '../http/post.ts';
import { objectAt, stringAt, stringsAt } from '../json.ts';
import { type CallRecord, type DeliveryRecord, isoTime, type World } from '../world.ts';

const FIRST_RETRY_MS = 30_000;
const MAX_STORED_FAILURES = 10;
const MAX_STORED_DELIVERIES = 5000;
const STALE_MS = 10 * 60_000;

/**
 * Sends events to the hooks that subscribe to them. First attempts for the same call and hook
 * are sent in order; retries, other calls and other hooks do not wait for them.
 */
export interface Sender {
  emit(event: string, record: CallRecord): void;
  retry(deliveryId: string): void;
  /** Continues the deliveries of a stopped process. */
  start(): void;
  stop(): void;
}

export function createSender(world: World): Sender {
  return new WebhookSender(world);
}

class WebhookSender implements Sender {
  readonly #world: World;
  /** Ids of queued deliveries by call and hook. */
  readonly #lanes = new Map<string, string[]>();
  readonly #busy = new Set<string>();
  #stopped = false;

  constructor(world: World) {
    this.#world = world;
  }

  #enqueue(delivery: DeliveryRecord): void {
    const lane = laneOf(delivery);
    const queue = this.#lanes.get(lane);
    if (queue === undefined) this.#lanes.set(lane, [delivery.deliveryId]);
    else queue.push(delivery.deliveryId);
    // After the commit of the surrounding transaction.
    setImmediate(() => this.#pump(lane));
  }

  #pump(lane: string): void {
    if (this.#stopped || this.#busy.has(lane)) return;
    const deliveryId = this.#lanes.get(lane)?.shift();
    if (deliveryId === undefined) {
      this.#lanes.delete(lane);
      return;
    }
    this.#busy.add(lane);
    this.#firstAttempt(deliveryId)
      .catch((error: unknown) => this.#world.log('error', 'webhook delivery failed', { error }))
      .finally(() => {
        this.#busy.delete(lane);
        this.#pump(lane);
      });
  }

  async #firstAttempt(deliveryId: string): Promise<void> {
    const delivery = this.#world.deliveries.get(deliveryId);
    if (delivery === undefined || delivery.state !== 'pending') return;
    const selected = this.#world.faults.select((fault) => fitsDelivery(fault, delivery.event));
    const kinds = selected.map((fault) => fault.kind);
    const msOf = (kind: FaultKind): number =>
      Math.max(0, ...selected.filter((fault) => fault.kind === kind).map((fault) => fault.ms));
    const marked = this.#update(delivery, { faults: kinds });
    if (kinds.includes('webhookLost')) {
      this.#update(marked, { state: 'lost', nextAttemptAt: null });
      return;
    }
    if (kinds.includes('webhookReorder')) {
      // Leaves the queue, so that later events can overtake it.
      const dueAt = this.#world.now() + msOf('webhookReorder');
      this.#world.store.transaction(() => {
        this.#update(marked, { nextAttemptAt: isoTime(dueAt) });
        this.#world.scheduler.plan('retryWebhook', deliveryId, dueAt);
      });
      return;
    }
    if (kinds.includes('webhookDelay')) await pause(msOf('webhookDelay'));
    await this.#attempt(deliveryId);
    if (kinds.includes('webhookDuplicate')) await this.#attempt(deliveryId, true);
  }

  async #attempt(deliveryId: string, again = false): Promise<void> {
    const delivery = this.#world.deliveries.get(deliveryId);
    if (this.#stopped || delivery === undefined || (delivery.state !== 'pending' && !again)) return;
    if (delivery.webhookId !== null && this.#world.webhooks.get(delivery.webhookId) === undefined) {
      this.#update(delivery, { state: 'exhausted', nextAttemptAt: null });
      return;
    }
    const startedAt = this.#world.now();
    const secrets =
      delivery.webhookId === null
        ? delivery.secrets
        : (this.#world.webhooks.get(delivery.webhookId)?.secrets ?? delivery.secrets);
    const stale = delivery.faults.includes('webhookStaleTimestamp');
    const timestamp = isoTime(startedAt - (stale ? STALE_MS : 0));
    const signed = delivery.faults.includes('webhookBadSignature')
      ? secrets.map(() => randomBytes(32).toString('hex'))
      : secrets.map((secret) => sign(secret, delivery.body, timestamp));
    const outcome = await post(delivery.url, delivery.body, {
      timeoutMs: this.#world.settings().webhookTimeoutSeconds * 1000,
      headers: {
        'x-ultravox-webhook-timestamp': timestamp,
        'x-ultravox-webhook-signature': signed.join(','),
      },
    });
    if (this.#stopped) return;
    this.#world.store.transaction(() => {
      this.#record(deliveryId, {
        at: isoTime(startedAt),
        status: outcome.status,
        error: outcome.error,
        durationMs: this.#world.now() - startedAt,
      });
    });
  }

  #record(deliveryId: string, result: DeliveryRecord['attempts'][number]): void {
    const delivery = this.#world.deliveries.get(deliveryId);
    if (delivery === undefined) return;
    const attempts = [...delivery.attempts, result];
    const ok = result.status !== null && result.status >= 200 && result.status < 300;
    this.#noteHealth(delivery, ok, result);
    if (ok || delivery.state !== 'pending') {
      const state = ok ? 'delivered' : delivery.state;
      this.#update(delivery, { attempts, state, nextAttemptAt: null });
      return;
    }
    const settings = this.#world.settings();
    if (attempts.length > settings.webhookMaxRetries) {
      this.#update(delivery, { attempts, state: 'exhausted', nextAttemptAt: null });
      return;
    }
    const pauseMs =
      (FIRST_RETRY_MS * 2 ** (attempts.length - 1) * settings.webhookRetryFactor) / settings.speed;
    const dueAt = this.#world.now() + pauseMs;
    this.#update(delivery, { attempts, nextAttemptAt: isoTime(dueAt) });
    this.#world.scheduler.plan('retryWebhook', deliveryId, dueAt);
  }

  #noteHealth(
    delivery: DeliveryRecord,
    ok: boolean,
    result: DeliveryRecord['attempts'][number],
  ): void {
    const hook =
      delivery.webhookId === null ? undefined : this.#world.webhooks.get(delivery.webhookId);
    if (hook === undefined || (ok && hook.failuresInARow === 0)) return;
    const failuresInARow = ok ? 0 : hook.failuresInARow + 1;
    const status =
      failuresInARow >= this.#world.settings().unhealthyAfterFailures
        ? 'unhealthy'
        : ok
          ? 'normal'
          : hook.status;
    const failure = {
      timestamp: result.at,
      failure: result.error ?? `HTTP ${result.status}`,
    };
    this.#world.webhooks.put(hook.webhookId, {
      ...hook,
      failuresInARow,
      status,
      lastStatusChange: status === hook.status ? hook.lastStatusChange : result.at,
      recentFailures: ok
        ? hook.recentFailures
        : [failure, ...hook.recentFailures].slice(0, MAX_STORED_FAILURES),
    });
  }

  #update(delivery: DeliveryRecord, changes: Partial<DeliveryRecord>): DeliveryRecord {
    const next = { ...delivery, ...changes };
    this.#world.deliveries.put(delivery.deliveryId, next);
    return next;
  }

  #add(
    event: string,
    call: CallRecord,
    body: string,
    target: { webhookId: string | null; url: string; secrets: string[] },
  ): void {
    const now = isoTime(this.#world.now());
    const delivery: DeliveryRecord = {
      deliveryId: randomUUID(),
      ...target,
      callId: call.callId,
      event,
      body,
      createdAt: now,
      state: 'pending',
      nextAttemptAt: now,
      faults: [],
      attempts: [],
    };
    this.#world.deliveries.put(delivery.deliveryId, delivery);
    this.#enqueue(delivery);
  }

  emit(event: string, record: CallRecord): void {
    const { call, agentId } = record;
    let body: string | undefined;
    const payload = () => {
      body ??= JSON.stringify({ event, call });
      return body;
    };
    for (const hook of this.#world.webhooks.values()) {
      if (!hook.events.includes(event)) continue;
      if (hook.agentId !== null && hook.agentId !== agentId) continue;
      const { webhookId, url, secrets } = hook;
      this.#add(event, record, payload(), { webhookId, url, secrets });
    }
    const callback = objectAt(objectAt(call, 'callbacks'), event.replace('call.', ''));
    const url = stringAt(callback, 'url');
    if (url !== undefined) {
      this.#add(event, record, payload(), {
        webhookId: null,
        url,
        secrets: stringsAt(callback, 'secrets'),
      });
    }
    forgetOldDeliveries(this.#world);
  }

  retry(deliveryId: string): void {
    setImmediate(() => {
      this.#attempt(deliveryId).catch((error: unknown) =>
        this.#world.log('error', 'webhook retry failed', { error }),
      );
    });
  }

  start(): void {
    for (const delivery of this.#world.deliveries.values()) {
      if (delivery.state !== 'pending') continue;
      if (delivery.attempts.length === 0 && delivery.faults.length === 0) this.#enqueue(delivery);
      else {
        const dueAt = Date.parse(delivery.nextAttemptAt ?? '') || this.#world.now();
        this.#world.scheduler.plan('retryWebhook', delivery.deliveryId, dueAt);
      }
    }
  }

  stop(): void {
    this.#stopped = true;
  }
}

function forgetOldDeliveries(world: World): void {
  if (world.deliveries.size <= MAX_STORED_DELIVERIES * 1.2) return;
  let excess = world.deliveries.size - MAX_STORED_DELIVERIES;
  for (const [id, delivery] of world.deliveries.entries()) {
    if (excess <= 0) return;
    if (delivery.state !== 'pending') {
      world.deliveries.delete(id);
      excess -= 1;
    }
  }
}

function laneOf(delivery: DeliveryRecord): string {
  return `${delivery.webhookId ?? delivery.url}|${delivery.callId}`;
}

function sign(secret: string, body: string, timestamp: string): string {
  return createHmac('sha256', secret).update(body).update(timestamp).digest('hex');
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
