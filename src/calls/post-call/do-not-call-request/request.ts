/** Finds a person's request not to be called again in the turns of a call. */
import { truncateText } from '../../../infra/database/storable-text.ts';
import type { Turn } from '../turns.ts';
import { plainWords } from '../words.ts';
import { isEnglishRequest } from './english.ts';
import { FRENCH_REQUESTS, GERMAN_REQUESTS, SPANISH_REQUESTS } from './other-languages.ts';
import { createPreselection } from './preselection.ts';

const OTHER_REQUESTS = [SPANISH_REQUESTS, GERMAN_REQUESTS, FRENCH_REQUESTS].flat();
const possibleRequests = createPreselection(OTHER_REQUESTS, (pattern) => pattern);
/** Maximum length of a quotation that is kept as evidence. */
export const MAX_QUOTE = 300;

/** The words of the request, or null if none was heard. The agent's words do not count. */
export function doNotCallRequestIn(turns: readonly Words[]): string | null {
  const said = turns.filter(({ speaker }) => speaker !== 'TOOL');
  const heard = said.map(({ speaker, text }) => (speaker === 'USER' ? text : null));
  for (const [index, text] of heard.entries()) {
    if (text === null) continue;
    const asked = requestIn(text, heard[index - 1] ?? null, heard[index + 1] ?? null);
    if (asked !== null) return truncateText(quoteOf(asked), MAX_QUOTE);
  }
  return null;
}

type Words = Pick<Turn, 'speaker' | 'text'>;

/** What the other side said: each turn, and together with the one before if a pause may have split a sentence. */
export function* heardTexts(turns: readonly Words[]): Generator<string, undefined> {
  let before: Words | undefined;
  for (const turn of turns) {
    if (turn.speaker === 'TOOL') continue;
    if (turn.speaker === 'USER') {
      yield turn.text;
      const joined = before?.speaker === 'USER' ? continuation(before.text, turn.text) : null;
      if (joined !== null) yield joined;
    }
    before = turn;
  }
}

/**
 * The request in a turn, or in the sentence that it continues. The turns before and after are those of the same person,
 * and null if somebody else spoke.
 */
function requestIn(text: string, before: string | null, after: string | null): string | null {
  const joined = before === null ? null : continuation(before, text);
  if (isRequest(text)) {
    return (before !== null && isDenied(before, text)) || isLimited(text, after) ? null : text;
  }
  if (joined === null || isRequest(before!) || !isRequest(joined)) return null;
  return isLimited(joined, after) ? null : joined;
}

/**
 * A sentence that a pause has split into two turns. Null if the first turn ends with a sentence, or is broken off and the
 * second begins another one.
 */
function continuation(first: string, second: string): string | null {
  if (/(?:…|\.{2,})$/u.test(first.trim()) && /^\P{L}*\p{Lu}/u.test(second)) return null;
  const begun = first.trim().replace(/(?:[,…–—-]|\.{2,})$/u, '');
  return /[.!?]$/.test(begun) ? null : `${begun} ${second.trim()}`;
}

/** First words of a turn that may limit the request in the turn before: a time, a place, another object. */
const LIMIT = new RegExp(
  `^(?:${[
    'before(?! i (?:call|lose|sue|report|do|go to|get (?:angry|mad))\\b)|(?:until|till?)(?! (?:hell|you learn|you (?:have|get|obtain) (?:\\w+ ){0,2}(?:consent|permission)))|between(?! you)|during|while(?! (?:(?:were|we are|youre|you are) at|(?:im|i am) alive))|when(?! (?:will|are|do|did|is|can|(?:i|we) (?:say|said|tell|told|ask|asked)))|after (?!this|that|all|every|the last|what|\\w+ calls)\\w+',
    'on (?:a |the )?(?:\\w+days?|weekends?|(?:\\w+ )?holidays?)|on my (?:day|break|lunch|holiday|vacation)|at (?:night|noon|midnight|lunch\\w*|dinner\\w*|work|school|the (?:office|weekend)|\\d+|\\w+ (?:oclock|am|pm))|in (?:the )?(?:morning|afternoon|evening|middle|night|next)|by (?:\\d+|noon|e ?mail|text)|from (?:\\d+|the (?:car|train|bus))|for (?:an?|the next|another|today) ?',
    'this (?:early|late|week|weekend|morning|afternoon|evening|month)|(?:so|too|that) (?:early|late|often)|today|tonight|tomorrow|now|right now|next (?:week|month|year)',
    '(?:me|us) (?:before|until|till|between|during|while|on|at|late|early|so|too|after)',
    'antes|hasta|despues|durante|mientras|cuando(?! dig)|entre|tan (?:tarde|temprano|pronto)|tarde de|temprano|por (?:la|las|hoy|ahora|el momento)|(?:los|el) (?:lunes|martes|miercoles|jueves|viernes|sabados?|domingos?|fin(?:es)?)|hoy|manana|ahora|al (?:trabajo|fijo|otro)|a (?:las?|mediodia|esta hora|la oficina)|en la (?:manana|tarde|noche)|de (?:espera|noche)',
    'vor(?! (?:allem|gericht))|nach \\w+ uhr|bis(?! (?:bald|dann|nie|(?:sie|ihr) (?:\\w+ ){0,2}(?:einwilligung|zustimmung|erlaubnis)))|zwischen|heute|morgen|fur \\w+tag',
    'avant|apres|jusqu\\w*|pendant|quand(?! (?:je|on) di)|entre|si (?:tot|tard)|le (?:matin|soir|midi|week|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)|la (?:nuit|journee)|ce (?:matin|soir|week)|cette (?:semaine|apres)|demain|aujourdhui|maintenant|d ?attente|a (?:midi|\\d+)',
  ].join('|')})(?![a-z0-9])`,
);
/** Begins another sentence, in spite of such a first word. */
const NEW_SENTENCE = new RegExp(
  `^(?:${[
    '(?:now|right now|today|tonight|tomorrow|next \\w+|this \\w+|on \\w+)(?: ,(?! (?:im|i am|were|we are) (?!(?:call|su|report|fil|go|tell|warn|block)ing|sick|tired|fed up|done|serious|angry|mad)))? (?:i|ill|im|ive|id|we|well|were|you|youll|youve|he|she|they|my|the|is|was)',
    'now (?!is )\\w+|for an? (?:start|change)|.*\\bor (?:any|anywhere|ever|at all|again)',
    '(?:hoy|manana|ahora) (?!por|en|a|mejor|no|que|si)\\w+',
    '(?:heute|morgen) (?!abend|nachmittag|vormittag|mittag|fruh|nicht|bitte|an)\\w+',
    '(?:demain|maintenant|aujourdhui) (?:j|c|je|jai|on|cest|vous|ca|il)',
  ].join('|')})(?![a-z0-9])`,
);

/** Other limits: the end of a turn, and the first words of the next one. */
const LIMITS: readonly (readonly [end: RegExp, next: RegExp])[] = [
  [
    /\b(?:if|unless|once|until|before|being|in case|as soon as)(?: (?:the|its|it is|it has|it|they|youve|ive|youre))?$/,
    /^/,
  ],
  [/\b(?:call|contact|phone|ring)$/, /^(?:him|her|them|an ambulance|the (?:police|other))\b/],
  [/\bcontact$/, /^(?:lenses|person|details|information|forms?|points?|paper|glue)\b/],
  [/\bcalls$/, /^waiting\b/],
  [/\boff$/, /^(?:the waiting|speaker)\b/],
  [/\blists?$/, /^(?:if|unless|when|once|because|in case|as soon as|of things)\b/],
];

/**
 * Whether the next turn goes on with the sentence and limits the request: "don't call me", "before nine". Since a pause
 * often ends a sentence, only words count with which nobody begins one.
 */
function isLimited(text: string, after: string | null): boolean {
  if (after === null || !goesOn(text, after)) return false;
  const words = plainWords(after);
  const said = plainWords(text);
  const isLimit =
    (LIMIT.test(words) && !NEW_SENTENCE.test(words)) ||
    LIMITS.some(([end, next]) => end.test(said) && next.test(words));
  return isLimit && !isRequest(continuation(text, after)!);
}

/** Whether the turn before begins the sentence and reverses the request. */
function isDenied(before: string, text: string): boolean {
  return (
    goesOn(before, text) &&
    DENIAL.test(plainWords(before)) &&
    !isRequest(continuation(before, text)!)
  );
}

/** Whether the second turn is certainly in the sentence of the first. */
function goesOn(first: string, second: string): boolean {
  return (
    continuation(first, second) !== null && !/,\s*$/.test(first) && /^[^\p{L}]*\p{Ll}/u.test(second)
  );
}

const THIRD_PARTY =
  '(?:(?:my|our|her|his|their) (?:\\w+ )?(?:brother|sister|mother|father|mom|mum|dad|son|daughter|ex|husband|wife|boyfriend|girlfriend|partner|friend|cousin|uncle|aunt|neighbou?r|boss|landlord|doctor|dentist|telemarketer)s?|the (?:scammers?|fraudsters?|other (?:\\w+ )?(?:company|companies|firm|bank|shop|store|agency)))';
/** The rest of the clause, unless it speaks of the caller. */
const REST = '(?!(?:(?! but )[^,]){0,200}?\\b(?:you|your|here|this)\\b)(?:(?! but )[^,]){0,200}';
/** What somebody else was asked, or nobody: "I told my brother …", "I never said …". "I told you" is a request. */
const REPORTS = new RegExp(
  `\\b(?:${[
    `(?:told|tell|asked|ask|warned) ${THIRD_PARTY}(?= (?:to|not|that|i|we|please|dont|do not|never|stop|no)\\b) ${REST}`,
    '(?:i never|i (?:do|did|am|have) not|i (?:dont|didnt|havent)|im not) (?:said|say|saying) (?:(?:that|to) )*(?=(?:dont|do not|don t|stop|never|take|remove|delete|no more) )(?:(?! (?:but|so) )[^,])*',
    'i (?:said|told \\w+) (?:(?! you )[^,]){0,80}?(?: ,)? (?:and|so) (?:he|she|they) (?:did(?! (?:it|so|again|anyway)\\b)|stopped|blocked|left)\\b',
    '(?:nunca|yo no) (?:dije|he dicho|digo) [^,]*|ich hab(?:e)? (?:nie|niemals|nicht) gesagt(?: ,)? [^,]*|je (?:n ?ai (?:jamais|pas) dit|ne dis pas) [^,]*',
  ].join('|')})`,
  'g',
);

const mayReport = createPreselection([REPORTS], (pattern) => pattern);

function withoutReports(words: string): string {
  return mayReport(words).length > 0 ? words.replace(REPORTS, ' , ') : words;
}

/** Ends of a turn that reverse the request in the next one: "please do not", "remove me". A "no" may be an answer. */
const DENIAL = new RegExp(
  `^(?!.*\\bno (?!es\\b)).*(?:(?:^|\\b(?:please|and|but|just|you|bitte) )(?:do not|dont|don t|never)|\\b(?:i never|(?:did|do|am|have) not|didnt|dont|havent|im not) (?:say|said|saying)|\\b(?:nunca|yo no) (?:dije|he dicho|digo)|\\bich hab(?:e)? (?:nie|niemals|nicht) gesagt|\\bje (?:n ?ai (?:jamais|pas) dit|ne dis pas)|\\b(?:not|dont|don t) (?:want|asking) you to|\\b(?:told|tell|asked|ask|warned) ${THIRD_PARTY}(?: to)?|^(?:they|he|she|why|(?:he|she|they|you|we) did|did you|my \\w+ers|warum|wieso|ich(?: (?:kann|werde|muss|konnte))?(?: sie)?|il|elle|on))$`,
);

function isRequest(text: string): boolean {
  const words = withoutReports(plainWords(text));
  return isEnglishRequest(words) || possibleRequests(words).some((pattern) => pattern.test(words));
}

/** The whole text if it is short; otherwise the sentence that contains the request by itself, if there is one. */
function quoteOf(text: string): string {
  if (text.length <= MAX_QUOTE) return text;
  const sentences = text.match(/[^.!?]+[.!?]*/g) ?? [];
  return sentences.find(isRequest)?.trim() ?? text;
}
