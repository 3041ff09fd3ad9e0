/** What would become of a campaign, before anything is saved. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { App } from '../app.ts';
import { type Campaign, Prisma } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { ownedBy, type Viewer } from '../organizations/viewer.ts';
import { type ForecastHour, type ForecastProblem, forecastSteps } from './forecast.ts';
import type { CallsPerDay } from './plan.ts';
import { withoutNestedLoops } from './plan-sql.ts';
import { attemptsPerDay, CALL_SECONDS, paceOf, waitingContacts } from './planning.ts';
import { type ScheduleInput, validateSchedule, windowOf } from './schedule.ts';
import { DEFAULT_SETTINGS, scheduleOf } from './settings.ts';
import { checkFolder, checkIds, MAX_CAMPAIGN_CONTACTS, type StoredSource } from './sources.ts';
import { renamedZones, runsOf, storedContacts, zoneColumn } from './stage.ts';
import { inTurns } from './steps.ts';

/** Nothing lasts longer: two hours of conversation. */
const MAX_CALL_SECONDS = 7_200;

/** Exactly one of the first four. */
export interface ForecastCampaignInput {
  /** What is left of this campaign, with its schedule, as far as no other is given. */
  campaignId?: string | null | undefined;
  contactFolderId?: string | null | undefined;
  contactIds?: readonly string[] | null | undefined;
  /** So many contacts without zones of their own. */
  contactCount?: number | null | undefined;
  /** Null is the default, undefined for a campaign what it has. */
  scheduledAt?: Date | null | undefined;
  timezone?: string | null | undefined;
  /** `HH:MM` */
  startTime?: string | null | undefined;
  endTime?: string | null | undefined;
  workingDays?: readonly number[] | null | undefined;
  maxConcurrentCalls?: number | null | undefined;
  maxCallsPerDay?: number | null | undefined;
  /** How long a call is expected to take, ringing included. */
  callSeconds?: number | null | undefined;
}

/** Somebody who would be called. */
export interface ForecastContact {
  phoneNumber: string;
  firstName: string | null;
  lastName: string | null;
  /** UUIDs: the contact, if there is one, and the contact of the campaign, if it is about one. */
  contactId: string | null;
  campaignContactId: string | null;
}

export interface CampaignForecast {
  /** Every contact is called while the window is open in which it is due. */
  fits: boolean;
  /** Contacts that get called within five years. */
  calls: number;
  firstCallAt: Date | null;
  lastCallAt: Date | null;
  endsAt: Date | null;
  problems: readonly ForecastProblem[];
  /** Only hours with calls, in order. */
  hours: readonly ForecastCampaignHour[];
}

export interface ForecastCampaignHour {
  from: Date;
  /** Calls that begin in this hour. */
  calls: number;
  /**
   * The first of those who are called in it, in the order of the list within each zone; nobody for a
   * mere number of contacts. What is asked for in one turn, for however many hours, is one query.
   */
  contacts: (first: number) => Promise<ForecastContact[]>;
}

/** What is called, as rows in parentheses, and the order among them. */
interface Called {
  rows: Prisma.Sql;
  place: Prisma.Sql;
  contactId: Prisma.Sql;
  campaignContactId: Prisma.Sql;
  alreadyPerDay: CallsPerDay;
}

/** @throws UserInputError with everything that is wrong with the input. */
export async function forecastCampaign(
  app: App,
  viewer: Viewer,
  input: ForecastCampaignInput,
): Promise<CampaignForecast> {
  const checks = new Checks();
  const campaign = await checkCampaign(app, viewer, checks, input.campaignId);
  const source = await checkContacts(app, viewer, checks, input);
  const schedule: Schedule = campaign
    ? { ...scheduleOf(campaign), scheduledAt: campaign.scheduledAt, ...given(input) }
    : given(input);
  const now = Temporal.Instant.fromEpochMilliseconds(app.now().getTime());
  // A campaign that has begun goes on from now.
  const problems = validateSchedule({ ...schedule, scheduledAt: input.scheduledAt }, { now });
  for (const { path, message } of problems) checks.add('INVALID_INPUT', message, path);
  const callSeconds = checks.number(input.callSeconds, ['callSeconds'], {
    min: 1,
    max: MAX_CALL_SECONDS,
    integer: true,
  });
  checks.throwIfAny();

  const called = await whoIsCalled(app, viewer, campaign, source);
  const renamed = called ? await renamedZones(app.db, called.rows) : new Map<string, string>();
  const zoned = called && zonedRows(called, renamed);
  const startAt = Math.max(now.epochMilliseconds, schedule.scheduledAt?.getTime() ?? 0);
  const outlook = await inTurns(
    forecastSteps({
      ...paceOf(app, {
        maxConcurrentCalls: schedule.maxConcurrentCalls ?? DEFAULT_SETTINGS.maxConcurrentCalls,
      }),
      callSeconds: callSeconds ?? CALL_SECONDS,
      window: windowOf(schedule),
      startAt: Temporal.Instant.fromEpochMilliseconds(startAt),
      maxCallsPerDay: schedule.maxCallsPerDay ?? null,
      alreadyPerDay: called?.alreadyPerDay ?? new Map(),
      contacts: zoned ? await runsOf(app.db, zoned, Prisma.sql`place`) : (input.contactCount ?? 0),
    }),
  );
  const contactsOf = zoned ? contactLoader(app, zoned) : async () => [];
  return {
    fits: outlook.fits,
    calls: outlook.calls,
    firstCallAt: toDate(outlook.firstCallAt),
    lastCallAt: toDate(outlook.lastCallAt),
    endsAt: toDate(outlook.endsAt),
    problems: outlook.problems,
    hours: outlook.hours.map((hour) => ({
      from: new Date(hour.from.epochMilliseconds),
      calls: hour.calls,
      contacts: (first) => contactsOf(hour, first),
    })),
  };
}

type Schedule = Omit<ScheduleInput, 'scheduledAt'> & { scheduledAt?: Date | null | undefined };

async function checkCampaign(
  app: App,
  viewer: Viewer,
  checks: Checks,
  campaignId: string | null | undefined,
): Promise<Campaign | null> {
  if (campaignId === null || campaignId === undefined) return null;
  const id = checks.id('cmp', 'Campaign', campaignId, ['campaignId']);
  if (!id) return null;
  const campaign = await app.db.campaign.findFirst({
    where: { ...ownedBy(viewer), id, deletedAt: null },
  });
  if (!campaign) checks.add('NOT_FOUND', 'There is no such campaign.', ['campaignId']);
  return campaign;
}

const SOURCES = ['campaignId', 'contactFolderId', 'contactIds', 'contactCount'] as const;

async function checkContacts(
  app: App,
  viewer: Viewer,
  checks: Checks,
  input: ForecastCampaignInput,
): Promise<StoredSource | undefined> {
  const named = SOURCES.filter((name) => input[name] !== null && input[name] !== undefined);
  const names = SOURCES.map((name) => `\`${name}\``).join(', ');
  if (named.length === 0) {
    checks.add('REQUIRED', `Say who would be called: give one of ${names}.`, []);
  } else if (named.length > 1) {
    checks.add('INVALID_INPUT', `Only one of ${names} can be given.`, [named[1]!]);
  }
  checks.number(input.contactCount, ['contactCount'], {
    min: 1,
    max: MAX_CAMPAIGN_CONTACTS,
    integer: true,
  });
  const { contactFolderId, contactIds } = input;
  const folder =
    contactFolderId == null ? undefined : checkFolder(app, viewer, checks, contactFolderId);
  const ids = contactIds ? checkIds(app, viewer, checks, contactIds) : undefined;
  return (await folder) ?? (await ids);
}

const SCHEDULE = [
  'scheduledAt',
  'timezone',
  'startTime',
  'endTime',
  'workingDays',
  'maxConcurrentCalls',
  'maxCallsPerDay',
] as const satisfies readonly (keyof Schedule)[];

function given(input: ForecastCampaignInput): Schedule {
  return Object.fromEntries(
    SCHEDULE.filter((name) => input[name] !== undefined).map((name) => [name, input[name]]),
  );
}

async function whoIsCalled(
  app: App,
  viewer: Viewer,
  campaign: Campaign | null,
  source: StoredSource | undefined,
): Promise<Called | null> {
  if (campaign) {
    return {
      rows: waitingContacts(campaign.id),
      place: Prisma.sql`position`,
      contactId: Prisma.sql`contact_id`,
      campaignContactId: Prisma.sql`id`,
      alreadyPerDay: await attemptsPerDay(app.db, campaign.id),
    };
  }
  if (!source) return null;
  return {
    // A number is in a campaign once, however often it is listed.
    rows: Prisma.sql`(
      SELECT DISTINCT ON (phone_number) * FROM (${storedContacts(viewer, source)}) AS stored
      ORDER BY phone_number, ordinal
    ) AS called`,
    place: Prisma.sql`ordinal`,
    contactId: Prisma.sql`id`,
    campaignContactId: Prisma.sql`NULL::uuid`,
    alreadyPerDay: new Map(),
  };
}

/** The rows with `place` and the zone they are called by. */
function zonedRows(called: Called, renamed: ReadonlyMap<string, string>): Prisma.Sql {
  return Prisma.sql`(
    SELECT ${called.place} AS place, ${zoneColumn(Prisma.sql`timezone`, renamed)} AS timezone,
      phone_number, first_name, last_name, ${called.contactId} AS contact_id,
      ${called.campaignContactId} AS campaign_contact_id
    FROM ${called.rows}
  ) AS zoned`;
}

type LoadContacts = (hour: ForecastHour, first: number) => Promise<ForecastContact[]>;

/** Gathers what is asked for until others have had their turn, and reads it in one statement. */
function contactLoader(app: App, zoned: Prisma.Sql): LoadContacts {
  let waiting: { hour: ForecastHour; first: number }[] = [];
  let reading: Promise<ForecastContact[][]> | null = null;
  const read = async (): Promise<ForecastContact[][]> => {
    await nextTurn();
    const asked = waiting;
    waiting = [];
    reading = null;
    return readContacts(app, zoned, asked);
  };
  return async (hour, first) => {
    const index = waiting.push({ hour, first }) - 1;
    reading ??= read();
    return (await reading)[index] ?? [];
  };
}

async function readContacts(
  app: App,
  zoned: Prisma.Sql,
  asked: readonly { hour: ForecastHour; first: number }[],
): Promise<ForecastContact[][]> {
  const ranges = asked.flatMap(({ hour, first }, index) => {
    let left = first;
    return hour.contacts.flatMap(({ timezone, first, count }) => {
      const taken = Math.min(count, left);
      left -= taken;
      return taken > 0 ? [{ index, zone: timezone ?? '', first, last: first + taken - 1 }] : [];
    });
  });
  const records = JSON.stringify(ranges.map((range, nth) => ({ nth, ...range })));
  const rows = await app.db.$transaction((tx) =>
    withoutNestedLoops(
      tx,
      () => tx.$queryRaw<({ index: number } & ForecastContact)[]>`
    SELECT range.index, numbered.phone_number AS "phoneNumber",
      numbered.first_name AS "firstName", numbered.last_name AS "lastName",
      numbered.contact_id AS "contactId", numbered.campaign_contact_id AS "campaignContactId"
    FROM jsonb_to_recordset(${records}::jsonb)
        AS range(nth int, index int, zone text, first int, last int)
    CROSS JOIN generate_series(range.first, range.last) AS wanted(ordinal)
    JOIN (
      SELECT *, coalesce(timezone, '') AS zone,
        row_number() OVER (PARTITION BY timezone ORDER BY place) - 1 AS ordinal
      FROM ${zoned}
    ) AS numbered ON numbered.zone = range.zone AND numbered.ordinal = wanted.ordinal
    ORDER BY range.nth, wanted.ordinal`,
    ),
  );
  const result: ForecastContact[][] = asked.map(() => []);
  for (const { index, ...contact } of rows) result[index]?.push(contact);
  return result;
}

function toDate(instant: Temporal.Instant | null): Date | null {
  return instant && new Date(instant.epochMilliseconds);
}
