/**
 * English requests not to be called again, as patterns on the words of `request.ts`. A false match costs a call,
 * whereas a missed request means that a person is called again, so ambiguous sentences count as requests. Common
 * everyday phrases do not: "don't call me before nine", "don't call me Bob".
 */
import { createPreselection } from './preselection.ts';

const NOT = 'do ?n(?:ot| ?t)';
const CALL = '(?:call|cold call|phone|ring|dial|telephone|contact|solicit|bother|harass|disturb)';
const CALLING =
  '(?:calling|cold calling|phoning|ringing|dial+ing|contacting|soliciting|bothering|harassing|disturbing|bugging|pestering|spamming)';
const CALLED = '(?:called|phoned|contacted|bothered|disturbed)';
const ME = '(?:me|us)';
const PLACE =
  '(?:number|phone|line|telephone|cell|cellphone|mobile|landline|house|home|place|address|residence|household|office|business|company|department|extension)';
const THIS = `(?:here|(?:this|that) (?:\\w+ )?${PLACE}|these numbers)`;
const MY = `(?:my|our) (?:\\w+ )?${PLACE}`;
/** Without the numbers that are probably not the dialed one. */
const MY_OWN = `(?!(?:my|our) (?:work|old|previous|former) (?:number|phone|line)\\b)${MY}`;
const PERSON =
  '(?:mother|father|mom|mum|dad|parents?|grand(?:mother|father|ma|pa|parents)|granny|wife|husband|partner|son|daughter|kids?|child|children|brother|sister|aunt|uncle|boss|staff|employees?|colleagues?|customers?|clients?|neighbou?rs?)';
const SOMEBODY = `(?:him|her|them|(?:my|our|his|her|their) (?:\\w+ ){1,2}?${PERSON}|(?:my|our|the|his) \\w+)`;
const AGAIN =
  '(?:ever again|again|any ?more|any longer|no more|ever|back|in (?:the )?future|from now on|at all|under any circumstances)';

const HOUR = '(?:\\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|half)';
const DAY = '(?:mon|tues|wednes|thurs|fri|satur|sun)days?';
/** Not a time limit: consent that the caller does not have. */
const CONSENT_GIVEN =
  '(?:you|your company) (?:have|get|ve got|obtain|receive) (?:\\w+ ){0,2}(?:consent|permission|authori[sz]ation)';
/** A time limit: the person may be called at another time. */
const TIME = `(?:before|(?:until+|till?)(?! ${CONSENT_GIVEN})|between|during|past|around|while|when|whenever|after (?!this|that|all)\\w+|by (?:${HOUR}|${DAY}|noon|tomorrow)|on (?:a |the )?(?:${DAY}|weekends?)|on (?:\\w+ )?holidays?|on my (?:day|break|lunch|holiday|vacation)|at (?:night|noon|midnight|lunch\\w*|dinner\\w*|${HOUR}|(?:this|that|such an?) (?:hour|time)|the (?:moment|weekend))|in (?:the )?(?:morning|afternoon|evening|middle|night|next|an?|${HOUR})|this (?:early|late|week|weekend|morning|afternoon|evening|month|often)|right (?:now|away)|now|today|tonight|tomorrow|yet|so (?:early|late|often|much|many)|too (?:early|late|often|much)|that (?:early|late|often|much)|as (?:often|early|late|soon)|next|first|later|early|late|earlier|every|more than|for (?:an?|the next|another|at least|${HOUR})|from ${HOUR}|${DAY})`;
const TIMED = new RegExp(` (?:(?:again|here|please|back|there) )*${TIME}\\b`, 'y');

/** Words that rule out that a name follows. */
const NEXT = `please|pls|thanks?|ok|okay|alright|bye|goodbye|i|im|ill|id|ive|we|were|and|or|but|because|cause|cuz|since|stop|never|take|remove|delete|lose|get|leave|put|thats|this (?:is|isnt|was)|not|no|nope|with|about|regarding|from(?! the (?:car|train|bus|road|street)\\b)|using|under|on (?:this|that|my|any|the phone)|at (?:this|that|home|work|my)|for any|either|seriously|period|hello|just|how|why|where|do|dont|did|is|are|understand|understood|got it|if|unless|without|theres|guys|people|(?:until+|till?) ${CONSENT_GIVEN}`;
/** The sentence ends here, or does not continue with a name ("don't call me Bob"). */
const END = `(?=$| ,| (?:${NEXT}|you|its|it is|what|who|he|she|they)\\b)`;
const END_WITHOUT_OBJECT = `(?=$| ,| (?:${NEXT})\\b)`;
/** Another place to call instead. */
const NO_OTHER_PLACE =
  '(?!.{0,40}\\b(?:instead|(?<!\\b(?:dont|don t|not|never|or|cant|stop) )(?:call|try|use|ring|phone|reach)(?: me)? (?:at|on|my(?! (?:lawyer|attorney))|the(?! (?:police|cops|ftc|fcc)))|(?:home|mobile|cell|landline) is (?:fine|okay|ok|better|good)))';
const NO_OTHER_NUMBER =
  '(?!.{0,20}\\b(?<!\\b(?:dont|don t|not|never|or|cant|stop) )use (?:this|my)\\b)';
/** Excludes announcements that offer keys to press. */
const NO_KEY = '(?!.{0,40}\\b(?:press|dial)\\b)';

const OBJECT_WORDS = [
  `${ME}(?: ${THIS})? ${AGAIN}`,
  `${ME}(?: ${THIS})?${END}${NO_OTHER_PLACE}`,
  `${THIS}(?: ${AGAIN})?`,
  `${MY_OWN}(?: ${AGAIN})?${NO_OTHER_PLACE}`,
  `${MY} ${AGAIN}${NO_OTHER_PLACE}`,
  `${SOMEBODY} ${AGAIN}`,
].join('|');

/** What follows the beginning of a request. Shared, since such patterns are expensive to compile. */
interface Tail {
  words: RegExp;
  /** Whether a following time limit means that it is not a request. */
  isUntimed: boolean;
}

function tail(words: string, isUntimed = true): Tail {
  return { words: new RegExp(`(?:${words})(?![a-z0-9])`, 'y'), isUntimed };
}

/** "me again", "this number". */
const OBJECT = tail(` (?:${OBJECT_WORDS})`);
/** Like OBJECT, or without an object. */
const WHOM = tail(
  ` (?:${OBJECT_WORDS})|(?<!bother|harass|disturb)(?: ${AGAIN}|${END_WITHOUT_OBJECT})`,
);
/** Like WHOM; complaints about the time count too. */
const WHOM_TO_STOP = tail(
  ` ${ME}(?:${END}| (?:${AGAIN}|${TIME}|all|like|constantly|already))| (?:${THIS}|(?!(?:my|our) (?:old|previous|former) )${MY}${NO_OTHER_NUMBER})| ${SOMEBODY}${END}${NO_OTHER_NUMBER}| ${AGAIN}|${END_WITHOUT_OBJECT}`,
  false,
);
/** After "be called". */
const CALLED_END = tail(
  ` ${AGAIN}| by(?! (?:e ?mail|mail|post|text|sms|letter|fax)\\b)| from|${END}`,
);
const AGAIN_OR_END = tail(` ${AGAIN}|${END_WITHOUT_OBJECT}`);
const SENTENCE_END = tail(END_WITHOUT_OBJECT, false);
/** After "sick of these calls", but not "… dropping". */
const CALLS_END = tail(` (?:every|all|already|at)|${END_WITHOUT_OBJECT}`, false);
const AT_ANY_TIME = tail('');
/** After "any contact", but not "any contact, just leave it at the door". */
const CONTACT_END = tail(
  `(?: (?:at all|ever|again|whatsoever|(?:from|with) (?:(?:anyone|anybody) (?:from|at|with) )?(?:you|your \\w+)|by (?:\\w+ or )?(?:tele)?phone(?! than\\b)))*(?:(?= (?:please|thanks?|bye|goodbye|ok|okay|i|im|ill|id|ive|we|were|you|if|unless|because|since|how|why|do|dont|stop|take|remove|delete|never|thats|understood|got it)\\b)|(?= and (?!(?:he|she|they|it|physical|touch\\w*|no touch\\w*)\\b))|(?= or (?!(?:physical|touch\\w*|being touched)\\b))|(?= so (?!(?:he|she|they|just|leave (?!me|us))\\b))|$|(?= ,)(?! , (?:(?:just|please|so) )*(?:(?:leave|drop|put|place) (?:it|them|the|a|my (?:parcel|package|order|food))|(?:not )?(?:before|until|till|between|during)|after (?!this|that|all)|text me|(?:id|i would) rather (?:text|write|e ?mail|chat)|i prefer (?:text|e ?mail|chat)|you can (?:text|e ?mail|write))\\b)|(?<=(?:at all|ever|again|whatsoever|from \\w+|with \\w+|your \\w+|phone))(?! than\\b)(?= (?!and\\b|or\\b|so\\b)\\w))`,
);

const FILLER =
  '(?:(?:please|ever|even|again|you|dare|dare to|just|keep|continue|continue to|try|try to|bother|bother to) )*';
/** "They don't call me", but not "I told you don't call me". */
const OWN =
  '(?:i|we|they|people|he|she|who|why|(?<!\\b(?:told|tell|telling|asked|asking|beg|thank) )you|usually|normally)';
const REACH = `(?:(?:reach|get (?:a )?hold of) ${ME}|(?:reach out|get in touch|follow up)(?: (?:to|with) ${ME})?)`;
const SURELY = '(?<!\\b(?:i|ill|we|well|will) )(?:make sure|ensure|see to it)(?: that)?';
const IF_CALLED = `if (?:you|anyone|anybody) (?:guys |people |ever |keep |dare |dare to )*(?:${CALL}|${CALLING})`;
/** Anybody who calls: only if again, and not for a reason or from a place of the person's own. */
const IF_ANYONE = `if (?:anyone|anybody)(?: else)?(?: (?:from|at|with) (?:your|this) \\w+)? (?:ever |keeps |dares to |tries to )*(?:(?!ring)${CALL}|(?:call|phone|contact|telephone|solicit|bother|harasse|disturb)s|rings? (?=(?:${ME}|this|that|these|my|our)\\b)|(?!ring)${CALLING})(?: ?(?:${ME}|here|${THIS}|${MY}))? (?:ever again|again|any ?more|one more time)(?! (?:about|regarding|with|for|in|to|during|while|near|asking|pretending|claiming|saying|trying|from (?!your|this)|(?:at|on) (?!(?:this|my|our) ${PLACE}|home))\\b)`;
/** Excludes that somebody else is threatened, on the advice of the other side. */
const NO_ADVICE =
  '(?! (?:my|our|his|her|the (?!company|hell|shit|crap|pants|living|lot))\\b)(?!.{0,30}\\b(?:(?:thanks|thank you) for (?:(?:the|your|that) (?:tip|warning|advice|help|info\\w*|suggestion|heads up)|(?:warning|telling|letting))|(?:like|as) (?:you|your \\w+) (?:said|say|told|suggest|recommend|advise)))';
const NO_OFFICER =
  '(?<!(?:^|, |\\b(?:thanks|thank you|hello|hi|yes|no|ok|okay) )(?:officer|detective|constable|sheriff)\\b.{0,40})';
/** "I will have to", but not "I will not". */
const I_WILL =
  '(?:ill|well|im|were|(?:i|we) (?:will|am|are|have to))(?: (?!(?:not (?!hesitate)|never|they|if|when|why)\\b)\\w+){0,3}?';
/** What the person threatens to do; an attorney, the police or a report may just be the topic. */
const THREAT = `(?:${I_WILL} (?:sue|suing you|(?:(?:call|calling|contact|contacting|get|getting|go to|going to) the (?:police|cops|ftc|fcc)|(?:call|calling|contact|contacting) (?:my|our|an?) (?:lawyer|attorney))(?= (?:on you|right|immediately|now|for)\\b|${END_WITHOUT_OBJECT})(?! about)|(?:take|taking) legal action|press(?:ing)? charges|fil(?:e|ing) a complaint (?:with the (?:ftc|fcc)|against you)|report(?:ing)? (?:you(?! as)|(?:this|your) (?:number|company)|(?:this|it) to the (?:police|ftc|fcc)))|hear(?:ing)? from my (?:lawyer|attorney))`;
/** Not "I'll block you in for two", "I'll block you a slot". */
const BLOCK = `block(?:ing)? (?:(?:this|your) (?:\\w+ )?number(?! of)|your calls|you(?= (?:now|right now|right away|immediately|too|from calling)\\b|${END_WITHOUT_OBJECT})(?! (?:from ${HOUR}|with|and (?!i|your|report|hang))\\b))`;
const SICK = '(?:sick|tired|fed up|had enough) (?:and tired )?(?:of|with)';
/** Excludes a list of goods or tasks: "it" is one of them if it is sold out, bought or done. */
const NO_GOODS = `(?!(?: ,)? (?:if|when|once|unless|until|as soon as|in case) (?:(?:its|it is) (?!(?:my|our|a|an|the|this|on) )|it (?!is\\b)|theyre|they|these|those|the (?!(?:\\w+ )?${PLACE}\\b)|you(?:ve| have|re| are) )|(?: ,)?(?: (?:because|cause|since|as))? (?:its|it is|it was|it has|it sold|theyre|they are|weve|ive|we have|i have) (?:already |now |all |been |just )*(?:sold|gone|out|done|finished|expired|broken|bought|ordered|got|paid|packed|delivered|arrived|shipped|sent|received|returned|picked up|cancell?ed|unavailable|discontinued|not available|no longer (?:available|sold|needed))\\b|(?: ,)?(?: (?:because|cause|since|as))? (?:the|my|our) \\w+ (?:has |have |is |was |been |already |now |just )*(?:sold|arrived|delivered|shipped|bought|paid|finished|cancell?ed)\\b|(?: ,)? (?:we|i) (?:already )?(?:sold|bought|paid)\\b|(?: ,)? and (?:add|put|order|send) (?:the|an?|another|some|two) (?!number|phone|note|block)|(?: ,)? the \\w+ ones?\\b)`;
/** Excludes that another number takes its place. */
const NO_REPLACEMENT =
  '(?! and (?:put|add|use|save|enter|write|note|take)(?: down| in)? (?:(?:the|my) (?:new|other) (?:one|number)|my \\w+s number)\\b(?! (?:on|to)\\b))';
/** Excludes "we had no more contact". */
const NO_VERB = '(?<!\\b(?:have|has|had|is|are|was|were|been|be|with) )';
const REFUSED = `(?<!\\b(?:not|dont|don t|never|didnt|wont|should i|did you|i|(?:not|dont|don t) want you to) )`;
/** "They block my number" is a question or a complaint. */
const OTHERS_BLOCK = '(?<!\\b(?:they|it|he|she|people|some ?body|someone|phone|system|do you|to) )';
const UNWANTED = `(?:${NOT}|did ?nt|no longer|never) (?:really |ever |even |actually |to )*(?:want|wanna|wish|like|care)(?: (?:(?:you|you guys|you people|your \\w+|them)|(?:anyone|anybody|any of you)(?: (?:else )?(?:from|at|with) (?:your|the|this|that) \\w+)?))?(?: to)?`;
const TOLD =
  '(?:told|asked?|asking|said|tell|request\\w*|want|warned|demand\\w*|prefer)(?: \\w+){0,4}';
const LIST =
  '(?:lists?|listings?|systems?|database|data base|records?|books?|files?|calls?|calling|contacts|directory|rotation|registry|crm|campaigns?|there)';
const MINE =
  '(?:me|us|him|her|them|(?:my|our) (?:\\w+ ){0,2}?(?:name|number|phone|info|information|details|data|contact|contacts|record|records|line)|(?:this|that|the) (?:\\w+ )?(?:number|phone|line|address|household))';
const SALES =
  '(?:sales|cold|marketing|telemarketing|unsolicited|solicitation|promotional|spam|robo|nuisance)';

/** Beginnings of requests. They count if the tail follows. */
const PHRASES: readonly (readonly [head: string, tail?: Tail])[] = [
  // "Don't call me", "do not ever call this number again", "never call again".
  [`(?<!\\b${OWN} )${NOT} ${FILLER}(?:${CALL}|${CALLING})`, WHOM],
  [
    `(?<!\\b(?:${OWN}|ive|youve|theyve|had|have|has|would|could|will|can|that) )never ${FILLER}(?:${CALL}|${CALLING})`,
    WHOM,
  ],
  [
    `(?<!\\b(?:do|did|does|had|has|have|will|is|are|was|were) )(?:not|no longer) (?:${CALL}|${CALLING})`,
    OBJECT,
  ],
  [
    `(?<!\\b(?:if|when|why|until|unless) )you (?:${NOT}|never|better not|will not|wont|must ?nt|must not|may not|can ?not|cant|should ?nt|should not|shall not|are not to) (?:ever )*${CALL} (?:${ME}|${THIS}|${MY}) (?:ever again|again|any ?more)`,
    AT_ANY_TIME,
  ],
  [`(?:nobody|no ?one) (?:should|is to|may) (?:ever )?${CALL}`, OBJECT],
  [`${SURELY} (?:nobody|no ?one) (?:ever )?calls?`, OBJECT],
  [`${SURELY} (?:im|i am|were|we are) (?:not|never|no longer) (?:ever )?${CALLED}`, CALLED_END],
  // "Don't reach out to me", "please do not follow up".
  [
    `(?:^|(?<=, |\\b(?:please|pls|thanks|thank you|no|look|good|fine|ok|okay|interested) ))${NOT} ${FILLER}${REACH}(?! (?:with|about|regarding|from|using|at|on)\\b)`,
    AGAIN_OR_END,
  ],
  [`(?<!\\b(?:${OWN}|guys) )${NOT} ${FILLER}${REACH} again`, AT_ANY_TIME],
  [
    `${UNWANTED} (?:talk|speak) (?:to|with) (?:you|you guys|you people) (?:ever again|again|any ?more|ever)`,
    AT_ANY_TIME,
  ],
  [
    `${NO_VERB}no (?:more|further) contact(?=$| ,| (?:please|thanks?|bye|at all|ever|and|or|i|from you\\w*|(?:with|to) (?:me|us))\\b)`,
    AT_ANY_TIME,
  ],
  [
    `(?<!\\b(?:you|they|he|she|it|who|people|if|why|\\w+ers) )(?:${NOT}|no longer|never) (?:really |ever |even )*(?:want|wish for|desire)(?: to (?:have|get|receive))? any (?:(?:more|further|future|other|additional|such) )*contact`,
    CONTACT_END,
  ],
  [`${NO_VERB}no (?:contact please|soliciting|solicitors|solicitations)`, SENTENCE_END],
  // "Stop calling!", "stop these calls".
  [
    `(?<!\\b(?:i|ill|ive|we) )(?:stop|quit|cease|cease and desist|discontinue)(?: with)?(?: all| the| these| your| this| any)* ${CALLING}`,
    WHOM_TO_STOP,
  ],
  [
    `(?:stop|end|cease|discontinue|quit)(?: it| making)?(?: with)?(?: all| the| these| those| your)+ (?:\\w+ )?calls\\b${NO_KEY}`,
  ],
  [`enough(?: already)? (?:with|of) (?:all )?(?:these|your) (?:${SALES} |phone )?calls`, CALLS_END],
  ['cease and desist|refrain from (?:calling|phoning|contacting)'],
  ['calls (?:to|have to|need to|must) stop'],
  [
    `${SICK} (?:all )?(?:getting )?(?:all )?(?:these|those|your) (?:(?:${SALES}|phone|constant|damn) )?calls`,
    CALLS_END,
  ],
  [`${SICK} you (?:guys |people )?calling`, WHOM_TO_STOP],
  // "If you call again, I'll call the police", "this is harassment". Commas may be the ends of sentences.
  [
    `${IF_CALLED}(?: (?:me|us|back|again|here|this|${MY})\\b|(?<=\\bkeep calling))(?: \\w+){0,6}?(?: ,)?(?: \\w+){0,3}? ${THREAT}`,
  ],
  [`${THREAT}(?: \\w+){0,3}? ${IF_CALLED}`],
  [`${NO_OFFICER}${IF_ANYONE}(?: ,)?(?: \\w+){0,3}? ${THREAT}\\b${NO_ADVICE}`],
  [`${NO_OFFICER}${THREAT}(?: \\w+){0,3}? ${IF_ANYONE}\\b${NO_ADVICE}`],
  [
    `(?:(?:this|that|it) is|thats|its) (?:(?:just|pure|plain|now|really|clearly|basically|literally|phone|telephone) )*harassment(?= (?:by|now|at this point)\\b|${END_WITHOUT_OBJECT})`,
  ],
  ['you(?:re| are) (?:just )?harassing (?:me|us)'],
  // "I don't want to be called", "I don't want any calls".
  [`${UNWANTED} (?:be |get |keep |ever )*${CALLED}`, CALLED_END],
  [`${UNWANTED} (?:be |get |keep |ever )*(?:${CALL}|${CALLING})`, OBJECT],
  [
    `(?:${NOT}|no longer|never) (?:really |ever |even )*(?:want|wish)(?: to (?:get|receive|take|have))? (?:any |more |your |these |those |such |further |of |phone |${SALES} |future |other |another )*calls?(?! (?:cent|wait|forward|record|log|screen|option)\\w*| with (?!you))`,
    AT_ANY_TIME,
  ],
  [
    `(?:${NOT}|no longer|never|not) (?:take|accept|accepting|like|need|answer|appreciate|taking|interested in) (?:any |more |your |these |those )*(?:${SALES}|of your|more of your) ?calls?`,
  ],
  [`(?:${NOT}|never) (?:ever )?want to hear from you`],
  [
    `(?<!\\b(?:there are|there were|theres|(?:i|we) (?:have|had|got)|ive|weve|ive got) )no (?:more|further) (?:phone |${SALES} |of (?:these|your|those) )?calls?(?! (?:waiting|left|on (?:my|the|our) (?:calendar|line|schedule)|in the queue)\\b)`,
    AT_ANY_TIME,
  ],
  [`no (?:${SALES} calls?|calls? (?:please|ever|at all|to this))`],
  // "I asked you not to call me", "I'd rather you didn't call".
  [`${TOLD} not to (?:be |ever )*${CALLED}`, CALLED_END],
  [`${TOLD} not to (?:ever )*${CALL}`, OBJECT],
  [
    `(?:appreciate|like|rather|wish|prefer) not (?:to )?(?:be|being|get|getting) (?:ever )?${CALLED}`,
    CALLED_END,
  ],
  [
    `(?:appreciate|like|rather|wish|prefer|want)(?: to)? not (?:to )?(?:get|getting|receive|receiving) (?:any |more |your |these |such |further |phone |${SALES} |future )*calls?`,
    AT_ANY_TIME,
  ],
  [
    `(?:told|asked|want|warned|like|need) (?:you|you guys|you people|your \\w+) (?:not|never) to (?:ever )?${CALL}`,
    WHOM,
  ],
  [
    `(?:rather|prefer|prefer it if|appreciate it if|wish|like it if) you (?:did ?nt|did not|would ?nt|would not|do ?nt|do not|never) ${CALL}`,
    WHOM,
  ],
  // "Take me off the list", "remove this number", "lose my number".
  [
    `${REFUSED}(?:take|remove|delete|get|scratch|strike|cross|cut|pull|drop|erase|wipe|purge|keep|leave) ${MINE}(?: \\w+){0,2}? (?:off|from|out of|out)(?: (?!do\\b|dont\\b|dnc\\b|no\\b|wait|guest)\\w+){0,5}? ${LIST}\\b${NO_KEY}${NO_REPLACEMENT}`,
  ],
  [`${REFUSED}(?:take|get) ${MINE} off`, SENTENCE_END],
  [`${REFUSED}remove me`, SENTENCE_END],
  [
    `${REFUSED}(?:delete|erase|remove|forget|scratch|trash|discard|${OTHERS_BLOCK}block|blacklist|get rid of) (?:my|this|our|that) (?:\\w+ )?(?:number|contact|info|information|details|data)\\b(?! off| from| out)${NO_REPLACEMENT}`,
  ],
  [
    `(?:you to |(?<!\\b(?:to|i|ill|id|not|we|you|youll|can|will|would|could|might|may|dont|never|didnt|wont|cant) ))lose (?:my|this|our|that) (?:\\w+ )?number(?! , no (?:, )?i have it)`,
  ],
  [
    `(?:i|id|we|wed|im) (?:\\w+ ){0,4}?(?:be|get) (?:\\w+ly )?(?:removed|deleted|taken (?:off|out of)) (?!do\\b|dnc\\b)\\w+`,
  ],
  ['(?:i|id|we|wed|im) (?:\\w+ ){0,4}?(?:be|get) (?:\\w+ly )?removed', SENTENCE_END],
  [`${I_WILL} ${BLOCK}`],
  [
    `${REFUSED}forget (?:that )?you (?:ever |even )?(?:had|have|got|know) (?:my|this|our) (?:\\w+ )?number`,
  ],
  [
    `${REFUSED}(?<!\\b(?:ill|well|will|can|could|let me|to) )(?:take|remove|delete|scratch|cross) it (?:off|from|out of) your (?:(?:call|calling|phone) lists?|(?:(?:contact|mailing|marketing) )?lists?${NO_GOODS})\\b(?! of)`,
  ],
  [
    '(?:want|like|get me) (?:to (?:be|get) )?out of your (?:\\w+ )?(?:lists?|system|database|records)',
    SENTENCE_END,
  ],
  [
    `(?:want|like|be|get) (?:to be )?off (?:of )?(?:your|this|the|that|all)(?: (?!do\\b|dnc\\b|wait)\\w+){0,2}? ${LIST}`,
  ],
  [
    '(?:have|get|want|need|like) (?:me|us|(?:my|this|our) (?:\\w+ )?number) (?:\\w+ly )?(?:removed|deleted|taken off|off)',
  ],
  [
    '(?<!\\bnot )(?:on|to|onto|in|into|as) (?:(?:the|your|a|an|any|my|our|national|federal|state|internal|company|companys) )*(?:do ?not ?(?:call|contact|phone)|dont call|no call|dnc)\\b(?! (?:me|us|my|this|him|her|them|anyone))(?! (?:list|registry) , no (?:, )?i (?:want|like|love) your )',
  ],
  // "Unsubscribe me", "I opt out", "leave me alone".
  ['(?<!\\b(?:not|dont) )unsubscribe (?:me|us|this|my)'],
  ['(?:^|(?<=, ))(?:unsubscribe|opt out)', SENTENCE_END],
  ['(?:want|like|wish|need) to (?:be unsubscribed|unsubscribe|opt out)'],
  ['opt (?:me|us|this number|my number) out|im? (?:am )?(?:hereby )?opt(?:ing)? out'],
  ['(?<!\\b(?:not|dont|never) )leave (?:me|us|him|her|my \\w+) (?:the \\w+ )?(?:alone|in peace)'],
  // "You have no permission to call me".
  ['(?:revok|withdraw|rescind)(?:e|ing)? (?:(?:my|our|any|all) )*(?:consent|permission)'],
  [
    `(?:${NOT}|not|no longer|never) (?:have|give|gave|given) (?:you )?(?:(?:my|our|any) )?(?:permission|consent) to (?:call|contact|phone)`,
  ],
  [
    `(?:${NOT}|did ?nt|did not|never) consent(?:ed)? to (?:(?:be|being|this|these|your|any|further|more|receiv\\w+) )+(?:call|contact)\\w*(?! (?:being |be )?record)`,
  ],
  ['no (?:permission|right|consent) to (?:call|contact|phone)'],
  ['not (?:allowed|permitted|supposed|authori[sz]ed) to (?:call|contact|phone)', OBJECT],
];

/** Each request contains a match of one of these. */
export const ENGLISH_HEADS = PHRASES.map(([head, follows]) => ({
  head: new RegExp(`\\b(?:${head})\\b`, 'g'),
  follows,
}));

const possibleHeads = createPreselection(ENGLISH_HEADS, ({ head }) => head);

/** Whether normalized words contain a request. */
export function isEnglishRequest(words: string): boolean {
  return possibleHeads(words).some(({ head, follows }) =>
    words.matchAll(head).some(({ index, 0: { length } }) => {
      if (!follows) return true;
      const end = endOf(follows.words, words, index + length);
      return end !== null && !(follows.isUntimed && endOf(TIMED, words, end) !== null);
    }),
  );
}

/** The end of a sticky pattern's match at a position; null if it does not match. */
function endOf(pattern: RegExp, words: string, position: number): number | null {
  pattern.lastIndex = position;
  return pattern.test(words) ? pattern.lastIndex : null;
}
