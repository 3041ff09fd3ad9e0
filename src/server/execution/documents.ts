/** Cache of valid documents by text, which do not need the pipeline of graphql-yoga. */
import {
  type DocumentNode,
  type ExecutionArgs,
  GraphQLError,
  getOperationAST,
  OperationTypeNode,
} from 'graphql';
import type { YogaServerInstance } from 'graphql-yoga';
import type { Viewer } from '../../viewer.ts';
import type { DocumentCache } from '../limits/document-limits.ts';
import type { RateLimits } from '../limits/rate-limits.ts';
import { schema } from '../schema.ts';

/** The part of yoga's plugin pipeline that is used here. */
interface Enveloped {
  parse: (text: string) => DocumentNode;
  validate: (schema: ExecutionArgs['schema'], document: DocumentNode) => readonly GraphQLError[];
}

export interface KnownDocument {
  /** The text, as one string that is shared by all requests with this text. */
  readonly text: string;
  readonly document: DocumentNode;
}

export interface Documents {
  /**
   * The document, or its errors. Only an unknown document is parsed and validated. An invalid one is charged
   * to the caller. Documents of callers without a valid key are not cached, so that strangers cannot fill the cache.
   *
   * @throws RequestError RATE_LIMITED
   */
  read(text: string, viewer: Viewer | null): Promise<KnownDocument | readonly GraphQLError[]>;
}

export function createDocuments(
  // biome-ignore lint/suspicious/noExplicitAny: the pipeline does not depend on yoga's server context
  yoga: YogaServerInstance<any, any>,
  known: DocumentCache<KnownDocument>,
  rateLimits: RateLimits,
): Documents {
  function parseAndValidate(text: string): KnownDocument | readonly GraphQLError[] {
    const pipeline = yoga.getEnveloped({} as never) as unknown as Enveloped;
    try {
      const document = pipeline.parse(text);
      const errors = pipeline.validate(schema, document);
      return errors.length > 0 ? errors : { text, document };
    } catch (error) {
      if (error instanceof GraphQLError) return [error];
      throw error;
    }
  }

  return {
    async read(text, viewer) {
      const found = known.get(text);
      if (found) return found;
      // A request without a viewer was charged on arrival.
      if (viewer) rateLimits.checkInvalidDocuments(viewer);
      const read = parseAndValidate(text);
      if (!viewer) return read;
      if ('document' in read) known.set(text, read);
      else await rateLimits.chargeInvalidDocument(viewer);
      return read;
    },
  };
}

/** Whether the operation to run is a subscription. Null if the document has no operation of that name. */
export function isSubscriptionOperation(
  document: DocumentNode,
  operationName: string | null | undefined,
): boolean | null {
  const operation = getOperationAST(document, operationName);
  return operation ? operation.operation === OperationTypeNode.SUBSCRIPTION : null;
}
