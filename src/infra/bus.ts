/**
 * The bus: delivers small JSON messages to all current listeners of a topic, without delivery guarantees.
 * A listener that needs every change reads a table and uses the bus only to know when to read.
 */
import { EventEmitter } from 'node:events';
import type { Failures } from './failures.ts';
import { newId } from './ids.ts';
import type { Logger } from './logger.ts';
import { connectRedisChannels } from './redis/redis-channels.ts';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

export interface Bus {
  /**
   * Delivers to this process immediately, and to others while Redis is reachable. Never throws: errors of listeners
   * are recorded.
   */
  publish(topic: string, message: Json): void;
  /**
   * Returns the function that ends the subscription. `onJoined` is called once messages from other
   * processes arrive too; the listener can then read what it missed.
   */
  subscribe(topic: string, listener: (message: Json) => void, onJoined?: () => void): () => void;
  readonly kind: 'in-process' | 'redis';
  close(): Promise<void>;
}

interface LocalBus extends Bus {
  /** Delivers a message to which the caller keeps no reference. */
  deliver(topic: string, message: Json): void;
  hasListeners(topic: string): boolean;
}

/** A bus within one process. Messages are serialized as JSON, as with Redis. */
export function createInProcessBus(failures: Failures): LocalBus {
  const emitter = new EventEmitter().setMaxListeners(0);
  const hasListeners = (topic: string): boolean => emitter.listenerCount(topic) > 0;
  return {
    kind: 'in-process',
    hasListeners,
    deliver: (topic, message) => void emitter.emit(topic, message),
    publish(topic, message) {
      if (hasListeners(topic)) emitter.emit(topic, JSON.parse(JSON.stringify(message)) as Json);
    },
    subscribe(topic, listener, onJoined) {
      // An error is neither the publisher's nor that of the other listeners.
      const guarded = (message: Json): void => {
        try {
          listener(message);
        } catch (error) {
          failures.record('bus.listen', error, { level: 'error' });
        }
      };
      emitter.on(topic, guarded);
      onJoined?.();
      return () => emitter.off(topic, guarded);
    },
    async close() {
      emitter.removeAllListeners();
    },
  };
}

const CHANNEL_PREFIX = 'truedy:bus:';

/**
 * A bus over Redis pub/sub, with one channel per topic, so that a process receives only the topics it
 * listens to. Still works within the process while Redis is unreachable; reconnects automatically.
 */
export function createRedisBus(options: { url: string; log: Logger; failures: Failures }): Bus {
  const { url, log, failures } = options;
  const local = createInProcessBus(failures);
  const origin = newId();
  const own = `{"origin":"${origin}",`;
  let unreachable = false;
  const channels = connectRedisChannels({
    url,
    onError(error) {
      if (!unreachable)
        log.warn(
          { error: error.message },
          'Redis is unreachable; live updates between processes are delayed',
        );
      unreachable = true;
    },
    onReady() {
      if (unreachable) log.info('Redis is reachable again');
      unreachable = false;
    },
    onMessage(channel, text) {
      if (text.startsWith(own)) return;
      try {
        const { message } = JSON.parse(text) as { message: Json };
        local.deliver(channel.slice(CHANNEL_PREFIX.length), message);
      } catch (error) {
        failures.record('bus.receive', error, {
          message: 'Ignored a malformed message on the bus',
        });
      }
    },
  });
  const listeners = new Map<string, number>();
  const changeListeners = (topic: string, by: 1 | -1): number => {
    const count = (listeners.get(topic) ?? 0) + by;
    if (count === 0) listeners.delete(topic);
    else listeners.set(topic, count);
    return count;
  };

  return {
    kind: 'redis',
    publish(topic, message) {
      const text = JSON.stringify(message);
      if (local.hasListeners(topic)) local.deliver(topic, JSON.parse(text) as Json);
      channels.publish(CHANNEL_PREFIX + topic, `${own}"message":${text}}`).catch(
        failures.recorder('bus.publish', {
          message: 'Could not publish a message on Redis; subscribers find the change by polling',
        }),
      );
    },
    subscribe(topic, listener, onJoined) {
      const stopListening = local.subscribe(topic, listener);
      const isFirst = changeListeners(topic, 1) === 1;
      // Redis answers in order, so a later listener has joined once its own answer arrives.
      if (isFirst || onJoined) {
        channels
          .subscribe(CHANNEL_PREFIX + topic)
          .then(onJoined)
          .catch(failures.recorder('bus.subscribe'));
      }
      let isListening = true;
      return () => {
        if (!isListening) return;
        isListening = false;
        stopListening();
        if (changeListeners(topic, -1) > 0) return;
        channels.unsubscribe(CHANNEL_PREFIX + topic).catch(failures.recorder('bus.unsubscribe'));
      };
    },
    async close() {
      channels.close();
      await local.close();
    },
  };
}
