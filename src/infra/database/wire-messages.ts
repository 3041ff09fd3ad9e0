/**
 * Messages of PostgreSQL's extended query protocol:
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

type Value = string | number | boolean;

export interface ReadStatement {
  /** Of the prepared statement; '' for none. */
  name: string;
  text: string;
  values: readonly (Value | readonly Value[])[];
}

/** Bytes of the messages without their strings. */
const FIXED_BYTES = 64;
const BYTES_OF_LENGTH = 4;
/** Most bytes of a character of a string in UTF-8. */
const BYTES_OF_CHARACTER = 3;

/**
 * Executes the statements one after the other, as one implicit transaction: when one fails, those behind it are
 * skipped. Descriptions of the results are not requested. `isKnown` says whether the connection has prepared
 * the statement of a name.
 */
export function messagesFor(
  statements: readonly ReadStatement[],
  isKnown: (name: string) => boolean,
): Buffer {
  const prepared = new Set<string>();
  const messages = statements.map(({ name, text, values }) => {
    const isNew = name === '' || !(isKnown(name) || prepared.has(name));
    prepared.add(name);
    return { name, text: isNew ? text : null, values: values.map(textOf) };
  });
  const writer = new Writer(
    messages.reduce((sum, message) => sum + mostBytes(message), FIXED_BYTES),
  );
  for (const { name, text, values } of messages) {
    if (text !== null) writer.message('P', () => writer.string(name).string(text).int16(0));
    writer.message('B', () => {
      // No portal name, and no formats: all is text.
      writer.string('').string(name).int16(0).int16(values.length);
      for (const value of values) writer.value(value);
      writer.int16(0);
    });
    // Of the portal without a name, all rows.
    writer.message('E', () => writer.string('').int32(0));
  }
  writer.message('S', () => {});
  return writer.bytes();
}

interface Message {
  name: string;
  text: string | null;
  values: readonly string[];
}

function mostBytes({ name, text, values }: Message): number {
  const characters = values.reduce((sum, value) => sum + value.length, (text ?? '').length);
  const names = 2 * name.length;
  return (characters + names) * BYTES_OF_CHARACTER + values.length * BYTES_OF_LENGTH + FIXED_BYTES;
}

class Writer {
  readonly #buffer: Buffer;
  #end = 0;

  constructor(mostBytes: number) {
    this.#buffer = Buffer.allocUnsafe(mostBytes);
  }

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#end);
  }

  message(type: string, write: () => void): void {
    this.#end += this.#buffer.write(type, this.#end, 'latin1');
    this.#sized(0, write);
  }

  value(text: string): void {
    this.#sized(BYTES_OF_LENGTH, () => {
      this.#end += this.#buffer.write(text, this.#end);
    });
  }

  /** With a null at its end. */
  string(text: string): this {
    if (text !== '') this.#end += this.#buffer.write(text, this.#end);
    this.#end = this.#buffer.writeUInt8(0, this.#end);
    return this;
  }

  int16(value: number): this {
    this.#end = this.#buffer.writeInt16BE(value, this.#end);
    return this;
  }

  int32(value: number): this {
    this.#end = this.#buffer.writeInt32BE(value, this.#end);
    return this;
  }

  /** Writes a part behind its length in bytes, which counts itself, less `without`. */
  #sized(without: number, write: () => void): void {
    const start = this.#end;
    this.#end += BYTES_OF_LENGTH;
    write();
    this.#buffer.writeInt32BE(this.#end - start - without, start);
  }
}

function textOf(value: Value | readonly Value[]): string {
  if (typeof value !== 'object') return String(value);
  const items = value.map((item) => `"${String(item).replaceAll(/["\\]/g, '\\$&')}"`);
  return `{${items.join(',')}}`;
}
