import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { stdSerializers } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createLanguageModel,
  type LanguageModel,
} from '../../../src/infra/outgoing/language-model.ts';

let server: Server;
type Format = { type: string; json_schema?: { schema: object } } | undefined;
let refuses: (format: Format, temperature: number | undefined) => boolean | string;
let answer = '';
const formats: string[] = [];
const temperatures: (number | undefined)[] = [];

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const body = JSON.parse(Buffer.concat(await request.toArray()).toString());
    formats.push(body.response_format?.type ?? 'none');
    temperatures.push(body.temperature);
    const refusal = refuses(body.response_format, body.temperature);
    response
      .writeHead(refusal ? 400 : 200, { connection: 'close' })
      .end(typeof refusal === 'string' ? refusal : answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

function newModel(): LanguageModel {
  formats.length = 0;
  temperatures.length = 0;
  answer = JSON.stringify({ choices: [{ message: { content: '{}' } }] });
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return createLanguageModel({ baseUrl, apiKey: 'the-key', model: 'm' });
}

const ask = (model: LanguageModel, schema: object = {}) =>
  model.ask({
    instructions: '',
    content: '',
    schema: schema as Record<string, unknown>,
    signal: AbortSignal.timeout(10_000),
  });

describe('createLanguageModel', () => {
  it('asks a model that knows no JSON Schema without it from then on', async () => {
    refuses = (format) => format?.type === 'json_schema';
    const model = newModel();
    await ask(model);
    await ask(model);
    expect(formats).toEqual(['json_schema', 'json_object', 'json_object']);
  });

  it('keeps the format for others when the model refuses the schema of one request', async () => {
    refuses = (format) => JSON.stringify(format ?? {}).includes('odd');
    const model = newModel();
    await ask(model);
    await ask(model, { pattern: 'odd' });
    await ask(model);
    expect(formats).toEqual(['json_schema', 'json_schema', 'json_object', 'json_schema']);
  });

  it('keeps the format for others when the model refuses the schema of the first request', async () => {
    refuses = (format) => JSON.stringify(format ?? {}).includes('odd');
    const model = newModel();
    await ask(model, { pattern: 'odd' });
    await ask(model);
    await ask(model, { pattern: 'odd' });
    expect(formats).toEqual(['json_schema', 'json_object', 'json_schema', 'json_object']);
  });

  it('asks a model that refuses a temperature without one from then on', async () => {
    refuses = (_format, temperature) =>
      temperature !== undefined && "Unsupported value: 'temperature' does not support 0.";
    const model = newModel();
    await ask(model);
    await ask(model);
    expect(temperatures).toEqual([0, undefined, undefined]);
    expect(formats).toEqual(['json_schema', 'json_schema', 'json_schema']);
  });

  it('keeps the temperature when only the schema of a refused request is about one', async () => {
    refuses = (format) => format?.type === 'json_schema' && 'Invalid property: temperature.';
    await ask(newModel());
    expect(temperatures).toEqual([0, undefined, 0]);
  });

  it('tells the reason of a refusal without the key, and is not to be asked again', async () => {
    const reason = { type: 'invalid_request_error', code: 'no_access', param: null };
    refuses = () =>
      JSON.stringify({
        error: { message: `No access with the-key to m.${'.'.repeat(5_000)}`, ...reason },
      });
    const error = await ask(newModel()).catch((thrown) => thrown);
    expect(error).toMatchObject({ status: 400, isTransient: false });
    expect(error.detail).toMatch(
      /^invalid_request_error no_access No access with \[API key\] to m\.\.\./,
    );
    expect(error.detail).toHaveLength(200);
  });

  it.each([
    JSON.stringify({ detail: [{ loc: ['body'], msg: 'Bad', input: 'what people said' }] }),
    JSON.stringify({
      error: { message: { input: 'what people said' }, code: 422 },
      input: ['said'],
    }),
    JSON.stringify({ error: 'what people said' }),
    '["what people said"]',
    'null',
    'Invalid: what people said',
  ])('logs nothing of the request that a refusal repeats: %s', async (refusal) => {
    refuses = () => refusal;
    const error = await ask(newModel()).catch((thrown) => thrown);
    expect(error.status).toBe(400);
    // As the log writes it.
    expect(JSON.stringify(stdSerializers.err(error))).not.toContain('said');
  });

  it.each([
    ['<html>', /JSON/],
    ['x'.repeat(1_100_000), /too long/],
  ])('is not to be asked again after an answer that cannot be read', async (unreadable, message) => {
    refuses = () => false;
    const model = newModel();
    answer = unreadable;
    const error = await ask(model).catch((thrown) => thrown);
    expect(error).toMatchObject({ isTransient: false, message: expect.stringMatching(message) });
  });

  it('fails when no format is accepted, and begins again with the best', async () => {
    refuses = () => true;
    const model = newModel();
    await expect(ask(model)).rejects.toThrow('400');
    refuses = () => false;
    await ask(model);
    expect(formats).toEqual(['json_schema', 'json_object', 'none', 'json_schema']);
  });
});
