/** Turns made of the messages of Ultravox, without a server. */
import { describe, expect, it } from 'vitest';
import { turnsOf } from '../../../src/calls/post-call/turns.ts';

describe('turnsOf', () => {
  it('removes from the arguments of tools what cannot be stored, keys included', () => {
    const message = {
      role: 'MESSAGE_ROLE_TOOL_CALL',
      text: '{"a\\u0000b":[{"\\ud800":"x\\u0000"}],"n":1}',
      callStageId: null,
      invocationId: 'i',
      toolName: 'book',
    } as unknown as Parameters<typeof turnsOf>[0][number];
    expect(turnsOf([message])[0]?.toolArguments).toEqual({ ab: [{ '\ufffd': 'x' }], n: 1 });
  });
});
