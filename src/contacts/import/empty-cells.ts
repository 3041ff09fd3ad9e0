/** Recognizes what databases, spreadsheets and people write into empty cells. Pure. */
import type { ImportField } from './header-names.ts';

const EMPTY = new Set([
  ...[
    'null',
    'nil',
    'none',
    'nan',
    'undefined',
    'void',
    'n/a',
    'n.a.',
    'n.a',
    '#n/a',
    '#na',
    '-nan',
  ],
  ...['#null!', '#ref!', '#value!', '#name?', '#num!', '#div/0!', '#error!', '#spill!', '#calc!'],
  ...[
    '<null>',
    '(null)',
    '[null]',
    '<na>',
    '\\n',
    '(blank)',
    '(empty)',
    '(none)',
    '[object object]',
  ],
  ...['-', '--', '---', '–', '—', '?', '??', '.', '...'],
]);
/** Empty only in fields where no value is spelled like this. */
const EMPTY_IN_FIELDS = new Set(['na', 'no', 'x', 'no email', 'no phone', 'unknown']);
const FIELDS_WITH_A_FORM: ReadonlySet<ImportField> = new Set(['phoneNumber', 'email', 'timezone']);
const NAMES: ReadonlySet<ImportField> = new Set(['firstName', 'lastName', 'name']);
/** Some people are named Null or Nan. */
const NAME_LIKE = new Set(['Null', 'Nan']);

/** Whether a trimmed cell of a column has no value. `field` is null for metadata. */
export function isEmptyCell(cell: string, field: ImportField | null): boolean {
  if (cell === '') return true;
  if (cell.length > 15) return false;
  const text = cell.toLowerCase();
  // In a consent column, "none" means that consent is denied.
  if (field === 'consent' && text === 'none') return false;
  if (field !== null && NAMES.has(field) && NAME_LIKE.has(cell)) return false;
  if (EMPTY.has(text)) return true;
  return field !== null && FIELDS_WITH_A_FORM.has(field) && EMPTY_IN_FIELDS.has(text);
}
