/** Spanish, German and French requests not to be called again. See `english.ts`. */

function patterns(...sources: string[]): readonly RegExp[] {
  return sources.map((source) => new RegExp(`\\b(?:${source})`));
}

// Spanish

const ES_TIME =
  '(?: por favor)?(?: (?:tan (?:tarde|temprano|pronto|seguido)|antes|despues de|hasta|durante|mientras|cuando|entre|ahora|hoy|manana|esta (?:manana|tarde|noche|semana)|este (?:mes|lunes|fin)|los (?:lunes|martes|miercoles|jueves|viernes|sabados?|domingos?|fines)|el (?:lunes|martes|miercoles|jueves|viernes|sabado|domingo|fin)|a (?:las?|esta hora|estas horas|mediodia|media)|por la|por las|por (?:hoy|ahora|el momento)|de noche|en la (?:manana|tarde|noche)|todavia|aun|tarde|temprano)\\b)';
const ES_ANY_TIME = `(?!${ES_TIME})`;
const ES_MORE =
  '(?:nunca mas|nunca|jamas|mas(?! (?:tarde|temprano|pronto|de|que|adelante))|otra vez|de nuevo|nuevamente)';
const ES_HERE =
  '(?:aqui|aca|a (?:este|mi|nuestro) (?:numero|telefono|celular|movil|casa)|a (?:esta|mi|nuestra) (?:casa|linea|oficina|empresa)|este (?:numero|telefono))';
const ES_END = `(?=$| ,| (?:por favor|gracias|y|ni|que|porque|pues|ya|yo|no|estoy|usted|ustedes|por telefono|para|con|sobre|si|es|o)\\b)${ES_ANY_TIME}`;
const ES_CALL =
  '(?:llame[ns]?|llameis|telefonee[ns]?|marque[ns]?|contacte[ns]?|moleste[ns]?|molesteis|insista[ns]?)';
const ES_TO_CALL = '(?:llamar|telefonear|marcar|contactar|molestar)(?:me|nos|le|la|les)?';
const ES_WHOM = `(?: ${ES_HERE}| (?:por favor|a mi|a nosotros))*(?: ${ES_MORE}${ES_ANY_TIME}(?! paco)|(?<=${ES_HERE})${ES_ANY_TIME}|${ES_END})`;
/** Excludes another number than the dialed one. */
const ES_OTHER_NUMBER =
  '(?! (?:al|a (?:mi|el|ese)) (?:otro|antiguo|viejo) (?:numero|telefono|celular|movil)\\b)';
const ES_LIST =
  '(?:listas?|listado|base|sistema|registros?|agenda|contactos|fichero|archivos?|directorio|ahi)';
const ES_NUMBER = '(?:mi|este|nuestro) (?:numero|telefono|contacto|celular|movil|nombre)|mis datos';

const ES_IF = `si (?:(?:me|nos) )?(?:vuelve[ns]? a ${ES_TO_CALL}|siguen? llamando\\w*)`;
const ES_THREAT =
  '(?:(?:llam(?:o|are|aremos|ar)|voy|vamos|ire) a la policia|(?:l[aoe]s?|te|os) (?:voy a |vamos a |tendre que )?(?:denunci|demand)(?:o|are|amos|aremos|ar)\\b(?! (?:el|la|los|las|un|una)\\b)|(?:denunci|demand)ar(?:l[aoe]s?|te|os)|(?:pongo|pondre|presento|presentare|poner|presentar) una denuncia|bloque\\w+ (?:este|su|el) (?:numero|telefono)|(?:l[aoe]s?|te|os) bloque\\w+(?=$| ,))';

export const SPANISH_REQUESTS = patterns(
  // "No me llame más", "no llame a este número", "no me vuelva a llamar", "nunca más me llamen".
  `no (?:me|nos|le|la|lo|les|los|se)? ?(?:vuelva[ns]?|volvais) (?:nunca |jamas |mas )*a ${ES_TO_CALL}\\b${ES_ANY_TIME}`,
  `(?:no|nunca|jamas|nunca mas|jamas me) (?:(?:me|nos) )?${ES_CALL}\\b${ES_WHOM}`,
  `(?:nunca|jamas|nunca mas) (?:(?:me|nos) )?(?:vuelva[ns]?) a ${ES_TO_CALL}\\b`,
  // "Deje de llamarme", "no quiero más llamadas".
  `(?:dej(?:e|en|a|ad)|pare[ns]?|para|cese[ns]?) (?:ya |por favor |, )*de (?:estar )?(?:${ES_TO_CALL}|(?:me|nos) llamar|llamando\\w*)\\b${ES_OTHER_NUMBER}`,
  `(?:puede|podria)[ns]? (?:por favor )?dejar de ${ES_TO_CALL}\\b${ES_OTHER_NUMBER}`,
  `(?:no|tampoco|ya no) (?:quiero|queremos|deseo|deseamos|quisiera|autorizo|acepto|permito) (?:que (?:(?:me|nos|se me) )?)?(?:vuelva[ns]? a ${ES_TO_CALL}|(?:siga|este)[ns]? (?:llamando|molestando)|${ES_CALL}\\b${ES_WHOM}|(?:ser|que sea) (?:llamad|contactad|molestad)\\w+)`,
  `(?:no|tampoco|ya no) (?:quiero|queremos|deseo|deseamos|quisiera|acepto|autorizo) (?:(?:recibir|tener) )?(?:(?:mas|sus|tus|estas|esas|este tipo de|ninguna|otra|otras|de sus) )*llamadas?\\b${ES_ANY_TIME}(?! en espera)`,
  `(?:no|basta de|ni|ya no) (?:mas )?llamadas (?:mas|por favor|comerciales)\\b|\\bno mas llamadas\\b${ES_ANY_TIME}|\\bbasta (?:ya )?de (?:tantas )?llama\\w+`,
  `(?:le|les|te|os) (?:pido|pedi|dije|he dicho|digo|ruego|prohibo|exijo) que no (?:me|nos) (?:(?:${ES_CALL}|llamaran?)${ES_WHOM}|vuelva[ns]? a ${ES_TO_CALL})`,
  `(?:le|les|te|os) prohibo (?:que (?:me|nos) )?(?:llam\\w+|contact\\w+)`,
  // "Quíteme de la lista", "borre mi número".
  `(?<!\\bno )(?:quit|sac|saqu|borr|elimin|retir|remuev|remov|tach|suprim)\\w*(?:me|nos)(?: por favor)?(?: ya| ahora| inmediatamente)? de (?!la lista de (?:no|espera))(?:\\w+ ){0,3}?${ES_LIST}\\b(?! de espera)`,
  `(?<!\\bno )(?:me|nos) (?:\\w+ ){0,2}?(?:quit|sac|saqu|borr|elimin|retir|remuev|remov|tach|suprim)\\w*(?: por favor)? de (?!la lista de (?:no|espera))(?:\\w+ ){0,3}?${ES_LIST}\\b(?! de espera)`,
  `(?<!\\bno )(?:quit(?:e|en|ar|a|es)|saque[ns]?|sacar|borr(?:e|en|ar|a|es)|elimin(?:e|en|ar|a|es)|retir(?:e|en|ar|a|es)|remuev(?:e|a|an)|suprim(?:a|an|ir)|tache[ns]?)(?: por favor)? (?:${ES_NUMBER})\\b(?! de (?:la|una) lista de (?:no|espera))(?! (?:(?:viejo|antiguo|anterior) )?y (?:anote|apunte|ponga|use|guarde|registre|anada|agregue)[ns]? (?:el|mi) (?:numero )?(?:nuevo|otro))`,
  `(?<!\\bno )(?:olvide(?:n|se|nse) (?:de )?mi numero)\\b`,
  '(?:de|den|dar|dan|darme|deme|denme|dese) de baja(?: (?:mi|este) (?:numero|telefono)|(?=$| ,| por favor| de (?:su|la|esta) (?:lista|base)))',
  '(?:en|a) (?:la|su|una) lista (?:de )?(?:no llam\\w+|robinson|exclusion|negra)',
  // "Déjeme en paz", "retiro mi consentimiento".
  '(?:deje|dejen|deja|dejad|deje ya|dejan)(?:me|nos) (?:ya |de una vez )*(?:en paz|tranquil[oa]s?)\\b',
  '(?:retiro|revoco|cancelo) (?:mi|el) (?:consentimiento|autorizacion|permiso)\\b',
  // "Si vuelven a llamar, los denuncio", "esto es acoso", "voy a bloquear este número".
  `${ES_IF}(?: (?!por|sobre|para)\\w+){0,5}?(?: ,)?(?: \\w+){0,2}? ${ES_THREAT}|\\b${ES_THREAT}(?: \\w+){0,4}?(?: ,)? ${ES_IF}`,
  '(?:esto|eso) (?:ya )?es (?:un )?acoso\\b(?! (?:escolar|laboral|sexual))',
  '(?<!\\bno )bloquee[ns]? (?:mi|este|nuestro) numero|voy a bloquear(?:(?:le|l[eo]s)(?=$| ,)| (?:este|su) (?:numero|telefono)\\b(?! de))',
  `no (?:quiero|queremos) saber (?:nada )?(?:mas )?de (?:usted|ustedes|su empresa)\\b${ES_ANY_TIME}`,
  '(?:hart|cansad)[ao]s? de (?:(?:tus|sus|estas|esas) llamadas\\b(?! que)|que (?:me|nos) llame[ns]?(?=$| ,| (?:por|a|y|para|todos|tanto|cada|mas|constantemente|aqui)\\b))',
);

// German

const DE_FILLER =
  '(?:(?:sie|ihr|mich|uns|hier|da|doch|bitte|einfach|endlich|also|ja|auch|mal|sich|dann|jetzt bitte|diese nummer|meine nummer|diesen anschluss|unter dieser nummer|bei (?:mir|uns)|in zukunft|kunftig|zukunftig|ab sofort|ab jetzt|uberhaupt|gefalligst|blo(?:ss)?) )*';
const DE_NEVER = '(?:nicht|nie|niemals|nimmer|keinesfalls|auf keinen fall)';
const DE_MORE = '(?:(?:mehr|wieder|noch ?(?:ein)?mal|nochmals|erneut|weiter|jemals|mal) )';
const DE_HERE =
  '(?:(?:hier|bei (?:mir|uns)|unter (?:dieser|meiner|der) (?:\\w*nummer)|auf (?:dieser|meiner) (?:\\w*nummer)|von (?:ihnen|euch|ihrer firma)|telefonisch|zu hause|an) )';
const DE_TO_CALL =
  '(?:anrufen|anzurufen|an zu rufen|kontaktieren|zu kontaktieren|belastigen|zu belastigen)';
/** A time before "nicht" limits the request. */
const DE_NOT_TIMED = `(?<!\\b(?:heute|morgen|abends|morgens|mittags|nachts|sonntags|samstags|jetzt|gerade|momentan|wochenende|uhr|(?:vor|nach|um|bis|zwischen) \\w+) )`;
/** Excludes "Dürfen Sie mich nicht mehr anrufen?". "Würden Sie …?" is a request. */
const DE_NO_QUESTION =
  '(?<!(?:^|, |\\b(?:warum|wieso|weshalb) )(?:durfen|sollen|sollten) (?:sie|ihr) (?:\\w+ ){0,3})';
/** Excludes that the person comes or calls instead. */
const DE_INSTEAD =
  '(?!(?: ,)?(?: (?:denn|weil|da|dann))? ich (?:komme?|melde mich|rufe? (?:sie|euch|selbst|morgen|zuruck|spater|dann))\\b)';
const DE_MINE =
  '(?:mich|uns|meine[ns]? (?:\\w*nummer|daten|namen|kontakt\\w*|eintrag)|unsere (?:\\w*nummer|daten)|diese \\w*nummer|die nummer)';
const DE_LIST = '(?!warte|gaste)\\w*(?:liste|verteiler|kartei|datenbank|system|datei|adressbuch)n?';
const DE_REMOVE =
  '(?:nehm|nimm|streich|losch|loesch|entfern|trag|werf|wirf|schmeiss|austrag)(?:en|t|e)?';
const DE_REMOVED =
  '(?:zu )?(?:(?:he)?raus ?)?(?:nehmen|streichen|loschen|loeschen|entfernen|austragen|raustragen|werfen|genommen|gestrichen|geloscht|entfernt|ausgetragen)';

/** "Until", but not "until you have my consent". */
const DE_UNTIL =
  'bis(?! (?:sie|ihr) (?:\\w+ ){0,2}(?:einwilligung|zustimmung|erlaubnis|genehmigung)\\b)';
const DE_THREAT =
  '(?:zeige? ich (?:sie|euch|das|es) an|(?:erstatten?|mache?) (?:ich|wir) (?:\\w+ )?anzeige\\b(?! i[mn])|(?:rufe?n?|hole?|informiere|verstandige|schalte?) (?:ich|wir) (?:\\w+ )?(?:die polizei|(?:mein|ein)en anwalt)\\b|gehe? ich (?:damit |sofort )?(?:zur polizei|zum anwalt)|melde ich (?:sie|euch|das) (?:bei )?der (?:polizei|bundesnetzagentur)|geht das (?:\\w+ )?(?:an meinen anwalt|an die polizei|zur polizei)|gibt es eine anzeige|(?:horen|bekommen|kriegen) sie (?:\\w+ )?(?:eine anzeige|von meinem anwalt)|verklage? ich|(?:blockiere?|sperre?) ich (?:sie|euch|(?:ihre|diese) \\w*nummer)\\b)';
/** Like DE_THREAT, in the order of a main clause. */
const DE_THREAT_FIRST =
  '(?:ich|wir) (?:(?:zeigen?|verklagen?) (?:sie|euch|das|es)(?: \\w+)? an|verklagen? (?:sie|euch)|erstatten? (?:\\w+ )?anzeige|(?:rufen?|holen?) (?:\\w+ )?die polizei|schalten? (?:\\w+ )?(?:mein|unser|ein)en anwalt ein|gehen? (?:\\w+ )?(?:zur polizei|zum anwalt)|(?:werden?|muss|mussen) (?:(?:sie|euch|das) (?:\\w+ )?(?:anzeigen|verklagen)|(?:\\w+ )?(?:anzeige (?:gegen (?:sie|euch) )?erstatten|(?:die polizei|(?:mein|unser|ein)en anwalt) (?:an)?(?:rufen|holen|einschalten|informieren))|(?:\\w+ )?(?:zur polizei|zum anwalt) gehen))';
/** A card or an appointment that is blocked; "sie" and "Sie" are the same here. */
const DE_NO_THING = '(?<!\\b(?:\\w*karten?|\\w*termine?|konto|uhrzeit|zeit|stunden?)\\b.{0,40})';

export const GERMAN_REQUESTS = patterns(
  // "Rufen Sie hier nicht mehr an", "ruf mich nie wieder an".
  `(?<!\\b(?:ich|wir|die|er|man|warum|wieso|weshalb|wenn|leute|kunden) )ruf(?:en|t|e)? ${DE_FILLER}${DE_NOT_TIMED}${DE_NEVER} ${DE_MORE}*${DE_HERE}*an\\b(?! (?:vor (?!allem|gericht)|nach \\w+ uhr|zwischen))`,
  // "Bitte nicht mehr anrufen", "dass Sie mich nicht mehr anrufen", "ich möchte nicht mehr angerufen werden".
  `(?:(?<=^)|(?<=, )|(?<=\\b(?:bitte|mich|uns|hier|nummer|anschluss|zukunft|kunftig|sofort|und|einfach) ))${DE_NO_QUESTION}${DE_NOT_TIMED}${DE_NEVER} ${DE_MORE}*${DE_HERE}*${DE_TO_CALL}\\b(?! (?:vor|nach|bis|zwischen|muss))${DE_INSTEAD}`,
  `(?:(?<!^|, |\\b(?:warum|wieso|weshalb) )(?:sollen|sollten|durfen)|dass|das|damit|wurden|konnten|wenn) (?:sie|ihr) ${DE_FILLER}${DE_NOT_TIMED}${DE_NEVER} ${DE_MORE}*${DE_HERE}*${DE_TO_CALL}\\b`,
  `(?:sie|ihr) (?:sollen|sollt|sollten|durfen) ${DE_FILLER}${DE_NOT_TIMED}${DE_NEVER} ${DE_MORE}+${DE_HERE}*${DE_TO_CALL}\\b(?! (?:vor|nach|bis|zwischen))`,
  `(?:mochte|moechte|will|wunsche|wollen|mochten) nicht (?:mehr )?(?:, )?dass (?:sie|ihr|jemand|man) ${DE_FILLER}${DE_MORE}*${DE_HERE}*(?:anrufen|anruft|kontaktieren|kontaktiert)\\b`,
  `(?:(?:brauchen|mussen) (?:sie|ihr)|(?:sie|ihr) (?:brauchen|mussen)) (?:(?:mich|uns|hier|bitte) )*nicht (?:mehr|wieder) (?:hier )?(?:anzurufen|anrufen)\\b${DE_INSTEAD}`,
  `(?:mochte|moechte|will|wollen|mochten|wunsche|wollte|darf|bitte|hier|uberhaupt|gar|lieber|mehr|ihnen|euch|auch|dass ich|nummer|ich) ${DE_NEVER} ${DE_MORE}*${DE_HERE}*(?:angerufen|kontaktiert|belastigt|gestort) (?:zu )?(?:werden|werde|wird)\\b`,
  `(?:kontaktieren|belastigen|storen|melden|telefonieren|probieren|versuchen) (?:sie|ihr) ${DE_FILLER}${DE_NOT_TIMED}${DE_NEVER} (?:mehr|wieder|weiter|noch ?(?:ein)?mal)\\b`,
  // "Hören Sie auf, mich anzurufen", "unterlassen Sie die Anrufe".
  `hor(?:en|t)?(?: sie| ihr)?(?: \\w+){0,3} auf(?: ,)?(?: \\w+){0,4} (?:${DE_TO_CALL}|anrufen?)\\b`,
  `aufh(?:o|oe)r(?:en|t)(?: ,)?(?: \\w+){0,4} (?:${DE_TO_CALL}|anrufen)\\b`,
  `anrufe?n? (?:auf(?:zu)?horen)\\b|\\bschluss mit (?:\\w+ ){0,2}anruf`,
  '(?<!\\bk[ao]nn\\w* (?:\\w+ )?)(?:(?:nie wieder|nichts mehr) (?:\\w+ )?von (?:ihnen|euch)|von (?:ihnen|euch) (?:nie wieder|nichts mehr)(?: \\w+)?) (?:zu )?horen\\b',
  `(?:unterlassen|lassen|beenden|stoppen)(?: sie| es)?(?: \\w+| ,){0,4} (?:anrufe|anruferei|${DE_TO_CALL})\\b(?! durch)`,
  `stell(?:en|t)?(?: sie)?(?: \\w+){0,3} anrufe(?: \\w+){0,2} ein\\b`,
  // "Keine Anrufe mehr", "ich wünsche keine Werbeanrufe".
  `keine(?:n|rlei)? (?:(?:weitere[ns]?|solche[ns]?|ihre) )*(?:anrufe?|werbeanrufe?) mehr\\b(?! (?:vor|nach|heute|${DE_UNTIL}))|\\bkeine (?:weiteren|solchen) (?:werbe)?anrufe\\b(?! (?:vor|nach|heute|${DE_UNTIL}))`,
  `(?:mochte|moechte|will|wunsche|wollen|wunschen|mochten) (?:(?!vor|nach|heute|morgen)\\w+ ){0,3}?keine?n? (?:\\w+ )?(?:anrufe?|werbeanrufe|telefonwerbung|telefonate|werbung am telefon)\\b(?! (?:vor|nach|heute|bis|zwischen))`,
  '(?:^|, |bitte )keine (?:anrufe|werbeanrufe)(?=$| ,| bitte)',
  // "Nehmen Sie mich von der Liste", "löschen Sie meine Nummer".
  `(?<!\\bnicht )${DE_REMOVE} (?:(?:sie|bitte|doch|sofort|endlich) )*${DE_MINE} (?:(?!nicht)\\w+ ){0,3}?(?:von|aus|raus|heraus)\\b(?: (?:der|dem|ihrer?|ihrem|eurer|allen|ihren|diese[rm]) (?:\\w+ )?${DE_LIST}\\b(?! fur (?:den |die )?(?:montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|heute|morgen|nachste))|(?=$| ,| bitte))`,
  `(?:${DE_MINE}|mochte|moechte|will|wollen|mochten) (?:(?:bitte|sofort|doch) )*(?:von|aus) (?:\\w+ ){1,3}?${DE_LIST} (?:\\w+ )?${DE_REMOVED}`,
  `(?:losch|loesch|streich|entfern|vergess|vergiss)(?:en|t|e)? ?(?:(?:sie|bitte|doch|sofort|endlich) )*(?:meine|unsere|diese) (?:\\w*nummer|daten|kontaktdaten)\\b(?! (?:bitte )?nicht)`,
  `(?:meine|unsere|diese) (?:\\w*nummer|daten|kontaktdaten) (?:(?:bitte|sofort|doch|endlich) )*${DE_REMOVED}`,
  `(?:auf|in) (?:die|ihre|eine|der|ihrer) (?:\\w+ )?(?:sperrliste|robinson ?liste|blacklist|schwarze liste)\\b`,
  '(?<!\\b(?:warum|wieso|weshalb|wenn) )(?:sperren|blockieren) sie(?: bitte)? (?:meine|diese) (?:telefon|handy|ruf|mobil)?nummer\\b(?! nicht)',
  // "Ich untersage Ihnen weitere Anrufe", "lassen Sie mich in Ruhe".
  '(?:untersage|verbiete|verbitte|widerspreche|widersprechen)(?: \\w+| ,){0,6} (?:\\w*anrufe?n?|anzurufen|telefonwerbung|kontaktaufnahme)\\b',
  // "Wenn Sie noch einmal anrufen, zeige ich Sie an", "das ist Belästigung", "ich blockiere diese Nummer".
  `wenn (?:sie|ihr) (?:(?:mich|uns|hier|bei mir|noch|ein|einmal|mal|nochmal|nochmals|einziges|unter dieser nummer|wieder|weiter|weiterhin|jemals|standig) )*(?:anruf|belastig)(?:en|t)(?: ,)?(?: \\w+){0,2}? ${DE_THREAT}`,
  `${DE_THREAT_FIRST}(?: ,)? (?:wenn|falls|sollten) (?:sie|ihr) (?:(?:mich|uns|hier|bei mir|ein|einmal|einziges|unter dieser nummer|auch|nur) )*(?:noch|nochmal|nochmals|wieder|weiter|weiterhin|jemals|standig) (?:(?:mich|uns|hier|bei mir|ein|einmal|mal|einziges) )*(?:anruf|belastig)(?:en|t)\\b`,
  '(?:das|dies) ist (?:(?!keine |nicht |sexuelle )\\w+ )?belastigung\\b(?! am )',
  `${DE_NO_THING}ich blockiere? (?:jetzt )?(?:sie|euch)(?=$| ,| jetzt| sofort)|\\bich (?:blockiere?|sperre?) (?:jetzt )?(?:ihre|diese) (?:telefon|handy|ruf|mobil)?nummer\\b(?! (?:\\w+ ){0,2}nicht\\b)`,
  '(?:mochte|moechte|will|wollen|wunsche|wunschen|mochten) (?:(?:bitte|auch|jetzt|einfach|wirklich|gar|uberhaupt|ab sofort|(?:von|mit|zu) (?:ihnen|euch|ihrer firma)) )*keinen (?:weiteren kontakt|kontakt mehr)\\b(?! verlier)(?! (?:mit|zu|zum|zur) (?!ihnen|euch|ihrer))',
  '(?:ich habe?|wir haben|habe? ich|haben wir) (?:(?:ihnen|euch|dafur|dazu|doch|auch) )*(?:keine|nie (?:eine|meine)) (?:einwilligung|zustimmung|erlaubnis) (?:(?:dafur|dazu|hierfur|fur|zu|zum|zur|diese[nmrs]?|solchen?|\\w*anruf\\w*|\\w*kontakt\\w*|telefon\\w*) )*(?:gegeben|erteilt)\\b',
  '(?:nie|niemals|nicht) (?:zugestimmt|eingewilligt|erlaubt)(?: ,)? dass (?:sie|ihr) (?:mich|uns|hier) (?:anruf|kontaktier)',
  '(?:widerrufe|widerrufen|ziehe)(?: \\w+){0,2} (?:einwilligung|zustimmung|einverstandnis)\\w*',
  'lass(?:en|t)?(?: sie)? (?:mich|uns)(?: (?:bitte|endlich|doch|einfach|jetzt|ein fur alle mal))* in (?:ruhe|frieden)\\b',
);

// French

const FR_TIME =
  '(?: s il vous plait| sil vous plait| svp)?(?: (?:si (?:tard|tot|souvent)|tard|tot|avant|apres|jusqu|pendant|quand|entre|maintenant|aujourdhui|demain|ce (?:matin|soir|week)|cet apres|cette (?:semaine|apres)|le (?:matin|soir|midi|week|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)|la (?:nuit|journee)|a (?:midi|cette heure|\\d+|neuf|huit|dix)|de (?:bonne|si)|en (?:journee|soiree)|trop|encore|dans (?:la|l|une|dix|\\d+)|tout de suite|souvent|longtemps|vite|lundi)\\b)';
const FR_ANY_TIME = `(?!${FR_TIME})`;
const FR_HERE =
  '(?:ici|chez (?:moi|nous)|(?:a|sur|au) (?:ce|mon|notre) (?:numero|telephone|portable|domicile)|ce (?:numero|telephone)|mon (?:numero|telephone|portable)|a la maison)';
const FR_END = `(?=$| ,| (?:merci|je|jai|jen|cest|ca|on|et|ni|ou|car|parce|nous|vous|pour|sil|s il|svp|ici|chez|non|par telephone|si|il|laissez|retirez|arretez)\\b)${FR_ANY_TIME}`;
const FR_CALL =
  '(?:r?appel(?:ez|le|les)|telephon(?:ez|e|es)|contactez|derangez|harcelez|importunez|sollicitez|embetez)';
const FR_TO_CALL =
  '(?:r?appeler|telephoner|contacter|deranger|harceler|importuner|solliciter|demarcher)';
const FR_ME = '(?:m ?|me |nous |l ?|n ?)';
const FR_AFTER_PAS = `(?: ${FR_HERE}${FR_ANY_TIME}|${FR_END})`;
const FR_PLUS = `(?:plus(?: jamais)?|jamais(?: plus)?)${FR_ANY_TIME}(?! (?:dupont|que))`;
const FR_LIST =
  '(?:listes?(?! dattente| d attente)|listings?|fichiers?|bases?|repertoires?|systemes?|registres?|contacts|annuaire)';
const FR_MINE =
  '(?:mon (?:numero|nom|contact|telephone)|ce numero|notre numero|mes (?:donnees|coordonnees))';
const FR_REMOVE =
  '(?:retir|enlev|supprim|ot|effac|ray|sort|radi|vir|desinscriv)(?:ez|e|er|ir|re|es|iez)';

const FR_IF = 'si vous (?:continuez|persistez|(?:m|me |nous )?r?appelez|(?:me |nous )?telephonez)';
const FR_BLOCK =
  '(?:vous bloqu\\w+(?=$| ,| (?:si|et|maintenant)\\b)|bloqu\\w+ (?:votre|ce) (?:numero|telephone)\\b(?! de))';
const FR_THREAT = `(?:(?:je porte|porter|porterai) plainte|(?:j ?appell?e(?:rai)?|vais appeler|contacte(?:r|rai)?) (?:la police(?! d ?assurance)|mon avocat)|${FR_BLOCK})`;

export const FRENCH_REQUESTS = patterns(
  // "Ne m'appelez plus", "n'appelez plus ce numéro", "ne m'appelez pas".
  `(?<!\\b(?:je|il|elle|on|qui|personne|pourquoi) )(?:ne |n ?)(?:m ?|me |nous |l ?)?${FR_CALL} (?:donc |surtout |s il vous plait |sil vous plait )?${FR_PLUS}`,
  `(?<!\\b(?:je|je ne|il|il ne|elle|elle ne|on|qui|tu|tu ne|pourquoi) )(?:m ?|me |nous )(?:r?appelez|telephonez|contactez) (?:surtout )?${FR_PLUS}`,
  `(?<!\\b(?:je|il|elle|on|qui|personne|pourquoi) )(?:ne |n ?)(?:m ?|me |nous |l ?)?${FR_CALL} (?:surtout |vraiment |absolument )?pas${FR_AFTER_PAS}`,
  // "Merci de ne plus m'appeler", "je ne veux plus être appelé".
  `ne (?:surtout )?${FR_PLUS} (?:jamais )?${FR_ME}?${FR_TO_CALL}\\b${FR_ANY_TIME}`,
  `(?:devez|faut|dois|doit) (?:surtout )?plus (?:jamais )?${FR_ME}?${FR_TO_CALL}\\b${FR_ANY_TIME}`,
  `ne plus (?:jamais )?(?:etre|me faire|se faire) (?:r?appel|(?:re)?contact|derang|demarch|sollicit|harcel|importun)\\w+${FR_ANY_TIME}`,
  `(?:ne|pouvez|prie|prier|demande|merci) (?:\\w+ ){0,3}?(?:pas|jamais) ${FR_ME}${FR_TO_CALL}\\b${FR_AFTER_PAS}`,
  `(?:veux|voulons|souhaite|souhaitons|desire|voudrais|veut) (?:plus|pas|jamais|plus jamais)(?: du tout)? (?:qu(?:e (?:vous|lon)| ?on) ${FR_ME}?(?:r?appel|contact|telephon|derang)\\w+${FR_AFTER_PAS}|(?:etre|me faire|nous faire) (?:r?appel|(?:re)?contact|derang|demarch|sollicit)\\w+${FR_ANY_TIME})`,
  `(?:veux|voulons|souhaite|souhaitons|desire|voudrais|accepte|prends) (?:plus|pas)(?: du tout)? (?:recevoir |avoir )?(?:dappels?|d appels?|daucun appel|de (?:vos |tels |ces )?appels|de coups de fil|(?:vos|ces|tous ces) appels)\\b${FR_ANY_TIME}`,
  `plus (?:jamais )?(?:dappels?|un seul appel|aucun appel)\\b${FR_ANY_TIME}`,
  // "Arrêtez de m'appeler", "cessez vos appels".
  `(?:arret|cess|stopp)(?:ez|e|er|iez)(?: ,)?(?: (?:s il vous plait|sil vous plait|svp|donc|maintenant|tout de suite) ?,?)?(?: (?:de|d))? ?(?:me |m|nous |d|n)?(?:r?appeler|harceler|deranger|telephoner|contacter|embeter)\\b(?:${FR_END}| (?:tout|tous|sans|a|au|comme|constamment|sur|${FR_HERE})\\b|${FR_TIME})`,
  '(?:arretez|cessez|stoppez|stop)(?: avec| a| tous| tout)* (?:vos|les|ces|tous ces|ce|le|votre|aux) (?:appels|coups de fil|harcelement|demarchage)\\b',
  // "Retirez-moi de votre liste", "supprimez mon numéro".
  `(?<!\\b(?:ne|pas) )${FR_REMOVE} (?:moi|nous|le|la)(?: \\w+){0,3}? (?:de|du|des) (?:\\w+ ){0,3}?${FR_LIST}\\b`,
  `(?<!\\bne )(?:me |nous |m ?|etre )(?:fasse |faire )?(?:retir|enlev|supprim|effac|ray|radi|sort|desinscri)\\w*(?: \\w+){0,2}? (?:de|du|des) (?:\\w+ ){0,3}?${FR_LIST}\\b`,
  `(?<!\\b(?:ne|pas) )(?:${FR_REMOVE}|oubliez|perdez|blacklistez|bloquez) ${FR_MINE}\\b(?! pas)`,
  '(?:desinscrivez|desabonnez) (?:moi|nous|ce numero)|\\b(?:me|m) ?(?:desinscrire|desabonner)\\b',
  'bloctel\\b|\\bliste noire\\b|\\bliste dopposition\\b|\\bliste d opposition\\b|\\bmoppose (?:a|au)\\b',
  '(?:laissez|fichez|foutez|laisse|fiche|fous) (?:moi|nous) (?:donc |enfin )?(?:tranquilles?|en paix|la paix)\\b',
  '(?:retire|revoque) (?:mon|le) (?:consentement|accord)\\b',
  // "Si vous rappelez, je porte plainte", "c'est du harcèlement", "j'en ai assez de vos appels".
  `${FR_IF}(?: (?!pour|au|concernant)\\w+){0,5}?(?: ,)?(?: \\w+){0,3}? ${FR_THREAT}|\\b${FR_THREAT}(?: \\w+){0,4}?(?: ,)? ${FR_IF}`,
  'c ?est (?:du |de la )?harcelement\\b(?! (?:scolaire|sexuel|moral|au travail|qu|dont))',
  `(?:interdis|defends)(?: (?!pas)\\w+)? de ${FR_ME}${FR_TO_CALL}\\b${FR_AFTER_PAS}`,
  `n? ?avez pas le droit de ${FR_ME}${FR_TO_CALL}\\b${FR_AFTER_PAS}`,
  `(?:je|nous|on) refus(?:e|ons) (?:detre|d etre) (?:appel|contact|derang|demarch|sollicit)\\w+\\b(?! par (?:e ?mail|mail|sms|courrier|courriel))${FR_ANY_TIME}`,
  '(?:marre|assez|ras le bol) (?:de tous|de) (?:vos|ces) (?:\\w+ )?appels\\b(?! (?:d ?offres?|qui)\\b)',
  `je vais ${FR_BLOCK}`,
);
