import { describe, expect, it } from 'vitest';
import {
  callTemplate,
  firstSpeakerSettings,
  remoteName,
  type TemplateAgent,
} from '../../src/agents/call-template.ts';
import { builtInToolNames } from '../../src/tools/built-in-tools.ts';

const bare: TemplateAgent = {
  systemPrompt: 'Be kind.',
  model: 'ultravox-v0.7',
  temperature: 0.3,
  recordingEnabled: false,
  languageHint: null,
  joinTimeout: null,
  maxDuration: null,
  timeExceededMessage: null,
  greetingSettings: null,
  inactivityMessages: [],
  vadSettings: null,
  builtInConfig: null,
};
const references = { voiceId: 'voice-1', tools: [], corpusIds: [] };

describe('callTemplate', () => {
  it('omits optional fields that are not set', () => {
    expect(callTemplate(bare, references)).toEqual({
      systemPrompt: 'Be kind.',
      contextSchema: { type: 'object', additionalProperties: true },
      model: 'ultravox-v0.7',
      temperature: 0.3,
      voice: 'voice-1',
      recordingEnabled: false,
      inactivityMessages: [],
      selectedTools: [],
    });
  });

  it('maps every field', () => {
    const template = callTemplate(
      {
        ...bare,
        temperature: 0,
        recordingEnabled: true,
        languageHint: 'es-MX',
        joinTimeout: '20s',
        maxDuration: '900s',
        timeExceededMessage: 'Time is up.',
        greetingSettings: {
          firstSpeaker: 'AGENT',
          text: 'Hello',
          delay: '1s',
          uninterruptible: true,
        },
        inactivityMessages: [
          { duration: '10s', message: 'Still there?', endBehavior: 'UNSPECIFIED' },
          { duration: '5s', message: 'Bye', endBehavior: 'HANG_UP_SOFT' },
        ],
        vadSettings: {
          turnEndpointDelay: '0.5s',
          minimumTurnDuration: null,
          minimumInterruptionDuration: '0.1s',
          frameActivationThreshold: 0.2,
        },
        builtInConfig: {
          hangUp: true,
          leaveVoicemail: true,
          transfer: { cold: true, warm: true, target: 'sip:desk@example.com' },
        },
      },
      {
        voiceId: 'voice-1',
        tools: [{ toolId: 'tool-1', authTokens: { key: 'token' } }, { toolId: 'tool-2' }],
        corpusIds: ['corpus-1'],
      },
    );
    expect(template).toEqual({
      systemPrompt: 'Be kind.',
      contextSchema: { type: 'object', additionalProperties: true },
      model: 'ultravox-v0.7',
      temperature: 0,
      voice: 'voice-1',
      recordingEnabled: true,
      languageHint: 'es-MX',
      joinTimeout: '20s',
      maxDuration: '900s',
      timeExceededMessage: 'Time is up.',
      firstSpeakerSettings: { agent: { text: 'Hello', delay: '1s', uninterruptible: true } },
      inactivityMessages: [
        { duration: '10s', message: 'Still there?', endBehavior: 'END_BEHAVIOR_UNSPECIFIED' },
        { duration: '5s', message: 'Bye', endBehavior: 'END_BEHAVIOR_HANG_UP_SOFT' },
      ],
      vadSettings: {
        turnEndpointDelay: '0.5s',
        minimumInterruptionDuration: '0.1s',
        frameActivationThreshold: 0.2,
      },
      selectedTools: [
        { toolId: 'tool-1', authTokens: { key: 'token' } },
        { toolId: 'tool-2' },
        { toolName: 'queryCorpus', parameterOverrides: { corpus_id: 'corpus-1' } },
        { toolName: 'hangUp' },
        { toolName: 'leaveVoicemail' },
        { toolName: 'coldTransfer', parameterOverrides: { target: 'sip:desk@example.com' } },
        { toolName: 'warmTransfer', parameterOverrides: { target: 'sip:desk@example.com' } },
      ],
    });
  });

  it('selects only the built-in tools that are enabled', () => {
    const config = {
      hangUp: false,
      leaveVoicemail: true,
      transfer: { cold: false, warm: false, target: '+14155550123' },
    };
    expect(callTemplate({ ...bare, builtInConfig: config }, references).selectedTools).toEqual([
      { toolName: 'leaveVoicemail' },
    ]);
    expect(builtInToolNames(config, true)).toEqual(['queryCorpus', 'leaveVoicemail']);
    expect(builtInToolNames(null, false)).toEqual([]);
  });
});

describe('firstSpeakerSettings', () => {
  it.each([
    [{}, { agent: { uninterruptible: false } }],
    [{ text: 'Hi' }, { agent: { text: 'Hi', uninterruptible: false } }],
    [{ text: 'Hi {{name}}!' }, { agent: { text: 'Hi !', uninterruptible: false } }],
    [{ text: 'Hi {{#name}}' }, { agent: { text: 'Hi {{#name}}', uninterruptible: false } }],
    [{ firstSpeaker: 'USER' as const }, { user: {} }],
    [{ firstSpeaker: 'USER' as const, delay: '4s' }, { user: { fallback: { delay: '4s' } } }],
    [
      { firstSpeaker: 'USER' as const, text: 'Hi', delay: '4s' },
      { user: { fallback: { delay: '4s', text: 'Hi' } } },
    ],
    [
      { firstSpeaker: 'USER' as const, text: 'Hi' },
      { user: { fallback: { delay: '3s', text: 'Hi' } } },
    ],
  ])('maps the greeting %j', (greeting, expected) => {
    expect(firstSpeakerSettings(greeting)).toEqual(expected);
  });

  it('cuts a text by characters, and only if its placeholders made it too long', () => {
    const agent = (text: string, variables = {}) => {
      const settings = firstSpeakerSettings({ text }, variables);
      return 'agent' in settings ? settings.agent?.text : undefined;
    };
    const longest = '🙂'.repeat(2_000);
    expect(agent(longest)).toBe(longest);
    expect(agent(`{{name}}${longest}`)).toBe(longest);
    expect(agent(`{{name}}${longest}`, { name: 'Ada' })).toBe(`Ada${'🙂'.repeat(1_997)}`);
  });
});

describe('remoteName', () => {
  it.each([
    ['Customer Support Agent', 'Customer-Support-Agent'],
    ['Crème brûlée!', 'Creme-brulee'],
    ['日本語', 'agent'],
    ['A name that is much too long for it', 'A-name-that-is-much-too'],
  ])('derives the name of "%s"', (name, slug) => {
    const id = 'agt_0198a7c2-0000-7000-8000-000000000001';
    const remote = remoteName(name, id);
    expect(remote).toBe(`${slug}_${id}`);
    expect(remote.length).toBeLessThanOrEqual(64);
  });
});
