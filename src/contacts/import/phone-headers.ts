/** Header names of phone number columns in many languages. Pure. */

function names(...lists: string[]): string[] {
  return lists.flatMap((list) => list.split('|'));
}

/** Whole names. Earlier names are better matches. */
export const PHONE_NAMES: readonly string[] = names(
  // English
  'phone number|phone|phone no|phone nr|primary phone|mobile phone number|mobile|mobile phone|mobile number|mobile no|cell',
  'cell phone|cell number|tel|telephone|telephone number|tel no|msisdn|contact number|contact phone|whatsapp|whatsapp number',
  // German, Nordic, Dutch
  'Telefon|Telefonnummer|Telefonnr|Tel-Nr|Rufnummer|Handy|Handynummer|Mobil|Mobilnummer|Mobiltelefon|Mobilfunknummer|Festnetz',
  'Festnetznummer|Telefon mobil|Telefon privat|Telefon geschäftlich|telefoon|telefoonnummer|mobiel|mobiele telefoon|mobiel nummer|gsm',
  'mobiltelefonnummer|puhelin|puhelinnumero|matkapuhelin|sími|farsími',
  // Romance
  'teléfono|número de teléfono|teléfono móvil|móvil|celular|teléfono celular|número de celular|número de móvil|teléfono fijo',
  'téléphone|numéro de téléphone|n° de téléphone|tél|tél.|portable|téléphone portable|téléphone mobile|téléphone fixe|numéro de portable',
  'telefone|número de telefone|telemóvel|número de telemóvel|telefone celular|fone|telefone fixo|telefono|numero di telefono',
  'cellulare|numero di cellulare|recapito telefonico|telefon mobil|număr de telefon',
  // Slavic, Greek, Hungarian, Turkish
  'numer telefonu|nr telefonu|telefon komórkowy|komórka|telefonní číslo|telefónne číslo|телефон|номер телефона|тел|мобильный|мобильный телефон',
  'мобильный номер|сотовый|сотовый телефон|номер мобільного|мобільний|номер телефону|τηλέφωνο|κινητό|αριθμός τηλεφώνου|telefonszám|mobilszám',
  'telefon numarası|telefon no|cep|cep telefonu|cep telefonu numarası|cep no',
  // Arabic, Persian, Urdu, Hebrew
  'هاتف|الهاتف|رقم الهاتف|جوال|الجوال|رقم الجوال|موبايل|الموبايل|رقم الموبايل|تليفون|رقم التليفون|تلفون|المحمول|رقم المحمول|الهاتف المحمول',
  'تلفن|شماره تلفن|موبایل|شماره موبایل|تلفن همراه|شماره همراه|فون|فون نمبر|موبائل|موبائل نمبر|ٹیلی فون|טלפון|מספר טלפון|נייד|טלפון נייד',
  // India
  'फ़ोन|फोन|फ़ोन नंबर|फोन नंबर|मोबाइल|मोबाइल नंबर|मोबाइल नम्बर|दूरभाष|मोबाईल|मोबाईल नंबर|दूरध्वनी|ফোন|ফোন নম্বর|ফোন নাম্বার|মোবাইল|মোবাইল নম্বর|টেলিফোন',
  'ఫోన్|ఫోన్ నంబర్|మొబైల్|మొబైల్ నంబర్|தொலைபேசி|தொலைபேசி எண்|மொபைல்|மொபைல் எண்|கைபேசி|கைபேசி எண்|அலைபேசி|ਫ਼ੋਨ|ਫੋਨ|ਫ਼ੋਨ ਨੰਬਰ|ਮੋਬਾਈਲ|ફોન|ફોન નંબર|મોબાઇલ|મોબાઇલ નંબર',
  // East and South East Asia
  '电话|电话号码|手机|手机号|手机号码|联系电话|移动电话|電話|電話號碼|手機|手機號碼|聯絡電話|行動電話|電話番号|お電話番号|携帯|携帯電話|携帯番号|携帯電話番号',
  '전화|전화번호|휴대폰|휴대폰번호|휴대전화|휴대전화번호|핸드폰|핸드폰번호|연락처|điện thoại|số điện thoại|di động|số di động|điện thoại di động|sđt',
  'telepon|nomor telepon|no telepon|telp|no telp|hp|no hp|nomor hp|ponsel|nomor ponsel|handphone|nomor handphone|no wa|nomor whatsapp|nombor telefon',
  'โทรศัพท์|เบอร์โทร|เบอร์โทรศัพท์|หมายเลขโทรศัพท์|มือถือ|เบอร์มือถือ|telepono|numero ng telepono|simu|nambari ya simu|namba ya simu',
);

/** Names that may also mean something else. */
export const WEAK_PHONE_NAMES: readonly string[] = names(
  'number|número|numero|номер|联系方式|contact details',
);

const PHONE_WORDS = new Set(
  names(
    'phone|phones|phonenumber|telephone|tel|mobile|mobilephone|cell|cellphone|landline|whatsapp|msisdn|telefon|telefono',
  ),
);
/** Words that may accompany a word for a phone, in order of preference. */
const QUALIFIERS = names(
  'number|no|nr|num|value|person|contact|customer|client|lead|buyer|patient|primary|main|default|preferred|direct|e164|formatted|full|raw',
  'personal|private|work|business|office|company|corporate|billing|shipping|mailing|address|home|day|daytime|evening|other|alternate|alt|secondary|line',
);
const QUALIFIER_RANK = new Map(QUALIFIERS.map((word, rank) => [word, rank]));

/**
 * How well a name composed of words fits a phone number column (lower is better), or null if it does not: "Phone 1 -
 * Value" and "Person - Phone - Work" fit; "Phone Type" and "Business Fax" do not.
 */
export function composedPhoneRank(header: string): number | null {
  const words = header
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .replace(/(\p{L})(\d)/gu, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter(Boolean);
  let rank = 0;
  let hasPhone = false;
  for (const word of words) {
    const qualifier = QUALIFIER_RANK.get(word);
    if (PHONE_WORDS.has(word)) hasPhone = true;
    else if (/^\d$/.test(word)) rank += Number(word);
    else if (qualifier !== undefined) rank += 10 * qualifier;
    else return null;
  }
  return hasPhone ? Math.min(rank, 999) : null;
}
