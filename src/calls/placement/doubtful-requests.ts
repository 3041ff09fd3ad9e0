/**
 * Looks for calls that Ultravox may have created although their requests counted as not carried out, right before the
 * same person is called again: the request is repeated, or the next attempt of a campaign follows.
 *
 * What remains: Ultravox lists the call only after this look-up. Then both calls ring, and the one that is reported last
 * is hung up once it is answered, since Ultravox cannot stop a phone that is ringing.
 */
import type { App } from '../../app.ts';
import { UltravoxError } from '../../ultravox/error.ts';
import { findByOurId } from '../ultravox/find-by-our-id.ts';
import { hangUpIfNotIngested, hangUpIfUnwanted, ingestCall } from '../ultravox/ingest.ts';
import { announceUpdate } from '../updates/call-update.ts';

/** Maximum time for the look-up: less than the time for which the claim is valid. */
const LOOK_UP_MS = 5_000;

/**
 * Finds the doubtful requests that precede each of these claimed calls.
 *
 * @returns IDs of calls, which may include the claimed call itself, by ID of the claimed call.
 */
export async function doubtfulRequestsBefore(
  { db }: App,
  ids: readonly string[],
): Promise<Map<string, string[]>> {
  const rows = await db.$queryRaw<{ next: string; id: string }[]>`
    SELECT id AS next, id FROM calls WHERE id = ANY(${[...ids]}::uuid[]) AND refused_at IS NOT NULL
    UNION ALL
    SELECT next.id, earlier.id FROM calls next
    JOIN calls earlier ON earlier.campaign_contact_id = next.campaign_contact_id
      AND earlier.id <> next.id
    WHERE next.id = ANY(${[...ids]}::uuid[]) AND earlier.placement <> 'ACCEPTED'
      AND (earlier.refused_at IS NOT NULL OR earlier.placement = 'NOT_CREATED')`;
  const doubtful = new Map<string, string[]>();
  for (const { next, id } of rows) doubtful.set(next, [...(doubtful.get(next) ?? []), id]);
  return doubtful;
}

/**
 * Looks up calls with doubtful requests, and adopts those that Ultravox has.
 *
 * @returns the IDs of the calls that Ultravox has, or the error if it cannot be asked.
 */
export async function adoptDoubtfulCalls(
  app: App,
  ids: readonly string[],
): Promise<Set<string> | UltravoxError> {
  if (ids.length === 0) return new Set();
  const signal = AbortSignal.timeout(LOOK_UP_MS);
  const found = new Set<string>();
  try {
    for (const id of ids) {
      const seen = await findByOurId(app, id, { signal });
      if (!seen) continue;
      found.add(id);
      const ingested = await app.db.$transaction((tx) =>
        ingestCall(app, tx, { seen, source: 'LOOK_UP' }),
      );
      if (ingested) {
        announceUpdate(app, ingested.before, ingested.after);
        hangUpIfUnwanted(app, ingested);
      } else await hangUpIfNotIngested(app, seen);
    }
    return found;
  } catch (error) {
    if (error instanceof UltravoxError) return error;
    throw error;
  }
}
