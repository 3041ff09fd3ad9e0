/** Which column of a file says what about a contact. Pure. */
import type { Checks } from '../infra/checks.ts';
import { type CsvFormat, withoutFormulaGuard } from './csv.ts';
import type { CONTACT_FIELDS, ContactInput } from './record.ts';

/** A field of a contact, or its whole name, which is then divided. */
export type ImportField = (typeof CONTACT_FIELDS)[number] | 'name';

export interface ImportColumn {
  /** As the header has it. */
  column: string;
  field: ImportField | null;
  /** Both null: the column is left out. */
  metadataKey: string | null;
}

/** What is kept with an import about its file. */
export interface ImportMapping extends CsvFormat {
  columns: ImportColumn[];
}

/** What the caller says of one column. */
export interface ColumnMappingInput {
  column: string;
  field?: ImportField | null | undefined;
  metadataKey?: string | null | undefined;
}

/** Headers as people write them, without case, spaces and punctuation. */
const NAMES: Record<ImportField, readonly string[]> = {
  phoneNumber: [
    ...['phonenumber', 'phone', 'phoneno', 'phonenr', 'number', 'mobile', 'mobilephone'],
    ...['mobilenumber', 'mobileno', 'cell', 'cellphone', 'cellnumber', 'tel', 'telephone'],
    ...['telephonenumber', 'telno', 'msisdn', 'contactnumber', 'whatsapp', 'whatsappnumber'],
    ...['primaryphone', 'telefon', 'telefonnummer', 'handy', 'handynummer', 'telefono'],
    ...['teléfono', 'téléphone', 'móvil', 'celular'],
  ],
  firstName: ['firstname', 'first', 'givenname', 'forename', 'fname', 'vorname', 'prénom'],
  lastName: ['lastname', 'last', 'surname', 'familyname', 'lname', 'nachname', 'apellido'],
  name: ['name', 'fullname', 'contactname', 'customername', 'leadname', 'contact', 'nombre'],
  email: ['email', 'emailaddress', 'mail', 'emailid', 'correo'],
  companyName: ['companyname', 'company', 'organization', 'organisation', 'business', 'firma'],
  industry: ['industry', 'sector', 'branche'],
  location: ['location', 'city', 'town', 'place', 'address', 'ort'],
  pinCode: ['pincode', 'pin', 'postalcode', 'postcode', 'zip', 'zipcode', 'plz'],
  keywords: ['keywords', 'keyword', 'tags', 'tag', 'labels'],
  timezone: ['timezone', 'tz', 'timezoneid', 'zeitzone'],
};

const FIELD_OF = new Map(
  Object.entries(NAMES).flatMap(([field, names]) =>
    names.map((name) => [name, field as ImportField] as const),
  ),
);

/** What an export has beside what can be told about a contact: kept by the server alone. */
export const KEPT_COLUMNS = ['call_count', 'last_call_outcome', 'last_called_at'] as const;

function simplify(header: string): string {
  return header.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');
}

/** The column that most likely is a field; null when its name says nothing. */
function guessField(column: string): ImportField | null {
  return FIELD_OF.get(simplify(column)) ?? null;
}

/**
 * A use for every column of the header: the caller's, else one guessed from its name, else metadata
 * under its own name. The better name wins where two columns would be the same field.
 */
export function mapColumns(
  checks: Checks,
  header: readonly string[],
  given: readonly ColumnMappingInput[],
): ImportColumn[] {
  const names = header.map((cell) => withoutFormulaGuard(cell.trim()));
  const byName = new Map<string, { input: ColumnMappingInput; index: number }>();
  given.forEach((input, index) => {
    const column = input.column.trim();
    if (!names.includes(column)) {
      checks.add('INVALID_INPUT', `The file has no column ${quote(column)}. ${list(names)}`, [
        'mapping',
        index,
        'column',
      ]);
    } else if (byName.has(column)) {
      checks.add('INVALID_INPUT', `The column ${quote(column)} is mapped twice.`, [
        'mapping',
        index,
        'column',
      ]);
    } else if (input.field && input.metadataKey) {
      checks.add('INVALID_INPUT', 'Give `field` or `metadataKey`, not both.', ['mapping', index]);
    }
    checks.text(input.metadataKey, ['mapping', index, 'metadataKey'], { min: 1, max: 100 });
    if (!byName.has(column)) byName.set(column, { input, index });
  });

  const taken = new Map<ImportField, number>();
  const columns = names.map((column): ImportColumn => {
    const use = byName.get(column);
    if (!use) return { column, field: null, metadataKey: null };
    const { field = null, metadataKey = null } = use.input;
    if (field && taken.has(field)) {
      checks.add('INVALID_INPUT', 'Another column is mapped to this field already.', [
        'mapping',
        use.index,
        'field',
      ]);
    }
    if (field) taken.set(field, -1);
    return { column, field, metadataKey };
  });

  // Columns whose names stand earlier in the list are the better guesses.
  const guesses = names
    .map((column, index) => ({ column, index, field: guessField(column) }))
    .filter(({ column, field }) => field && !byName.has(column))
    .sort((a, b) => rank(a.column, a.field) - rank(b.column, b.field) || a.index - b.index);
  for (const { index, field } of guesses) {
    const column = columns[index];
    if (!column || !field || taken.has(field)) continue;
    if (field === 'name' && (taken.has('firstName') || taken.has('lastName'))) continue;
    column.field = field;
    taken.set(field, index);
  }

  const keys = new Set(columns.map(({ metadataKey }) => metadataKey));
  columns.forEach((column, index) => {
    const left = column.field || column.metadataKey || byName.has(column.column);
    if (left || column.column === '' || isKept(column.column)) return;
    column.metadataKey = freeKey(column.column.slice(0, 90), keys);
    keys.add(column.metadataKey);
    columns[index] = column;
  });

  if (!taken.has('phoneNumber')) {
    checks.add(
      'REQUIRED',
      `No column holds phone numbers. Name one "phone_number", or say which one it is in \`mapping\`. ${list(names)}`,
      ['file'],
    );
  }
  return columns;
}

function rank(column: string, field: ImportField | null): number {
  return field ? NAMES[field].indexOf(simplify(column)) : 0;
}

function isKept(column: string): boolean {
  return (KEPT_COLUMNS as readonly string[]).includes(column);
}

function freeKey(name: string, keys: ReadonlySet<string | null>): string {
  if (!keys.has(name)) return name;
  for (let number = 2; ; number += 1) {
    const key = `${name} ${number}`;
    if (!keys.has(key)) return key;
  }
}

/** How a row becomes what is said about a contact. */
export function rowReader(
  columns: readonly ImportColumn[],
): (cells: readonly string[]) => { input: ContactInput } | { problem: string } {
  const uses = columns.map(({ field, metadataKey }) => ({ field, metadataKey }));
  return (cells) => {
    if (cells.length > uses.length && cells.slice(uses.length).some((cell) => cell.trim())) {
      return {
        problem: `The row has ${cells.length} cells and the header ${uses.length}. A cell that holds the delimiter must be in quotes.`,
      };
    }
    const input: ContactInput = { phoneNumber: null };
    let metadata: Record<string, string> | null = null;
    let name: string | null = null;
    for (let index = 0; index < uses.length; index += 1) {
      const cell = cells[index];
      const use = uses[index];
      if (!cell || !use) continue;
      const value = withoutFormulaGuard(cell.trim());
      if (value === '') continue;
      if (use.field === 'name') name = value;
      else if (use.field) input[use.field] = value;
      else if (use.metadataKey) {
        metadata ??= {};
        Object.defineProperty(metadata, use.metadataKey, {
          value,
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
    }
    if (metadata) input.metadata = metadata;
    if (name) Object.assign(input, { ...divideName(name), ...named(input) });
    return { input };
  };
}

function named({ firstName, lastName }: ContactInput): ContactInput {
  return { ...(firstName ? { firstName } : {}), ...(lastName ? { lastName } : {}) };
}

/** "Ada King Lovelace" and "Lovelace, Ada". */
function divideName(name: string): ContactInput {
  const comma = /^([^,]+),\s*([^,]+)$/.exec(name);
  if (comma?.[1] && comma[2]) return { firstName: comma[2].trim(), lastName: comma[1].trim() };
  const [firstName = '', ...rest] = name.split(/\s+/);
  return rest.length > 0 ? { firstName, lastName: rest.join(' ') } : { firstName };
}

function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, 20).map(quote).join(', ');
  return `Its columns are ${shown}${names.length > 20 ? ' and more' : ''}.`;
}
