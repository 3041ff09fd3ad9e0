/** Decides whether a cell means that a person must not be called. Pure. */

const YES = words(
  'true 1 yes y x t on ok checked ✓ ✔ ☑ ja j wahr oui vrai si sí verdadero sim verdadeiro vero s да д истина tak',
  'prawda evet doğru ya benar hai はい 是 对 예 네 はい haan हाँ हां ہاں نعم صحيح có ndiyo ใช่ بله ஆம் అవును',
  'हो হ্যাঁ',
);
const NO = words(
  'false 0 no n f off unchecked ✗ ✘ ☐ nein falsch non faux nee não nao falso нет н ложь nie fałsz hayır hayir yanlış',
  'tidak いいえ 否 不 不是 아니오 아니요 نہیں لا خطأ không hapana ไม่ خیر नहीं இல்லை కాదు नाही না',
);
/** Words in a do-not-call column that do not mean an opt-out. */
const CALLABLE = words(
  'subscribed active allowed callable opted-in opted_in optedin opt-in optin never clean clear safe eligible',
  'not-listed not-on-dnc not-opted-out not-unsubscribed no-dnc not-dnc',
);
/** Words in a consent column that give consent. */
const CONSENTED = words(
  'granted given opted-in opted_in optedin opt-in optin subscribed confirmed allowed accepted explicit',
);

function words(...lists: string[]): ReadonlySet<string> {
  return new Set(lists.flatMap((list) => list.split(' ')).map(normalize));
}

function normalize(text: string): string {
  return text.normalize('NFKC').toLowerCase().replace(/\s+/g, '-');
}

/** The date of a decision, such as "2026-05-01" or "5/1/26 10:00". */
const DATE = /^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[t-].*)?$/;

/**
 * Whether a filled cell of a do-not-call or consent column means that the person must not be called. A date is that of
 * an opt-out in the former and of a consent in the latter. Unknown words count as an opt-out.
 */
export function optsOut(field: 'doNotCall' | 'consent', cell: string): boolean {
  const value = normalize(cell).replace(/^([01])[.,]0+$/, '$1');
  if (field === 'doNotCall') return !(NO.has(value) || CALLABLE.has(value));
  return !(YES.has(value) || CONSENTED.has(value) || DATE.test(value));
}
