/** Types of the JSON columns of an agent. */
import type { Agent } from '../generated/prisma/client.ts';
import type { BuiltInConfig, TransferConfig } from '../tools/built-in-tools.ts';

export type { BuiltInConfig, TransferConfig };

export const FIRST_SPEAKERS = ['AGENT', 'USER'] as const;
export type FirstSpeaker = (typeof FIRST_SPEAKERS)[number];

export const END_BEHAVIORS = ['UNSPECIFIED', 'HANG_UP_SOFT', 'HANG_UP_STRICT'] as const;
export type EndBehavior = (typeof END_BEHAVIORS)[number];

export type GreetingSettings = {
  firstSpeaker: FirstSpeaker;
  text: string | null;
  delay: string | null;
  uninterruptible: boolean;
};

export type InactivityMessage = {
  duration: string;
  message: string;
  endBehavior: EndBehavior;
};

export type VadSettings = {
  turnEndpointDelay: string | null;
  minimumTurnDuration: string | null;
  minimumInterruptionDuration: string | null;
  frameActivationThreshold: number | null;
};

export interface AgentSettings {
  greetingSettings: GreetingSettings | null;
  inactivityMessages: InactivityMessage[];
  vadSettings: VadSettings | null;
  builtInConfig: BuiltInConfig | null;
  extractionSchema: Record<string, unknown> | null;
}

type JsonColumns = Pick<Agent, keyof AgentSettings>;

/** The JSON columns with their types. They are only ever written with values from `readContent`. */
export function settingsOf<Row extends Partial<JsonColumns>>(
  row: Row,
): Pick<AgentSettings, keyof Row & keyof AgentSettings> {
  return row as unknown as Pick<AgentSettings, keyof Row & keyof AgentSettings>;
}
