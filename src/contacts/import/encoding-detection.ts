/** Detects the encoding of a file if only one is plausible. Pure. */
import {
  ENCODINGS,
  encodingByMark,
  type FileEncoding,
  NotUtf8Error,
  readText,
  UnreadableTextError,
} from './text-encoding.ts';

/** Letters beyond ASCII of the languages written in an encoding. */
const WESTERN = [
  'äöüßé',
  'àâæçéèêëîïôœùûüÿ',
  'áéíóúüñ',
  'àçéèíïóòúü',
  'áâãàçéêíóôõúü',
  'àèéìíîòóùú',
  'áéëïíóöüèê',
  'æøåéäöüôòê',
  'åäöéüàšž',
  'áðéíóúýþæö',
];
const ALPHABETS: Partial<Record<FileEncoding, readonly string[]>> = {
  WINDOWS_1252: WESTERN,
  MACINTOSH: WESTERN,
  WINDOWS_1250: [
    'äöüß',
    'ąćęłńóśźż',
    'áčďéěíňóřšťúůýž',
    'áäčďéíĺľňóôŕšťúýž',
    'áéíóöőúüű',
    'ăâîşţ',
    'čćđšž',
    'çë',
  ],
  WINDOWS_1251: ['абвгдеёжзийклмнопрстуфхцчшщъыьэюяґєії', 'абвгдежзийклмнопрстћђјљњџ'],
  WINDOWS_1253: ['αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώϊϋΐΰ'],
  WINDOWS_1254: ['çğıiöşüâîû'],
};
/** Encodings that can be detected. */
const DETECTED: readonly FileEncoding[] = ['WINDOWS_1252', 'MACINTOSH'];

/** Symbols that occur between words, but not within a word. */
const BETWEEN_WORDS = new Set('\u00a0«»“”„‘‚…•·€£§°©®™¡¿ªº–—‹›´²³½');
const MAX_WORDS = 20_000;

/**
 * Detects the encoding of a file: by its byte order mark; UTF-8 if all of it is valid; otherwise Windows-1252 or
 * MacRoman if the words of the file make sense in it and in no other encoding.
 *
 * @throws UnreadableTextError that asks for the encoding if it is uncertain.
 */
export async function detectEncoding(read: () => AsyncIterable<Buffer>): Promise<FileEncoding> {
  try {
    let marked: FileEncoding | null = null;
    for await (const piece of read()) {
      marked = encodingByMark(piece);
      break;
    }
    for await (const _piece of readText(read()));
    return marked ?? 'UTF_8';
  } catch (error) {
    if (!(error instanceof NotUtf8Error)) throw error;
    const words = await wordsOf(read());
    const candidates = candidatesFor(words);
    const [first, ...others] = candidates;
    if (first && others.length === 0 && DETECTED.includes(first.encoding)) return first.encoding;
    throw uncertainEncodingError(error, candidates);
  }
}

/** The distinct words with bytes beyond ASCII, one character per byte. */
async function wordsOf(source: AsyncIterable<Buffer>): Promise<string[]> {
  const words = new Set<string>();
  let pending = '';
  for await (const piece of source) {
    const text = pending + piece.toString('latin1');
    const end = Math.max(text.lastIndexOf('\n'), text.lastIndexOf('\r')) + 1;
    const whole = end === 0 && text.length < 1_000_000 ? 0 : end || text.length;
    pending = text.slice(whole);
    addWords(words, text.slice(0, whole));
    if (words.size >= MAX_WORDS) break;
  }
  addWords(words, pending);
  return [...words];
}

function addWords(words: Set<string>, text: string): void {
  for (const [word] of text.matchAll(/[A-Za-z'\x80-\xff]+/g)) {
    if (words.size >= MAX_WORDS) return;
    if (word.length <= 60 && /[\x80-\xff]/.test(word)) words.add(word);
  }
}

interface Candidate {
  encoding: FileEncoding;
  /** The words decoded with this encoding. */
  words: string[];
}

/** Returns the encodings in which all words make sense, one for each distinct reading of the words. */
function candidatesFor(words: readonly string[]): Candidate[] {
  const readings = new Map<string, Candidate>();
  for (const [name, alphabets] of Object.entries(ALPHABETS)) {
    const encoding = name as FileEncoding;
    const decoder = new TextDecoder(ENCODINGS[encoding]);
    const decoded = words.map((word) => decoder.decode(Buffer.from(word, 'latin1')));
    if (!looksPlausible(decoded, alphabets)) continue;
    const key = decoded.join(' ');
    if (!readings.has(key)) readings.set(key, { encoding, words: decoded });
  }
  return [...readings.values()];
}

/** Whether all letters belong to one alphabet, and letters and symbols stand where they can occur. */
function looksPlausible(words: readonly string[], alphabets: readonly string[]): boolean {
  const letters = new Set<string>();
  for (const word of words) {
    if (!isPlausible(word)) return false;
    for (const character of word) {
      const isLetter = /[^\p{ASCII}ªº]/u.test(character) && /\p{L}/u.test(character);
      if (isLetter) letters.add(character.toLowerCase());
    }
  }
  return alphabets.some((alphabet) => [...letters].every((letter) => alphabet.includes(letter)));
}

function isPlausible(word: string): boolean {
  // Letters of two scripts.
  if (/[A-Za-z]/.test(word) && /(?!\p{Script=Latin})\p{L}/u.test(word)) return false;
  // A capital letter within a word, or several accented letters in a row.
  if (/\p{L}[^\p{ASCII}\P{Lu}]\p{Ll}/u.test(word)) return false;
  if (/[^\p{ASCII}\P{Ll}]\p{Lu}/u.test(word)) return false;
  if (/(?:(?![ªº])[^\p{ASCII}\P{Script=Latin}]){3}/u.test(word)) return false;
  // A currency without an amount.
  if (/[£€]\p{L}/u.test(word)) return false;
  return [...word].every((character, index) => {
    if (/[\p{ASCII}\p{L}]/u.test(character)) return true;
    const before = word.slice(0, index);
    const after = word.slice(index + 1);
    if (character === '’') return isApostrophe(before, after);
    const within = /\p{L}$/u.test(before) && /^\p{Ll}/u.test(after);
    return BETWEEN_WORDS.has(character) && !within;
  });
}

/** As in "O’Brien", "D’Angelo", "l’Oréal" and "Mike’s". */
function isApostrophe(before: string, after: string): boolean {
  if (!/\p{L}$/u.test(before) || !/^\p{L}/u.test(after)) return true;
  return (
    /^\p{Lu}/u.test(after) || /^\p{L}{1,2}$/u.test(before) || /^(?:[stdm]|ll|re|ve)$/.test(after)
  );
}

function uncertainEncodingError(
  error: NotUtf8Error,
  candidates: readonly Candidate[],
): UnreadableTextError {
  const [first, second] = candidates;
  const index = first?.words.findIndex((word, at) => word !== second?.words[at]) ?? -1;
  const readings = candidates
    .map(({ encoding, words }) => `${JSON.stringify(words[index] ?? words[0])} in ${encoding}`)
    .join(', ');
  const hint = readings ? ` A word of it is ${readings}.` : '';
  return new UnreadableTextError(
    `${error.message}${hint} Name the encoding with \`encoding\`, or save the file as "CSV UTF-8".`,
  );
}
