/** Decides which calls are final: after them the campaign contact is not called again. The only place for this rule. */
import { type Call, Prisma } from '../../generated/prisma/client.ts';

/**
 * Whether a call is the last one to its campaign contact:
 *
 * - FINAL: a person was or may have been reached, or asked not to be called again; its end was requested; or it ended
 *   here as never dialed but Ultravox reported it afterwards, so the phone rang.
 * - VOICEMAIL: a voicemail was reached, which its owner may treat as not reached.
 * - OPEN: nobody was reached.
 */
export type Finality = 'FINAL' | 'VOICEMAIL' | 'OPEN';

/** A call that may rule out further calls to its contact. */
export interface CallWithFinality extends Pick<Call, 'id'> {
  finality: Finality;
}

/**
 * SQL expression: the finality of an ended call. A later report or analysis may reveal more, so it can change while
 * another call is planned, and is read again right before that call.
 *
 * @param call alias of a row of `calls`.
 */
export function finalityOf(call: string): Prisma.Sql {
  const k = Prisma.raw(call);
  // `answered_by` is null if there is no transcript to show it, and UNKNOWN if nothing was heard from the other side.
  return Prisma.sql`(CASE
    WHEN ${k}.dnc_quote IS NOT NULL OR ${k}.end_requested_at IS NOT NULL
      OR ${k}.answered_by = 'HUMAN'
      OR (${k}.answered_at IS NOT NULL AND ${k}.answered_by IS NULL)
      OR (${k}.placement = 'ACCEPTED' AND ${k}.ringing_at IS NULL) THEN 'FINAL'
    WHEN ${k}.answered_at IS NOT NULL AND ${k}.answered_by = 'VOICEMAIL' THEN 'VOICEMAIL'
    ELSE 'OPEN' END)`;
}

export function isFinal(
  { finality }: Pick<CallWithFinality, 'finality'>,
  { retryVoicemail }: { retryVoicemail: boolean },
): boolean {
  return finality === 'FINAL' || (finality === 'VOICEMAIL' && !retryVoicemail);
}

/** SQL expression: a JSON array of `CallWithFinality`, with a contact's calls that are not OPEN, newest first. */
export function finalCallsOf(contactId: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`(
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', id, 'finality', finality)
      ORDER BY created_at DESC, id DESC), '[]')
    FROM (
      SELECT ended.id, ended.created_at, ${finalityOf('ended')} AS finality FROM calls ended
      WHERE ended.campaign_contact_id = ${contactId} AND ended.ended_at IS NOT NULL
    ) earlier WHERE finality <> 'OPEN')`;
}

/**
 * SQL condition: whether a contact has a FINAL call. Voicemails do not count: the owner of the next call has already
 * checked them against its own settings, and revokes the claim if those change.
 */
export function hasFinalCall(contactId: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`EXISTS (
    SELECT 1 FROM calls ended
    WHERE ended.campaign_contact_id = ${contactId} AND ended.ended_at IS NOT NULL
      AND ${finalityOf('ended')} = 'FINAL')`;
}
