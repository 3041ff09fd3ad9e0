/**
 * Reads the turns of live calls that have subscribers from Ultravox into the event log, which delivers them to all
 * subscribers. Every process with subscribers takes part. A lease lets only one process at a time read a call;
 * another process takes over when it stops or dies. Calls without subscribers cost nothing.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { sqltag as sql } from '@prisma/client/runtime/client';
import type { App } from '../../app.ts';
import type { Call } from '../../generated/prisma/client.ts';
import { type Lease, LeaseLostError, newLease } from '../../infra/jobs/lease.ts';
import { perInstance } from '../../infra/per-instance.ts';
import type { ReadMessages } from '../../ultravox/client.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import type { Message } from '../../ultravox/wire.ts';
import { isComplete, type Turn, turnsOf } from '../post-call/turns.ts';
import { appendTurns } from './turn-events.ts';

const INTERVAL_MS = 500;
const LEASE_SECONDS = 5;
/** Maximum number of concurrent requests to Ultravox in one process. */
const MAX_CONCURRENT_READS = 20;

export interface WatchedCalls {
  organizationId: string;
  callId: string | null;
  agentId: string | null;
  campaignId: string | null;
}

/** Watches matching live calls until the returned function is called. */
export function watchTurns(app: App, calls: WatchedCalls): () => void {
  const watcher = watchers(app);
  const key = {};
  watcher.wanted.set(key, calls);
  watcher.run();
  return () => void watcher.wanted.delete(key);
}

const watchers = perInstance((app: App) => new TurnWatcher(app));

type LiveCall = Pick<Call, 'id' | 'organizationId' | 'agentId' | 'campaignId' | 'ultravoxId'>;

/** State of a call that this process reads. */
interface CallReadState {
  lease: Lease;
  /** When to renew the lease; null while it is not held. */
  renewAt: number | null;
  messages: ReadMessages | undefined;
  /** The last message as of the previous read; it may still grow. */
  last: string;
  appended: Set<number>;
  busy: boolean;
  /** After a failure, the call is not read before this time. */
  pausedUntil: number;
}

class TurnWatcher {
  readonly wanted = new Map<object, WatchedCalls>();
  readonly #app: App;
  readonly #readStates = new Map<string, CallReadState>();
  #running = false;
  #inFlight = 0;

  constructor(app: App) {
    this.#app = app;
  }

  run(): void {
    if (this.#running) return;
    this.#running = true;
    this.#app.background('watchTurns', async () => {
      try {
        while (this.wanted.size > 0 && !this.#app.closing.aborted) {
          await this.#pollLiveCalls().catch(this.#app.failures.recorder('watchTurns'));
          // Rejects when the app closes.
          const { closing: signal } = this.#app;
          await pause(INTERVAL_MS, undefined, { signal }).catch(() => undefined);
        }
      } finally {
        this.#running = false;
        for (const state of this.#readStates.values()) void this.#release(state);
        this.#readStates.clear();
        if (this.wanted.size > 0 && !this.#app.closing.aborted) this.run();
      }
    });
  }

  async #pollLiveCalls(): Promise<void> {
    const live = await this.#liveCalls();
    const ids = new Set(live.map(({ id }) => id));
    for (const [id, state] of this.#readStates) {
      if (ids.has(id)) continue;
      this.#readStates.delete(id);
      void this.#release(state);
    }
    for (const call of live) {
      const state = this.#readStates.get(call.id) ?? newReadState(call.id);
      this.#readStates.set(call.id, state);
      if (state.busy || state.pausedUntil > Date.now() || this.#inFlight >= MAX_CONCURRENT_READS) {
        continue;
      }
      state.busy = true;
      this.#inFlight += 1;
      this.#app.background('readTurns', async () => {
        try {
          await this.#read(call, state);
        } catch (error) {
          const waits = error instanceof UltravoxError ? (error.retryAfterSeconds ?? 1) : 1;
          state.pausedUntil = Date.now() + waits * 1000;
          this.#app.failures.record('readTurns', error);
        } finally {
          state.busy = false;
          this.#inFlight -= 1;
        }
      });
    }
  }

  /**
   * Returns all matching live calls, since the number of live calls of an account is limited. Those read longest ago
   * come first, so that none is starved when there are more calls than can be read at once.
   */
  async #liveCalls(): Promise<LiveCall[]> {
    const watched = [...this.wanted.values()];
    const wanted = new Set(watched.map(keyOf));
    // Only the narrowest criterion of each subscription, so that the query text does not depend on their number.
    const calls = new Set<string>();
    const agents = new Set<string>();
    const campaigns = new Set<string>();
    const organizations = new Set<string>();
    for (const { callId, agentId, campaignId, organizationId } of watched) {
      if (callId) calls.add(callId);
      else if (campaignId) campaigns.add(campaignId);
      else if (agentId) agents.add(agentId);
      else organizations.add(organizationId);
    }
    // `ended_at` has its own index, unlike the status.
    const live = await this.#app.db.$queryRaw<LiveCall[]>`
      SELECT id, organization_id AS "organizationId", agent_id AS "agentId",
        campaign_id AS "campaignId", ultravox_id AS "ultravoxId"
      FROM calls
      WHERE status = 'IN_PROGRESS' AND ended_at IS NULL AND deleted_at IS NULL
        AND ultravox_id IS NOT NULL
        AND (id = ANY(${[...calls]}::uuid[]) OR agent_id = ANY(${[...agents]}::uuid[])
          OR campaign_id = ANY(${[...campaigns]}::uuid[])
          OR organization_id = ANY(${[...organizations]}::uuid[]))`;
    const rank = new Map([...this.#readStates.keys()].map((id, index) => [id, index]));
    const rankOf = ({ id }: LiveCall): number => rank.get(id) ?? -1;
    return live
      .filter((call) => keysOf(call).some((key) => wanted.has(key)))
      .sort((a, b) => rankOf(a) - rankOf(b));
  }

  async #read(call: LiveCall, state: CallReadState): Promise<void> {
    // Moves the call to the end of the order even if another process reads it, so that the calls behind it get a turn.
    if (this.#readStates.delete(call.id)) this.#readStates.set(call.id, state);
    if (!(await this.#holdsLease(call, state))) return;
    const read = await this.#app.ultravox.calls.moreMessages(
      call.ultravoxId ?? '',
      state.messages,
      { signal: this.#app.closing },
    );
    state.messages = read;
    const turns = finalTurns(read.messages, state).filter(
      ({ position }) => !state.appended.has(position),
    );
    if (turns.length === 0) return;
    await appendTurns(this.#app, call.id, turns);
    for (const { position } of turns) state.appended.add(position);
  }

  /** Acquires or renews the lease on reading the call. Returns whether it is held. */
  async #holdsLease({ id }: LiveCall, state: CallReadState): Promise<boolean> {
    const { lease, renewAt } = state;
    if (renewAt !== null && renewAt > Date.now()) return true;
    const held = renewAt === null ? await this.#claim(id, lease) : await this.#renew(lease);
    if (!held) {
      // Another process reads the call, so the state kept here is outdated.
      Object.assign(state, newReadState(id));
      return false;
    }
    state.renewAt = Date.now() + (LEASE_SECONDS * 1000) / 3;
    return true;
  }

  #claim(callId: string, lease: Lease): Promise<boolean> {
    return lease.claimOrInsert(this.#app.db, {
      columns: ['call_id', 'organization_id'],
      select: sql`SELECT id, organization_id FROM calls
        WHERE id = ${callId}::uuid AND status = 'IN_PROGRESS'`,
    });
  }

  async #renew(lease: Lease): Promise<boolean> {
    try {
      await lease.renew(this.#app.db);
      return true;
    } catch (error) {
      if (error instanceof LeaseLostError) return false;
      throw error;
    }
  }

  async #release({ lease }: CallReadState): Promise<void> {
    await lease.release(this.#app.db).catch(this.#app.failures.recorder('releaseTurns'));
  }
}

function keyOf({ organizationId, callId, agentId, campaignId }: WatchedCalls): string {
  return JSON.stringify([organizationId, callId, agentId, campaignId]);
}

/** Returns the keys of all subscriptions that match the call. */
function keysOf({ id, organizationId, agentId, campaignId }: LiveCall): string[] {
  return [id, null].flatMap((callId) =>
    [agentId, null].flatMap((agent) =>
      [campaignId, null].map((campaign) =>
        keyOf({ organizationId, callId, agentId: agent, campaignId: campaign }),
      ),
    ),
  );
}

const LEASE_COLUMNS = { table: 'call_turn_watches', id: 'lease_id', until: 'lease_until' };

function newReadState(callId: string): CallReadState {
  return {
    lease: newLease({
      columns: LEASE_COLUMNS,
      row: sql`call_id = ${callId}::uuid`,
      seconds: LEASE_SECONDS,
    }),
    renewAt: null,
    messages: undefined,
    last: '',
    appended: new Set(),
    busy: false,
    pausedUntil: 0,
  };
}

/**
 * Returns the turns that will not change anymore. The last message is final if it has not changed since the previous
 * read, and a tool use once it has a result.
 */
function finalTurns(messages: readonly Message[], state: CallReadState): Turn[] {
  const last = messages.at(-1);
  const looks = JSON.stringify([messages.length, last?.text]);
  const isStill = state.last === looks;
  state.last = looks;
  return turnsOf(messages).filter(
    (turn) => isComplete(turn) && (isStill || turn.position < messages.length - 1),
  );
}
