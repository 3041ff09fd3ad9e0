/** What the language model is asked. */
import { describe, expect, it } from 'vitest';
import { buildPrompt, type SpokenTurn } from '../../src/analysis/prompt.ts';

describe('buildPrompt', () => {
  const turn = (position: number, text: string): SpokenTurn => ({
    position,
    speaker: 'USER',
    text,
    toolName: null,
    toolArguments: null,
    toolResult: null,
  });
  const task = { successCriteria: 'It went well.', extractionSchema: null };

  it('keeps the beginning and the end of a long call, and says what it left out', () => {
    const turns = Array.from({ length: 400 }, (_, index) => turn(index, `${index} `.repeat(100)));
    const { content, omitted } = buildPrompt(task, turns);
    expect(content.length).toBeLessThan(62_000);
    expect(omitted).toMatch(/^Turns \d+ to \d+ of 400 were left out/);
    const { transcript } = JSON.parse(content);
    expect(transcript[0].text).toMatch(/^0 0 /);
    expect(transcript.at(-1).text).toMatch(/^399 /);
    expect(transcript).toContainEqual({ note: omitted });
  });

  it('shortens a single turn that is too long', () => {
    expect(buildPrompt(task, [turn(0, 'a'.repeat(1_000_000))]).content.length).toBeLessThan(5_000);
  });
});
