/** The columns about the person of a contact, from which SQL that writes, copies, exports and erases them is generated. */
import { type Contact, Prisma } from '../generated/prisma/client.ts';
import type { SnakeCase } from '../infra/rows/columns.ts';

/** Fields of a contact that are not about the person. */
type OtherField =
  | 'id'
  | 'organizationId'
  | 'folderId'
  | 'lastCallOutcome'
  | 'callCount'
  | 'lastCalledAt'
  | 'searchText'
  | 'createdAt'
  | 'updatedAt';

export type PersonField = Exclude<keyof Contact, OtherField>;
export type TextField = Exclude<PersonField, 'metadata'>;

interface Column<Field extends PersonField> {
  /** Name in `contacts`, `campaign_contacts` and `campaign_enrollment_rows`. */
  readonly name: SnakeCase<Field>;
  readonly type: Field extends TextField ? 'text' : 'jsonb';
  /** SQL: the value of an erased column. The column is nullable if this is NULL. */
  readonly empty: 'NULL' | "''" | "'{}'";
}

/** In the order of the columns of exported files. */
const COLUMNS: { readonly [Field in PersonField]: Column<Field> } = {
  phoneNumber: { name: 'phone_number', type: 'text', empty: "''" },
  firstName: { name: 'first_name', type: 'text', empty: 'NULL' },
  lastName: { name: 'last_name', type: 'text', empty: 'NULL' },
  email: { name: 'email', type: 'text', empty: 'NULL' },
  companyName: { name: 'company_name', type: 'text', empty: 'NULL' },
  industry: { name: 'industry', type: 'text', empty: 'NULL' },
  location: { name: 'location', type: 'text', empty: 'NULL' },
  pinCode: { name: 'pin_code', type: 'text', empty: 'NULL' },
  keywords: { name: 'keywords', type: 'text', empty: 'NULL' },
  timezone: { name: 'timezone', type: 'text', empty: 'NULL' },
  metadata: { name: 'metadata', type: 'jsonb', empty: "'{}'" },
};

type ColumnOf<Field extends PersonField> = Field extends PersonField
  ? Column<Field> & { readonly field: Field }
  : never;

export const PERSON_COLUMNS = Object.entries(COLUMNS).map(([field, column]) => ({
  field,
  ...column,
})) as readonly ColumnOf<PersonField>[];

/** All columns but `metadata`. */
export const TEXT_COLUMNS = PERSON_COLUMNS.filter((column) => column.type === 'text');

/** SQL: what `write` returns for each column, separated by commas. */
export function personSql(write: (column: ColumnOf<PersonField>) => string): Prisma.Sql {
  return Prisma.raw(PERSON_COLUMNS.map(write).join(', '));
}

/** The fields about the person in a contact or a copy of it. */
export function personOf<Row extends { readonly [Field in PersonField]: unknown }>(
  row: Row,
): Pick<Row, PersonField> {
  const fields = PERSON_COLUMNS.map(({ field }) => [field, row[field]]);
  return Object.fromEntries(fields) as Pick<Row, PersonField>;
}
