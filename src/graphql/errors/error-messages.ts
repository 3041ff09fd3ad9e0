/** Rewrites messages of GraphQL.js: removes values, which may be secrets, and adds what is allowed. */
import { builder } from '../builder.ts';

const MAX_ENUM_VALUES = 40;
const DATE_TIME_HINT = 'Write an instant with its time zone, such as "2026-11-30T09:00:00Z".';
/** Characters kept at each end of a message. The rest is part of a value, which the patterns below must not search. */
const MAX_END_CHARACTERS = 1_000;

/** The message with each quoted value replaced by its kind, and with the values of an enum listed. */
export function safeMessage(whole: string): string {
  const message = withoutMiddle(whole);
  if (message.startsWith('Syntax Error: ')) {
    return message.replace(/\b(String|BlockString|Int|Float) ".*$/s, '$1.');
  }
  const safe = message
    .replace(
      /^Variable "\$(\w+)" has invalid value at ([.[][^:]*): /,
      'Variable "$$$1" has an invalid value at "$1$2": ',
    )
    .replace(/^(Variable "\$\w+" (?:got|has) invalid value)(?!:) .*?(?=(?: at "[^"]*")?; )/s, '$1')
    // First, since the value may look like the end of another message.
    .replace(/\bValue ".*" does not exist in ("\w+" enum)/s, 'The value does not exist in $1')
    .replace(/(cannot represent (?:an? )?(?:[\w -]+ )?value): (.*)$/s, withKind)
    .replace(/(cannot represent non string or Date type) (.*)$/s, withKind)
    .replace(/(, found:?|; found:|[.?] Found:) (?!null\b|undefined\b)(.*)$/s, withKind)
    .replace(/(cannot represent an invalid [\w-]+) .*$/s, '$1.')
    .replace(/(cannot represent an invalid date-time-string)\.?$/, `$1. ${DATE_TIME_HINT}`)
    // A list is printed without its brackets.
    .replace(/(cannot represent non-object value): .*$/s, '$1.');
  return withEnumValues(safe);
}

function withoutMiddle(message: string): string {
  if (message.length <= 2 * MAX_END_CHARACTERS) return message;
  return `${message.slice(0, MAX_END_CHARACTERS)}…${message.slice(-MAX_END_CHARACTERS)}`;
}

function withKind(_match: string, before: string, value: string): string {
  return `${before}${before.endsWith(':') || before.endsWith('found') ? '' : ':'} ${kindOf(value)}.`;
}

/** Kind of the value at the start of a text that GraphQL.js printed, as JSON or as a literal. */
function kindOf(text: string): string {
  if (/^(true|false)\b/.test(text)) return 'a boolean';
  if (/^-?(\d|Infinity)/.test(text)) return 'a number';
  if (text.startsWith('"')) return 'a string';
  if (text.startsWith('[')) return 'a list';
  if (text.startsWith('{')) return 'an object';
  if (text.startsWith('$')) return 'a variable';
  return /^[A-Z_]\w*/.test(text) ? 'an enum value' : 'another value';
}

function withEnumValues(message: string): string {
  const name = /does not exist in "(\w+)" enum|Enum "(\w+)" cannot represent/.exec(message);
  const values = name ? valuesOfEnum(name[1] ?? name[2] ?? '') : [];
  if (values.length === 0 || values.length > MAX_ENUM_VALUES) return message;
  if (message.includes(' Its values are ')) return message;
  const end = /[.?]$/.test(message) ? '' : '.';
  return `${message}${end} Its values are ${values.join(', ')}.`;
}

function valuesOfEnum(name: string): string[] {
  try {
    const config = builder.configStore.getTypeConfig(name, 'Enum');
    return Object.keys(config.values);
  } catch {
    return [];
  }
}
