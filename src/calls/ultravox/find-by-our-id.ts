/** Finds a call at Ultravox whose Ultravox ID is unknown. */
import type { App } from '../../app.ts';
import { publicId } from '../../ids.ts';
import { unfilteredCalls } from '../../ultravox/error.ts';
import type { Call as UltravoxCall } from '../../ultravox/wire.ts';

/**
 * Finds a call by our ID in its metadata. Null if Ultravox lists no such call, which it may do later.
 *
 * @throws UltravoxError also if Ultravox lists only other calls: it has then ignored the filter, and may have this
 * call all the same.
 */
export async function findByOurId(
  { ultravox }: Pick<App, 'ultravox'>,
  id: string,
): Promise<UltravoxCall | null> {
  const callId = publicId('Call', id);
  const page = await ultravox.calls.list({ metadata: { callId }, pageSize: 10 });
  const found = page.results.find(({ metadata }) => metadata.callId === callId);
  if (!found && page.results.length > 0) throw unfilteredCalls();
  return found ?? null;
}
