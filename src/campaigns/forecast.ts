/** Forecasts campaigns without saving anything. */

import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import type { App } from '../app.ts';
import { type Campaign, Prisma } from '../generated/prisma/client.ts';
import { Checks } from '../infra/checks.ts';
import { createKeyedLimiter } from '../infra/jobs/keyed-limiter.ts';
import { perInstance } from '../infra/per-instance.ts';
import { toDate } from '../infra/time-zone.ts';
import { ownedBy, type Viewer } from '../viewer.ts';
import {
  checkIds,
  checkSourceFolder,
  MAX_CAMPAIGN_CONTACTS,
  type StoredSource,
} from './enrollment/contact-sources.ts';
import { withoutNestedLoops } from './enrollment/plan-sql.ts';
import { attemptsPerDay, CALL_SECONDS, paceOf, waitingContacts } from './enrollment/planning.ts';
import { renamedZones, runsOf, storedContacts, zoneColumn } from './enrollment/staging-table.ts';
import { runCooperatively } from './schedule/cooperative-loop.ts';
import type { CallsPerDay } from './schedule/planner.ts';
import { type ScheduleInput, validateSchedule, windowOf } from './schedule/schedule.ts';
import {
  type SimulatedHour,
  type SimulationProblem,
  simulationLoop,
} from './schedule/simulation.ts';
import { DEFAULT_SETTINGS, scheduleOf } from './settings.ts';

/** Maximum of `callSeconds`: two hours. */
export const MAX_CALL_SECONDS = 7_200;

/** Exactly one of the first four fields is given. */
export interface ForecastCampaignInput {
  /** Forecasts the waiting contacts of this campaign, with its settings as defaults. */
  campaignId?: string | null | undefined;
  contactFolderId?: string | null | undefined;
  contactIds?: readonly string[] | null | undefined;
  /** Number of contacts, which have no time zones of their own. */
  contactCount?: number | null | undefined;
  /** Null: the default. Undefined: the setting of the campaign. */
  scheduledAt?: Date | null | undefined;
  timezone?: string | null | undefined;
  /** `HH:MM` */
  startTime?: string | null | undefined;
  endTime?: string | null | undefined;
  workingDays?: readonly number[] | null | undefined;
  maxConcurrentCalls?: number | null | undefined;
  maxCallsPerDay?: number | null | undefined;
  /** Expected duration of a call in seconds, including ringing. */
  callSeconds?: number | null | undefined;
}

/** A contact that would be called. */
export interface ForecastContact {
  phoneNumber: string;
  firstName: string | null;
  lastName: string | null;
  /** UUID of the stored contact, if there is one. */
  contactId: string | null;
  /** UUID of the contact of the campaign, if the forecast is for one. */
  campaignContactId: string | null;
}

export interface CampaignForecast {
  /** Whether every contact is called in the window in which it is due. */
  fits: boolean;
  /** Number of contacts called within five years. */
  calls: number;
  firstCallAt: Date | null;
  lastCallAt: Date | null;
  endsAt: Date | null;
  problems: readonly SimulationProblem[];
  /** Hours with calls only, in order. */
  hours: readonly ForecastCampaignHour[];
}

export interface ForecastCampaignHour {
  from: Date;
  /** Number of calls that begin in this hour. */
  calls: number;
  /**
   * The contacts called first in this hour, in list order within each zone; empty if only a number of contacts was
   * given. Requests made in the same turn of the event loop share one query.
   */
  contacts: (first: number) => Promise<ForecastContact[]>;
}

/** The contacts to call as a parenthesized SQL relation, and its column expressions. */
interface ContactQuery {
  rows: Prisma.Sql;
  place: Prisma.Sql;
  contactId: Prisma.Sql;
  campaignContactId: Prisma.Sql;
  alreadyPerDay: CallsPerDay;
}

/**
 * Forecasts of an organization that are made, or whose contacts are read, at a time, since each reads up to 100,000
 * contacts and holds a connection. An operation may ask for a hundred.
 */
const forecasts = perInstance(() => createKeyedLimiter(2));

/** @throws UserInputError with all problems of the input. */
export function forecastCampaign(
  app: App,
  viewer: Viewer,
  input: ForecastCampaignInput,
): Promise<CampaignForecast> {
  return forecasts(app).run(viewer.organizationId, () => makeForecast(app, viewer, input));
}

async function makeForecast(
  app: App,
  viewer: Viewer,
  input: ForecastCampaignInput,
): Promise<CampaignForecast> {
  const checks = new Checks();
  const campaign = await checkCampaign(app, viewer, checks, input.campaignId);
  const source = await checkContacts(app, viewer, checks, input);
  const schedule: Schedule = campaign
    ? { ...scheduleOf(campaign), scheduledAt: campaign.scheduledAt, ...givenSchedule(input) }
    : givenSchedule(input);
  const now = app.now().toTemporalInstant();
  // The start of a campaign that has already started may be in the past.
  const problems = validateSchedule({ ...schedule, scheduledAt: input.scheduledAt }, now);
  for (const { path, message } of problems) checks.add('INVALID_INPUT', message, path);
  const callSeconds = checks.number(input.callSeconds, ['callSeconds'], {
    min: 1,
    max: MAX_CALL_SECONDS,
    integer: true,
  });
  checks.throwIfAny();

  const query = await contactQuery(app, viewer, campaign, source);
  const renamed = query ? await renamedZones(app.db, query.rows) : new Map<string, string>();
  const zonedRows = query && withTimeZones(query, renamed);
  const startAt = Math.max(now.epochMilliseconds, schedule.scheduledAt?.getTime() ?? 0);
  const simulation = await runCooperatively(
    simulationLoop({
      ...paceOf(app, {
        maxConcurrentCalls: schedule.maxConcurrentCalls ?? DEFAULT_SETTINGS.maxConcurrentCalls,
      }),
      callSeconds: callSeconds ?? CALL_SECONDS,
      window: windowOf(schedule, app.config.CALLING_WINDOW_MARGIN_SECONDS),
      startAt: Temporal.Instant.fromEpochMilliseconds(startAt),
      maxCallsPerDay: schedule.maxCallsPerDay ?? null,
      alreadyPerDay: query?.alreadyPerDay ?? new Map(),
      contacts: zonedRows
        ? await runsOf(app.db, zonedRows, Prisma.sql`place`)
        : (input.contactCount ?? 0),
    }),
  );
  const contactsOf = zonedRows ? contactLoader(app, viewer, zonedRows) : async () => [];
  return {
    fits: simulation.fits,
    calls: simulation.calls,
    firstCallAt: toDate(simulation.firstCallAt),
    lastCallAt: toDate(simulation.lastCallAt),
    endsAt: toDate(simulation.endsAt),
    problems: simulation.problems,
    hours: simulation.hours.map((hour) => ({
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
  const id = checks.id('Campaign', campaignId, ['campaignId']);
  if (!id) return null;
  const campaign = await app.db.campaign.findFirst({
    where: { ...ownedBy(viewer), id, deletedAt: null },
  });
  if (!campaign) checks.add('NOT_FOUND', 'Campaign not found.', ['campaignId']);
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
    checks.add('REQUIRED', `Specify the contacts with one of ${names}.`, []);
  } else if (named.length > 1) {
    checks.add('INVALID_INPUT', `Only one of ${names} can be given.`, [named[1]!]);
  }
  checks.number(input.contactCount, ['contactCount'], {
    min: 1,
    max: MAX_CAMPAIGN_CONTACTS,
    integer: true,
  });
  const { contactFolderId, contactIds } = input;
  // One after the other, so that problems are always listed in the order of the input.
  const folder =
    contactFolderId == null
      ? undefined
      : await checkSourceFolder(app, viewer, checks, contactFolderId);
  const ids = contactIds ? await checkIds(app, viewer, checks, contactIds) : undefined;
  return folder ?? ids;
}

const SCHEDULE_FIELDS = [
  'scheduledAt',
  'timezone',
  'startTime',
  'endTime',
  'workingDays',
  'maxConcurrentCalls',
  'maxCallsPerDay',
] as const satisfies readonly (keyof Schedule)[];

function givenSchedule(input: ForecastCampaignInput): Schedule {
  return Object.fromEntries(
    SCHEDULE_FIELDS.filter((name) => input[name] !== undefined).map((name) => [name, input[name]]),
  );
}

async function contactQuery(
  app: App,
  viewer: Viewer,
  campaign: Campaign | null,
  source: StoredSource | undefined,
): Promise<ContactQuery | null> {
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
    // A campaign has each number only once, even if it is listed repeatedly or in several forms.
    rows: Prisma.sql`(
      SELECT DISTINCT ON (subscriber_of(phone_number)) *
      FROM (${storedContacts(viewer, source)}) AS stored
      ORDER BY subscriber_of(phone_number), ordinal
    ) AS called`,
    place: Prisma.sql`ordinal`,
    contactId: Prisma.sql`id`,
    campaignContactId: Prisma.sql`NULL::uuid`,
    alreadyPerDay: new Map(),
  };
}

/** The rows with `place` and the canonical time zone. */
function withTimeZones(query: ContactQuery, renamed: ReadonlyMap<string, string>): Prisma.Sql {
  return Prisma.sql`(
    SELECT ${query.place} AS place, ${zoneColumn(Prisma.sql`timezone`, renamed)} AS timezone,
      phone_number, first_name, last_name, ${query.contactId} AS contact_id,
      ${query.campaignContactId} AS campaign_contact_id
    FROM ${query.rows}
  ) AS zoned`;
}

type LoadContacts = (hour: SimulatedHour, first: number) => Promise<ForecastContact[]>;

/** Collects the requests of one turn of the event loop and reads them in one statement. */
function contactLoader(app: App, viewer: Viewer, zonedRows: Prisma.Sql): LoadContacts {
  let waiting: { hour: SimulatedHour; first: number }[] = [];
  let reading: Promise<ForecastContact[][]> | null = null;
  const read = async (): Promise<ForecastContact[][]> => {
    await yieldToEventLoop();
    const requests = waiting;
    waiting = [];
    reading = null;
    return forecasts(app).run(viewer.organizationId, () => readContacts(app, zonedRows, requests));
  };
  return async (hour, first) => {
    const index = waiting.push({ hour, first }) - 1;
    reading ??= read();
    return (await reading)[index] ?? [];
  };
}

async function readContacts(
  app: App,
  zonedRows: Prisma.Sql,
  requests: readonly { hour: SimulatedHour; first: number }[],
): Promise<ForecastContact[][]> {
  const ranges = requests.flatMap(({ hour, first }, index) => {
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
      FROM ${zonedRows}
    ) AS numbered ON numbered.zone = range.zone AND numbered.ordinal = wanted.ordinal
    ORDER BY range.nth, wanted.ordinal`,
    ),
  );
  const result: ForecastContact[][] = requests.map(() => []);
  for (const { index, ...contact } of rows) result[index]?.push(contact);
  return result;
}
