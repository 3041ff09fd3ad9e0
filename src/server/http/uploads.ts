/**
 * Reads multipart requests: the part `operations` with the operation, the part `map` with the variables of each
 * file, then the files, which are written to disk as they arrive.
 *
 * https://github.com/jaydenseric/graphql-multipart-request-spec
 */

import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { Busboy } from '@fastify/busboy';
import { RequestError } from '../../errors.ts';
import { openSpool, type UploadedFile } from '../../infra/files/uploaded-file.ts';
import { formatNumber } from '../../infra/format-number.ts';
import { LIMITS } from '../limits/limits.ts';
import { checkParams, type GraphQLParams, parseJson } from './request-params.ts';
import { UploadFiles } from './upload-files.ts';

/** Higher than the limits of all fields, so that a field reports its own limit as a user error. */
const MAX_FILE_BYTES = LIMITS.fileBytes.max;
/** Maximum size of the whole body, which bounds the disk space of an upload. */
const MAX_BODY_BYTES = LIMITS.multipartBodyBytes.max;
const MAX_FIELD_BYTES = LIMITS.multipartFieldBytes.max;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_FILES = LIMITS.filesPerUpload.max;
const FIELDS = ['operations', 'map'] as const;

type Parser = InstanceType<typeof Busboy>;

export interface Upload {
  params: GraphQLParams;
  files: UploadFiles;
}

/**
 * Reads the whole body. The caller must release the files.
 *
 * @throws RequestError BAD_REQUEST for a body that violates the specification, or
 *   REQUEST_ENTITY_TOO_LARGE; all files are then closed.
 */
export async function readUpload(request: IncomingMessage): Promise<Upload> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) throw bodyTooLarge();
  const reader = new MultipartReader();
  try {
    await feed(request, createParser(request, reader), reader.failure);
    await reader.written();
    return { params: reader.params(), files: reader.files };
  } catch (error) {
    await reader.abort();
    throw error;
  }
}

function createParser(request: IncomingMessage, reader: MultipartReader): Parser {
  let parser: Parser;
  try {
    parser = new Busboy({
      headers: { 'content-type': request.headers['content-type'] ?? '' },
      isPartAFile: (_name, _type, filename) => filename !== undefined,
      limits: {
        fields: FIELDS.length,
        fieldSize: MAX_FIELD_BYTES,
        files: MAX_FILES,
        fileSize: MAX_FILE_BYTES,
        headerPairs: 20,
        headerSize: MAX_HEADER_BYTES,
      },
    });
  } catch {
    throw malformed('the Content-Type has no boundary');
  }
  parser.on('field', (name, value, _nameTruncated, truncated) => {
    reader.field(name, value, truncated);
  });
  parser.on('file', (name, stream, filename) => reader.file(name, stream, filename));
  parser.on('fieldsLimit', () =>
    reader.fail(malformed('it has fields other than "operations" and "map"')),
  );
  parser.on('filesLimit', () => reader.fail(malformed(`it has more than ${MAX_FILES} files`)));
  parser.on('error', () => reader.fail(malformed('it is incomplete or malformed')));
  return parser;
}

/** Writes the body to the parser as fast as files are written to disk. */
async function feed(
  request: IncomingMessage,
  parser: Parser,
  failure: Promise<never>,
): Promise<void> {
  let received = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    received += (chunk as Buffer).length;
    if (received > MAX_BODY_BYTES) throw bodyTooLarge();
    const isTaken = parser.write(chunk);
    // Also throws an error that the chunk caused.
    await Promise.race([isTaken ? Promise.resolve() : once(parser, 'drain'), failure]);
  }
  parser.end();
  await Promise.race([once(parser, 'finish'), failure]);
}

/** Collects the parts of a body. The first unexpected part fails the upload. */
class MultipartReader {
  readonly files = new UploadFiles();
  readonly failure: Promise<never>;
  fail: (error: Error) => void = () => undefined;
  #params: GraphQLParams | null = null;
  /** Paths of each file's variables, by part name. */
  #pathsByName: Map<string, string[]> | null = null;
  readonly #names = new Set<string>();
  readonly #streams: Readable[] = [];
  readonly #spooling: Promise<void>[] = [];

  constructor() {
    this.failure = new Promise((_resolve, reject) => {
      this.fail = reject;
    });
    // It may reject before it is awaited.
    this.failure.catch(() => undefined);
  }

  field(name: string | undefined, value: string, truncated: boolean): void {
    this.#attempt(() => {
      if (truncated)
        throw malformed(`the part "${name}" is larger than ${formatNumber(MAX_FIELD_BYTES)} bytes`);
      this.#checkNew(name);
      if (name === 'operations') {
        this.#params = checkParams(parsePart(name, value));
      } else if (name === 'map') {
        if (!this.#params) throw malformed('"operations" must come before "map"');
        this.#pathsByName = parseMap(parsePart(name, value), this.#params);
      } else throw malformed('it has fields other than "operations" and "map"');
    });
  }

  file(name: string | undefined, stream: Readable, filename: string): void {
    // The stream is destroyed when the body is rejected, even before it is read.
    stream.on('error', () => undefined);
    this.#streams.push(stream);
    this.#attempt(() => {
      this.#checkNew(name);
      if (!this.#pathsByName) throw malformed('"operations" and "map" must come before the files');
      if (!this.#pathsByName.has(name)) throw malformed('"map" does not contain every file');
      stream.once('limit', () => this.fail(fileTooLarge()));
      this.#spooling.push(this.#spool(name, stream, filename));
    });
  }

  /** Resolves when every file has been written. */
  async written(): Promise<void> {
    await Promise.race([Promise.all(this.#spooling), this.failure]);
  }

  /** Stops writing and closes all files. */
  async abort(): Promise<void> {
    for (const stream of this.#streams) stream.destroy(new Error('The upload was aborted'));
    await Promise.allSettled(this.#spooling);
    this.files.release();
  }

  /** The parameters, with the files in their variables. */
  params(): GraphQLParams {
    if (!this.#params) throw malformed('the part "operations" is missing');
    if (!this.#pathsByName) throw malformed('the part "map" is missing');
    for (const [name, paths] of this.#pathsByName) {
      const file = this.files.get(name);
      if (!file)
        throw malformed(`"map" contains the part "${name}", which is not a file of the request`);
      for (const path of paths) setFile(this.#params, path, file);
    }
    return this.#params;
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fail(error as Error);
    }
  }

  #checkNew(name: string | undefined): asserts name is string {
    if (name === undefined) throw malformed('a part has no name');
    if (this.#names.has(name)) throw malformed('two parts have the same name');
    this.#names.add(name);
  }

  async #spool(name: string, stream: Readable, filename: string): Promise<void> {
    try {
      const spool = await openSpool(filename, MAX_FILE_BYTES);
      try {
        for await (const chunk of stream) await spool.write(chunk as Buffer);
      } catch (error) {
        await spool.discard();
        throw error;
      }
      this.files.add(name, spool.finish());
    } catch (error) {
      this.fail(error as Error);
    }
  }
}

function parsePart(name: string, value: string): unknown {
  try {
    return parseJson(Buffer.from(value), `The part "${name}"`);
  } catch (error) {
    if (error instanceof RequestError && error.code === 'BAD_REQUEST') {
      throw malformed(`the part "${name}" is not valid JSON`);
    }
    throw error;
  }
}

/** @throws RequestError unless it is a map of part names to paths that exist in the variables. */
function parseMap(map: unknown, params: GraphQLParams): Map<string, string[]> {
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw malformed('the part "map" must be a JSON object');
  }
  const entries = Object.entries(map);
  if (entries.length > MAX_FILES) throw malformed(`it has more than ${MAX_FILES} files`);
  return new Map(
    entries.map(([name, paths]) => {
      if (!Array.isArray(paths) || paths.length > MAX_FILES) {
        throw malformed(`"map" must give a list of at most ${MAX_FILES} paths for each file`);
      }
      for (const path of paths) resolvePath(params, String(path));
      return [name, paths.map(String)] as const;
    }),
  );
}

function setFile(params: GraphQLParams, path: string, file: UploadedFile): void {
  const { parent, key } = resolvePath(params, path);
  const value = { value: file, enumerable: true, configurable: true, writable: true };
  Object.defineProperty(parent, key, value);
}

/**
 * Position of a file in the variables: a null, or a member that the object does not have. So a file never replaces
 * or enters another file, and a list keeps its length.
 */
function resolvePath(params: GraphQLParams, path: string): { parent: object; key: string } {
  const keys = path.split('.');
  const key = keys.pop();
  let parent: unknown = params;
  for (const name of keys) {
    parent = isJsonObject(parent) && Object.hasOwn(parent, name) ? Reflect.get(parent, name) : null;
  }
  if (keys[0] !== 'variables' || !key || !isJsonObject(parent)) {
    throw malformed(`the path "${path.slice(0, 60)}" does not exist in the variables`);
  }
  const isFree = Object.hasOwn(parent, key)
    ? Reflect.get(parent, key) === null
    : !Array.isArray(parent);
  if (!isFree) throw malformed(`there is no null at the path "${path.slice(0, 60)}"`);
  return { parent, key };
}

/** Whether a value is a JSON object or list, and not a file. */
function isJsonObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
}

function malformed(what: string): RequestError {
  return new RequestError(
    'BAD_REQUEST',
    `The multipart body cannot be read: ${what}. Send the parts "operations" (the GraphQL operation as JSON, with null in place of each file), "map" (such as {"0":["variables.input.file"]}), then the file as "0".`,
  );
}

function bodyTooLarge(): RequestError {
  return new RequestError(
    'REQUEST_ENTITY_TOO_LARGE',
    `A multipart body may have at most ${formatNumber(MAX_BODY_BYTES)} bytes.`,
    { limit: MAX_BODY_BYTES },
  );
}

function fileTooLarge(): RequestError {
  return new RequestError(
    'REQUEST_ENTITY_TOO_LARGE',
    `A file may have at most ${formatNumber(MAX_FILE_BYTES)} bytes.`,
    { limit: MAX_FILE_BYTES },
  );
}
