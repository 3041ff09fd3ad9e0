/** Random values for arguments: valid, at a limit, or to be refused. */
import {
  type GraphQLInputType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
} from 'graphql';
import type { Chance } from './chance.ts';

/** Ids and cursors that were seen, which later operations use. */
export interface Pool {
  ids: string[];
  cursors: string[];
}

const TEXTS = [
  ...[
    '',
    ' ',
    'x',
    'Ada Lovelace',
    '0',
    'null',
    'true',
    '%',
    '_%',
    '\\',
    "'; DROP TABLE calls; --",
  ],
  ...[
    '\u0000',
    'a\u0000b',
    '\ud83d',
    '\udc00x',
    '\u202e\u200b\ufeff',
    '👩‍👩‍👧‍👦',
    'ﷺ',
    'İıß',
    '\r\n12:00:00 info  x',
  ],
  ...[
    '{{name}}',
    '%{x}',
    '{{#a}}',
    '<script>alert(1)</script>',
    '=1+1',
    '__proto__',
    'constructor',
  ],
  ...[
    'x'.repeat(101),
    'x'.repeat(3_000),
    'é'.repeat(70_000),
    '['.repeat(500),
    '\u0301'.repeat(500),
  ],
  ...['+14155550142', 'tel:+1', '1e400', '-0', 'NaN', '../../etc/passwd', 'Europe/Berlin', '09:00'],
];
const URLS = [
  'https://example.com/x',
  'https://example.com\\@127.0.0.1/',
  'http://localhost',
  'https://[::1]/',
  'javascript:alert(1)',
  '//x',
  'https://example.com/{a}/{b}?c#d',
  `https://example.com/${'x'.repeat(3_000)}`,
];
const INSTANTS = [
  '2026-11-28T12:00:00Z',
  '0000-01-01T00:00:00Z',
  '0001-01-01T00:00:00+14:00',
  '9999-12-31T23:59:59.999-14:00',
  '2026-02-30T00:00:00Z',
  '2026-12-31T23:59:60Z',
  '2040-01-01T00:00:00.123456789Z',
  '1969-12-31T23:59:59Z',
  '2026-11-28',
  '',
];
const NUMBERS = [
  0,
  1,
  -1,
  2,
  5,
  10,
  60,
  100,
  101,
  3_600,
  2 ** 31 - 1,
  -(2 ** 31),
  2 ** 31,
  0.5,
  1e308,
];
const PHONE_NUMBERS = [
  '+14155550142',
  '+14155550143',
  '4155550142',
  '+1',
  '+999',
  '',
  '+19005550142',
  '١٢٣',
];
const LENGTHS = [0, 1, 1, 1, 2, 3, 101, 1_001];

/** What is known of the place that a value is for. */
export interface Place {
  pool: Pool;
  /** Name of the argument or input field. */
  name: string;
  /** Name of the field of `Query` or `Mutation`. */
  root: string;
  /** Whether values that a careful client would not send are wanted. */
  wild: boolean;
}

/** A value for the type: a JSON value, or undefined to leave it out. */
export function randomValue(
  chance: Chance,
  nullable: GraphQLInputType,
  place: Place,
  depth = 0,
): unknown {
  if (!isNonNullType(nullable) && chance.is(depth === 0 ? 0.3 : 0.5)) {
    return chance.is(0.8) ? undefined : null;
  }
  if (place.wild && chance.is(0.02)) return randomJson(chance, 3);
  const type = getNullableType(nullable);
  if (isListType(type)) {
    const length = depth > 3 || !place.wild ? 1 : chance.one(LENGTHS);
    const item = (): unknown => randomValue(chance, type.ofType, place, depth + 1) ?? null;
    if (length <= 10) return Array.from({ length }, item);
    // One item many times, short enough that the body is not refused for its size.
    const repeated = item();
    const isShort = (JSON.stringify(repeated) ?? '').length < 200;
    return Array.from<unknown>({ length }).fill(isShort ? repeated : 'x');
  }
  if (isEnumType(type)) {
    return !place.wild || chance.is(0.95) ? chance.one(type.getValues()).name : 'NO_SUCH_VALUE';
  }
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields());
    const chosen = type.isOneOf && !(place.wild && chance.is(0.1)) ? [chance.one(fields)] : fields;
    const entries = chosen.flatMap((field) => {
      const { name } = field;
      const value =
        depth > 5 ? undefined : randomValue(chance, field.type, { ...place, name }, depth + 1);
      return value === undefined ? [] : [[field.name, value]];
    });
    return Object.fromEntries(entries);
  }
  return place.wild
    ? wildScalar(chance, type.toString(), place)
    : plainScalar(chance, type.toString(), place);
}

const PREFIXES: Record<string, string> = {
  ...{ agent: 'agt', voice: 'voc', tool: 'tol', knowledgebase: 'knb', call: 'cal' },
  ...{ knowledgesource: 'src', contactfolder: 'fld', folder: 'fld', contact: 'ctc' },
  ...{ contactimport: 'imp', import: 'imp', campaigncontact: 'cct', campaign: 'cmp' },
  ...{ phonenumber: 'num', number: 'num', apikey: 'key', organization: 'org' },
};

/** An id of the type that the name of the place suggests, when there is one. */
function idFor(chance: Chance, { pool, name, root }: Place): string {
  const hint = /^ids?$/.test(name) ? root : name.replace(/Ids?$/, '');
  const [prefix] = Object.entries(PREFIXES)
    .filter(([word]) => hint.toLowerCase().includes(word))
    .sort(([a], [b]) => b.length - a.length)
    .map(([, known]) => known);
  const fitting = pool.ids.filter((id) => id.startsWith(`${prefix}_`));
  return chance.one(fitting.length > 0 ? fitting : [...pool.ids, 'x']);
}

/** What a careful client sends. */
function plainScalar(chance: Chance, type: string, place: Place): unknown {
  switch (type) {
    case 'ID':
      return idFor(chance, place);
    case 'Int':
      return chance.one([1, 2, 5, 30, 60]);
    case 'Float':
      return chance.one([0, 0.5, 1]);
    case 'Boolean':
      return chance.is(0.5);
    case 'DateTime':
      return chance.one(['2026-11-28T12:00:00Z', '2040-01-01T00:00:00Z']);
    case 'Url':
      return 'https://example.com/x';
    case 'E164':
      return `+1415555${String(chance.below(10_000)).padStart(4, '0')}`;
    case 'Duration':
      return chance.one(['10s', '30s', '300s']);
    case 'LanguageTag':
      return 'en-US';
    case 'Cursor':
      return '0';
    case 'Decimal':
      return '0.05';
    case 'JSON':
      return 'x';
    case 'JSONObject':
      return { type: 'object' };
    case 'Upload':
      return 'phone,name\n+14155550142,Ada';
    default:
      if (/time$/i.test(place.name)) return chance.one(['09:00', '17:00']);
      if (/zone$/i.test(place.name)) return 'Europe/Berlin';
      return `${place.name} ${chance.below(1_000_000)}`;
  }
}

function wildScalar(chance: Chance, type: string, place: Place): unknown {
  const { pool } = place;
  switch (type) {
    case 'ID':
      return chance.is(0.9) ? idFor(chance, place) : chance.one([...pool.ids, ...TEXTS]);
    case 'Int':
    case 'Float':
      return chance.one(NUMBERS);
    case 'Boolean':
      return chance.is(0.5);
    case 'DateTime':
      return chance.one(INSTANTS);
    case 'Url':
      return chance.one(URLS);
    case 'E164':
      return chance.one(PHONE_NUMBERS);
    case 'Duration':
      return chance.one(['30s', '0s', '0.5s', '3600s', '-1s', '1e9s', '999999999.999999999s', 'x']);
    case 'Cursor':
      return chance.one(['0', '1', '-1', '9223372036854775807', '9223372036854775808', 'x', '1.5']);
    case 'Decimal':
      return chance.one(['0.05', '-1', '1e5', '99999999999999999999', 'x']);
    case 'JSON':
    case 'JSONObject':
      return chance.is(0.7) ? { type: 'object' } : randomJson(chance, 5);
    case 'Upload':
      return chance.one([
        'phone,name\n+14155550142,Ada',
        '',
        '\u0000',
        'phone\n',
        ',,,\n"',
        'phone,__proto__\n+14155550142,x',
      ]);
    default:
      return pool.cursors.length > 0 && chance.is(0.1)
        ? chance.one(pool.cursors)
        : chance.one(TEXTS);
  }
}

/** Values that JSON can express. */
function randomJson(chance: Chance, depth: number): unknown {
  if (depth === 0 || chance.is(0.3)) {
    return chance.one<unknown>([null, true, 0, -0.5, 1e308, ...TEXTS]);
  }
  const items = Array.from({ length: chance.below(4) }, () => randomJson(chance, depth - 1));
  if (chance.is(0.5)) return items;
  const value: Record<string, unknown> = {};
  for (const item of items) {
    const key = chance.one(['type', 'a', '__proto__', 'constructor', 'then', '', '\u0000', '$ref']);
    Object.defineProperty(value, key, { value: item, enumerable: true, configurable: true });
  }
  return value;
}
