import { z } from 'zod';

const seconds = z.number().min(0).max(1_000_000);
const cap = z.number().int().min(1).nullable();

/** Everything that can be changed while the simulator runs, by PATCH /simulator/settings. */
export const settingsSchema = z.strictObject({
  /** Simulated seconds per real second. */
  speed: z.number().min(0.01).max(100_000).default(1),
  /** How long a phone rings before somebody answers. */
  ringSeconds: seconds.default(4),
  /** How long a person talks before hanging up. */
  talkSeconds: seconds.default(45),
  /** Part by which ring and talk time vary from call to call, 0 to 1. */
  jitter: z.number().min(0).max(1).default(0.2),
  /** Part of the calls to ordinary numbers that somebody answers; the rest rings out. */
  answerRate: z.number().min(0).max(1).default(1),
  /** After this a browser call joins by itself; null waits for its websocket. */
  webRtcAutoJoinSeconds: seconds.nullable().default(2),
  /** When the summaries are there, counted from the end of the call. */
  summaryDelaySeconds: seconds.default(1),
  /** When the call is billed, counted from its end. */
  billingDelaySeconds: seconds.default(3),
  maxConcurrentCalls: cap.default(null),
  creationsPerSecond: cap.default(null),
  creationsPerMinute: cap.default(null),
  /** Call creation answers 402. */
  outOfCredit: z.boolean().default(false),
  /** The key is known but no longer allowed to do anything: 403. */
  keyRevoked: z.boolean().default(false),
  /** Accept tools on plain HTTP, for a tool server on this machine. */
  allowHttpTools: z.boolean().default(false),
  /** Let PATCH of an agent merge the call template instead of replacing it. */
  mergeAgentTemplate: z.boolean().default(false),
  /** Refuse a call whose context lacks a variable the template uses. */
  requireTemplateVariables: z.boolean().default(true),
  /** HTML-escape {{values}} the way plain mustache does. */
  escapeTemplates: z.boolean().default(false),
  /** Give calls dialled by a provider a joinUrl as well. */
  providerJoinUrl: z.boolean().default(false),
  sipEnabled: z.boolean().default(true),
  /** Whether the account may set a retention policy. */
  retentionEnabled: z.boolean().default(true),
  /** How long a knowledge source takes to load. */
  sourceReadySeconds: seconds.default(5),
  /** Real seconds an upload address stays valid. */
  uploadExpirySeconds: seconds.default(300),
  /** Real seconds a recording address stays valid. */
  recordingUrlSeconds: seconds.default(60),
  allowedCorpora: cap.default(null),
  allowedVoices: cap.default(null),
  /** Stretches (above 1) or shortens (below 1) the pauses between webhook attempts. */
  webhookRetryFactor: z.number().min(0).max(1000).default(1),
  webhookMaxRetries: z.number().int().min(0).max(10).default(10),
  /** Real seconds a receiver has to answer. */
  webhookTimeoutSeconds: z.number().min(0.05).max(120).default(10),
  /** Failed attempts in a row that turn a hook unhealthy. */
  unhealthyAfterFailures: z.number().int().min(1).default(5),
});

export type SimulatorSettings = z.infer<typeof settingsSchema>;

export const defaultSettings: SimulatorSettings = settingsSchema.parse({});

/** The settings after a change; members that are unknown or out of range are reported. */
export function changeSettings(
  current: SimulatorSettings,
  change: unknown,
): { settings: SimulatorSettings } | { problems: { path: string; message: string }[] } {
  const given = typeof change === 'object' && change !== null ? change : { change };
  const parsed = settingsSchema.safeParse({ ...current, ...given });
  if (parsed.success) return { settings: parsed.data };
  return {
    problems: parsed.error.issues.map((issue) => ({
      path: issue.path.join('.'),
      message: issue.message,
    })),
  };
}
