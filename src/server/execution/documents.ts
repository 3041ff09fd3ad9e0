/** Valid documents by their text, for which the pipeline of graphql-yoga is not needed. */
import {
  type DocumentNode,
  type ExecutionArgs,
  type GraphQLError,
  getOperationAST,
  OperationTypeNode,
} from 'graphql';
import type { YogaServerInstance } from 'graphql-yoga';
import { createDocumentCache } from '../limits/document-limits.ts';
import { schema } from '../schema.ts';

/** Part of the pipeline of yoga's plugins. */
interface Enveloped {
  parse: (text: string) => DocumentNode;
  validate: (schema: ExecutionArgs['schema'], document: DocumentNode) => readonly GraphQLError[];
}

export interface KnownDocument {
  /** The same string for all who sent this text. */
  readonly text: string;
  readonly document: DocumentNode;
}

export interface Documents {
  /**
   * The document, or what is wrong with it.
   *
   * @throws GraphQLError for a syntax error
   */
  read(text: string): KnownDocument | readonly GraphQLError[];
  /** Null for a document that is not valid. */
  find(text: string): DocumentNode | null;
}

// biome-ignore lint/suspicious/noExplicitAny: the pipeline does not depend on yoga's server context
export function createDocuments(yoga: YogaServerInstance<any, any>): Documents {
  const known = createDocumentCache<KnownDocument>();

  function read(text: string): KnownDocument | readonly GraphQLError[] {
    const found = known.get(text);
    if (found) return found;
    const pipeline = yoga.getEnveloped({} as never) as unknown as Enveloped;
    const document = pipeline.parse(text);
    const errors = pipeline.validate(schema, document);
    if (errors.length > 0) return errors;
    const added = { text, document };
    known.set(text, added);
    return added;
  }

  return {
    read,
    find(text) {
      try {
        const found = read(text);
        return 'document' in found ? found.document : null;
      } catch {
        return null;
      }
    },
  };
}

/** Whether the operation that is to run is a subscription. Null when the document has none of that name. */
export function isSubscription(
  document: DocumentNode,
  operationName: string | null | undefined,
): boolean | null {
  const operation = getOperationAST(document, operationName);
  return operation ? operation.operation === OperationTypeNode.SUBSCRIPTION : null;
}
