/** Redis channels: of a single server, or sharded over the nodes of a cluster. */
import { type Cluster, Redis } from 'ioredis';
import { connectCluster } from './redis-cluster.ts';
import { disconnectWhenUnresponsive, recognizeCluster, retryDelay } from './redis-connections.ts';

const SILENCE_MS = 5_000;

export interface RedisChannels {
  /** Fails immediately while Redis is unavailable. */
  publish(channel: string, text: string): Promise<unknown>;
  /** Resolves once messages can arrive. The subscription survives reconnects, until `unsubscribe`. */
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  close(): void;
}

export interface RedisChannelsOptions {
  url: string;
  onMessage: (channel: string, text: string) => void;
  onError: (error: Error) => void;
  onReady: () => void;
}

/**
 * Connects to Redis, and reconnects whenever the connection is lost. The first connection determines whether it is a
 * single server or a cluster.
 */
export function connectRedisChannels(options: RedisChannelsOptions): RedisChannels {
  const server = connectServer(options);
  let channels: RedisChannels | null = null;
  let closed = false;
  const known = recognizeCluster(server.publisher).then((isCluster) => {
    const isUsed = isCluster && !closed;
    if (isUsed) server.channels.close();
    channels = isUsed ? connectToCluster(options) : server.channels;
    return channels;
  });
  return {
    async publish(channel, text) {
      if (!channels) throw new Error('Redis is not connected yet');
      return channels.publish(channel, text);
    },
    subscribe: async (channel) => (await known).subscribe(channel),
    unsubscribe: async (channel) => (await known).unsubscribe(channel),
    close() {
      closed = true;
      (channels ?? server.channels).close();
    },
  };
}

function connectServer(options: RedisChannelsOptions): {
  publisher: Redis;
  channels: RedisChannels;
} {
  const { url, onMessage, onError, onReady } = options;
  let attempts = 0;
  const publisher = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: retryDelay,
  });
  const subscriber = new Redis(url, {
    maxRetriesPerRequest: null,
    // ioredis counts the attempts since the connection was last ready, which this one always is.
    retryStrategy: () => {
      attempts += 1;
      return retryDelay(attempts);
    },
    // ioredis sends SUBSCRIBE as soon as the connection is open, but restores after a reconnect only the channels
    // of connections that became ready. So this one is ready at once: with the ready check, an INFO that Redis
    // refuses after a SUBSCRIBE, it would connect again and never hear of the channel. Redis accepts SUBSCRIBE
    // while it is loading.
    enableReadyCheck: false,
    disableClientInfo: true,
  });
  watch([publisher], options);
  subscriber.on('error', onError);
  disconnectWhenUnresponsive(publisher, SILENCE_MS);
  disconnectWhenUnresponsive(subscriber, SILENCE_MS, () => {
    attempts = 0;
    onReady();
  });
  subscriber.on('message', onMessage);
  return {
    publisher,
    channels: {
      publish: (channel, text) => publisher.publish(channel, text),
      subscribe: (channel) => subscriber.subscribe(channel),
      unsubscribe: (channel) => subscriber.unsubscribe(channel),
      close() {
        publisher.disconnect();
        subscriber.disconnect();
      },
    },
  };
}

/** Only the node of a channel carries its messages: https://redis.io/docs/latest/develop/pubsub/#sharded-pubsub */
function connectToCluster(options: RedisChannelsOptions): RedisChannels {
  const publisher = connectCluster(options.url, {
    redisOptions: { maxRetriesPerRequest: 0 },
    silenceMs: SILENCE_MS,
    enableOfflineQueue: false,
  });
  const subscriber = connectCluster(options.url, {
    redisOptions: {},
    silenceMs: SILENCE_MS,
    shardedSubscribers: true,
  });
  watch([publisher, subscriber], options);
  subscriber.on('smessage', options.onMessage);
  return {
    publish: (channel, text) => publisher.spublish(channel, text),
    subscribe: (channel) => subscriber.ssubscribe(channel),
    unsubscribe: (channel) => subscriber.sunsubscribe(channel),
    close() {
      publisher.disconnect();
      subscriber.disconnect();
    },
  };
}

function watch(
  connections: readonly (Redis | Cluster)[],
  { onError, onReady }: RedisChannelsOptions,
): void {
  for (const connection of connections) {
    connection.on('error', onError);
    connection.on('ready', onReady);
  }
}
