/** Reads time zones as written by people, Windows and CRMs. Pure. */
import { WINDOWS_TO_IANA_MAP } from 'windows-iana';

/** Abbreviations with a single meaning, and names that are missing in the Windows table. */
const ZONES: Record<string, string> = {
  'America/New_York': 'et est edt',
  'America/Chicago': 'ct cdt',
  'America/Denver': 'mt mdt',
  'America/Los_Angeles': 'pt pst pdt',
  'America/Anchorage': 'akt akst akdt',
  'Pacific/Honolulu': 'hst hast',
  'America/Halifax': 'adt',
  'America/St_Johns': 'nst ndt',
  'America/Sao_Paulo': 'brt brst',
  'America/Argentina/Buenos_Aires': 'art',
  'Europe/London': 'british-summer-time british-time uk-time greenwich-mean-time',
  'Europe/Lisbon': 'wet west',
  'Europe/Berlin': 'cet cest mez mesz',
  'Europe/Moscow': 'msk moscow-standard-time',
  'Europe/Istanbul': 'trt',
  'Africa/Johannesburg': 'sast',
  'Africa/Lagos': 'wat',
  'Africa/Nairobi': 'eat',
  'Africa/Maputo': 'cat',
  'Asia/Kolkata': 'indian-standard-time',
  'Asia/Karachi': 'pkt',
  'Asia/Kathmandu': 'npt',
  'Asia/Jakarta': 'wib',
  'Asia/Makassar': 'wita',
  'Asia/Jayapura': 'wit',
  'Asia/Bangkok': 'ict',
  'Asia/Singapore': 'sgt',
  'Asia/Hong_Kong': 'hkt',
  'Asia/Manila': 'pht',
  'Asia/Tokyo': 'jst japan-standard-time',
  'Asia/Seoul': 'kst',
  'Australia/Perth': 'awst',
  'Australia/Sydney': 'aedt',
  'Australia/Adelaide': 'acdt',
  'Pacific/Auckland': 'nzst nzdt',
  UTC: 'utc z zulu',
};

const AMBIGUOUS: Record<string, string> = {
  cst: 'America/Chicago, Asia/Shanghai or America/Havana',
  ist: 'Asia/Kolkata, Asia/Jerusalem or Europe/Dublin',
  bst: 'Europe/London or Asia/Dhaka',
  mst: 'America/Denver or America/Phoenix',
  ast: 'America/Halifax or Asia/Riyadh',
  gst: 'Asia/Dubai or Pacific/Guam',
  amt: 'America/Manaus or Asia/Yerevan',
  aest: 'Australia/Sydney or Australia/Brisbane',
  aet: 'Australia/Sydney or Australia/Brisbane',
  acst: 'Australia/Adelaide or Australia/Darwin',
};

const ZONE_BY_NAME = new Map([
  ...WINDOWS_TO_IANA_MAP.flatMap(({ windowsName, territory, iana: [zone] }) =>
    territory === '001' && zone ? [[normalize(windowsName), zone] as const] : [],
  ),
  ...Object.entries(ZONES).flatMap(([zone, names]) =>
    names.split(' ').map((name) => [name, zone] as const),
  ),
]);

function normalize(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replace(/[\s_]+/g, '-');
}

/** An IANA name in parentheses, as displayed by Salesforce. */
const IANA_IN_PARENTHESES = /\(([A-Z][A-Za-z_]+(?:\/[A-Za-z0-9_+-]+)+)\)/;

const canonicalNames = new Map<string, string>();

/** Returns an IANA name in its canonical spelling, or null if there is no such zone. An offset is not a zone. */
function canonicalName(name: string): string | null {
  const known = canonicalNames.get(name);
  if (known) return known;
  if (!/^[a-z]/i.test(name)) return null;
  try {
    const { timeZoneId } = new Temporal.ZonedDateTime(0n, name);
    // Only canonical spellings are cached, so that the cache stays small.
    canonicalNames.set(timeZoneId, timeZoneId);
    return timeZoneId;
  } catch {
    return null;
  }
}

/**
 * Returns the IANA zone that a text names, or null if it is unknown. Recognizes Windows names from the CLDR table, names
 * used by Rails, HubSpot and Salesforce, and unambiguous abbreviations, which stand for a place: EST is New York, also in
 * summer. For ambiguous abbreviations, returns their possible meanings.
 */
export function readTimeZone(text: string): string | { canMean: string } | null {
  const written = IANA_IN_PARENTHESES.exec(text)?.[1] ?? text.replaceAll('_slash_', '/');
  if (written.includes('/')) return canonicalName(written);
  const name = normalize(
    text.replace(/^\((?:UTC|GMT)[^)]*\)/i, '').replace(/\((?:US (?:&|and) Canada)\)\s*$/i, ''),
  );
  const canMean = AMBIGUOUS[name];
  if (canMean !== undefined && Object.hasOwn(AMBIGUOUS, name)) return { canMean };
  return (
    ZONE_BY_NAME.get(name) ??
    ZONE_BY_NAME.get(
      name.replace(/-(?:daylight|summer)-time$|(?<!-standard)-time$/, '-standard-time'),
    ) ??
    canonicalName(text)
  );
}
