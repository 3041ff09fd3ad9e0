/** That a pattern is left out only for texts that it cannot match. */
import { type AST, RegExpParser } from '@eslint-community/regexpp';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ENGLISH_HEADS } from '../../../../src/calls/post-call/do-not-call-request/english.ts';
import {
  FRENCH_REQUESTS,
  GERMAN_REQUESTS,
  SPANISH_REQUESTS,
} from '../../../../src/calls/post-call/do-not-call-request/other-languages.ts';
import {
  createPreselection,
  requiredStrings,
} from '../../../../src/calls/post-call/do-not-call-request/preselection.ts';

describe('requiredStrings', () => {
  it.each<[RegExp, string[][]]>([
    [/stop calling/, [['stop calling']]],
    [/\bstop\b (?:me )?now/, [['stop '], ['now']]],
    [/(?:call|phone) me/, [['call', 'phone'], [' me']]],
    [/call|phone/, [['call', 'phone']]],
    // Anything may precede "me".
    [/(?:call|\w+) me/, [[' me']]],
    [/(?:call|\w*)/, []],
    [/(?:call|)/, []],
    [/(?:(?:never|not) call|stop)/, [[' call', 'stop']]],
    // An optional part does not count, and a repeated one ends the string before it.
    [/dials?/, [['dial']]],
    [/dial+ing/, [['dia'], ['l'], ['ing']]],
    [/(?:ab){2,}c{0,3}/, [['ab']]],
    // What must precede or follow is in the text as well; what must not is not.
    [/(?<=never )call(?= me)/, [['never '], ['call'], [' me']]],
    [/(?<!never )call(?! me)/, [['call']]],
    [/a[bc]d.e/, [['a'], ['d'], ['e']]],
    // Letters may be in the other case.
    [/stop calling/i, []],
  ])('of %s', (pattern, expected) => {
    expect(requiredStrings(pattern).toSorted()).toEqual(expected.toSorted());
  });
});

const patterns = [
  ...ENGLISH_HEADS.map(({ head }) => new RegExp(head.source)),
  ...SPANISH_REQUESTS,
  ...GERMAN_REQUESTS,
  ...FRENCH_REQUESTS,
];

/** A text that the pattern probably matches: its lookaheads and lookbehinds are ignored. */
function textFor(
  alternatives: readonly AST.Alternative[],
  pick: (count: number) => number,
): string {
  const alternative = alternatives[pick(alternatives.length)]!;
  return alternative.elements.map((element) => partFor(element, pick)).join('');
}

function partFor(element: AST.Element, pick: (count: number) => number): string {
  switch (element.type) {
    case 'Character':
      return String.fromCodePoint(element.value);
    case 'Group':
      return textFor(element.alternatives, pick);
    case 'Quantifier': {
      const count = element.min + pick(Math.min(element.max - element.min, 2) + 1);
      return Array.from({ length: count }, () => partFor(element.element, pick)).join('');
    }
    case 'CharacterClass':
    case 'CharacterSet':
      return 'abens'[pick(5)]!;
    default:
      return '';
  }
}

describe('createPreselection', () => {
  it('selects each pattern of requests for every text that the pattern matches', () => {
    const preselect = createPreselection(patterns, (pattern) => pattern);
    const matched = new Set<RegExp>();
    let left = 0;
    for (const pattern of patterns) {
      const { alternatives } = new RegExpParser().parsePattern(pattern.source);
      fc.assert(
        fc.property(fc.infiniteStream(fc.nat()), (numbers) => {
          const pick = (count: number) => (numbers.next().value ?? 0) % count;
          const text = textFor(alternatives, pick);
          const selected = preselect(text);
          left += patterns.length - selected.length;
          if (!pattern.test(text)) return;
          matched.add(pattern);
          expect(selected).toContain(pattern);
        }),
        { numRuns: 100 },
      );
    }
    // Otherwise this test would show nothing.
    expect(matched.size).toBeGreaterThan(patterns.length * 0.9);
    expect(left).toBeGreaterThan(patterns.length * patterns.length * 100 * 0.8);
  });
});
