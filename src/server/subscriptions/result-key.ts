/** Which subscribers get the same result for the same event. */
import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  type ValidatedSubscriptionArgs,
  visit,
} from 'graphql';
import type { Viewer } from '../../viewer.ts';

const documentNumbers = new WeakMap<DocumentNode | OperationDefinitionNode, number>();
let documents = 0;

/**
 * Equal for subscribers that get equal results for the same event: those with the same operation, the same
 * variables in its selection and the same rights.
 *
 * The variables of the root field's arguments do not count, so subscribers that continue after different
 * cursors share results. Therefore the `resolve` of a subscription field must not read its arguments.
 */
export function resultKey(args: ValidatedSubscriptionArgs, viewer: Viewer | null): string {
  const { operation, fragmentDefinitions, variableValues } = args;
  // Documents are cached by their text, so equal texts are one object.
  let number = documentNumbers.get(operation);
  if (number === undefined) {
    documents += 1;
    number = documents;
    documentNumbers.set(operation, number);
  }
  const used = [...variablesBelowRoot(operation, fragmentDefinitions)].sort();
  return JSON.stringify([
    number,
    used.map((name) => variableValues.coerced[name] ?? null),
    viewer && [
      viewer.organizationId,
      // Download links in a result end with the key.
      viewer.apiKeyId,
      [...viewer.scopes].sort(),
      viewer.onlyCallId ?? null,
      viewer.onlyCampaignId ?? null,
    ],
  ]);
}

type Fragments = ValidatedSubscriptionArgs['fragmentDefinitions'];

/** Names of the variables that the result of an event can depend on. */
function variablesBelowRoot(operation: OperationDefinitionNode, fragments: Fragments): Set<string> {
  const names = new Set<string>();
  const seen = new Set<string>();
  const collect = (node: SelectionSetNode | FieldNode | FragmentDefinitionNode): void => {
    visit(node, {
      Variable: ({ name }) => void names.add(name.value),
      FragmentSpread: ({ name }) => {
        const fragment = fragments[name.value];
        if (!fragment || seen.has(name.value)) return;
        seen.add(name.value);
        collect(fragment);
      },
    });
  };
  const root = operation.selectionSet.selections[0];
  if (root?.kind === Kind.FIELD) collect({ ...root, arguments: [] });
  else collect(operation.selectionSet);
  return names;
}
