/** The state that the parts of the simulator share. */
import type { Faults } from './faults.ts';
import type { Json, JsonObject } from './json.ts';
import type { Scheduler } from './scheduler.ts';
import type { SimulatorSettings } from './settings.ts';
import type { Collection, Store } from './store.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type Log = (level: LogLevel, message: string, details?: Record<string, unknown>) => void;

export interface AgentRecord {
  agentId: string;
  name: string;
  created: string;
  publishedRevisionId: string;
  callTemplate: JsonObject | null;
  calls: number;
}

/** The planned course of a call, decided when the call is created. */
export interface CallPlan {
  outcome: string;
  /** Simulated milliseconds from creation to the answer. Null without an answer. */
  answerAfterMs: number | null;
  /** Simulated milliseconds from creation to an end without an answer. */
  giveUpAfterMs: number;
  /** Simulated milliseconds from joining to the end. */
  talkMs: number;
  /** Number of exchanges (the person speaks, the agent replies). Null: as many as fit. */
  exchanges: number | null;
  endReason: string;
  sipReason: string | null;
}

export interface CallRecord {
  callId: string;
  /** The members of the Call object that are not derived from other data. */
  call: JsonObject;
  agentId: string | null;
  stageId: string;
  tools: JsonObject[];
  initialMessages: JsonObject[];
  /** Past and planned messages, with the times at which they become visible. */
  transcript: { at: number; message: JsonObject }[];
  plan: CallPlan;
  /** Simulated seconds per real second, fixed at creation. */
  speed: number;
  createdAt: number;
  joinedAt: number | null;
  endedAt: number | null;
  talkedMs: number;
  name: string;
  context: JsonObject;
  dialed: string | null;
  autoDelete: boolean;
  /** Whether a websocket joined the call. Open websockets keep it alive; it ends when the last one closes. */
  socketJoined: boolean;
}

export interface WebhookRecord {
  webhookId: string;
  agentId: string | null;
  created: string;
  url: string;
  secrets: string[];
  events: string[];
  status: 'normal' | 'unhealthy';
  lastStatusChange: string | null;
  recentFailures: { timestamp: string; failure: string }[];
  failuresInARow: number;
}

export interface DeliveryRecord {
  deliveryId: string;
  webhookId: string | null;
  url: string;
  secrets: string[];
  callId: string;
  event: string;
  body: string;
  createdAt: string;
  state: 'pending' | 'delivered' | 'exhausted' | 'lost';
  nextAttemptAt: string | null;
  faults: string[];
  attempts: { at: string; status: number | null; error: string | null; durationMs: number }[];
}

export interface Dial {
  at: string;
  callId: string;
  to: string;
  from: string | null;
  medium: string;
  metadata: JsonObject;
  agentId: string | null;
}

export interface RequestLogEntry {
  at: string;
  method: string;
  path: string;
  status: number | null;
  ignoredMembers: string[];
  fault: string | null;
  durationMs: number;
}

export interface DocumentRecord {
  documentId: string;
  corpusId: string;
  sourceId: string | null;
  created: string;
  mimeType: string;
  fileName: string;
  text: string;
  sizeBytes: number;
  uploaded: boolean;
  publicUrl: string | null;
  exampleQueries: string[];
}

/** A webhook that the simulator's own receiver has accepted. */
export interface ReceivedWebhook extends JsonObject {
  at: string;
  /** The last part of the path. */
  name: string;
  headers: JsonObject;
  body: JsonObject[string];
}

export interface World {
  url: string;
  apiKey: string;
  /** Signs the short-lived addresses of recordings and uploads. */
  signingKey: string;
  store: Store;
  scheduler: Scheduler;
  faults: Faults;
  log: Log;
  now(): number;
  settings(): SimulatorSettings;
  changeSettings(settings: SimulatorSettings): void;
  initialSettings: SimulatorSettings;
  agents: Collection<AgentRecord>;
  calls: Collection<CallRecord>;
  liveCalls: Set<string>;
  creations: number[];
  tombstones: Collection<JsonObject>;
  tools: Collection<JsonObject>;
  voices: Collection<JsonObject>;
  corpora: Collection<JsonObject>;
  sources: Collection<JsonObject>;
  documents: Collection<DocumentRecord>;
  webhooks: Collection<WebhookRecord>;
  deliveries: Collection<DeliveryRecord>;
  singletons: Collection<JsonObject>;
  registrations: Collection<JsonObject>;
  dials: Collection<Dial>;
  /** Webhooks that the receiver has accepted, oldest first. */
  readonly received: ReceivedWebhook[];
  requests: RequestLogEntry[];
  emit(event: string, call: CallRecord): void;
}

export interface Request {
  method: string;
  path: string;
  params: Record<string, string>;
  query: URLSearchParams;
  headers: NodeJS.Dict<string | string[]>;
  /** Origin that the client used, for absolute URLs in responses. */
  origin: string;
  body: Json;
  raw: Buffer;
  form: FormData | undefined;
  ignored: string[];
}

export interface Reply {
  status: number;
  body?: Json;
  raw?: Buffer | string;
  headers?: Record<string, string>;
}

export type Handler = (world: World, request: Request) => Reply | Promise<Reply>;

export interface Route {
  method: string;
  /** Such as `/api/agents/:agentId`. A segment that starts with a colon is a parameter. */
  path: string;
  handler: Handler;
  /** Whether the route needs no API key. */
  open?: boolean;
}

export function isoTime(instant: number): string {
  return new Date(instant).toISOString();
}
