/** Detection of requests not to be called again, and only of these, in the languages with known phrases. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { doNotCallRequestIn } from '../../../../src/calls/post-call/do-not-call-request/request.ts';

const SENTENCES = readFileSync(new URL('sentences.txt', import.meta.url), 'utf8');

const PAIRS = readFileSync(new URL('pairs.txt', import.meta.url), 'utf8');

const asked = (text: string) => doNotCallRequestIn([{ speaker: 'USER', text }]);

const sections = SENTENCES.split('\n# ')
  .slice(1)
  .map((section) => {
    const [language, ...lines] = section.trim().split('\n');
    const marked = (mark: string) =>
      lines.filter((line) => line.startsWith(mark)).map((line) => line.slice(mark.length));
    return { language, requests: marked('+ '), others: marked('- ') };
  });

it('has sentences in the languages that the API names', () => {
  expect(sections.map(({ language }) => language)).toEqual([
    'English',
    'Spanish',
    'German',
    'French',
  ]);
});

describe.each(sections)('doNotCallRequestIn in $language', ({ requests, others }) => {
  it.each(requests)('finds a request in “%s”', (text) => {
    expect(asked(text)).toBe(text);
    // As some transcripts spell it, and among other words.
    const plain = text
      .toLowerCase()
      .replace(/[’']/g, '')
      .replace(/[^\p{L}\p{N}]+/gu, ' ');
    for (const spelled of [plain, text.toUpperCase(), `Hello? ${text}. Bye.`]) {
      expect(asked(spelled)).toBe(spelled);
    }
  });

  it.each(others)('finds none in “%s”', (text) => {
    for (const spelled of [text, text.toLowerCase(), `Hello? ${text}`]) {
      expect(asked(spelled)).toBeNull();
    }
  });
});

describe('doNotCallRequestIn', () => {
  it('hears only the other side', () => {
    expect(doNotCallRequestIn([{ speaker: 'AGENT', text: 'Never call me again.' }])).toBeNull();
  });

  const said = (first: string, second: string, between: 'AGENT' | 'TOOL' = 'TOOL') =>
    doNotCallRequestIn([
      { speaker: 'USER', text: first },
      { speaker: between, text: '' },
      { speaker: 'USER', text: second },
    ]);

  it.each([
    ["Please don't", 'call me again', "Please don't call me again"],
    ['please do not,', 'contact me anymore.', 'please do not contact me anymore.'],
    ['I want you to stop…', 'calling me', 'I want you to stop calling me'],
    ["we don't want any", 'further contact', "we don't want any further contact"],
    ['Never', 'call this number again.', 'Never call this number again.'],
  ])('finds a request that a pause splits: “%s” “%s”', (first, second, quote) => {
    expect(said(first, second)).toBe(quote);
    expect(said(first, second, 'AGENT')).toBeNull();
  });

  it.each([
    ["No, I don't.", 'Call me again tomorrow.'],
    ['Do not worry', 'call me again any time'],
    ["I don't", 'call me back tomorrow'],
    ["I'd rather not", 'call me after six'],
    ["Please don't", 'hang up'],
    ['You can stop', "calling it Bob's shop is fine"],
    ["Sorry, I don't", 'call me Bob'],
    ['Not now', 'call me again at six'],
    ["I don't know", 'call again please'],
    ["I can't", 'call me back later'],
    ['If you call me again', "I'll be at home"],
    ["I don't want any", 'coffee, thanks'],
    ['remove', 'the second item from the list'],
    ['Leave me', 'a message'],
    ['No', 'call me again'],
    ["I usually don't", 'call me next week'],
    ['Yes, please do!', 'Not now, call me again later'],
    ['I will never', 'forget you'],
    ['We do', 'call us again'],
    ['Please', 'call me again'],
  ])('finds none in two turns: “%s” “%s”', (first, second) => {
    expect(said(first, second)).toBeNull();
  });

  const pairs = (mark: string) =>
    PAIRS.split('\n').flatMap((line) => {
      const [first, second] = line.slice(mark.length).split(' | ');
      return line.startsWith(mark) ? [[first!, second!] as const] : [];
    });

  it.each(pairs('+ '))('finds a request around a pause: “%s” “%s”', (first, second) => {
    expect([first, second, `${first} ${second}`]).toContain(
      said(first, second)?.replace(/(?:…|\.\.\.)(?= )/, ''),
    );
  });

  it.each(pairs('- '))('finds none around a pause: “%s” “%s”', (first, second) => {
    expect(said(first, second)).toBeNull();
  });

  it('judges a sentence that a pause splits twice', () => {
    const turns = (...texts: string[]) =>
      doNotCallRequestIn(texts.map((text) => ({ speaker: 'USER', text })));
    expect(turns("Please don't", 'call me', 'before nine')).toBeNull();
    expect(turns("Please don't", 'call me', 'ever again')).toBe("Please don't call me");
    expect(turns('Please do not', 'remove me from your list', 'thanks')).toBeNull();
  });

  it('quotes the sentence of a long turn that contains the request', () => {
    const text = `${'I have told you a long story. '.repeat(20)}Never call me again. ${'Bye. '.repeat(5)}`;
    expect(asked(text)).toBe('Never call me again.');
  });

  it('reads a long turn quickly', () => {
    const started = performance.now();
    for (const piece of [
      'do not ',
      "don't you dare ",
      'not you dare to keep try to ',
      'take my ',
      'nicht mehr ',
      'no me ',
      'ne plus ',
      'i said ',
      'told my brother ',
      'if anyone calls again ',
      ' ',
      '! ',
    ]) {
      expect(asked(`${piece.repeat(10_000)} end`)).toBeNull();
    }
    expect(performance.now() - started).toBeLessThan(3_000);
  });
});
