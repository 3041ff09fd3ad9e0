/**
 * Messages of PostgreSQL's extended query protocol:
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

type Value = string | number | boolean;

export interface ReadStatement {
  /** Name of the prepared statement; '' for none. */
  name: string;
  text: string;
  values: readonly (Value | readonly Value[])[];
}

/** Upper bound for the bytes of a statement's messages, without their strings. */
const FIXED_BYTES = 64;
const BYTES_OF_LENGTH = 4;
/** Maximum number of UTF-8 bytes per character of a JavaScript string. */
const BYTES_OF_CHARACTER = 3;

/**
 * Messages that execute the statements one after another in one implicit transaction: when one fails, those behind it
 * are skipped. Result descriptions are not requested. `isKnown` tells whether the connection has prepared
 * the statement with a name.
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
    messages.reduce((sum, message) => sum + maxByteLength(message), FIXED_BYTES),
  );
  for (const { name, text, values } of messages) {
    if (text !== null) writer.message('P', () => writer.string(name).string(text).int16(0));
    writer.message('B', () => {
      // No portal name, and no formats: all values are text.
      writer.string('').string(name).int16(0).int16(values.length);
      for (const value of values) writer.value(value);
      writer.int16(0);
    });
    // All rows of the unnamed portal.
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

function maxByteLength({ name, text, values }: Message): number {
  const characters = values.reduce((sum, value) => sum + value.length, (text ?? '').length);
  const names = 2 * name.length;
  return (characters + names) * BYTES_OF_CHARACTER + values.length * BYTES_OF_LENGTH + FIXED_BYTES;
}

class Writer {
  readonly #buffer: Buffer;
  #end = 0;

  constructor(maxByteLength: number) {
    this.#buffer = Buffer.allocUnsafe(maxByteLength);
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

  /** Writes a null-terminated string. */
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

  /** Writes a part after its length in bytes. The length includes its own bytes, minus `without`. */
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
