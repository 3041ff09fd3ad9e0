/** Filters and sort orders of the lists of calls. */
import { searchTerm } from '../http/paging.ts';
import { durationToMs, invalid, isDuration, type JsonObject, objectAt, UUID } from '../json.ts';
import type { CallRecord, Request, World } from '../world.ts';

/** Returns a predicate for the filters that the lists of calls and of deleted calls share. */
export function callFilter(world: World, request: Request): (call: JsonObject) => boolean {
  const { query } = request;
  const agentIds = query.getAll('agentIds').flatMap((value) => value.split(','));
  for (const id of agentIds)
    if (!UUID.test(id)) throw invalid('agentIds', `"${id}" is not a UUID.`);
  const wanted = new Set(agentIds.map((id) => id.toLowerCase()));
  const from = instant(query.get('fromDate'), 'fromDate', 'T00:00:00.000Z');
  const to = instant(query.get('toDate'), 'toDate', 'T23:59:59.999Z');
  const min = duration(query.get('durationMin'), 'durationMin');
  const max = duration(query.get('durationMax'), 'durationMax');
  const dayStart = timeOfDay(query.get('timeOfDayStart'), 'timeOfDayStart');
  const dayEnd = timeOfDay(query.get('timeOfDayEnd'), 'timeOfDayEnd');
  const voiceId = query.get('voiceId');
  const metadata = [...query].filter(([key]) => key.startsWith('metadata.'));
  const term = searchTerm(request);
  return (call) => {
    const record = world.calls.get(String(call.callId));
    const created = String(call.created);
    if (wanted.size > 0 && !wanted.has(String(call.agentId))) return false;
    if (from !== undefined && Date.parse(created) < from) return false;
    if (to !== undefined && Date.parse(created) > to) return false;
    const clock = created.slice(11, 19);
    if (dayStart !== undefined && clock < dayStart) return false;
    if (dayEnd !== undefined && clock > dayEnd) return false;
    const lasted = record?.talkedMs ?? 0;
    if (min !== undefined && lasted < min) return false;
    if (max !== undefined && lasted > max) return false;
    if (voiceId !== null && call.voice !== voiceId) return false;
    const own = objectAt(call, 'metadata');
    for (const [key, value] of metadata) {
      if (own?.[key.slice('metadata.'.length)] !== value) return false;
    }
    if (term !== undefined) {
      const text = [
        call.callId,
        call.shortSummary,
        call.summary,
        call.systemPrompt,
        objectAt(call, 'agent')?.name,
        JSON.stringify(own),
        ...(record?.transcript.map((line) => line.message.text) ?? []),
      ];
      if (!text.join(' ').toLowerCase().includes(term)) return false;
    }
    return true;
  };
}

function instant(given: string | null, name: string, rest: string): number | undefined {
  if (given === null) return undefined;
  const parsed = Date.parse(/^\d{4}-\d{2}-\d{2}$/.test(given) ? `${given}${rest}` : given);
  if (Number.isNaN(parsed)) throw invalid(name, 'Enter a valid date.');
  return parsed;
}

function duration(given: string | null, name: string): number | undefined {
  if (given === null) return undefined;
  if (!isDuration(given)) throw invalid(name, 'Must be a duration such as "300s".');
  return durationToMs(given, 0);
}

function timeOfDay(given: string | null, name: string): string | undefined {
  if (given === null) return undefined;
  if (!/^\d{2}:\d{2}(:\d{2}(\.\d+)?)?$/.test(given)) throw invalid(name, 'Enter a valid time.');
  return given.length === 5 ? `${given}:00` : given.slice(0, 8);
}

export function sortCalls(request: Request, calls: CallRecord[]): CallRecord[] {
  const sort = request.query.get('sort') ?? '-created';
  if (sort === 'created') return calls;
  if (sort === '-created') return calls.reverse();
  const key = sort.replace(/^-/, '');
  if (!['joined', 'ended', 'billedDuration'].includes(key)) {
    throw invalid('sort', `"${sort}" is not a valid choice.`);
  }
  const sign = sort.startsWith('-') ? -1 : 1;
  const value = (record: CallRecord) =>
    key === 'billedDuration'
      ? record.talkedMs
      : ((key === 'joined' ? record.joinedAt : record.endedAt) ?? 0);
  return calls.sort((a, b) => sign * (value(a) - value(b)));
}
