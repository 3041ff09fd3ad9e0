/**
 * State of a call on its way to Ultravox: the transition table, and the only source of the values of `calls.placement`
 * and its related columns (`claimed_at`, `sent_at`, `refused_at`, `place_before`, `place_not_before`,
 * `resent_agent_revision`, `ultravox_id`).
 */
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import type { CallPlacement } from '../../generated/prisma/enums.ts';
import type { RawReader } from '../../infra/rows/row-reader.ts';

interface Transition {
  from: readonly CallPlacement[];
  to: CallPlacement;
}

const TRANSITIONS = {
  /** The process that moves the call to SENDING may send it. */
  CLAIM: { from: ['QUEUED'], to: 'CLAIMED' },
  /** The claim is given up or revoked, or its process died. */
  RELEASE: { from: ['CLAIMED'], to: 'QUEUED' },
  /** Right before the request. From here on, only the response or a look-up tells the outcome. */
  SEND: { from: ['CLAIMED'], to: 'SENDING' },
  /** As far as a look-up can show, the request was not carried out; it may be sent again. */
  POSTPONE: { from: ['SENDING', 'UNKNOWN'], to: 'QUEUED' },
  /** The response was lost, or may not come from Ultravox. Only a refusal is sent again, after a look-up. */
  LOSE_RESPONSE: { from: ['SENDING'], to: 'UNKNOWN' },
  /** Ultravox has the call. It may report so at any time, whatever was assumed before. */
  ACCEPT: {
    from: ['QUEUED', 'CLAIMED', 'SENDING', 'UNKNOWN', 'REFUSED', 'NOT_CREATED', 'WITHDRAWN'],
    to: 'ACCEPTED',
  },
  /** The request was certainly not carried out, and the call ends. */
  REFUSE: { from: ['SENDING', 'UNKNOWN'], to: 'REFUSED' },
  /** Ultravox still has no such call after the time limit, and the call ends. */
  CONFIRM_NOT_CREATED: { from: ['SENDING', 'UNKNOWN'], to: 'NOT_CREATED' },
  /** The call ends before it was sent. */
  WITHDRAW: { from: ['QUEUED', 'CLAIMED'], to: 'WITHDRAWN' },
} as const satisfies Record<string, Transition>;

export type PlacementTransition = keyof typeof TRANSITIONS;

export const PLACEMENT_TRANSITIONS: Record<PlacementTransition, Transition> = TRANSITIONS;

/** Placements in which a call that has not ended counts against the concurrency limits. */
const WITH_SLOT: readonly CallPlacement[] = ['CLAIMED', 'SENDING', 'UNKNOWN', 'ACCEPTED'];

/** Age up to which a claim may be used. Older claims are released. */
export const CLAIM_VALID_SECONDS = 10;

export function holdsSlot(call: Pick<Call, 'placement' | 'endedAt'>): boolean {
  return call.endedAt === null && WITH_SLOT.includes(call.placement);
}

/** SQL condition of `holdsSlot`. Such calls have been claimed; the condition says so for the index, to skip waiting ones. */
export const HOLDS_SLOT = Prisma.sql`(ended_at IS NULL AND claimed_at IS NOT NULL
  AND placement IN ('CLAIMED', 'SENDING', 'UNKNOWN', 'ACCEPTED'))`;

export function canMove(
  { placement }: Pick<Call, 'placement'>,
  transition: PlacementTransition,
): boolean {
  return PLACEMENT_TRANSITIONS[transition].from.includes(placement);
}

/** What a transition sets besides the placement, as expressions over the row. */
export type Move =
  /** `placeBefore`: deadline; null removes it. Default: unchanged. */
  | { transition: 'CLAIM'; placeBefore?: Prisma.Sql }
  | { transition: 'RELEASE'; notBefore: Date | null }
  /** `resentAgentRevision`: default: unchanged. */
  | { transition: 'POSTPONE'; notBefore: Date | null; resentAgentRevision?: number | null }
  /** When to look up the call unless its response arrives first, and when to close it as lost. */
  | { transition: 'SEND'; nextCheckAt: Date; lostAt: Prisma.Sql }
  | { transition: 'LOSE_RESPONSE'; nextCheckAt: Date; isRefused: boolean };

export type MovedCall = Pick<Call, 'id' | 'owner' | 'placeBefore' | 'sentAt'>;

/**
 * Moves calls in one statement. `where` is a condition on `calls`, and on `from` if given. Calls in a state from which
 * the transition is not allowed are left alone.
 */
export async function moveCalls(
  db: RawReader,
  move: Move,
  { where, from }: { where: Prisma.Sql; from?: Prisma.Sql },
): Promise<MovedCall[]> {
  const { from: states, to } = PLACEMENT_TRANSITIONS[move.transition];
  return db.$queryRaw<MovedCall[]>`
    UPDATE calls SET placement = ${to}::"CallPlacement", ${assignments(move)}
    ${from ? Prisma.sql`FROM ${from}` : Prisma.empty}
    WHERE calls.placement = ANY(${[...states]}::"CallPlacement"[]) AND ${where}
    RETURNING calls.id, calls.owner, calls.place_before AS "placeBefore", calls.sent_at AS "sentAt"`;
}

function assignments(move: Move): Prisma.Sql {
  switch (move.transition) {
    case 'CLAIM':
      return Prisma.sql`claimed_at = clock_timestamp(), place_not_before = NULL,
        place_before = ${move.placeBefore ?? Prisma.sql`place_before`}`;
    case 'RELEASE':
      return queuedAgain(move.notBefore);
    case 'POSTPONE':
      return Prisma.sql`${queuedAgain(move.notBefore)},
        resent_agent_revision = coalesce(
          ${move.resentAgentRevision ?? null}::int, resent_agent_revision)`;
    case 'SEND':
      return Prisma.sql`sent_at = clock_timestamp(), next_check_at = ${move.nextCheckAt}::timestamptz,
        lost_at = ${move.lostAt}`;
    case 'LOSE_RESPONSE':
      return Prisma.sql`next_check_at = ${move.nextCheckAt}::timestamptz,
        refused_at = CASE WHEN ${move.isRefused} THEN clock_timestamp() END`;
  }
}

/** Keeps `refused_at`: the refused request may still be carried out, so the call is looked up before another one. */
function queuedAgain(notBefore: Date | null): Prisma.Sql {
  return Prisma.sql`claimed_at = NULL, sent_at = NULL, next_check_at = NULL, lost_at = NULL,
    place_not_before = ${notBefore}::timestamptz`;
}

/** Columns and values for calls inserted with their claim, for an INSERT … SELECT. */
export function claimedColumns(placeBefore: Prisma.Sql): {
  columns: Prisma.Sql;
  values: Prisma.Sql;
} {
  return {
    columns: Prisma.sql`placement, claimed_at, place_before`,
    values: Prisma.sql`'CLAIMED'::"CallPlacement", clock_timestamp(), ${placeBefore}`,
  };
}

/** Columns of a new call that waits to be claimed, until `placeBefore` at the latest. */
export function queuedCall(placeBefore: Date | null = null) {
  return { placement: 'QUEUED', placeBefore } as const;
}

/** Columns of a new call that Ultravox reported. It also counts against the limits. */
export function reportedCall(ultravoxId: string, createdAt: Date) {
  return { placement: 'ACCEPTED', ultravoxId, claimedAt: createdAt } as const;
}

/** Columns to set on a locked call once Ultravox has it, whatever was assumed before. */
export function acceptance(
  call: Pick<Call, 'placement' | 'claimedAt'>,
  ultravoxId: string,
  now: Date,
) {
  const placement = moved(call, 'ACCEPT');
  return { placement, ultravoxId, claimedAt: call.claimedAt ?? now, placeNotBefore: null };
}

/** Transitions that can end a call. */
export type EndTransition = 'WITHDRAW' | 'REFUSE' | 'CONFIRM_NOT_CREATED' | 'LOSE_RESPONSE';

/** Columns to set when a locked call ends. */
export function endOfPlacement(call: Pick<Call, 'placement'>, transition: EndTransition) {
  const placement = moved(call, transition);
  return transition === 'WITHDRAW'
    ? { placement, claimedAt: null, placeNotBefore: null }
    : { placement };
}

function moved(call: Pick<Call, 'placement'>, transition: PlacementTransition): CallPlacement {
  if (!canMove(call, transition)) throw new Error(`${transition}: from ${call.placement}`);
  return PLACEMENT_TRANSITIONS[transition].to;
}
