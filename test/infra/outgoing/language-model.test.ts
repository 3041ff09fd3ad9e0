import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createLanguageModel,
  type LanguageModel,
} from '../../../src/infra/outgoing/language-model.ts';

let server: Server;
let refuses: (format: { type: string; json_schema?: { schema: object } } | undefined) => boolean;
const formats: string[] = [];

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const body = JSON.parse(Buffer.concat(await request.toArray()).toString());
    formats.push(body.response_format?.type ?? 'none');
    const answer = { choices: [{ message: { content: '{}' } }] };
    response
      .writeHead(refuses(body.response_format) ? 400 : 200, { connection: 'close' })
      .end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

function newModel(): LanguageModel {
  formats.length = 0;
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return createLanguageModel({ baseUrl, apiKey: null, model: 'm' });
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

  it('fails when no format is accepted, and begins again with the best', async () => {
    refuses = () => true;
    const model = newModel();
    await expect(ask(model)).rejects.toThrow('400');
    refuses = () => false;
    await ask(model);
    expect(formats).toEqual(['json_schema', 'json_object', 'none', 'json_schema']);
  });
});
