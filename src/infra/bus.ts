/**
 * The live bus: small JSON messages to everybody who listens on a topic now.
 *
 * It promises nothing: a message may be lost (Redis away, a process restarting). Whoever needs
 * every message reads a table and uses the bus only to know when.
 */
import { EventEmitter } from 'node:events';
import { Redis } from 'ioredis';
import { newId } from './ids.ts';
import type { Logger } from './logger.ts';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

export interface Bus {
  /** Delivered to this process at once, to others when Redis can be reached. Never throws. */
  publish(topic: string, message: Json): void;
  /** Returns the function that ends the subscription. */
  subscribe(topic: string, listener: (message: Json) => void): () => void;
  readonly kind: 'in-process' | 'redis';
  close(): Promise<void>;
}

/** Everything in one process. Messages go through JSON, as they would with Redis. */
export function createInProcessBus(): Bus {
  const emitter = new EventEmitter().setMaxListeners(0);
  return {
    kind: 'in-process',
    publish(topic, message) {
      emitter.emit(topic, JSON.parse(JSON.stringify(message)) as Json);
    },
    subscribe(topic, listener) {
      emitter.on(topic, listener);
      return () => emitter.off(topic, listener);
    },
    async close() {
      emitter.removeAllListeners();
    },
  };
}

const CHANNEL = 'truedy:bus';

/**
 * Redis pub/sub between processes, two connections on one channel. Starts without Redis, and
 * connects again by itself for as long as it runs.
 */
export function createRedisBus({ url, log }: { url: string; log: Logger }): Bus {
  const local = createInProcessBus();
  const origin = newId();
  const retryStrategy = (attempt: number): number => Math.min(100 * 2 ** attempt, 2_000);
  const publisher = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy,
  });
  const subscriber = new Redis(url, { maxRetriesPerRequest: null, retryStrategy });
  let away = false;
  for (const connection of [publisher, subscriber]) {
    connection.on('error', (error) => {
      if (!away) log.warn({ error: error.message }, 'Redis is away; live updates come later');
      away = true;
    });
    connection.on('ready', () => {
      if (away) log.info('Redis is back');
      away = false;
    });
  }
  subscriber.subscribe(CHANNEL).catch(() => undefined);
  subscriber.on('message', (_channel, text) => {
    try {
      const message = JSON.parse(text) as { origin: string; topic: string; message: Json };
      if (message.origin !== origin) local.publish(message.topic, message.message);
    } catch (error) {
      log.warn({ error }, 'Ignored a message on the bus that is not ours');
    }
  });

  return {
    kind: 'redis',
    publish(topic, message) {
      local.publish(topic, message);
      publisher.publish(CHANNEL, JSON.stringify({ origin, topic, message })).catch((error) => {
        log.debug({ error: error.message }, 'A wake-up was not published');
      });
    },
    subscribe: local.subscribe,
    async close() {
      publisher.disconnect();
      subscriber.disconnect();
      await local.close();
    },
  };
}
