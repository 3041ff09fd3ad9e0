/** Analyzes calls again on request. */
import type { App, Tx } from '../app.ts';
import { lockRunningSteps, restartSteps } from '../calls/post-call/start.ts';
import { wakeWorkers } from '../calls/post-call/wake.ts';
import { type CallFilter, checkCallFilter } from '../calls/search.ts';
import { userError } from '../errors.ts';
import type { Call } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { formatNumber } from '../infra/format-number.ts';
import { ownedBy, type Viewer } from '../viewer.ts';
import { hashOf, type PartialAnalysis, TASK_COLUMNS, taskOf } from './request.ts';

export const MAX_CALLS = 10_000;
/** Maximum number of an organization's calls waiting for analysis, since a language model may be slow and costly. */
export const MAX_WAITING = 20_000;
const BATCH = 500;

/** Calls that can be analyzed: answered, ended, and without an expired transcript. */
const ANALYZABLE = {
  deletedAt: null,
  endedAt: { not: null },
  answeredAt: { not: null },
  NOT: { transcript: { expiredAt: { not: null } } },
} as const;

/** Analyzes a call again, with the current criteria of its agent. */
export async function analyzeCall(app: App, viewer: Viewer, id: string): Promise<Call> {
  const checks = new Checks();
  const uuid = checks.id('Call', id, ['id']);
  checks.throwIfAny();
  const found = await app.db.call.findFirst({
    where: { ...ownedBy(viewer), deletedAt: null, id: uuid! },
    include: { transcript: { select: { expiredAt: true } } },
  });
  if (!found) throw callNotFound();
  const { transcript, ...call } = found;
  if (!call.endedAt || !call.answeredAt) {
    const why = call.endedAt ? 'was not answered' : 'has not ended';
    throw userError('INVALID_STATE', `The call ${why}.`, ['id']);
  }
  if (transcript?.expiredAt) {
    throw userError('INVALID_STATE', 'The transcript of the call was removed.', ['id']);
  }
  if ((await restart(app, [call], Number.POSITIVE_INFINITY)) === 0) throw callNotFound();
  return call;
}

function callNotFound(): Error {
  return userError('NOT_FOUND', 'Call not found.', ['id']);
}

/**
 * Analyzes again all matching calls that can be analyzed.
 *
 * @returns the number of these calls.
 * @throws UserInputError if the filter is invalid; LIMIT_EXCEEDED if more than `MAX_CALLS` match or more than
 *   `MAX_WAITING` would wait. None is then analyzed, unless others have been added at the same time.
 */
export async function analyzeCalls(app: App, viewer: Viewer, filter: CallFilter): Promise<number> {
  const where = { AND: [await checkCallFilter(app, viewer, filter), ANALYZABLE] };
  const calls = await app.db.call.findMany({
    where,
    select: { id: true, organizationId: true, agentId: true },
    orderBy: { id: 'asc' },
    take: MAX_CALLS + 1,
  });
  if (calls.length > MAX_CALLS) {
    const count = await app.db.call.count({ where });
    throw userError(
      'LIMIT_EXCEEDED',
      `The filter matches ${formatNumber(count)} calls; at most ${formatNumber(MAX_CALLS)} can be analyzed at once. Narrow it, for example by \`createdFrom\` and \`createdBefore\`.`,
      ['filter'],
    );
  }
  const { organizationId } = viewer;
  const waiting = await app.db.postCallStep.count({ where: isWaiting(organizationId) });
  if (waiting + calls.length > MAX_WAITING) {
    throw userError(
      'LIMIT_EXCEEDED',
      `The filter matches ${formatNumber(calls.length)} calls, and ${formatNumber(waiting)} wait for analysis already; at most ${formatNumber(MAX_WAITING)} may. Try again when fewer wait.`,
      ['filter'],
    );
  }
  let count = 0;
  for (let start = 0; start < calls.length; start += BATCH) {
    const restarted = await restart(app, calls.slice(start, start + BATCH), MAX_WAITING);
    if (restarted === null) {
      throw userError(
        'LIMIT_EXCEEDED',
        `Only ${formatNumber(count)} of the ${formatNumber(calls.length)} calls that match are analyzed: others were added at the same time, and at most ${formatNumber(MAX_WAITING)} may wait for analysis. Try again when fewer wait.`,
        ['filter'],
      );
    }
    count += restarted;
  }
  return count;
}

/** Analyses that have not ended, including those that wait for a transcript. */
function isWaiting(organizationId: string) {
  return { organizationId, kind: 'ANALYSIS', status: 'PENDING' } as const;
}

type AnalyzedCall = Pick<Call, 'id' | 'organizationId' | 'agentId'>;

/**
 * Restarts the analysis of calls of an organization, fetching missing transcripts first. A running analysis with the
 * current criteria of the agent continues, since it produces the wanted answer.
 *
 * @returns the number of calls that have not been deleted in the meantime; null, without a change, if more than
 *   `maxWaiting` would wait.
 */
async function restart(
  app: App,
  calls: readonly AnalyzedCall[],
  maxWaiting: number,
): Promise<number | null> {
  const count = await app.db.$transaction(async (tx) => {
    if (!(await hasRoomFor(tx, calls, maxWaiting))) return null;
    const existing = await tx.$queryRaw<AnalyzedCall[]>`
      SELECT id, organization_id AS "organizationId", agent_id AS "agentId" FROM calls
      WHERE id = ANY(${calls.map(({ id }) => id)}::uuid[]) AND deleted_at IS NULL
      ORDER BY id FOR NO KEY UPDATE`;
    const current = await currentlyAnalyzed(tx, existing);
    const wanted = existing.filter(({ id }) => !current.has(id));
    const ids = wanted.map(({ id }) => id);
    const known = await tx.callTranscript.findMany({
      where: { callId: { in: ids } },
      select: { callId: true },
    });
    const withTranscript = new Set(known.map(({ callId }) => callId));
    const ready = wanted.filter(({ id }) => withTranscript.has(id));
    const without = wanted.filter(({ id }) => !withTranscript.has(id));
    await restartSteps(app, tx, ready, 'ANALYSIS');
    await restartSteps(app, tx, without, 'TRANSCRIPT');
    return existing.length;
  });
  wakeWorkers(app, ['TRANSCRIPT', 'ANALYSIS']);
  return count;
}

/** Until the transaction ends, no other one with a maximum adds calls of the organization. */
async function hasRoomFor(
  tx: Tx,
  calls: readonly AnalyzedCall[],
  maxWaiting: number,
): Promise<boolean> {
  const [{ organizationId } = { organizationId: '' }] = calls;
  if (!Number.isFinite(maxWaiting)) return true;
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${organizationId}, 7412))`;
  const others = { callId: { notIn: calls.map(({ id }) => id) } };
  const waiting = await tx.postCallStep.count({
    where: { ...isWaiting(organizationId), ...others },
  });
  return waiting + calls.length <= maxWaiting;
}

/** IDs of calls whose running analysis asks exactly what would be asked now. */
async function currentlyAnalyzed(
  tx: Tx,
  calls: readonly AnalyzedCall[],
): Promise<ReadonlySet<string>> {
  const ids = calls.map(({ id }) => id);
  const running = await lockRunningSteps(tx, ids, 'ANALYSIS');
  if (running.length === 0) return new Set();
  const agents = await tx.agent.findMany({
    where: { id: { in: [...new Set(calls.map(({ agentId }) => agentId))] } },
    select: { id: true, ...TASK_COLUMNS },
  });
  const taskOfAgent = new Map(agents.map((agent) => [agent.id, hashOf(taskOf(agent))]));
  const agentOfCall = new Map(calls.map(({ id, agentId }) => [id, agentId]));
  return new Set(
    running.flatMap(({ callId, partialResult }) => {
      const task = taskOfAgent.get(agentOfCall.get(callId) ?? '');
      return (partialResult as PartialAnalysis | null)?.task === task ? callId : [];
    }),
  );
}
