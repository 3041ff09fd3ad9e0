/** Recognizes the fields of columns by their header names. Pure. */
import type { TextField } from '../person-columns.ts';
import { composedPhoneRank, PHONE_NAMES, WEAK_PHONE_NAMES } from './phone-headers.ts';

/**
 * A contact field; the full name, which is split into first and last name; or a statement about calls,
 * which may put the number on the do-not-call list.
 */
export type ImportField = TextField | 'name' | 'doNotCall' | 'consent';

/** Common header names, compared without case, spaces, punctuation and accents. Earlier names match better. */
const NAMES: Record<ImportField, readonly string[]> = {
  phoneNumber: [...PHONE_NAMES, ...WEAK_PHONE_NAMES],
  firstName: names(
    'first name|first|given name|forename|fname|contact first name|billing first name|Vorname|prénom',
    'nombre de pila|primer nombre|primeiro nome|nome próprio|voornaam|imię|имя|adı|ad|الاسم الأول|نام|नाम पहला|पहला नाम',
    'প্রথম নাম|पहिले नाव|మొదటి పేరు|முதல் பெயர்|ਪਹਿਲਾ ਨਾਮ|પ્રથમ નામ|名|名字|名前（名）|이름|tên|nama depan|ชื่อ|jina la kwanza|förnamn|fornavn|etunimi',
    'jméno|keresztnév|prenume|όνομα|שם פרטי|پہلا نام|ім’я',
  ),
  lastName: names(
    'last name|last|surname|family name|lname|contact last name|billing last name|Nachname|Familienname|nom de famille',
    'apellido|apellidos|sobrenome|apelido|último nome|cognome|achternaam|nazwisko|фамилия|soyadı|soyad|اسم العائلة|اللقب',
    'نام خانوادگی|उपनाम|अंतिम नाम|শেষ নাম|आडनाव|ఇంటి పేరు|கடைசி பெயர்|ਆਖਰੀ ਨਾਮ|અટક|姓|姓氏|성|họ|nama belakang|นามสกุล|jina la mwisho',
    'efternamn|etternavn|efternavn|sukunimi|příjmení|vezetéknév|nume de familie|επώνυμο|שם משפחה|آخری نام|прізвище',
  ),
  name: names(
    'name|full name|contact name|customer name|lead name|person name|client name|display name|file as|contact',
    'vollständiger Name|Ansprechpartner|Kunde|nom|nom complet|nom et prénom|nombre|nombre completo|nombre y apellidos',
    'nome|nome completo|nome e cognome|naam|volledige naam|imię i nazwisko|ФИО|полное имя|adı soyadı|ad soyad|isim',
    'الاسم|الاسم الكامل|نام و نام خانوادگی|नाम|पूरा नाम|নাম|पूर्ण नाव|नाव|పేరు|பெயர்|ਨਾਮ|નામ|姓名|名称|氏名|お名前|名前|성명|성함',
    'họ tên|họ và tên|nama|nama lengkap|ชื่อ-นามสกุล|ชื่อเต็ม|jina|jina kamili|pangalan|buong pangalan|namn|navn|nimi|név|πλήρες όνομα|שם|שם מלא|پورا نام',
  ),
  email: names(
    'email|email address|mail|email id|email 1 value|email 1|primary email|work email|person email work|email work|person email',
    'person email home|customer email|billing email|E-Mail-Adresse|correo|correo electrónico|courriel|adresse email|adresse e-mail',
    'endereço de email|indirizzo email|posta elettronica|emailadres|e-mailadres|adres e-mail|электронная почта|эл почта|почта|eposta|e-posta adresi',
    'البريد الإلكتروني|بريد إلكتروني|ایمیل|ईमेल|ই-মেইল|ইমেইল|ईमेल पत्ता|ఇమెయిల్|மின்னஞ்சல்|ਈਮੇਲ|ઇમેઇલ|邮箱|电子邮件|電子郵件|邮件|メール',
    'メールアドレス|이메일|메일|thư điện tử|surel|alamat email|อีเมล|barua pepe|e-postadress|sähköposti|ای میل',
  ),
  companyName: names(
    'company name|company|organization|organization name|organization 1 name|organisation|account name|associated company|business name',
    'business|employer|person organization|default address company|billing company|account|Firma|Firmenname|Unternehmen|entreprise|société',
    'empresa|nombre de la empresa|compañía|azienda|società|ragione sociale|bedrijf|bedrijfsnaam|nazwa firmy|компания|организация|şirket',
    'firma adı|الشركة|اسم الشركة|شرکت|कंपनी|कंपनी का नाम|কোম্পানি|కంపెనీ|நிறுவனம்|ਕੰਪਨੀ|કંપની|公司|公司名称|公司名稱|单位|会社名|会社|회사|회사명',
    'công ty|tên công ty|perusahaan|nama perusahaan|บริษัท|kampuni|kumpanya|företag|yritys|کمپنی',
  ),
  industry: names(
    'industry|sector|Branche|industria|secteur|setor|settore|отрасль|sektör|القطاع|उद्योग|行业|行業|業種|업종|ngành|industri|อุตสาหกรรม',
  ),
  location: names(
    'location|city|town|place|mailing city|default address city|home city|business city|address 1 city|billing city|shipping city|address',
    'Ort|Stadt|Wohnort|ville|ciudad|cidade|città|plaats|stad|miasto|город|şehir|il|المدينة|شهر|शहर|শহর|నగరం|நகரம்|ਸ਼ਹਿਰ|શહેર|城市|市|市区町村|도시',
    'thành phố|kota|เมือง|จังหวัด|mji|lungsod|kaupunki|město|πόλη|עיר',
  ),
  pinCode: names(
    'pin code|pin|postal code|postcode|zip|zip code|zip/postal code|mailing zip/postal code|mailing zip|mailing postal code|default address zip',
    'home postal code|business postal code|address 1 postal code|billing zip|shipping zip|PLZ|Postleitzahl|code postal|código postal|CEP|CAP',
    'codice postale|kod pocztowy|почтовый индекс|индекс|posta kodu|الرمز البريدي|کد پستی|पिन कोड|পিন কোড|పిన్ కోడ్|அஞ்சல் குறியீடு|邮编|邮政编码',
    '郵遞區號|郵便番号|우편번호|mã bưu điện|kode pos|รหัสไปรษณีย์|postnummer|postinumero|PSČ',
  ),
  keywords: names(
    'keywords|keyword|tags|tag|labels|categories|group membership|Schlagwörter|etiquetas|étiquettes',
  ),
  timezone: names(
    'time zone|tz|time zone id|Zeitzone|zona horaria|fuseau horaire|fuso horário|fuso orario|часовой пояс|时区|タイムゾーン|시간대',
  ),
  doNotCall: [
    ...['dnd', 'donotdisturb', 'phonedonotcall', 'callstatusdonotcall'],
    ...['donotcall', 'dnc', 'dncl', 'dncstatus', 'donotcallflag', 'donotphone', 'donotcontact'],
    ...['hasoptedoutofcall', 'hasoptedout', 'optout', 'optedout', 'calloptout', 'optedoutofcalls'],
    ...['phoneoptout', 'optedoutofcall', 'unsubscribed', 'unsubscribe', 'nocalls', 'nocall'],
    ...['doesnotwantcalls', 'blacklist', 'blacklisted', 'suppressed', 'donottelemarket'],
    ...['nichtanrufen', 'keineanrufe', 'anrufsperre', 'werbesperre', 'nollamar', 'nepasappeler'],
    ...['opposition', 'nãoligar', 'nonchiamare', 'nietbellen', 'незвонить'],
    ...['niedzwonić', 'niedzwonic', 'aramayın', 'nepasdemarcher', '拒接', '电话拒绝', '架電禁止'],
    ...['jangantelepon', 'لاتتصل', 'कॉलनकरें', '전화금지'],
  ],
  consent: [
    ...['consent', 'callconsent', 'phoneconsent', 'consenttocall', 'calltoconsent', 'tcpaconsent'],
    ...['gdprconsent', 'marketingconsent', 'optin', 'optedin', 'calloptin', 'phoneoptin'],
    ...['permissiontocall', 'maycall', 'cancall', 'allowcalls', 'callallowed', 'callpermission'],
    ...[
      'einwilligung',
      'zustimmung',
      'consentement',
      'consentimiento',
      'consentimento',
      'consenso',
    ],
    ...[
      'toestemming',
      'согласие',
      'zgoda',
      'izin',
      'rıza',
      'persetujuan',
      '同意',
      'موافقة',
      'सहमति',
    ],
    ...['동의'],
  ],
};

function names(...lists: string[]): string[] {
  return lists.flatMap((list) => list.split('|'));
}

const GUESS_BY_NAME = new Map<string, Guess>();
for (const [field, list] of Object.entries(NAMES)) {
  for (const [rank, name] of list.entries()) {
    const key = normalizeHeader(name);
    if (!GUESS_BY_NAME.has(key)) GUESS_BY_NAME.set(key, { field: field as ImportField, rank });
  }
}

/** Normalizes a header: lower case, without accents, spaces and punctuation. */
function normalizeHeader(header: string): string {
  return header
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .normalize('NFC')
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N}]/gu, '');
}

const OPT_OUT =
  /\b(?:dnc|do ?not ?(?:call|phone|contact)|don'?t (?:call|phone)|opt(?:ed)? ?out|unsubscribed)\b/;
/** Opt-outs of other channels, and columns about checks against the list. */
const OTHER_OPT_OUT =
  /\b(?:e ?-?mails?|mail|sms|texts?|mms|fax|newsletter|whatsapp|cookies?|push|scrub(?:bed)?|check(?:ed)?|last)\b/;

/** Whether a name composed of words, such as "Phone 1 DNC", says that a person must not be called. */
function saysDoNotCall(column: string): boolean {
  const words = column
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}']+/gu, ' ');
  return OPT_OUT.test(words) && !OTHER_OPT_OUT.test(words);
}

export interface Guess {
  field: ImportField;
  /** Quality of the match; 0 is best. */
  rank: number;
}

/** First rank of names composed of words, after those of whole names. */
const COMPOSED_RANK = PHONE_NAMES.length;
/** From this rank on, a name means a phone number column only if no other column does. */
export const WEAK_RANK = COMPOSED_RANK + 1_000;

/** Returns the field that a column name suggests and its rank, or null. */
export function guessField(column: string): Guess | null {
  const guess = GUESS_BY_NAME.get(normalizeHeader(column));
  if (guess?.field === 'phoneNumber' && guess.rank >= PHONE_NAMES.length) {
    return { field: 'phoneNumber', rank: WEAK_RANK + guess.rank };
  }
  if (guess) return guess;
  if (saysDoNotCall(column)) return { field: 'doNotCall', rank: 0 };
  const composed = composedPhoneRank(column);
  return composed === null ? null : { field: 'phoneNumber', rank: COMPOSED_RANK + composed };
}
