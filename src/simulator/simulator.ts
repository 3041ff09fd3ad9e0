/** Starts the simulator, and is its interface for code in the same process. */
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { accountRoutes } from './account.ts';
import { agentRoutes, findAgent } from './agents/agents.ts';
import { callRoutes } from './calls/call-routes.ts';
import {
  billCall,
  dropSocketCalls,
  endCall,
  finishCall,
  giveUpCall,
  joinCall,
  summarizeCall,
} from './calls/call-state.ts';
import { callCreationRoutes, createAgentCall } from './calls/calls.ts';
import { inboundCall } from './calls/inbound.ts';
import { recordingRoutes } from './calls/recordings.ts';
import { attachSockets } from './calls/socket.ts';
import {
  applyFaults,
  applySettings,
  controlRoutes,
  presentDeliveries,
  resetWorld,
  stateCounts,
} from './control.ts';
import { corpusRoutes, finishSource } from './corpora/corpora.ts';
import { createFaults, type Fault, type FaultInput, type FaultState } from './faults.ts';
import { createHttpServer } from './http/server.ts';
import type { Json, JsonObject } from './json.ts';
import { languageModelRoutes } from './language-model.ts';
import { createScheduler, type Job } from './scheduler.ts';
import {
  changeSettings,
  defaultSettings,
  differences,
  type SimulatorSettings,
} from './settings.ts';
import { openStore } from './store.ts';
import { telephonyRoutes } from './telephony.ts';
import { toolUseRoutes } from './tools/tool-use.ts';
import { toolRoutes } from './tools/tools.ts';
import { voiceRoutes } from './voices/voices.ts';
import { createSender, type Sender } from './webhooks/deliveries.ts';
import { receiverRoutes } from './webhooks/receiver.ts';
import { webhookRoutes } from './webhooks/webhooks.ts';
import type { DeliveryRecord, Dial, Log, RequestLogEntry, World } from './world.ts';

export type { Fault, FaultInput } from './faults.ts';
export type { SimulatorSettings } from './settings.ts';
export type { Dial, RequestLogEntry } from './world.ts';

/** A fixed key, so that examples can be copied and pasted. */
export const DEMO_API_KEY = 'SimuDemo.0123456789abcdefghijklmnopqrstuv';

export interface SimulatorOptions {
  /** Default, and if 0: any free port. */
  port?: number;
  /** Whether to use a free port when `port` is in use. */
  otherPort?: boolean;
  host?: string;
  apiKey?: string;
  /** SQLite file that outlives the process. Default: everything is kept in memory. */
  databasePath?: string;
  /** Simulated seconds per real second; the same as `settings.speed`. */
  speed?: number;
  settings?: Partial<SimulatorSettings>;
  log?: Log;
}

/** A delivery as shown by the control endpoints: without secrets and body. */
export type DeliveryView = Omit<DeliveryRecord, 'secrets' | 'body'>;

export interface InboundCallInput {
  agentId: string;
  from: string;
  to: string;
  medium?: 'twilio' | 'telnyx' | 'plivo' | 'sip';
  fields?: JsonObject;
  force?: boolean;
}

export interface Simulator {
  url: string;
  apiKey: string;
  close(): Promise<void>;
  settings(): SimulatorSettings;
  updateSettings(change: Partial<SimulatorSettings>): SimulatorSettings;
  faults(): Fault[];
  setFaults(faults: FaultInput[], seed?: number): void;
  clearFaults(): void;
  createInboundCall(input: InboundCallInput): JsonObject;
  answerCall(callId: string): void;
  endCall(callId: string, endReason?: string): boolean;
  dials(): Dial[];
  requests(): RequestLogEntry[];
  deliveries(): DeliveryView[];
  state(): ReturnType<typeof stateCounts>;
  reset(): void;
}

const ROUTES = [
  ...controlRoutes,
  ...receiverRoutes,
  ...accountRoutes,
  ...agentRoutes,
  ...callCreationRoutes,
  ...callRoutes,
  ...recordingRoutes,
  ...toolRoutes,
  ...toolUseRoutes,
  ...voiceRoutes,
  ...corpusRoutes,
  ...webhookRoutes,
  ...telephonyRoutes,
  ...languageModelRoutes,
];

export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const apiKey = options.apiKey ?? DEMO_API_KEY;
  if (!/^[a-zA-Z0-9]{8}\.[a-zA-Z0-9]{32}$/.test(apiKey)) {
    throw new Error('The API key of the simulator must be 8 and 32 letters or digits with a dot.');
  }
  const { world, sender } = createWorld(options, apiKey);
  const server = createHttpServer(world, ROUTES);
  const sockets = attachSockets(world, server);
  const host = options.host ?? '127.0.0.1';
  const listen = async (port: number): Promise<void> => {
    server.listen(port, host);
    await once(server, 'listening');
  };
  try {
    await listen(options.port ?? 0).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE' || !options.otherPort) throw error;
      return listen(0);
    });
  } catch (error) {
    world.store.close();
    throw error;
  }
  const { port } = server.address() as AddressInfo;
  world.url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  // Deliveries first, because those of overdue ends and bills must follow them.
  world.store.transaction(() => {
    sender.start();
    dropSocketCalls(world);
  });
  world.scheduler.start((job) => perform(world, sender, job));

  return {
    url: world.url,
    apiKey,
    async close() {
      world.scheduler.stop();
      sender.stop();
      sockets.close();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      world.store.close();
    },
    ...controls(world),
  };
}

function createWorld(options: SimulatorOptions, apiKey: string): { world: World; sender: Sender } {
  const store = openStore(options.databasePath);
  const log: Log = options.log ?? (() => {});
  const singletons = store.collection<JsonObject>('singletons');
  const saved = store.collection<Partial<SimulatorSettings>>('settings');
  const savedFaults = store.collection<FaultState>('faults');
  const startWith = (current: SimulatorSettings, change: object): SimulatorSettings => {
    const started = changeSettings(current, change);
    if ('settings' in started) return started.settings;
    const said = started.problems.map(({ path, message }) => `${path}: ${message}`);
    store.close();
    throw new Error(`Settings of the simulator are not valid: ${said.join('; ')}`);
  };
  const initial = startWith(defaultSettings, {
    ...(options.speed === undefined ? {} : { speed: options.speed }),
    ...options.settings,
  });
  let settings = startWith(initial, saved.get('changes') ?? {});
  const world: World = {
    url: '',
    apiKey,
    signingKey: createHmac('sha256', apiKey).update('simulator').digest('hex'),
    store,
    scheduler: createScheduler(store, Date.now, (job, error) =>
      log('error', 'a planned step failed', { task: job.task, error: String(error) }),
    ),
    faults: createFaults(savedFaults.get('faults') ?? { faults: [], seed: 1 }, (state) =>
      savedFaults.put('faults', state),
    ),
    log,
    now: Date.now,
    settings: () => settings,
    initialSettings: initial,
    changeSettings(next) {
      settings = next;
      saved.put('changes', differences(next, initial));
    },
    emit: (event, record) => sender.emit(event, record),
    agents: store.collection('agents'),
    calls: store.collection('calls'),
    liveCalls: new Set(),
    creations: [],
    tombstones: store.collection('tombstones'),
    tools: store.collection('tools'),
    voices: store.collection('voices'),
    corpora: store.collection('corpora'),
    sources: store.collection('sources'),
    documents: store.collection('documents'),
    webhooks: store.collection('webhooks'),
    deliveries: store.collection('deliveries'),
    singletons,
    registrations: store.collection('registrations'),
    dials: store.collection('dials'),
    requests: [],
    received: [],
  };
  for (const call of world.calls.values()) {
    if (call.endedAt === null) world.liveCalls.add(call.callId);
  }
  const sender = createSender(world);
  return { world, sender };
}

function perform(world: World, sender: Sender, job: Job): void {
  const tasks: Record<string, () => void> = {
    answer: () => joinCall(world, job.subject),
    giveUp: () => giveUpCall(world, job.subject),
    end: () => finishCall(world, job.subject),
    summarize: () => summarizeCall(world, job.subject),
    // The former name, in jobs of stored worlds.
    summarise: () => summarizeCall(world, job.subject),
    bill: () => billCall(world, job.subject),
    retryWebhook: () => sender.retry(job.subject),
    finishSource: () => finishSource(world, job.subject),
  };
  tasks[job.task]?.();
}

function controls(world: World): Omit<Simulator, 'url' | 'apiKey' | 'close'> {
  const change = <R>(work: () => R): R => world.store.transaction(work);
  return {
    settings: () => world.settings(),
    updateSettings(next) {
      change(() => applySettings(world, next));
      return world.settings();
    },
    faults: () => world.faults.state().faults,
    setFaults: (faults, seed) => change(() => applyFaults(world, faults, seed)),
    clearFaults: () => change(() => world.faults.replace([])),
    createInboundCall: (input) =>
      change(
        () =>
          inboundCall(world, input as unknown as Json, (agentId, body, arrival) =>
            createAgentCall(world, findAgent(world, agentId), body, arrival),
          ).call,
      ),
    answerCall: (callId) => change(() => joinCall(world, callId)),
    endCall: (callId, endReason = 'hangup') => change(() => endCall(world, callId, endReason)),
    dials: () => world.dials.values(),
    requests: () => world.requests.map((entry) => ({ ...entry })),
    deliveries: () => presentDeliveries(world) as unknown as DeliveryView[],
    state: () => stateCounts(world),
    reset: () => change(() => resetWorld(world)),
  };
}
