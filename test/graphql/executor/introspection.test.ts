/** Introspection queries, whose results are kept. */
import {
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  getIntrospectionQuery,
  parse,
} from 'graphql';
import { expect, it } from 'vitest';
import { executeQuery } from '../../../src/graphql/executor/query-executor.ts';
import { newId } from '../../../src/infra/ids.ts';
import { schema } from '../../../src/server/schema.ts';
import type { Viewer } from '../../../src/viewer.ts';

const viewer: Viewer = { organizationId: newId(), apiKeyId: newId(), scopes: new Set(['READ']) };

const argsFor = (text: string, more: Partial<ExecutionArgs> = {}): ExecutionArgs => ({
  ...{ schema, document: parse(text), contextValue: { viewer, execution: {} } },
  ...more,
});

it('executes an introspection query once, for all callers', async () => {
  const args = argsFor(getIntrospectionQuery());
  const first = (await executeQuery(args)) as ExecutionResult;
  expect(first).toEqual(await execute(args));
  const contextValue = { viewer: { ...viewer, organizationId: newId() }, execution: {} };
  const second = (await executeQuery({ ...args, contextValue })) as ExecutionResult;
  expect(second.data).toBe(first.data);
});

it('executes a query with variables, or with other fields, each time', async () => {
  const byName = argsFor('query ($name: String!) { __type(name: $name) { name } }');
  for (const name of ['Call', 'Agent']) {
    const args = { ...byName, variableValues: { name } };
    expect(await executeQuery(args)).toEqual({ data: { __type: { name } } });
  }
  const mixed = argsFor('{ __type(name: "Call") { name } viewer { scopes } }');
  expect(await executeQuery(mixed)).toMatchObject({ data: { viewer: { scopes: ['READ'] } } });
  const contextValue = { viewer: { ...viewer, scopes: new Set(['READ', 'WRITE']) }, execution: {} };
  expect(await executeQuery({ ...mixed, contextValue })).toMatchObject({
    data: { viewer: { scopes: ['READ', 'WRITE'] } },
  });
});
