/**
 * Files in a GraphQL request, as the GraphQL multipart request specification has it: the part
 * `operations` with the operation, `map` with where each file belongs, then the files.
 *
 * They are written to disk as they come in, so that a file of any size costs no memory. (Yoga's own
 * reader keeps whole files in memory.)
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { RequestError } from '../errors.ts';
import { openSpool, type UploadedFile } from '../infra/uploaded-file.ts';

/** The most of one file that is kept; services have the last word on what is too large. */
export const MAX_UPLOAD_BYTES = 200 * 1024 * 1024;
/** A body beyond this is not even read. */
const MAX_BODY_BYTES = 1024 * 1024 * 1024;
const MAX_FIELD_BYTES = 1024 * 1024;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_FILES = 5;

export function isMultipart(request: IncomingMessage): boolean {
  return (
    request.method === 'POST' &&
    /^multipart\/form-data\b/i.test(request.headers['content-type'] ?? '')
  );
}

/**
 * Reads the whole body and leaves the operation on the request as a parsed JSON body, with the files
 * in its variables. The files are closed when the response is.
 *
 * @throws RequestError BAD_USER_INPUT when the body is not what the specification asks for.
 */
export async function readUpload(
  request: IncomingMessage,
  response: ServerResponse,
): Promise<{ files: UploadedFile[] }> {
  const files = new Map<string, UploadedFile>();
  const fields = new Map<string, string>();
  const closeAll = (): void => {
    for (const file of files.values()) void file.close();
  };
  try {
    for await (const part of partsOf(request, boundaryOf(request))) {
      if (part.filename === null) {
        fields.set(part.name, await readField(part));
      } else {
        if (files.size === MAX_FILES) throw malformed(`it holds more than ${MAX_FILES} files`);
        files.set(part.name, await spoolFile(part, part.filename));
      }
    }
    const operation = placeFiles(fields, files);
    Object.assign(request, { body: operation });
    request.headers['content-type'] = 'application/json';
    delete request.headers['content-length'];
    delete request.headers['transfer-encoding'];
  } catch (error) {
    closeAll();
    throw error;
  }
  response.once('close', closeAll);
  return { files: [...files.values()] };
}

function malformed(what: string): RequestError {
  return new RequestError(
    'BAD_USER_INPUT',
    `The multipart body cannot be read: ${what}. Send the parts "operations" (the GraphQL operation as JSON, with null where a file goes), "map" (such as {"0":["variables.input.file"]}), then the file as "0".`,
  );
}

function boundaryOf(request: IncomingMessage): string {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) {
    throw malformed('it is larger than 1 GB');
  }
  const match = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(
    request.headers['content-type'] ?? '',
  );
  const boundary = match?.[1] ?? match?.[2];
  if (!boundary) throw malformed('the Content-Type names no boundary');
  return boundary;
}

async function readField(part: Part): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of part.body) {
    size += chunk.length;
    if (size > MAX_FIELD_BYTES) throw malformed(`the part "${part.name}" is larger than 1 MB`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function spoolFile(part: Part, filename: string): Promise<UploadedFile> {
  const spool = await openSpool(filename, MAX_UPLOAD_BYTES);
  try {
    for await (const chunk of part.body) await spool.write(chunk);
  } catch (error) {
    await spool.discard();
    throw error;
  }
  return spool.finish();
}

/** The operation, with each file where the map says. */
function placeFiles(
  fields: ReadonlyMap<string, string>,
  files: ReadonlyMap<string, UploadedFile>,
): object {
  const operation = readJson(fields, 'operations');
  const map = readJson(fields, 'map') as Record<string, unknown>;
  for (const [part, paths] of Object.entries(map)) {
    const file = files.get(part);
    if (!file) throw malformed(`"map" names the part "${part}", which is no file in it`);
    if (!Array.isArray(paths)) throw malformed('"map" must give a list of paths for each file');
    for (const path of paths) placeFile(operation as Record<string, unknown>, String(path), file);
  }
  return operation;
}

function readJson(fields: ReadonlyMap<string, string>, name: string): object {
  const text = fields.get(name);
  if (text === undefined) throw malformed(`the part "${name}" is missing`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed(`the part "${name}" is not JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(`the part "${name}" must be a JSON object`);
  }
  return value;
}

function placeFile(operation: Record<string, unknown>, path: string, file: UploadedFile): void {
  const keys = path.split('.');
  const last = keys.pop();
  let at: unknown = operation;
  for (const key of keys) {
    at = typeof at === 'object' && at && Object.hasOwn(at, key) ? Reflect.get(at, key) : null;
  }
  if (keys[0] !== 'variables' || !last || typeof at !== 'object' || at === null) {
    throw malformed(`there is no place "${path}" in the variables`);
  }
  Object.defineProperty(at, last, {
    value: file,
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

interface Part {
  name: string;
  /** Null for a plain field. */
  filename: string | null;
  /** To be read to its end before the next part is asked for. */
  body: AsyncGenerator<Buffer>;
}

const CRLF = Buffer.from('\r\n');
const HEADERS_END = Buffer.from('\r\n\r\n');

/** The parts of a body, one after the other, never more of it in memory than came in at once. */
async function* partsOf(
  source: AsyncIterable<Buffer>,
  boundary: string,
): AsyncGenerator<Part, void> {
  const delimiter = Buffer.from(`\r\n--${boundary}`);
  const chunks = source[Symbol.asyncIterator]();
  // The first delimiter has no line end before it.
  let buffer: Buffer = Buffer.from(CRLF);
  let received = 0;

  async function more(): Promise<void> {
    const { done, value } = await chunks.next();
    if (done) throw malformed('it ends early');
    received += value.length;
    if (received > MAX_BODY_BYTES) throw malformed('it is larger than 1 GB');
    buffer = buffer.length > 0 ? Buffer.concat([buffer, value]) : value;
  }

  async function* untilDelimiter(): AsyncGenerator<Buffer> {
    for (;;) {
      const found = buffer.indexOf(delimiter);
      const end = found === -1 ? Math.max(0, buffer.length - delimiter.length + 1) : found;
      if (end > 0) yield buffer.subarray(0, end);
      buffer = buffer.subarray(found === -1 ? end : end + delimiter.length);
      if (found !== -1) return;
      await more();
    }
  }

  async function readUntil(mark: Buffer): Promise<string> {
    for (;;) {
      const found = buffer.indexOf(mark);
      if (found > MAX_HEADER_BYTES || (found === -1 && buffer.length > MAX_HEADER_BYTES)) {
        throw malformed('the headers of a part are too long');
      }
      if (found !== -1) {
        const text = buffer.toString('utf8', 0, found);
        buffer = buffer.subarray(found + mark.length);
        return text;
      }
      await more();
    }
  }

  for await (const _preamble of untilDelimiter());
  for (;;) {
    while (buffer.length < 2) await more();
    if (buffer.toString('latin1', 0, 2) === '--') break;
    await readUntil(CRLF);
    // The headers may be missing altogether; their end then begins with the line end just read.
    buffer = Buffer.concat([CRLF, buffer]);
    const body = untilDelimiter();
    yield { ...readDisposition(await readUntil(HEADERS_END)), body };
    for await (const _unread of body);
  }
  // What follows the last delimiter means nothing.
  while (!(await chunks.next()).done);
}

function readDisposition(headers: string): { name: string; filename: string | null } {
  const line = /^content-disposition:(.*)$/im.exec(headers)?.[1] ?? '';
  const parameter = (name: string): string | undefined => {
    const match = new RegExp(`;\\s*${name}="((?:[^"\\\\]|\\\\.)*)"`, 'i').exec(line);
    return match?.[1]?.replace(/\\(["\\])/g, '$1').replace(/%(22|0D|0A)/gi, decodeURIComponent);
  };
  const name = parameter('name');
  if (name === undefined) throw malformed('a part has no name');
  return { name, filename: parameter('filename') ?? null };
}
