import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { presentCall } from './call-state.ts';
import { fitsDelivery } from './faults.ts';
import { objectAt, stringAt, stringsAt } from './json.ts';
import { post } from './post.ts';
import { at, type CallRecord, type DeliveryRecord, type World } from './world.ts';

const FIRST_RETRY_MS = 30_000;
const KEPT_FAILURES = 10;
const KEPT_DELIVERIES = 5000;
const STALE_MS = 10 * 60_000;

/**
 * Sends what happened to the hooks that want it. The first attempts for one call at one hook go
 * out one after the other; retries, other calls and other hooks wait for nothing.
 */
export interface Sender {
  emit(event: string, record: CallRecord): void;
  retry(deliveryId: string): void;
  /** Takes up what a stopped process left behind. */
  start(): void;
  stop(): void;
}

export function makeSender(world: World): Sender {
  const lanes = new Map<string, string[]>();
  const busy = new Set<string>();
  let stopped = false;

  function enqueue(delivery: DeliveryRecord): void {
    const lane = laneOf(delivery);
    const queue = lanes.get(lane);
    if (queue === undefined) lanes.set(lane, [delivery.deliveryId]);
    else queue.push(delivery.deliveryId);
    // Not before the transaction around this is committed.
    setImmediate(pump, lane);
  }

  function pump(lane: string): void {
    if (stopped || busy.has(lane)) return;
    const deliveryId = lanes.get(lane)?.shift();
    if (deliveryId === undefined) {
      lanes.delete(lane);
      return;
    }
    busy.add(lane);
    firstAttempt(deliveryId)
      .catch((error: unknown) => world.log('error', 'webhook delivery failed', { error }))
      .finally(() => {
        busy.delete(lane);
        pump(lane);
      });
  }

  async function firstAttempt(deliveryId: string): Promise<void> {
    const delivery = world.deliveries.get(deliveryId);
    if (delivery === undefined || delivery.state !== 'pending') return;
    const struck = world.faults.strike((fault) => fitsDelivery(fault, delivery.event));
    const kinds = struck.map((fault) => fault.kind);
    const waitMs = Math.max(0, ...struck.map((fault) => fault.ms));
    const marked = update(delivery, { faults: kinds });
    if (kinds.includes('webhookLost')) {
      update(marked, { state: 'lost', nextAttemptAt: null });
      return;
    }
    if (kinds.includes('webhookReorder')) {
      // Steps out of the lane, so that whatever comes next overtakes it.
      const dueAt = world.now() + waitMs;
      world.store.transaction(() => {
        update(marked, { nextAttemptAt: at(dueAt) });
        world.scheduler.plan('retryWebhook', deliveryId, dueAt);
      });
      return;
    }
    if (kinds.includes('webhookDelay')) await pause(waitMs);
    await attempt(deliveryId);
    if (kinds.includes('webhookDuplicate')) await attempt(deliveryId, true);
  }

  async function attempt(deliveryId: string, again = false): Promise<void> {
    const delivery = world.deliveries.get(deliveryId);
    if (stopped || delivery === undefined || (delivery.state !== 'pending' && !again)) return;
    if (delivery.webhookId !== null && world.webhooks.get(delivery.webhookId) === undefined) {
      update(delivery, { state: 'exhausted', nextAttemptAt: null });
      return;
    }
    const startedAt = world.now();
    const secrets =
      delivery.webhookId === null
        ? delivery.secrets
        : (world.webhooks.get(delivery.webhookId)?.secrets ?? delivery.secrets);
    const stale = delivery.faults.includes('webhookStaleTimestamp');
    const timestamp = at(startedAt - (stale ? STALE_MS : 0));
    const signed = delivery.faults.includes('webhookBadSignature')
      ? secrets.map(() => randomBytes(32).toString('hex'))
      : secrets.map((secret) => sign(secret, delivery.body, timestamp));
    const outcome = await post(delivery.url, delivery.body, {
      timeoutMs: world.settings().webhookTimeoutSeconds * 1000,
      headers: {
        'x-ultravox-webhook-timestamp': timestamp,
        'x-ultravox-webhook-signature': signed.join(','),
      },
    });
    if (stopped) return;
    world.store.transaction(() => {
      record(deliveryId, {
        at: at(startedAt),
        status: outcome.status,
        error: outcome.error,
        durationMs: world.now() - startedAt,
      });
    });
  }

  function record(deliveryId: string, result: DeliveryRecord['attempts'][number]): void {
    const delivery = world.deliveries.get(deliveryId);
    if (delivery === undefined) return;
    const attempts = [...delivery.attempts, result];
    const ok = result.status !== null && result.status >= 200 && result.status < 300;
    noteHealth(delivery, ok, result);
    if (ok || delivery.state !== 'pending') {
      const state = ok ? 'delivered' : delivery.state;
      update(delivery, { attempts, state, nextAttemptAt: null });
      return;
    }
    const settings = world.settings();
    if (attempts.length > settings.webhookMaxRetries) {
      update(delivery, { attempts, state: 'exhausted', nextAttemptAt: null });
      return;
    }
    const pauseMs =
      (FIRST_RETRY_MS * 2 ** (attempts.length - 1) * settings.webhookRetryFactor) / settings.speed;
    const dueAt = world.now() + pauseMs;
    update(delivery, { attempts, nextAttemptAt: at(dueAt) });
    world.scheduler.plan('retryWebhook', deliveryId, dueAt);
  }

  function noteHealth(
    delivery: DeliveryRecord,
    ok: boolean,
    result: DeliveryRecord['attempts'][number],
  ): void {
    const hook = delivery.webhookId === null ? undefined : world.webhooks.get(delivery.webhookId);
    if (hook === undefined || (ok && hook.failuresInARow === 0)) return;
    const failuresInARow = ok ? 0 : hook.failuresInARow + 1;
    const status =
      failuresInARow >= world.settings().unhealthyAfterFailures
        ? 'unhealthy'
        : ok
          ? 'normal'
          : hook.status;
    const failure = {
      timestamp: result.at,
      failure: result.error ?? `HTTP ${result.status}`,
    };
    world.webhooks.put(hook.webhookId, {
      ...hook,
      failuresInARow,
      status,
      lastStatusChange: status === hook.status ? hook.lastStatusChange : result.at,
      recentFailures: ok
        ? hook.recentFailures
        : [failure, ...hook.recentFailures].slice(0, KEPT_FAILURES),
    });
  }

  function update(delivery: DeliveryRecord, changes: Partial<DeliveryRecord>): DeliveryRecord {
    const next = { ...delivery, ...changes };
    world.deliveries.put(delivery.deliveryId, next);
    return next;
  }

  function add(
    event: string,
    call: CallRecord,
    body: string,
    target: { webhookId: string | null; url: string; secrets: string[] },
  ): void {
    const now = at(world.now());
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
    world.deliveries.put(delivery.deliveryId, delivery);
    enqueue(delivery);
  }

  return {
    emit(event, call) {
      let body: string | undefined;
      const payload = () => {
        body ??= JSON.stringify({ event, call: presentCall(call) });
        return body;
      };
      for (const hook of world.webhooks.values()) {
        if (!hook.events.includes(event)) continue;
        if (hook.agentId !== null && hook.agentId !== call.agentId) continue;
        const { webhookId, url, secrets } = hook;
        add(event, call, payload(), { webhookId, url, secrets });
      }
      const callback = objectAt(objectAt(call.call, 'callbacks'), event.replace('call.', ''));
      const url = stringAt(callback, 'url');
      if (url !== undefined) {
        add(event, call, payload(), {
          webhookId: null,
          url,
          secrets: stringsAt(callback, 'secrets'),
        });
      }
      forgetOldDeliveries(world);
    },
    retry(deliveryId) {
      setImmediate(() => {
        attempt(deliveryId).catch((error: unknown) =>
          world.log('error', 'webhook retry failed', { error }),
        );
      });
    },
    start() {
      for (const delivery of world.deliveries.values()) {
        if (delivery.state !== 'pending') continue;
        if (delivery.attempts.length === 0 && delivery.faults.length === 0) enqueue(delivery);
        else {
          const dueAt = Date.parse(delivery.nextAttemptAt ?? '') || world.now();
          world.scheduler.plan('retryWebhook', delivery.deliveryId, dueAt);
        }
      }
    },
    stop() {
      stopped = true;
    },
  };
}

function forgetOldDeliveries(world: World): void {
  if (world.deliveries.size <= KEPT_DELIVERIES * 1.2) return;
  let excess = world.deliveries.size - KEPT_DELIVERIES;
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
