/** One execution for all subscribers that would get the same result for the same event. */
import {
  type DocumentNode,
  type ExecutionResult,
  type FieldNode,
  type FragmentDefinitionNode,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  type ValidatedSubscriptionArgs,
  visit,
} from 'graphql';
import type { Viewer } from '../viewer.ts';

/** Results by event and by what distinguishes subscribers; both go with the event. */
const results = new WeakMap<object, Map<string, Promise<ExecutionResult>>>();

/**
 * Returns a function that executes an event unless another subscriber with the same operation, the same
 * variables in its selection and the same rights has done so. The live feed hands all subscribers the same
 * object for one event; an event that a subscriber reads by itself is executed for it alone.
 *
 * The variables of the root field's arguments do not count, so subscribers that continue after different
 * cursors share results. Therefore the `resolve` of a subscription field must not read its arguments.
 */
export function shareResults(
  key: string,
): (event: unknown, execute: () => Promise<ExecutionResult>) => Promise<ExecutionResult> {
  return (event, execute) => {
    if (typeof event !== 'object' || event === null) return execute();
    let ofEvent = results.get(event);
    if (!ofEvent) {
      ofEvent = new Map();
      results.set(event, ofEvent);
    }
    let result = ofEvent.get(key);
    if (!result) {
      result = execute();
      ofEvent.set(key, result);
      // The next subscriber executes the event again.
      result.then(
        ({ errors }) => errors && ofEvent.delete(key),
        () => ofEvent.delete(key),
      );
    }
    return result;
  };
}

const documentNumbers = new WeakMap<DocumentNode | OperationDefinitionNode, number>();
let documents = 0;

/** Equal for subscribers that get equal results for the same event. */
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
