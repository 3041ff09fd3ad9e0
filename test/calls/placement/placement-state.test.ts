/** Every transition of a call's placement, from every state, on a real database. */
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../../src/app.ts';
import {
  acceptance,
  claimedColumns,
  type EndTransition,
  endOfPlacement,
  type Move,
  moveCalls,
  PLACEMENT_TRANSITIONS,
  type PlacementTransition,
  queuedCall,
  reportedCall,
} from '../../../src/calls/placement/placement-state.ts';
import { type Call, Prisma, PrismaClient } from '../../../src/generated/prisma/client.ts';
import type { CallPlacement } from '../../../src/generated/prisma/enums.ts';
import { newAdapter, newClient } from '../../../src/infra/database/connections.ts';
import { newId } from '../../../src/infra/ids.ts';
import { createLogger } from '../../../src/infra/logger.ts';
import { migrateDatabase } from '../../../src/infra/migrations/migrations.ts';
import { createTestDatabase, type TestDatabase } from '../../support/servers/database.ts';

const AT = new Date('2037-06-02T12:00:00Z');
const LATER = new Date('2037-06-02T13:00:00Z');
const LOOK_UP = { nextCheckAt: LATER, lostAt: LATER };
const FAILED = { status: 'FAILED', endedAt: AT } as const;

/** A row of each state. */
const ROWS = {
  QUEUED: queuedCall(),
  CLAIMED: { placement: 'CLAIMED', claimedAt: AT },
  SENDING: { placement: 'SENDING', claimedAt: AT, sentAt: AT, ...LOOK_UP },
  UNKNOWN: { placement: 'UNKNOWN', claimedAt: AT, sentAt: AT, ...LOOK_UP },
  ACCEPTED: { ...reportedCall('u-1', AT), ...LOOK_UP },
  REFUSED: { placement: 'REFUSED', claimedAt: AT, sentAt: AT, ...FAILED },
  NOT_CREATED: { placement: 'NOT_CREATED', claimedAt: AT, sentAt: AT, ...FAILED },
  WITHDRAWN: { placement: 'WITHDRAWN', ...FAILED },
} as const satisfies Record<CallPlacement, Partial<Call>>;

const STATES = Object.keys(ROWS) as CallPlacement[];
const TRANSITIONS = Object.keys(PLACEMENT_TRANSITIONS) as PlacementTransition[];

let database: TestDatabase;
let db: PrismaClient;

beforeAll(async () => {
  database = await createTestDatabase();
  db = new PrismaClient({ adapter: newAdapter(database.url) });
});
afterAll(async () => {
  await db?.$disconnect();
  await database?.drop();
});

/** A call in this state, without the rows that it refers to. Rolls back whatever `work` does. */
async function withCall<Result>(
  state: CallPlacement,
  work: (tx: Tx, call: Call) => Promise<Result>,
): Promise<Result> {
  const rollback = new Error('rollback');
  let result: Result | undefined;
  await db
    .$transaction(async (tx) => {
      await tx.$executeRaw`SET LOCAL session_replication_role = replica`;
      const call = await tx.call.create({
        data: {
          id: newId(),
          organizationId: newId(),
          agentId: newId(),
          direction: 'OUTBOUND',
          medium: 'SIP',
          status: 'CREATED',
          maxDurationSeconds: 60,
          joinTimeoutSeconds: 30,
          ...ROWS[state],
        },
      });
      result = await work(tx, call);
      throw rollback;
    })
    .catch((error) => {
      if (error !== rollback) throw error;
    });
  return result as Result;
}

const MOVES: Partial<Record<PlacementTransition, Move>> = {
  CLAIM: { transition: 'CLAIM' },
  RELEASE: { transition: 'RELEASE', notBefore: null },
  SEND: { transition: 'SEND', nextCheckAt: LATER, lostAt: Prisma.sql`${LATER}::timestamptz` },
  POSTPONE: { transition: 'POSTPONE', notBefore: LATER },
  LOSE_RESPONSE: { transition: 'LOSE_RESPONSE', isRefused: false, nextCheckAt: LATER },
};

const casesOf = <T>(keys: readonly T[]) =>
  keys.flatMap((key) => STATES.map((state) => [key, state] as const));

describe('moveCalls', () => {
  const transitions = Object.keys(MOVES) as PlacementTransition[];

  it.each(casesOf(transitions))('%s: from %s', async (transition, state) => {
    const { from, to } = PLACEMENT_TRANSITIONS[transition];
    await withCall(state, async (tx, { id, updatedAt: _, ...before }) => {
      const where = Prisma.sql`id = ${id}::uuid`;
      const moved = await moveCalls(tx, MOVES[transition]!, { where });
      const after = await tx.call.findUniqueOrThrow({ where: { id } });
      if (from.includes(state)) {
        expect(moved).toMatchObject([{ id, owner: null, placeBefore: null }]);
        expect(after.placement).toBe(to);
      } else {
        expect(moved).toEqual([]);
        expect(after).toMatchObject(before);
      }
    });
  });

  it('forgets a request that was not carried out', async () => {
    await withCall('SENDING', async (tx, { id }) => {
      await moveCalls(tx, MOVES.POSTPONE!, { where: Prisma.sql`id = ${id}::uuid` });
      expect(await tx.call.findUniqueOrThrow({ where: { id } })).toMatchObject({
        claimedAt: null,
        sentAt: null,
        placeNotBefore: LATER,
        nextCheckAt: null,
        lostAt: null,
      });
    });
  });
});

describe('endOfPlacement and acceptance', () => {
  const ends = TRANSITIONS.filter((one) => !(one in MOVES) || one === 'LOSE_RESPONSE');

  it.each(casesOf(ends))('%s: from %s', async (transition, state) => {
    const { from, to } = PLACEMENT_TRANSITIONS[transition];
    await withCall(state, async (tx, call) => {
      const columns = () =>
        transition === 'ACCEPT'
          ? acceptance(call, 'u-2', AT)
          : { ...endOfPlacement(call, transition as EndTransition), ...FAILED };
      if (!from.includes(state)) {
        expect(columns).toThrow(`${transition}: from ${state}`);
        return;
      }
      const after = await tx.call.update({ where: { id: call.id }, data: columns() });
      expect(after.placement).toBe(to);
    });
  });
});

describe('claimedColumns', () => {
  it('are those of a claimed call', async () => {
    await withCall('QUEUED', async (tx, { id }) => {
      const { columns, values } = claimedColumns(Prisma.sql`NULL`);
      await tx.$executeRaw`
        INSERT INTO calls (id, organization_id, agent_id, direction, medium, status,
          max_duration_seconds, join_timeout_seconds, updated_at, ${columns})
        SELECT new_id(), organization_id, agent_id, direction, medium, status, max_duration_seconds,
          join_timeout_seconds, updated_at, ${values} FROM calls WHERE id = ${id}::uuid`;
      const calls = await tx.call.findMany({ where: { id: { not: id } } });
      expect(calls).toMatchObject([{ placement: 'CLAIMED', claimedAt: expect.any(Date) }]);
    });
  });
});

describe('the database', () => {
  it.each<[string, CallPlacement, string]>([
    ['a queued call with a claim', 'QUEUED', 'claimed_at = now()'],
    ['a claimed call without a claim', 'CLAIMED', 'claimed_at = NULL'],
    ['a claimed call that was sent', 'CLAIMED', 'sent_at = now()'],
    ['a claimed call that rings', 'CLAIMED', `status = 'RINGING'`],
    ['a claimed call that has ended', 'CLAIMED', 'ended_at = now()'],
    ['a claimed call whose end was requested', 'CLAIMED', 'end_requested_at = now()'],
    ['a claimed call that is looked up', 'CLAIMED', 'next_check_at = now()'],
    ['a call that is sent without an instant', 'SENDING', 'sent_at = NULL'],
    ['a call that is sent and never looked up', 'SENDING', 'next_check_at = NULL'],
    ['an unknown call that is never closed', 'UNKNOWN', 'lost_at = NULL'],
    ['a sent call that is queued with its request', 'SENDING', `placement = 'QUEUED'`],
    ['an unknown call with an ID at Ultravox', 'UNKNOWN', `ultravox_id = 'u-3'`],
    ['an accepted call without an ID at Ultravox', 'ACCEPTED', 'ultravox_id = NULL'],
    ['an accepted call that waits', 'ACCEPTED', 'place_not_before = now()'],
    ['a refused call that has not ended', 'REFUSED', `status = 'CREATED', ended_at = NULL`],
    ['a withdrawn call that is completed', 'WITHDRAWN', `status = 'COMPLETED'`],
  ])('refuses %s', async (_title, state, set) => {
    const change = withCall(state, (tx) => tx.$executeRawUnsafe(`UPDATE calls SET ${set}`));
    await expect(change).rejects.toThrow('violates check constraint');
  });
});

describe('the migration to one column', () => {
  const migrations = fileURLToPath(new URL('../../../prisma/migrations', import.meta.url));
  const NAME = '20261128210000_call_placement';
  const log = createLogger({ level: 'silent' });
  const OLD: [placement: CallPlacement, columns: Record<string, string>][] = [
    ['QUEUED', {}],
    ['QUEUED', { place_not_before: 'now()' }],
    ['CLAIMED', { placing_at: 'now()', next_check_at: 'now()', lost_at: 'now()' }],
    ['UNKNOWN', { placing_at: 'now()', sending_at: 'now()', next_check_at: 'now()' }],
    // Its end was requested before it was sent.
    ['UNKNOWN', { placing_at: 'now()', end_requested_at: 'now()' }],
    ['ACCEPTED', { placing_at: 'now()', sending_at: 'now()', ultravox_id: "'u-1'" }],
    ['ACCEPTED', { ultravox_id: "'u-2'", status: "'COMPLETED'", ended_at: 'now()' }],
    ['WITHDRAWN', { status: "'CANCELLED'", ended_at: 'now()', place_not_before: 'now()' }],
    ['WITHDRAWN', { status: "'FAILED'", ended_at: 'now()', placing_at: 'now()' }],
    [
      'REFUSED',
      {
        ...{ status: "'FAILED'", ended_at: 'now()', placing_at: 'now()', sending_at: 'now()' },
        failure_code: "'ULTRAVOX_REFUSED'",
      },
    ],
    [
      'NOT_CREATED',
      {
        ...{ status: "'FAILED'", ended_at: 'now()', placing_at: 'now()', sending_at: 'now()' },
        end_reason: "'SYSTEM_ERROR'",
      },
    ],
    [
      'UNKNOWN',
      {
        ...{ status: "'FAILED'", ended_at: 'now()', placing_at: 'now()', sending_at: 'now()' },
        end_reason: "'UNKNOWN'",
      },
    ],
  ];

  it('carries over a call in every state', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'truedy-migrations-'));
    const empty = await createTestDatabase({ empty: true });
    const client = newClient(empty.url);
    try {
      const migrate = async (chosen: (name: string) => boolean) => {
        for (const name of (await readdir(migrations)).filter(chosen)) {
          await cp(path.join(migrations, name), path.join(directory, name), { recursive: true });
        }
        await migrateDatabase(empty.url, { directory, log });
      };
      await migrate((name) => name < NAME);
      await client.connect();
      // Without the rows that calls refer to.
      const database = new URL(empty.url).pathname.slice(1);
      await client.query(`ALTER DATABASE ${database} SET session_replication_role = replica`);
      await client.query('SET session_replication_role = replica');
      for (const [index, [, columns]] of OLD.entries()) {
        const row: Record<string, string> = {
          id: `'00000000-0000-7000-8000-0000000000${index + 10}'`,
          organization_id: 'gen_random_uuid()',
          agent_id: 'gen_random_uuid()',
          direction: "'OUTBOUND'",
          medium: "'SIP'",
          status: "'CREATED'",
          max_duration_seconds: '60',
          join_timeout_seconds: '30',
          updated_at: 'now()',
          ...columns,
        };
        await client.query(
          `INSERT INTO calls (${Object.keys(row)}) VALUES (${Object.values(row).join(', ')})`,
        );
      }
      await migrate((name) => name === NAME);
      const { rows } = await client.query('SELECT placement FROM calls ORDER BY id');
      expect(rows.map(({ placement }) => placement)).toEqual(OLD.map(([placement]) => placement));
    } finally {
      await client.end();
      await empty.drop();
      await rm(directory, { recursive: true, force: true });
    }
  });
});
