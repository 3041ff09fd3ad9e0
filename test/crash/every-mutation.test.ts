/** Every mutation, repeated under its idempotency key after an incomplete first run. */
import { randomUUID } from 'node:crypto';
import { type GraphQLObjectType, getNamedType, isLeafType, isObjectType } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sendFile } from '../contacts/import/upload.ts';
import { type Caller, prepareCaller, runMutation } from '../support/calling.ts';
import type { Answer } from '../support/graphql.ts';
import { mutations } from '../support/schema/mutation-inputs.ts';
import { startTestServer, type TestServer } from '../support/servers/server.ts';
import { INPUTS, type Materials } from './mutation-cases.ts';

let server: TestServer;
let caller: Caller;
let materials: Materials;

beforeAll(async () => {
  server = await startTestServer({ settings: { LOG_LEVEL: 'error' } });
  caller = await prepareCaller(server.client);
  materials = {
    server,
    caller,
    make: (name, input, fields) => runMutation(server.client, name, input, fields),
  };
});
afterAll(() => server?.close());

const inputTypeOf = (name: string) => mutations.find((one) => one.name === name)!.input.name;

/** Leaves of the payload, and the ids of its objects. */
function payloadOf(name: string): string {
  const { field } = mutations.find((one) => one.name === name)!;
  const type = getNamedType(field.type) as GraphQLObjectType;
  const fields = Object.values(type.getFields()).flatMap((member) => {
    const named = getNamedType(member.type);
    if (isLeafType(named)) return [member.name];
    if (member.name === 'userErrors') return ['userErrors { code message retryAt }'];
    return isObjectType(named) && named.getFields().id ? [`${member.name} { id }`] : [];
  });
  return fields.join(' ');
}

type Input = object & { file?: unknown };

interface Field {
  name: string;
  input: Input;
}

/** Sends the mutations in one operation, each under its name. */
async function send(key: string, fields: Field[]): Promise<Answer> {
  const [first] = fields;
  const { file, ...input } = first!.input;
  const variableOf = (index: number) => (index === 0 ? 'input' : `input${index}`);
  const declared = fields.map(({ name }, index) => `$${variableOf(index)}: ${inputTypeOf(name)}!`);
  const selected = fields.map(
    ({ name }, index) => `${name}(input: $${variableOf(index)}) { ${payloadOf(name)} }`,
  );
  const variables = Object.fromEntries(
    fields.map(({ input }, index) => [variableOf(index), input] as const).slice(1),
  );
  const document = `mutation (${declared.join(', ')}) { ${selected.join(' ')} }`;
  const headers = { 'x-idempotency-key': key };
  return file === undefined
    ? server.client.send(document, { ...variables, input }, { headers })
    : sendFile(server, document, { content: String(file), headers, variables }, input);
}

/** Leaves the record of the key as a process does that dies before it has stored the result. */
const forgetResult = (key: string) =>
  server.app.db.idempotencyKey.update({
    where: { organizationId_key: { organizationId: server.organizationId, key } },
    data: { response: null, fieldResults: null, leaseId: null, leaseUntil: null },
  });

it('has an input for every mutation', () => {
  expect(Object.keys(INPUTS).sort()).toEqual(mutations.map(({ name }) => name).sort());
});

describe('mutations that succeeded beside one that may succeed later', () => {
  const OTHERS = Object.keys(INPUTS).filter((name) => name !== 'startTestCall');
  const PER_OPERATION = 8;

  // Ultravox asks for a longer wait than a test call may take, so each is refused at once.
  beforeAll(() =>
    server.simulator.setFaults([
      { kind: 'status', status: 429, retryAfterSeconds: 60, method: 'POST', path: '/calls$' },
    ]),
  );
  afterAll(async () => {
    await server.simulator.clearFaults();
    // The refused calls began a pause, which may last into the next tests.
    await server.app.db.creationRefusal.deleteMany();
  });

  for (let from = 0; from < OTHERS.length; from += PER_OPERATION) {
    const names = OTHERS.slice(from, from + PER_OPERATION);
    it(`do not run again when the operation is repeated: ${names.join(', ')}`, async () => {
      const fields: Field[] = [];
      for (const name of names) fields.push({ name, input: await INPUTS[name]!.input(materials) });
      const files = fields.filter(({ input }) => input.file !== undefined);
      const others = fields.filter((field) => !files.includes(field));
      for (const group of [others, ...files.map((field) => [field])]) {
        await repeatBesideTestCall(group);
      }
    });
  }

  async function repeatBesideTestCall(fields: Field[]): Promise<void> {
    const key = randomUUID();
    const all = [...fields, { name: 'startTestCall', input: { agentId: caller.agentId } }];
    const first = await send(key, all);
    expect(first.errors).toBeUndefined();
    const { startTestCall: later, ...done } = first.data;
    expect(later.userErrors).toMatchObject([{ code: 'CAPACITY_EXCEEDED' }]);
    for (const payload of Object.values(done)) expect(payload).toMatchObject({ userErrors: [] });
    const again = await send(key, all);
    expect(again.errors).toBeUndefined();
    for (const { name } of fields) {
      if (INPUTS[name]?.changesNothing) expect(again.data[name]).toMatchObject({ userErrors: [] });
      else expect(again.data[name]).toEqual(done[name]);
    }
    expect(again.data.startTestCall.userErrors).toMatchObject([{ code: 'CAPACITY_EXCEEDED' }]);
  }
});

describe('a mutation whose process died before the result was stored', () => {
  // There is a maximum of them.
  beforeAll(() => server.app.db.webhookEndpoint.deleteMany());

  for (const [name, { input: prepare, afterCrash, changesNothing }] of Object.entries(INPUTS)) {
    const outcome = afterCrash ?? (changesNothing ? 'runs again' : 'returns the same');
    it(`${outcome} when it is repeated: ${name}`, async () => {
      const input = await prepare(materials);
      const key = randomUUID();
      const first = await send(key, [{ name, input }]);
      expect(first.errors).toBeUndefined();
      expect(first.data[name].userErrors).toEqual([]);
      await forgetResult(key);
      const again = await send(key, [{ name, input }]);
      expect(again.errors).toBeUndefined();
      if (afterCrash || changesNothing) expect(again.data[name].userErrors).toEqual([]);
      else expect(again.data).toEqual(first.data);
    });
  }
});
