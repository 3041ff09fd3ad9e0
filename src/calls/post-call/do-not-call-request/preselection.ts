/**
 * Rules out patterns that cannot match a text, by the words that each of their matches contains. Most of what people say
 * has none of these words. V8 compiles a pattern when it is first tried: 150 of them took 0.2 s after each start.
 */
import { type AST, RegExpParser } from '@eslint-community/regexpp';

/** A matching text contains at least one of these. */
type OneOf = readonly string[];

/** Shorter strings are in most texts. */
const MIN_LENGTH = 3;

/**
 * What a text must contain so that the pattern can match it: one string of each list. Only what is certain; empty if
 * nothing is. Lookaheads and lookbehinds count too, so this holds for the whole text rather than for the match.
 */
export function requiredStrings({ source, flags }: RegExp): OneOf[] {
  if (/[iuv]/.test(flags)) return [];
  return ofAlternatives(new RegExpParser().parsePattern(source).alternatives);
}

/**
 * Returns a function that selects the items whose pattern may match a text, in their order. It does not try the patterns.
 * They are analyzed at its first call.
 */
export function createPreselection<Item>(
  items: readonly Item[],
  patternOf: (item: Item) => RegExp,
): (text: string) => Item[] {
  let analysis: { lists: OneOf[]; needed: number[][] } | undefined;
  return (text) => {
    analysis ??= analyze(items.map(patternOf));
    const { lists, needed } = analysis;
    const found: boolean[] = [];
    const isFound = (list: number): boolean =>
      (found[list] ??= lists[list]?.some((string) => text.includes(string)) ?? true);
    return items.filter((_, index) => needed[index]?.every(isFound));
  };
}

/** Patterns share lists, each of which is looked for once. Those that decide about most patterns come first. */
function analyze(patterns: readonly RegExp[]): { lists: OneOf[]; needed: number[][] } {
  const lists: OneOf[] = [];
  const uses: number[] = [];
  const places = new Map<string, number>();
  const placeOf = (list: OneOf): number => {
    const key = list.join('\n');
    const place = places.get(key) ?? lists.push(list) - 1;
    places.set(key, place);
    uses[place] = (uses[place] ?? 0) + 1;
    return place;
  };
  const isRare = (list: OneOf) => list.every(({ length }) => length >= MIN_LENGTH);
  const needed = patterns.map((pattern) => requiredStrings(pattern).filter(isRare).map(placeOf));
  const usesOf = (place: number) => uses[place] ?? 0;
  for (const found of needed) found.sort((a, b) => usesOf(b) - usesOf(a));
  return { lists, needed };
}

function ofAlternatives(alternatives: readonly AST.Alternative[]): OneOf[] {
  const [only, ...others] = alternatives.map(({ elements }) => ofSequence(elements));
  if (!only || others.length === 0) return only ?? [];
  const rarest = [only, ...others].map(rarestOf);
  // An alternative about which nothing is known may match anything.
  if (!rarest.every((list) => list !== undefined)) return [];
  return [[...new Set(rarest.flat())]];
}

function ofSequence(elements: readonly AST.Element[]): OneOf[] {
  const lists: OneOf[] = [];
  let run = '';
  const endRun = () => {
    if (run) lists.push([run]);
    run = '';
  };
  for (const element of elements) {
    if (element.type === 'Character') {
      run += String.fromCodePoint(element.value);
      continue;
    }
    const isWidthless = element.type === 'Assertion';
    // What stands on both sides of an assertion is adjacent.
    if (!isWidthless) endRun();
    lists.push(...ofElement(element));
  }
  endRun();
  return lists;
}

function ofElement(element: AST.Element): OneOf[] {
  switch (element.type) {
    case 'Group':
      return ofAlternatives(element.alternatives);
    case 'Quantifier':
      return element.min > 0 ? ofSequence([element.element]) : [];
    case 'Assertion': {
      const isRequired =
        (element.kind === 'lookahead' || element.kind === 'lookbehind') && !element.negate;
      return isRequired ? ofAlternatives(element.alternatives) : [];
    }
    default:
      return [];
  }
}

/** The list whose strings are probably in the fewest texts: the longest ones. */
function rarestOf(lists: readonly OneOf[]): OneOf | undefined {
  const shortest = (list: OneOf) => Math.min(...list.map(({ length }) => length));
  return lists.toSorted((a, b) => shortest(b) - shortest(a) || a.length - b.length)[0];
}
