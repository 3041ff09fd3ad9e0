/** Settings of the simulator. */
import { z } from 'zod';

const seconds = z.number().min(0).max(1_000_000);
const cap = z.number().int().min(1).nullable();

/** Settings that PATCH /simulator/settings changes at run time. */
export const settingsSchema = z.strictObject({
  /** Simulated seconds per real second. */
  speed: z.number().min(0.01).max(100_000).default(1),
  /** Seconds of ringing before an answer. */
  ringSeconds: seconds.default(4),
  /** Seconds of conversation before the person hangs up. */
  talkSeconds: seconds.default(45),
  /** Number of exchanges (the person speaks, the agent replies), up to 10,000. Null: as many as fit into the time. */
  exchanges: z.number().int().min(0).max(10_000).nullable().default(null),
  /** Relative variation of ring and talk time between calls, 0 to 1. */
  jitter: z.number().min(0).max(1).default(0.2),
  /** Fraction of calls to ordinary numbers that are answered. */
  answerRate: z.number().min(0).max(1).default(1),
  /** Seconds until a browser call is joined automatically. Null: it waits for its websocket. */
  webRtcAutoJoinSeconds: seconds.nullable().default(2),
  /** Seconds from the end of a call to its summaries. */
  summaryDelaySeconds: seconds.default(1),
  /** Seconds from the end of a call to its bill. */
  billingDelaySeconds: seconds.default(3),
  maxConcurrentCalls: cap.default(null),
  creationsPerSecond: cap.default(null),
  creationsPerMinute: cap.default(null),
  /** Call creation answers 402. */
  outOfCredit: z.boolean().default(false),
  /** Every request that needs the API key is rejected with 403, except those to control endpoints. */
  keyRevoked: z.boolean().default(false),
  /** Accept tools on plain HTTP, for a tool server on this machine. */
  allowHttpTools: z.boolean().default(false),
  /** Make PATCH of an agent merge the call template instead of replacing it. */
  mergeAgentTemplate: z.boolean().default(false),
  /** Reject a call whose context lacks a variable of the template. */
  requireTemplateVariables: z.boolean().default(true),
  /** HTML-escape {{values}} as Mustache does. */
  escapeTemplates: z.boolean().default(false),
  /** Return a joinUrl for calls that a provider dials, too. */
  providerJoinUrl: z.boolean().default(false),
  sipEnabled: z.boolean().default(true),
  /** Whether the account may set a retention policy. */
  retentionEnabled: z.boolean().default(true),
  /** Seconds until a knowledge source is ready. */
  sourceReadySeconds: seconds.default(5),
  /** Real seconds for which an upload address is valid. */
  uploadExpirySeconds: seconds.default(300),
  /** Real seconds for which a recording address is valid. */
  recordingUrlSeconds: seconds.default(60),
  /** Whether recordings can be requested in parts. */
  recordingRanges: z.boolean().default(true),
  /** Answers of the language model: as requested, not JSON, data that does not fit, or invented quotes. */
  modelAnswers: z.enum(['good', 'junk', 'misfit', 'invented']).default('good'),
  allowedCorpora: cap.default(null),
  allowedVoices: cap.default(null),
  moreModels: z.array(z.string()).default([]),
  /** Factor for the pauses between webhook attempts. */
  webhookRetryFactor: z.number().min(0).max(1000).default(1),
  webhookMaxRetries: z.number().int().min(0).max(10).default(10),
  /** Timeout of a receiver, in real seconds. */
  webhookTimeoutSeconds: z.number().min(0.05).max(120).default(10),
  /** Consecutive failures that make a hook unhealthy. */
  unhealthyAfterFailures: z.number().int().min(1).default(5),
});

export type SimulatorSettings = z.infer<typeof settingsSchema>;

export const defaultSettings: SimulatorSettings = settingsSchema.parse({});

/** The settings after a change. Reports members that are unknown or out of range. */
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

/** The settings that differ from the others. */
export function differences(
  settings: SimulatorSettings,
  others: SimulatorSettings,
): Partial<SimulatorSettings> {
  const isDifferent = ([name, value]: [string, unknown]) =>
    value !== others[name as keyof SimulatorSettings];
  return Object.fromEntries(Object.entries(settings).filter(isDifferent));
}
