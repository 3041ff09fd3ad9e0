/** The shape of the tables of the Prisma schema, for statements that are written without Prisma. */

/** Tables by model name. Generated from the Prisma schema. */
export type Tables = Record<string, Table>;

export interface Table {
  name: string;
  columns: Record<string, Column>;
  relations: Record<string, Relation>;
}

export interface Column {
  name: string;
  /** Type in the Prisma schema: a scalar or an enum. */
  type: string;
  isList: boolean;
  /** Whether a page of rows may have megabytes of this text. */
  isLarge?: boolean;
}

export interface Relation {
  model: string;
  isList: boolean;
  /** Pairs of a field and the equal field of the other model. */
  on: [string, string][];
}
