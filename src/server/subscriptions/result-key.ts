/** Determines which subscribers get the same result for the same event. */
import {
  type ASTNode,
  Kind,
  type OperationDefinitionNode,
  TypeInfo,
  type ValidatedSubscriptionArgs,
  visit,
  visitWithTypeInfo,
} from 'graphql';
import { expiresWithCredential } from '../../graphql/credential-expiry.ts';
import type { Viewer } from '../../viewer.ts';

interface Operation {
  number: number;
  /** Names of the variables that the result of an event can depend on. */
  variables: string[];
  /** Whether the result of an event can depend on the expiry of the credential. */
  hasLinks: boolean;
}

/** Documents are cached by text, so operations with equal texts are the same object. */
const operations = new WeakMap<OperationDefinitionNode, Operation>();
let count = 0;

/**
 * Key that is equal for subscribers that get equal results for the same event: those with the same operation, the
 * same variables in its selection and the same rights.
 *
 * The variables of the root field's arguments do not count, so subscribers that continue after different
 * cursors share results. Therefore the `resolve` of a subscription field must not read its arguments.
 */
export function resultKey(args: ValidatedSubscriptionArgs, viewer: Viewer | null): string {
  const { number, variables, hasLinks } = operationOf(args);
  return JSON.stringify([
    number,
    variables.map((name) => args.variableValues.coerced[name] ?? null),
    viewer && [
      viewer.organizationId,
      // Download links in a result expire with the key.
      viewer.apiKeyId,
      [...viewer.scopes].sort(),
      viewer.onlyCallId ?? null,
      viewer.onlyCampaignId ?? null,
      // Only with links, so that thousands of tokens created at different times can share results.
      hasLinks ? (viewer.expiresAt ?? null) : null,
    ],
  ]);
}

function operationOf(args: ValidatedSubscriptionArgs): Operation {
  let operation = operations.get(args.operation);
  if (!operation) {
    count += 1;
    const { variables, hasLinks } = selectionOf(args);
    operation = { number: count, variables: [...variables].sort(), hasLinks };
    operations.set(args.operation, operation);
  }
  return operation;
}

function selectionOf({ schema, operation, fragmentDefinitions }: ValidatedSubscriptionArgs) {
  const variables = new Set<string>();
  const seen = new Set<string>();
  let hasLinks = false;
  const collect = (node: ASTNode): void => {
    const types = new TypeInfo(schema);
    const visitor = visitWithTypeInfo(types, {
      Variable: ({ name }) => void variables.add(name.value),
      Field: () => {
        hasLinks ||= expiresWithCredential(types.getFieldDef());
      },
      FragmentSpread: ({ name }) => {
        const fragment = fragmentDefinitions[name.value];
        if (!fragment || seen.has(name.value)) return;
        seen.add(name.value);
        collect(fragment);
      },
    });
    visit(node, visitor);
  };
  collect(withoutRootArguments(operation));
  return { variables, hasLinks };
}

/**
 * The operation without variable definitions and without arguments of its root field, which may be selected several
 * times. In a fragment it keeps them.
 */
function withoutRootArguments(operation: OperationDefinitionNode): OperationDefinitionNode {
  const selections = operation.selectionSet.selections.map((root) =>
    root.kind === Kind.FIELD ? { ...root, arguments: [] } : root,
  );
  const selectionSet = { ...operation.selectionSet, selections };
  return { ...operation, variableDefinitions: [], selectionSet };
}
