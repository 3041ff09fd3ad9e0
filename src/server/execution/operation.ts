/** The shape of an operation: root fields, number of fields and depth. */
import {
  type DocumentNode,
  type ExecutionArgs,
  type FragmentDefinitionNode,
  getOperationAST,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  type SelectionSetNode,
} from 'graphql';

export interface OperationShape {
  operation: OperationDefinitionNode;
  fragments: Record<string, FragmentDefinitionNode>;
  /** Field names of the root fields by response name, fragments expanded. */
  rootFields: ReadonlyMap<string, string>;
  /** Number of fields with fragments expanded, `__typename` and introspection included. */
  fields: number;
  /** Number of those that have a selection. */
  selections: number;
  depth: number;
}

const shapes = new WeakMap<OperationDefinitionNode, OperationShape>();

/** The shape of the operation to run. Null when the document has no such operation, which execution reports. */
export function shapeOf({ document, operationName }: ExecutionArgs): OperationShape | null {
  const operation = getOperationAST(document, operationName);
  if (!operation) return null;
  let shape = shapes.get(operation);
  if (!shape) {
    const fragments = fragmentsOf(document);
    const rootFields = new Map<string, string>();
    collectFields(operation.selectionSet, fragments, rootFields, new Set());
    const size = sizeOf(operation.selectionSet, fragments, new Map());
    shape = { operation, fragments, rootFields, ...size };
    shapes.set(operation, shape);
  }
  return shape;
}

export function isMutation(shape: OperationShape | null): shape is OperationShape {
  return shape?.operation.operation === OperationTypeNode.MUTATION;
}

export function isSubscription({ operation }: OperationShape): boolean {
  return operation.operation === OperationTypeNode.SUBSCRIPTION;
}

function fragmentsOf(document: DocumentNode): Record<string, FragmentDefinitionNode> {
  const fragments: Record<string, FragmentDefinitionNode> = Object.create(null);
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments[definition.name.value] = definition;
  }
  return fragments;
}

function collectFields(
  { selections }: SelectionSetNode,
  fragments: Record<string, FragmentDefinitionNode>,
  found: Map<string, string>,
  visited: Set<string>,
): void {
  for (const selection of selections) {
    if (selection.kind === Kind.FIELD) {
      found.set(selection.alias?.value ?? selection.name.value, selection.name.value);
    } else if (selection.kind === Kind.INLINE_FRAGMENT) {
      collectFields(selection.selectionSet, fragments, found, visited);
    } else if (!visited.has(selection.name.value)) {
      visited.add(selection.name.value);
      const fragment = fragments[selection.name.value];
      if (fragment) collectFields(fragment.selectionSet, fragments, found, visited);
    }
  }
}

type Size = Pick<OperationShape, 'fields' | 'selections' | 'depth'>;

function sizeOf(
  { selections }: SelectionSetNode,
  fragments: Record<string, FragmentDefinitionNode>,
  known: Map<string, Size>,
): Size {
  const total = { fields: 0, selections: 0, depth: 0 };
  for (const selection of selections) {
    let size: Size = { fields: 0, selections: 0, depth: 0 };
    if (selection.kind === Kind.FRAGMENT_SPREAD) {
      const name = selection.name.value;
      const fragment = fragments[name];
      if (fragment && !known.has(name)) {
        known.set(name, size);
        known.set(name, sizeOf(fragment.selectionSet, fragments, known));
      }
      size = known.get(name) ?? size;
    } else if (selection.selectionSet) size = sizeOf(selection.selectionSet, fragments, known);
    const own = selection.kind === Kind.FIELD ? 1 : 0;
    const ownSelection = selection.kind === Kind.FIELD && selection.selectionSet ? 1 : 0;
    total.fields += size.fields + own;
    total.selections += size.selections + ownSelection;
    total.depth = Math.max(total.depth, size.depth + own);
  }
  return total;
}
