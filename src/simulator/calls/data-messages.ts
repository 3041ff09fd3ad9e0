/** Data messages to live calls. */
import { randomUUID } from 'node:crypto';
import { invalid, isObject, type JsonObject, listAt, refuse, stringAt } from '../json.ts';
import type { Request, World } from '../world.ts';
import { addLines, endCall, isLive } from './call-state.ts';
import { findCall } from './calls.ts';

/** Data messages to a live call: user text, forced agent message, hang-up. */
export function sendDataMessage(world: World, request: Request) {
  const record = findCall(world, request);
  const { body } = request;
  if (!isObject(body) || typeof body.type !== 'string') {
    throw invalid('type', 'This field is required.');
  }
  if (!['user_text_message', 'forced_agent_message', 'hang_up'].includes(body.type)) {
    throw invalid('type', `"${body.type.slice(0, 80)}" is not an accepted message type.`);
  }
  if (!isLive(record)) throw refuse(422, 'The call is not in progress.');
  if (body.type === 'hang_up') {
    const farewell = stringAt(body, 'message');
    if (farewell !== undefined)
      addLines(world, record, [{ role: 'MESSAGE_ROLE_AGENT', text: farewell }]);
    endCall(world, record.callId, 'agent_hangup');
    return { status: 204 };
  }
  if (body.type === 'user_text_message') {
    const text = stringAt(body, 'text');
    if (text === undefined) throw invalid('text', 'This field is required.');
    checkUrgency(body, ['immediate', 'soon', 'later']);
    addLines(world, record, [
      { role: 'MESSAGE_ROLE_USER', text, medium: 'MESSAGE_MEDIUM_TEXT' },
      { role: 'MESSAGE_ROLE_AGENT', text: 'Thanks, I have taken note of that.', afterMs: 1500 },
    ]);
    return { status: 204 };
  }
  checkUrgency(body, ['immediate', 'soon']);
  const content = stringAt(body, 'content');
  const calls = listAt(body, 'toolCalls').filter((item) => isObject(item));
  if (content === undefined && calls.length === 0) {
    throw invalid('content', 'Either content or toolCalls is required.');
  }
  addLines(world, record, [
    ...(content === undefined ? [] : [{ role: 'MESSAGE_ROLE_AGENT' as const, text: content }]),
    ...calls.flatMap((item) => {
      const toolName = stringAt(item, 'name') ?? '';
      const invocationId = stringAt(item, 'id') ?? randomUUID();
      const text = JSON.stringify(item.arguments ?? {});
      return [
        { role: 'MESSAGE_ROLE_TOOL_CALL' as const, text, toolName, invocationId },
        { role: 'MESSAGE_ROLE_TOOL_RESULT' as const, text: '{"ok":true}', toolName, invocationId },
      ];
    }),
  ]);
  return { status: 204 };
}

function checkUrgency(body: JsonObject, values: string[]): void {
  const urgency = body.urgency;
  if (urgency !== undefined && (typeof urgency !== 'string' || !values.includes(urgency))) {
    throw invalid('urgency', `Must be one of ${values.join(', ')}.`);
  }
}
