/**
 * Texts on which a backtracking pattern takes hours, and names and documents of which validation compares every
 * pair. Such a pattern or comparison makes a test exceed its time limit.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readVerdict } from '../../src/analysis/verdict.ts';
import { doNotCallRequestIn } from '../../src/calls/post-call/do-not-call-request/request.ts';
import { createRouter } from '../../src/server/http/router.ts';
import { IMPORT, makeFolder, readImport, sendFile } from '../contacts/import/upload.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { until } from '../support/wait.ts';

const LONG = 2_000_000;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'silent' } });
});
afterAll(() => server?.close());

describe('a long text', () => {
  it('in an error of GraphQL is left out of the message', async () => {
    const text = 'Value " '.repeat(LONG / 8);
    const { errors } = await server.client.send(`{ agents(first: """${text}""") { totalCount } }`);
    expect(errors?.map(({ message }) => message)).toEqual([
      'Int cannot represent non-integer value: a string.',
    ]);
    const variables = { first: `Value "${'x'.repeat(LONG)}" does not exist in "Scope" enum` };
    const query = 'query ($first: Int) { agents(first: $first) { totalCount } }';
    const answer = await server.client.send(query, variables);
    expect(JSON.stringify(answer.errors).length).toBeLessThan(1_000);
    expect(JSON.stringify(answer.errors)).not.toContain('xxx');
  });

  it('as a name in a document is refused', async () => {
    for (const document of [
      `{ ${'a'.repeat(LONG)} }`,
      `{ agents(orderBy: { field: ${'A'.repeat(LONG)} }) { totalCount } }`,
    ]) {
      const { errors } = await server.client.send(document);
      expect(errors?.map(({ extensions }) => extensions?.code)).toEqual(['QUERY_TOO_COSTLY']);
    }
  });

  it('as a path leads nowhere', () => {
    const answered: number[] = [];
    const response = {
      writeHead(status: number) {
        answered.push(status);
        return response;
      },
      end: () => undefined,
    };
    const router = createRouter().on('GET', '/files/*', () => answered.push(200));
    const get = (url: string) => router.handle({ method: 'GET', url } as never, response as never);
    get(`${'/'.repeat(LONG)}x`);
    get(`/${'a'.repeat(LONG)}/`);
    get('/files/');
    get('/files/x');
    expect(answered).toEqual([404, 404, 404, 200]);
  });

  it('in a turn of a call is read for a request not to be called', () => {
    for (const piece of [' , ', ' ', ', ', '- ', 'a ']) {
      const text = `x${piece.repeat(LONG / 10)}y. Stop calling me.`;
      expect(doNotCallRequestIn([{ speaker: 'USER', text }])).toBe('Stop calling me.');
    }
  });

  it('in the answer of a language model is no verdict', async () => {
    const task = { successCriteria: 'Sold.', extractionSchema: null } as never;
    const { problem } = await readVerdict(task, `\`\`\`json${' '.repeat(LONG)}x`);
    expect(problem).toBe('The language model did not answer with a JSON object.');
  });
});

describe('a file of contacts', () => {
  const follow = async (content: Uint8Array) => {
    const folderId = await makeFolder(server, `Folder ${content.length}`);
    const { data } = await sendFile(server, IMPORT, content, { folderId });
    const { contactImport, userErrors } = data.importContacts;
    expect(userErrors).toEqual([]);
    return until('the import to end', async () => {
      const read = await readImport(server, contactImport.id);
      return read.status === 'COMPLETED' && read;
    });
  };

  it('with a long word in an unknown encoding is read', async () => {
    const word = 'a'.repeat(200_000);
    const rows = Array.from({ length: 20 }, () => `${word},+14155550102`).join('\n');
    const read = await follow(
      Buffer.from(`name,phone\n${rows}\nM\xfcller,+14155550103\n`, 'latin1'),
    );
    expect(read.rowsRead).toBe(21);
  });

  it('with cells of spaces, separators and commas is read', async () => {
    const phones = ['1', '+'].flatMap((start) => [
      `${start}${' '.repeat(200_000)}x`,
      `${start}${' ;'.repeat(50_000)}x`,
      `${start}${';1'.repeat(50_000)}`,
    ]);
    const names = [`a,${' '.repeat(200_000)},b`, `a${' '.repeat(200_000)},`];
    const rows = [
      ...phones.map((phone) => `"${phone}",Ada,yes`),
      ...names.map((name, index) => `+1415555020${index},"${name}",`),
    ];
    const read = await follow(Buffer.from(`phone,name,do not call\n${rows.join('\n')}\n`));
    expect(read.failedCount).toBe(phones.length);
    expect(read.problems.nodes[0]?.reason).toContain('has more than 1,000 characters');
  });
});
