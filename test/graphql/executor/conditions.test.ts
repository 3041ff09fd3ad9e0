/** `@include` and `@skip`, compared with graphql-js. */
import { type ExecutionArgs, execute, parse } from 'graphql';
import { expect, it } from 'vitest';
import { executeQuery } from '../../../src/graphql/executor/query-executor.ts';
import { newId } from '../../../src/infra/ids.ts';
import { schema } from '../../../src/server/schema.ts';
import type { Viewer } from '../../../src/viewer.ts';

const viewer: Viewer = { organizationId: newId(), apiKeyId: newId(), scopes: new Set(['READ']) };

const document = parse(`
  query main($a: Boolean!, $b: Boolean!, $c: Boolean = true, $d: Boolean!, $e: Boolean!) {
    viewer {
      scopes @include(if: $a)
      ...V @skip(if: $b)
      ... on Viewer @include(if: $c) { second: scopes @skip(if: $d) }
      ...V @include(if: $e)
    }
    always: __typename @include(if: true) @skip(if: false)
    never: __typename @skip(if: true) @include(if: true)
  }
  query other($f: Boolean!) { always: __typename ...Q @include(if: $f) }
  query third($a: AgentFilter, $f: Boolean!) {
    __typename
    agents(filter: $a) @skip(if: $f) { __typename }
  }
  fragment V on Viewer { __typename expiresAt @include(if: $a) }
  fragment Q on Query { __typename }
`);

const argsOf = (operationName: string, variableValues: Record<string, unknown>): ExecutionArgs => ({
  ...{ schema, document, operationName, variableValues },
  contextValue: { viewer, execution: {} },
});

it('selects the same fields for every combination of values', async () => {
  for (let values = 0; values < 32; values += 1) {
    const [a, b, c, d, e] = [1, 2, 4, 8, 16].map((bit) => (values & bit) > 0);
    const args = argsOf('main', { a, b, ...(c ? {} : { c }), d, e });
    expect(await executeQuery(args)).toEqual(await execute(args));
    // Once more with the same plan.
    expect(await executeQuery(args)).toEqual(await execute(args));
  }
});

it('ignores the variables of other operations', async () => {
  for (const f of [true, false]) {
    const args = argsOf('other', { f, a: null });
    expect(await executeQuery(args)).toEqual(await execute(args));
  }
});

it('plans an operation whose input is named like a condition of another operation', async () => {
  const args = argsOf('third', { a: {}, f: true });
  expect(await executeQuery(args)).toEqual(await execute(args));
});

it('leaves an operation to graphql-js if a condition is null', () => {
  const given = { a: true, b: true, d: true, e: true };
  expect(executeQuery(argsOf('main', { ...given, c: null }))).toBeNull();
});
