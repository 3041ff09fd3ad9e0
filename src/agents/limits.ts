/** Limits and choices for the fields of an agent, including Ultravox's own limits. */
export const DEFAULT_MODEL = 'ultravox-v0.7';
export const MODELS = [
  DEFAULT_MODEL,
  'ultravox-v0.6',
  'ultravox-v0.6-llama3.3-70b',
  'ultravox-v0.6-gemma3-27b',
  'fixie-ai/ultravox',
] as const;
export const DEFAULT_TEMPERATURE = 0.3;

export const LIMITS = {
  name: 100,
  model: 100,
  description: 2_000,
  systemPrompt: 200_000,
  languageHint: 16,
  spokenText: 2_000,
  inactivityMessages: 20,
  successCriteria: 10_000,
  extractionSchemaBytes: 65_536,
  extractionSchemaObjects: 1_000,
  crmWebhookSecret: { min: 8, max: 255 },
  tools: 50,
  knowledgeBases: 1,
  joinTimeoutSeconds: { min: 1, max: 3_600 },
  maxDurationSeconds: { min: 1, max: 86_400 },
} as const;
