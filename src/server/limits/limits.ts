/** Fixed limits on what clients may send. The table in `docs/security.md` lists them. */
import { MAX_SEARCHED_CHARACTERS, MAX_VARIABLE_ERRORS } from '../../graphql/inputs/input-limits.ts';
import { MAX_OPERATION_BYTES, MAX_READ_BYTES } from '../../graphql/reading/rows.ts';
import { MAX_CONCURRENT_SNAPSHOTS } from '../../infra/database/snapshot.ts';

interface Limit {
  max: number;
  /** What is limited, for the table. `max` is in bytes if the name of the limit contains `bytes`. */
  about: string;
  /** Error code, HTTP status or close code when the limit is exceeded. */
  refusal: string;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/** Minimum speed of requests, and of downloads except for recordings. The limits below say how far behind one may fall. */
export const MIN_BYTES_PER_SECOND = 64 * KIB;

/** In the order of the table. */
export const LIMITS = {
  bodyBytes: {
    max: 16 * MIB,
    about: 'JSON body of a request with a valid key',
    refusal: '`REQUEST_ENTITY_TOO_LARGE`',
  },
  unauthenticatedBodyBytes: {
    max: 128 * KIB,
    about:
      'Body of a request without a valid key, and everything that a socket sends until it has one',
    refusal: '`REQUEST_ENTITY_TOO_LARGE`; the socket is closed',
  },
  endpointBodyBytes: {
    max: 2 * MIB,
    about: 'Body of a request to another endpoint, such as a webhook from Ultravox',
    refusal: '413',
  },
  requestSeconds: {
    max: 1_800,
    about: 'Seconds in which a request must arrive with its body, such as a file of 240 MiB',
    refusal: '408',
  },
  requestStallSeconds: {
    max: 30,
    about: 'Seconds by which a request may fall behind 64 KiB per second while it arrives',
    refusal: '408',
  },
  jsonValues: {
    max: 250_000,
    about: 'Values in the JSON of a request, including objects and lists',
    refusal: '`QUERY_TOO_COSTLY`',
  },
  jsonNesting: {
    max: 64,
    about: 'Nesting levels of objects and lists in the JSON of a request',
    refusal: '`QUERY_TOO_COSTLY`',
  },
  documentTokens: { max: 10_000, about: 'Tokens in a document', refusal: '`QUERY_TOO_COSTLY`' },
  documentNesting: {
    max: 100,
    about: 'Nesting levels of brackets in a document',
    refusal: '`QUERY_TOO_COSTLY`',
  },
  fields: {
    max: 2_000,
    about: 'Fields in a document, and in an operation with its fragments expanded',
    refusal: '`QUERY_TOO_COSTLY`',
  },
  mergedFields: {
    max: 200,
    about: 'Fields in a document with the same response name at the same place',
    refusal: '`QUERY_TOO_COSTLY`',
  },
  nameCharacters: {
    max: 255,
    about: 'Characters of a name in a document',
    refusal: '`QUERY_TOO_COSTLY`',
  },
  depth: {
    max: 20,
    about: 'Nesting levels of fields in an operation',
    refusal: '`QUERY_TOO_COSTLY`',
  },
  eventCost: {
    max: 250,
    about: 'Cost of the selection of a subscription, which is executed for every event',
    refusal: '`QUERY_TOO_COSTLY`',
  },
  costlyQueries: {
    max: 4,
    about:
      'Queries of an organization that cost more than 2,500 and run at the same time, in each process. Further ones wait for up to `READ_TIMEOUT_SECONDS`.',
    refusal: '`QUERY_TIMEOUT`',
  },
  executingSubscriptions: {
    max: 8,
    about:
      'Subscriptions of an organization that differ in more than their cursors and read data for their events at the same time, in each process; one key may use half of them',
    refusal: 'the events of the others wait',
  },
  mutationFields: { max: 25, about: 'Mutations in an operation', refusal: '`QUERY_TOO_COSTLY`' },
  readBytes: {
    max: MAX_READ_BYTES,
    about: 'Data that a list or another field of an operation reads with one statement',
    refusal: '`QUERY_TOO_COSTLY` for that field',
  },
  operationBytes: {
    max: MAX_OPERATION_BYTES,
    about: 'Data that an operation, or an event of a subscription, reads in all',
    refusal: '`QUERY_TOO_COSTLY` for the fields that exceed it',
  },
  introspectionBytes: {
    max: 2_000_000,
    about: 'Response to the introspection fields of an operation',
    refusal: '`QUERY_TOO_COSTLY`',
  },
  variableErrors: {
    max: MAX_VARIABLE_ERRORS,
    about: 'Errors reported about the variables of a request',
    refusal: 'the others are not reported',
  },
  searchedCharacters: {
    max: MAX_SEARCHED_CHARACTERS,
    about: 'Characters of a text in a filter or in another argument of a query or subscription',
    refusal: '`BAD_USER_INPUT`',
  },
  idempotencyKeyCharacters: {
    max: 200,
    about: 'Characters of an idempotency key',
    refusal: '`BAD_USER_INPUT`',
  },
  multipartBodyBytes: {
    max: 250 * MIB,
    about: 'Multipart body',
    refusal: '`REQUEST_ENTITY_TOO_LARGE`',
  },
  fileBytes: {
    max: 240 * MIB,
    about: 'File in a multipart body; most fields accept less',
    refusal: '`REQUEST_ENTITY_TOO_LARGE`',
  },
  multipartFieldBytes: {
    max: MIB,
    about: '`operations` and `map` of a multipart body, each',
    refusal: '`BAD_REQUEST`',
  },
  filesPerUpload: { max: 5, about: 'Files in a multipart body', refusal: '`BAD_REQUEST`' },
  uploadsPerOrganization: {
    max: 4,
    about: 'Concurrent uploads of an organization, in each process',
    refusal: '`RATE_LIMITED`',
  },
  exportsPerOrganization: {
    max: 2,
    about: 'Concurrent export downloads of an organization, in each process',
    refusal: '429',
  },
  exports: {
    max: MAX_CONCURRENT_SNAPSHOTS,
    about: 'Concurrent export downloads from a process',
    refusal: '503',
  },
  downloadStallSeconds: {
    max: 30,
    about: 'Seconds by which the download of an export may fall behind 64 KiB per second',
    refusal: 'the connection is closed',
  },
  recordingsPerKey: {
    max: 50,
    about:
      'Recordings and samples of voices open at the same time with links of an API key, in each process',
    refusal: '429',
  },
  recordingStallSeconds: {
    max: 300,
    about: 'Seconds that a client may take to read 64 KiB of a recording',
    refusal: 'the connection is closed',
  },
  subscriptionsPerSocket: {
    max: 100,
    about: 'Open operations on a socket',
    refusal: '`RATE_LIMITED`',
  },
  unauthenticatedSockets: {
    max: 200,
    about:
      'Sockets from an address without a valid key (IPv6: from a /64 network), in each process',
    refusal: '429',
  },
  authenticatedSockets: {
    max: 20_000,
    about: 'Sockets of an organization with a valid key, in each process',
    refusal: 'close code 1013',
  },
  messageBytes: { max: MIB, about: 'Message on a socket', refusal: 'close code 1009' },
  pingCharacters: {
    max: 1_000,
    about: 'Characters in the payload of a ping on a socket',
    refusal: 'close code 4400',
  },
  bufferedBytes: {
    max: 4 * MIB,
    about: 'Messages queued for a client that does not read, in addition to one of any size',
    refusal:
      'close code 1013, with the cursor to continue after if each subscription was sent an event',
  },
  unauthenticatedPerMinute: {
    max: 120,
    about: 'Requests per minute from an address without a valid key (IPv6: from a /64 network)',
    refusal: '`RATE_LIMITED`',
  },
  subscriptionsPer10Seconds: {
    max: 500,
    about:
      'Subscriptions that an organization opens in ten seconds, or `MAX_SUBSCRIPTIONS` if that is higher',
    refusal: '`RATE_LIMITED`',
  },
} as const satisfies Record<string, Limit>;
