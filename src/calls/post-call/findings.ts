/** Derives findings from the words of a call: who answered, and whether the person asked not to be called again. */
import type { App, Tx } from '../../app.ts';
import { addDoNotCallRequest } from '../../contacts/do-not-call.ts';
import { type Call, Prisma } from '../../generated/prisma/client.ts';
import type { AnsweredBy } from '../../generated/prisma/enums.ts';
import { truncateText } from '../../infra/database/storable-text.ts';
import { addsDoNotCallRequests } from '../../organizations/service.ts';
import { answeredByOf } from './answered-by.ts';
import { doNotCallRequestIn, heardTexts, MAX_QUOTE } from './do-not-call-request/request.ts';
import type { CallFindings } from './steps.ts';
import type { Turn } from './turns.ts';

type Words = Pick<Turn, 'speaker' | 'text' | 'toolName'>;

/** Findings of a language model, with the words it quotes as evidence. */
export interface ModelFindings {
  answeredBy: 'HUMAN' | 'VOICEMAIL' | null;
  answeredByQuote: string | null;
  doNotCallQuote: string | null;
}

export interface Findings {
  answeredBy: AnsweredBy;
  /** Human-readable evidence. Null once the transcript was removed. */
  evidence: string | null;
  dncQuote: string | null;
}

/** A call with its earlier findings. */
type FoundBefore = Pick<Call, 'direction'> &
  Partial<Pick<Call, 'answeredBy' | 'answeredByEvidence'>>;

/** Shorter quotations may match by chance. */
const MIN_QUOTE = 4;

/**
 * Finds matches of fixed phrases, corrected by the findings of a language model. Only literal words of the other side
 * count as evidence, so that nobody else, and no instruction in a transcript, can produce a finding.
 *
 * A request not to be called again counts no matter who answered. It also shows that a person answered if only phrases
 * suggest a voicemail: "she is not available" occurs in greetings and in conversations.
 *
 * An earlier `answeredBy` is kept unless a quotation shows otherwise: a model that finds nothing this time has not
 * refuted what it found the last time.
 */
export function findingsIn(
  turns: readonly Words[],
  call: FoundBefore,
  model: ModelFindings | null = null,
): Findings {
  const { isCertain, ...byPhrases } = answeredByOf(turns, call);
  const heard = model?.answeredBy && !isCertain && wordsWith(turns, model.answeredByQuote);
  const before =
    call.answeredBy && !isCertain
      ? { answeredBy: call.answeredBy, evidence: call.answeredByEvidence ?? null }
      : byPhrases;
  const answer = heard
    ? { answeredBy: model.answeredBy!, evidence: `It said “${heard}”.` }
    : before;
  const dncQuote = doNotCallRequestIn(turns) ?? wordsWith(turns, model?.doNotCallQuote ?? null);
  if (dncQuote && answer.answeredBy === 'VOICEMAIL' && !heard && !isCertain) {
    return { answeredBy: 'HUMAN', evidence: `It said “${dncQuote}”.`, dncQuote };
  }
  return { ...answer, dncQuote };
}

/**
 * Returns the other side's words that contain a quotation, usually a turn, or just the quotation if they are too long to
 * keep; null if there are none.
 */
function wordsWith(turns: readonly Words[], quote: string | null): string | null {
  const plain = (text: string): string => text.replaceAll(/\s+/g, ' ').trim();
  const wanted = plain(quote ?? '');
  if (wanted.length < MIN_QUOTE) return null;
  const words = heardTexts(turns).find((text) => plain(text).includes(wanted));
  if (words === undefined) return null;
  return truncateText(words.length <= MAX_QUOTE ? words : wanted, MAX_QUOTE);
}

/**
 * Adds the number to the do-not-call list if the person asked for it and the organization has enabled that. The caller
 * has locked the call. An earlier request is kept, since it was literally said.
 *
 * @returns the changes to the call.
 */
export async function saveFindings(
  app: App,
  tx: Tx,
  call: Call,
  { answeredBy, evidence, dncQuote }: Findings,
): Promise<CallFindings> {
  const change = {
    answeredBy,
    answeredByEvidence: evidence,
    dncQuote: dncQuote ?? call.dncQuote,
  };
  if (!dncQuote || !call.phoneNumber) return change;
  if (await addsDoNotCallRequests(tx, call.organizationId)) {
    await addDoNotCallRequest(tx, {
      organizationId: call.organizationId,
      phoneNumber: call.phoneNumber,
      callId: call.id,
      now: app.now(),
    });
  }
  return change;
}

/** Saves the findings of an analysis, unless the transcript has been removed in the meantime. */
export async function saveModelFindings(
  app: App,
  tx: Tx,
  call: Call,
  findings: Findings,
): Promise<CallFindings> {
  const kept = await tx.$queryRaw<unknown[]>`
    SELECT 1 FROM call_transcripts WHERE call_id = ${call.id}::uuid AND expired_at IS NULL FOR SHARE`;
  return kept.length > 0 ? saveFindings(app, tx, call, findings) : {};
}

/**
 * SQL condition: who answered an ended call is not known yet, or may still be corrected by the analysis. False from two
 * minutes after the end, so that nothing waits longer.
 *
 * @param call alias of the row of `calls`.
 */
export function answeredByMayChange(call: string): Prisma.Sql {
  const k = Prisma.raw(call);
  return Prisma.sql`(
    ${k}.answered_at IS NOT NULL AND ${k}.ended_at > now() - interval '2 minutes'
    AND EXISTS (SELECT 1 FROM post_call_steps s
      WHERE s.call_id = ${k}.id AND s.kind IN ('TRANSCRIPT', 'ANALYSIS') AND s.status = 'PENDING'))`;
}
