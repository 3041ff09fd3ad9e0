/** Finds the words of a person who asks not to be called again. */
import type { Turn } from './turns.ts';

const REQUESTS = [
  /\b(take|remove|delete|get) (me|us|my (phone )?number|this number) (off|from|out of)\b.{0,40}\b(list|system|database|records)\b/,
  /\b(put|add) (me|us|my number|this number) (on|to) (your |the |a )?do[ -]not[ -]call\b/,
  /\bnever (ever )?(call|phone|ring|contact) (me|us|here|this number)\b/,
  /\b(don'?t|do not|dont) (ever )?(call|phone|ring|contact) (me|us|here|this number)( (again|any ?more|ever))\b/,
  /\b(don'?t|do not|dont) ever (call|phone|ring|contact) (me|us|here|this number)\b/,
  /\b(stop|quit) (calling|phoning|ringing|contacting) (me|us|here|this number)\b/,
  /\b(don'?t|do not) want (you )?(to (be called|call me)|any (more )?calls)\b/,
  /\b(lose|forget|erase) my number\b|\bunsubscribe me\b/,
  /\bno (me|nos) (vuelva[ns]? a llamar|llame[ns]? (más|nunca|otra vez))\b|\bdeje[n]? de llamar/,
  /\b(quíteme|sáqueme|bórreme)n? de (su|la) lista\b/,
  /\bruf(en sie)? (mich|uns|hier) (bitte )?(nicht|nie) (mehr|wieder)\b|\bnie wieder an\b/,
  /(^|\b(bitte|mich|uns|hier) )(bitte )?(nicht|nie) (mehr|wieder) an(zu)?rufen\b/,
  /\b(nehmen|streichen|löschen) sie (mich|uns|meine nummer) (von|aus)\b/,
  /\bne (m'|nous )appelez plus\b|\b(retirez|enlevez)-moi de votre liste\b/,
];
const MAX_QUOTE = 300;

/** What the person said, or null when no such request was heard. The agent's words do not count. */
export function doNotCallRequestIn(
  turns: readonly Pick<Turn, 'speaker' | 'text'>[],
): string | null {
  const asked = turns.find(
    ({ speaker, text }) =>
      speaker === 'USER' &&
      REQUESTS.some((pattern) => pattern.test(text.toLowerCase().replaceAll('’', "'"))),
  );
  return asked ? asked.text.slice(0, MAX_QUOTE).toWellFormed() : null;
}
