/** Translates call filters into conditions. */
import { z } from 'zod';
import type { App } from '../app.ts';
import type { ProblemPath } from '../errors.ts';
import type { Prisma } from '../generated/prisma/client.ts';
import {
  AnalysisStatus,
  AnsweredBy,
  CallDirection,
  CallEndReason,
  CallMedium,
  CallStatus,
} from '../generated/prisma/enums.ts';
import { parsePublicId } from '../ids.ts';
import { Checks } from '../infra/checks.ts';
import { signedDate } from '../infra/signed-token.ts';
import { ownedBy, type Viewer } from '../viewer.ts';
import { MAX_METADATA_ENTRIES, metadataEntries } from './metadata.ts';
import { wordsOf } from './post-call/words.ts';
import { visibleCalls } from './service.ts';

/** A filter as carried by download links. Unknown members are rejected: ignoring them would match more calls. */
export const callFilter = z.strictObject({
  /** Empty means all, as for `endReason`. */
  status: z.array(z.enum(CallStatus)).readonly().nullish(),
  endReason: z.array(z.enum(CallEndReason)).readonly().nullish(),
  direction: z.enum(CallDirection).nullish(),
  /** Empty means all. */
  medium: z.array(z.enum(CallMedium)).readonly().nullish(),
  agentId: z.string().nullish(),
  phoneNumberId: z.string().nullish(),
  /** Deprecated name of `phoneNumberId`. */
  numberId: z.string().nullish(),
  campaignId: z.string().nullish(),
  phoneNumber: z.string().nullish(),
  createdFrom: signedDate.nullish(),
  createdBefore: signedDate.nullish(),
  endedFrom: signedDate.nullish(),
  endedBefore: signedDate.nullish(),
  minDurationSeconds: z.number().nullish(),
  maxDurationSeconds: z.number().nullish(),
  minCost: z.string().nullish(),
  maxCost: z.string().nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  transcript: z.string().nullish(),
  answeredBy: z.enum(AnsweredBy).nullish(),
  doNotCallRequested: z.boolean().nullish(),
  /** Deprecated name of `doNotCallRequested`. */
  dncRequested: z.boolean().nullish(),
  analysisStatus: z.enum(AnalysisStatus).nullish(),
  successful: z.boolean().nullish(),
});
export type CallFilter = z.output<typeof callFilter>;

/** One week. In milliseconds, it is less than the largest 32-bit integer. */
const MAX_DURATION_SECONDS = 604_800;
const MAX_SEARCH = 500;
/** Between this server and Ultravox. */
const MAX_CLOCK_DIFFERENCE_MS = 3_600_000;

/**
 * Translates a filter into a condition to combine with `visibleCalls`. Problems are added to `checks` under `path`.
 */
export function callsWhere(
  checks: Checks,
  filter: CallFilter,
  path: ProblemPath,
): Prisma.CallWhereInput {
  const conditions: Prisma.CallWhereInput[] = [];
  const { status, endReason, direction, metadata, createdFrom, createdBefore } = filter;
  const { medium, answeredBy, analysisStatus, successful } = filter;
  if (status?.length) conditions.push({ status: { in: [...status] } });
  if (endReason?.length) conditions.push({ endReason: { in: [...endReason] } });
  conditions.push(...durationConditions(checks, filter, path));
  conditions.push(...costConditions(checks, filter, path));
  if (direction) conditions.push({ direction });
  if (medium?.length) conditions.push({ medium: { in: [...medium] } });
  const agentId = checks.id('Agent', filter.agentId, [...path, 'agentId']);
  if (agentId) conditions.push({ agentId });
  const number = checks.renamed(
    path,
    ['phoneNumberId', filter.phoneNumberId],
    ['numberId', filter.numberId],
  );
  const phoneNumberId = checks.id('PhoneNumber', number.value, number.path);
  if (phoneNumberId) conditions.push({ phoneNumberId });
  const campaignId = checks.id('Campaign', filter.campaignId, [...path, 'campaignId']);
  if (campaignId) conditions.push({ campaignId });
  if (metadata) conditions.push(...metadataConditions(checks, metadata, [...path, 'metadata']));
  const numbers = checks.phoneNumberForms(filter.phoneNumber, [...path, 'phoneNumber']);
  if (numbers) conditions.push({ phoneNumber: { in: numbers } });
  if (createdFrom) conditions.push({ createdAt: { gte: createdFrom } });
  if (createdBefore) conditions.push({ createdAt: { lt: createdBefore } });
  conditions.push(...endConditions(filter));
  if (answeredBy) conditions.push({ answeredBy });
  const { value: isRequested } = checks.renamed(
    path,
    ['doNotCallRequested', filter.doNotCallRequested],
    ['dncRequested', filter.dncRequested],
  );
  if (typeof isRequested === 'boolean') {
    conditions.push({ dncQuote: isRequested ? { not: null } : null });
  }
  if (analysisStatus) {
    conditions.push({ postCallSteps: { some: { kind: 'ANALYSIS', status: analysisStatus } } });
  }
  if (typeof successful === 'boolean') conditions.push(verdictCondition(successful));
  const words = parseTranscriptSearch(checks, filter.transcript, [...path, 'transcript']);
  if (words) conditions.push({ transcript: { words: { hasEvery: words } } });
  return { AND: conditions };
}

/**
 * Repeats the condition on purpose: PostgreSQL assumes that one call in 200 has a pair for which it has no statistics,
 * and would scan millions of calls in list order. With a lower estimate, it uses the index.
 */
function metadataConditions(
  checks: Checks,
  metadata: Record<string, unknown>,
  path: ProblemPath,
): Prisma.CallWhereInput[] {
  const entries = metadataEntries(metadata);
  if (entries.length > MAX_METADATA_ENTRIES) {
    checks.add(
      'INVALID_INPUT',
      `\`${path.join('.')}\` may have at most ${MAX_METADATA_ENTRIES} entries; it has ${entries.length}.`,
      path,
    );
    return [];
  }
  const condition = { metadataEntries: { hasEvery: entries } };
  return [condition, { OR: [condition] }];
}

/**
 * Condition on the column that analytics uses. `not: null` adds nothing logically, but PostgreSQL estimates `= false`
 * to match everything that is not true, including null, and would not use the index for a rare verdict.
 */
function verdictCondition(successful: boolean): Prisma.CallWhereInput {
  return { fact: { success: { equals: successful, not: null } } };
}

/**
 * The creation is bounded too, so that PostgreSQL need not go through all later calls in the order of the list. The two
 * times may come from different clocks.
 */
function endConditions({ endedFrom, endedBefore }: CallFilter): Prisma.CallWhereInput[] {
  const conditions: Prisma.CallWhereInput[] = [];
  if (endedFrom) conditions.push({ endedAt: { gte: endedFrom } });
  if (endedBefore) {
    conditions.push({ endedAt: { lt: endedBefore } });
    const createdBefore = new Date(endedBefore.getTime() + MAX_CLOCK_DIFFERENCE_MS);
    // As text, a later year is not accepted by PostgreSQL.
    if (createdBefore.getUTCFullYear() <= 9999) {
      conditions.push({ createdAt: { lt: createdBefore } });
    }
  }
  return conditions;
}

function durationConditions(
  checks: Checks,
  filter: CallFilter,
  path: ProblemPath,
): Prisma.CallWhereInput[] {
  const bound = (name: 'minDurationSeconds' | 'maxDurationSeconds'): number | undefined => {
    const range = { min: 0, max: MAX_DURATION_SECONDS };
    const seconds = checks.number(filter[name], [...path, name], range);
    return seconds === undefined ? undefined : Math.round(seconds * 1000);
  };
  const [gte, lte] = [bound('minDurationSeconds'), bound('maxDurationSeconds')];
  return [
    ...(gte === undefined ? [] : [{ durationMs: { gte } }]),
    ...(lte === undefined ? [] : [{ durationMs: { lte } }]),
  ];
}

function costConditions(
  checks: Checks,
  filter: CallFilter,
  path: ProblemPath,
): Prisma.CallWhereInput[] {
  const bound = (name: 'minCost' | 'maxCost'): string | undefined => {
    const amount = filter[name] ?? undefined;
    if (amount === undefined || /^\d{1,6}(?:\.\d{1,6})?$/.test(amount)) return amount;
    const at = [...path, name];
    return checks.add(
      'INVALID_INPUT',
      `\`${at.join('.')}\` must be a decimal number from 0 to 999999.999999, such as "0.05".`,
      at,
    );
  };
  const [gte, lte] = [bound('minCost'), bound('maxCost')];
  return [
    ...(gte === undefined ? [] : [{ costAmount: { gte } }]),
    ...(lte === undefined ? [] : [{ costAmount: { lte } }]),
  ];
}

function parseTranscriptSearch(
  checks: Checks,
  text: string | null | undefined,
  path: ProblemPath,
): string[] | undefined {
  if (text === null || text === undefined) return undefined;
  const words = text.length > MAX_SEARCH ? [] : wordsOf(text);
  if (words.length > 0) return words;
  return checks.add(
    'INVALID_INPUT',
    `\`${path.join('.')}\` must contain a word, and at most ${MAX_SEARCH} characters.`,
    path,
  );
}

/**
 * Checks the `filter` of a mutation and returns its condition.
 *
 * @throws UserInputError if the filter is invalid, or the organization does not have its agent, number or campaign:
 *   an empty result would look like success.
 */
export async function checkCallFilter(
  app: App,
  viewer: Viewer,
  filter: CallFilter,
): Promise<Prisma.CallWhereInput> {
  const checks = new Checks();
  const path = ['filter'];
  const where = { ...visibleCalls(viewer), ...callsWhere(checks, filter, path) };
  const { agent, phoneNumber, campaign } = app.db;
  type Owned = { where: { organizationId: string; id: string } };
  const references = [
    ['agentId', 'Agent', 'Agent', (query: Owned) => agent.count(query)],
    ['phoneNumberId', 'PhoneNumber', 'Phone number', (query: Owned) => phoneNumber.count(query)],
    ['numberId', 'PhoneNumber', 'Phone number', (query: Owned) => phoneNumber.count(query)],
    ['campaignId', 'Campaign', 'Campaign', (query: Owned) => campaign.count(query)],
  ] as const;
  for (const [name, type, noun, count] of references) {
    const parsed = parsePublicId(filter[name] ?? '');
    if (parsed?.type !== type) continue;
    const found = await count({ where: { ...ownedBy(viewer), id: parsed.uuid } });
    if (found === 0) checks.add('NOT_FOUND', `${noun} not found.`, [...path, name]);
  }
  checks.throwIfAny();
  return where;
}
