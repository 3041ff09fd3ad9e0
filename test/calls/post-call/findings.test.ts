/** What is found in a transcript, without a server. */
import { describe, expect, it } from 'vitest';
import { findingsIn } from '../../../src/calls/post-call/findings.ts';

describe('findingsIn', () => {
  const said = (text: string) => [
    { speaker: 'AGENT', text: 'Shall I never call you again?', toolName: null } as const,
    { speaker: 'USER', text, toolName: null } as const,
  ];
  const outbound = { direction: 'OUTBOUND' } as const;

  it.each([
    "Please don't ring me again.",
    'Bitte nicht mehr anrufen!',
    'Rufen Sie mich bitte nie wieder an.',
    'No me llamen más, por favor.',
    'Ne m’appelez plus.',
  ])('finds a do-not-call request in “%s”', (text) => {
    expect(findingsIn(said(text), outbound).dncQuote).toBe(text);
  });

  it.each([
    'Never mind, call me again tomorrow.',
    'Da muss ich nicht mehr anrufen, das reicht mir.',
  ])('finds none in “%s”', (text) => {
    expect(findingsIn(said(text), outbound).dncQuote).toBeNull();
  });

  it.each([
    "She is not available. Take me off your list and don't call me again.",
    "I am unable to take your call any more. Don't call me again.",
    'You cannot leave me a message. Never call me again.',
  ])('does not take a person who asks not to be called again for a voicemail: “%s”', (text) => {
    expect(findingsIn(said(text), outbound)).toEqual({
      answeredBy: 'HUMAN',
      evidence: `It said “${text}”.`,
      dncQuote: text,
    });
    const quote = text.slice(0, 20);
    const model = {
      answeredBy: 'VOICEMAIL',
      answeredByQuote: quote,
      doNotCallQuote: null,
    } as const;
    expect(findingsIn(said(text), outbound, model).dncQuote).toBe(text);
    const left = { speaker: 'TOOL', text: '', toolName: 'leaveVoicemail' } as const;
    expect(findingsIn([...said(text), left], outbound)).toMatchObject({
      answeredBy: 'VOICEMAIL',
      dncQuote: text,
    });
  });

  it.each([
    'You have reached our mailbox. Please do not call this office after 5 pm.',
    'Leave a message after the tone. If you want to be removed from our list, press 2.',
    'I can’t take your call right now.',
    'Hi, we can`t come to the phone.',
    'You have reached the VOICE-MAIL of John.',
    'Deje su recado despue\u0301s de la sen\u0303al.',
    'Parlez après le bip.',
  ])('takes a greeting for a voicemail without a request: “%s”', (text) => {
    expect(findingsIn(said(text), outbound)).toMatchObject({
      answeredBy: 'VOICEMAIL',
      dncQuote: null,
    });
  });

  it('takes from a model only what the other side literally said', () => {
    const turns = said('I would rather\nbe left in peace.');
    const found = (quote: string) => {
      const model = {
        answeredBy: 'VOICEMAIL',
        answeredByQuote: quote,
        doNotCallQuote: quote,
      } as const;
      return findingsIn(turns, outbound, model);
    };
    expect(found('rather be left in')).toMatchObject({
      answeredBy: 'VOICEMAIL',
      dncQuote: 'I would rather\nbe left in peace.',
    });
    for (const quote of ['rather be right', 'Shall I never call you again?', 'I', '']) {
      expect(found(quote)).toMatchObject({ answeredBy: 'HUMAN', dncQuote: null });
    }
    const model = { answeredBy: null, answeredByQuote: null, doNotCallQuote: 'left in peace' };
    expect(findingsIn(turns, outbound, model)).toMatchObject({
      answeredBy: 'HUMAN',
      dncQuote: 'I would rather\nbe left in peace.',
    });
  });

  it('takes from a model a quotation that a pause splits into two turns', () => {
    const turns = [...said('I would rather'), ...said('be left in peace.').slice(1)];
    const model = { answeredBy: null, answeredByQuote: null, doNotCallQuote: 'rather be left' };
    expect(findingsIn(turns, outbound, model).dncQuote).toBe('I would rather be left in peace.');
  });

  it('needs a new quotation to take a person for a voicemail after all', () => {
    // By phrases a voicemail, by an earlier analysis a person.
    const turns = said('She is not available. May I take a message?');
    const person = { answeredBy: 'HUMAN', answeredByEvidence: 'It said “May I”.' } as const;
    const found = (answeredByQuote: string | null) =>
      findingsIn(
        turns,
        { ...outbound, ...person },
        { answeredBy: 'VOICEMAIL', answeredByQuote, doNotCallQuote: null },
      );
    const kept = { answeredBy: 'HUMAN', evidence: person.answeredByEvidence, dncQuote: null };
    expect(found(null)).toEqual(kept);
    expect(found('Leave a message')).toEqual(kept);
    expect(found('She is not available.')).toMatchObject({ answeredBy: 'VOICEMAIL' });
  });

  it('does not ask a model about a call that came in, or in which a message was left', () => {
    const model = {
      answeredBy: 'VOICEMAIL',
      answeredByQuote: 'Hello there',
      doNotCallQuote: null,
    } as const;
    const turns = said('Hello there');
    expect(findingsIn(turns, { direction: 'INBOUND' }, model).answeredBy).toBe('HUMAN');
    const left = { speaker: 'TOOL', text: '', toolName: 'leaveVoicemail' } as const;
    const human = { ...model, answeredBy: 'HUMAN' } as const;
    expect(findingsIn([...turns, left], outbound, human).answeredBy).toBe('VOICEMAIL');
  });
});
