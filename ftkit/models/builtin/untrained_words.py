"""What the tokenizer of the untrained models knows beside the tiny checkpoints' word list: words, pieces, capitals.

Written down and not learnt, since training a Unigram vocabulary gives other pieces from run to run. Words that are not
here are spelt from pieces of two to five letters, and anything else from letters and bytes.
"""

from __future__ import annotations

import string

from ftkit.models.builtin.tiny_vocabulary import ALPHABET, COMMON_WORDS, LETTER_PAIRS, SUFFIXES, listed

WORD_START = "▁"
"""Stands for the blank before a word."""


def word_pieces() -> list[tuple[str, float]]:
    """Pieces with log-probabilities: words fall with their rank, then parts of words, then single characters.

    Example:
        >>> dict(word_pieces())["▁the"] > dict(word_pieces())["▁Kellner"] > dict(word_pieces())["é"]
        True
    """
    small = listed(f"{COMMON_WORDS} {ENGLISH} {GERMAN} {CODE} {COMMANDS}")
    both = set(listed(CAPITALISED))
    words = [word for form in small for word in ((form, form.capitalize()) if form in both else (form,))]
    # multiples of 1/256 are exact in binary and short in JSON: the file reads the same on every machine
    scores = {WORD_START + word: -(4 + rank / 256) for rank, word in enumerate(dict.fromkeys(words))}
    starts = [WORD_START + start for start in [*string.ascii_letters, *string.digits, *listed(STARTS)]]
    scores = dict.fromkeys([*scores, *starts], -15.0) | scores
    # code joins words by other characters than blanks, so its words are pieces in the middle of a word as well
    inner = [*listed(f"{LETTER_PAIRS} {SUFFIXES} {PARTS}"), *(word for word in listed(CODE) if len(word) > 2)]
    scores |= dict.fromkeys(inner, -14.0)
    scores |= {WORD_START: -9.0} | {letter: -16.0 for letter in ALPHABET if letter not in scores}
    return list(scores.items())


ENGLISH = """
boys girls person children kid kids baby lady guy couple crowd friends dogs horse toddler worker workers player players
athlete musician band audience soldier police crane harbor ship boat truck older tall yellow orange brown pink gray grey
purple blond dark bright colorful striped dressed wearing wears holding holds standing stands sitting sits walking walks
running runs playing plays riding rides jumping jumps looking watching talking smiling smiles working climbing swimming
dancing singing sleeping eating drinking cooking reading pushing pulling throwing throws catching catch kicking hitting
carrying leaning lying laying performing posing taking getting doing trying showing pointing waiting shirt t-shirt pants
jeans shorts jacket coat hat cap dress skirt suit uniform shoes boots helmet glasses sunglasses hair beard gloves bag
backpack ball bike bicycle motorcycle bus guitar camera umbrella chair bench couch bed sofa trees grass field park beach
sand ocean lake river pool snow mountain hill rock rocks sky sidewalk road building store shop restaurant kitchen window
wall fence stairs bridge stage outside outdoors inside indoors near front behind beside above across along onto around
background foreground top bottom middle corner edge several various times soccer baseball basketball tennis hockey
skateboard skateboarder surfing surfer skiing skier wave race picture photo photograph sign paper drink cup glass bottle
plate cake meal lunch dinner coffee beer wine smoking fishing hiking event festival parade wedding concert dance
instrument drums microphone area range rating customer friendly eat located location venue serves serving serve provides
providing offers offering average moderate cheap expensive star stars rated priced reviews center centre riverside pub
cafe Italian French Chinese Japanese Indian English fast named adult welcome offer prices ranges dining cuisine quality
score eatType priceRange familyFriendly The A An In It Yes something someone somebody him have having being male female
elderly wooden metal plastic ground floor piece hands arms mouth clothing sweater vest stand sit walk ride covered past
towards away hall hotel bar ratings customers families situated moderately highly less non Located Near Its Four Five
Young command translate summarize describe german french spanish forwards backwards
"""

GERMAN = """
der die das den dem des ein eine einen einem einer eines und oder aber nicht kein keine mit ohne auf im am aus bei beim
vom zum zur zu von für über unter vor hinter neben zwischen durch um gegen nach während bis als wie wenn dass weil ob
ist sind waren wird werden wurde haben hatte kann können muss soll es er sie wir ihr ich du sich sein seine seinen
seinem seiner ihre ihren ihrem ihrer dieser diese dieses jeder jede andere anderen anderer zwei drei vier fünf sechs
sieben acht neun zehn viele mehrere einige beide alle etwas mehr sehr auch noch nur schon hier da dort dann hin oben
unten links rechts zusammen herum entlang Mann Männer Männern Frau Frauen Junge Jungen Mädchen Kind Kinder Kindern
Person Personen Leute Menschen Menge Gruppe Paar Baby Dame Herr Hund Hunde Katze Pferd Vogel Tier Arbeiter Spieler
Mannschaft Musiker Band Polizist Soldat Kellner jungen junge junger alte alter alten älterer kleine kleiner kleines
kleinen große großer großes großen weiße weißen weißer weißes schwarze schwarzen schwarzer schwarzes rote roten roter
rotes blaue blauen blauer blaues grüne grünen gelben gelbe braunen brauner braune grauen rosa orangefarbenen dunklen
bunten blonde blonden gekleidet trägt tragen hält halten steht stehen sitzt sitzen geht gehen läuft laufen rennt spielt
spielen spricht gibt führt fährt fahren springt springen sieht sehen schaut schauen blickt lächelt lächeln arbeitet
arbeiten macht machen klettert schwimmt tanzt tanzen singt schläft isst essen trinkt liest wirft fängt schlägt zieht
schiebt lehnt liegt posiert zeigt wartet beobachtet unterhalten versucht benutzt bereitet Hemd T-Shirt Hose Jacke Mantel
Hut Mütze Kleid Rock Anzug Uniform Schuhe Helm Brille Sonnenbrille Haaren Haare Bart Tasche Rucksack Ball Fahrrad
Motorrad Auto Bus Zug Gitarre Kamera Schirm Stuhl Bank Tisch Sofa Bett Baum Bäume Bäumen Gras Wiese Feld Park Strand
Sand Meer See Fluss Wasser Becken Schnee Berg Hügel Felsen Himmel Sonne Straße Gehweg Weg Stadt Gebäude Haus Laden Markt
Restaurant Küche Zimmer Raum Fenster Tür Wand Mauer Zaun Treppe Brücke Bühne Freien Nähe Hintergrund Vordergrund Seite
Mitte Ecke Hand Händen Arm Armen Kopf Gesicht Boden Luft Spiel Bild Foto Schild Essen Getränk Glas Flasche Kuchen Musik
Mikrofon Rennen Fußball Ein Eine Der Die Das Zwei Drei Vier Mehrere Einige Im Auf Kranfahrer Hafen Schiff
"""

CODE = """
self None True False int float bool bytes tuple set iterator iterable callable sequence mapping buffer stream socket
process thread event loop task future queue lock timeout signal handler request response header url host port address
protocol connection server client context manager parser parse format encode decode encoding codec character characters
unicode ascii byte codes code line lines string strings name names path directory filename file files read write open
close flush seek copy move rename create delete remove insert append pop push clear update get find search match replace
split join strip sort compare equal hash convert construct initialize initialise compute calculate evaluate execute call
invoke register handle wait notify send receive accept bind listen connect start stop cancel enter exit yield raise
catch test assert check whether given specified current previous next new old default optional keyword positional
argument arguments parameter parameters attribute attributes instance instances base subclass type types module modules
package packages import function functions method methods object objects element elements member members node nodes tree
root parent child key keys value values pair pairs item items list dict number numbers integer decimal fraction complex
digit digits date time datetime day month year hour second microsecond zone Return Returns Create Set Get Add Remove
Check Test Read Write Convert Parse Send Close Open Initialize Called Like Compute Determine Find Print Make This
Generate Same If an error exception warning message traceback frame stack args kwargs config mode level source version
document dictionary variable position widget image archive information environment internal single shared binary
containing according associated otherwise returned based Construct Delete Given Run Format Process Python URL
"""

COMMANDS = """
roll swing lower sound hook horn lift carry fetch crate barrel pipe forward finally AHEAD BACK LEFT RIGHT UP DOWN GRAB
DROP WAIT HORN CRATE BARREL BAG PIPE VOR ZURÜCK LINKS RECHTS HOCH RUNTER GREIFEN LÖSEN WARTEN HUPE KISTE FASS BEUTEL
ROHR AVANT ARRIÈRE GAUCHE DROITE HAUT BAS PRENDRE LÂCHER ATTENDRE KLAXON CAISSE TONNEAU SAC TUYAU ADELANTE ATRÁS
IZQUIERDA DERECHA ARRIBA ABAJO TOMAR SOLTAR ESPERAR BOCINA CAJA BARRIL BOLSA TUBO
"""

CAPITALISED = """
the a an in it is this that two three some several man men woman people there he she they we you one on at with for
and return set get create if what how
"""
"""Words that often start a sentence: both forms are pieces."""

STARTS = """
un re in de dis con com pre pro per ex en em im ab ad al ar as at be bi br bl ch cl cr da di do dr du ef el er ev fa
fe fi fl fo fr ge gl go gr ha he ho hu id il ja jo ka ke ki kl ko kr ku la le li lo lu ma me mi mo mu na ne ni no nu
ob of op or ou pa pe ph pi pl po pu qu ra ri ro ru sa sc se sh si sk sl sm sn so sp st str su sw ta te th ti to tr tu
um und up ur us va ve vi vo wa we wh wi wo ver vor auf aus ein an ab be ge ent über unter zer Be Ge Ver An Auf Aus Ein
Sch St Sp Kin Ma Mi Ba Bo Br Ka Ko Kr Ha He Ho Fa Fe Fr Gr Le Li La Pa Pr Re Ro Sa Se So Ta Te Tr Wa We Wi
"""

PARTS = """
n't 'm 're 've 'll ing ung ungen heit keit lich isch schaft chen lein tion tions ation ations ment ments ness able
ible ance ence ity ical ally ten ter tern ters den der ver sch schen st str spr cht chts icht acht echt ich ach och
uch ein eine einen einem einer eren erin innen iert ieren end ende enden ends und ind and ang ong ung ink ank ock ack
ick uck ell all ill oll ull ess ass iss oss uss est ast ist ost ust ent ant int ont unt ert art ort urt ern arn orn
urn ard ord ird erd eld ald old ild uld amm imm omm umm ann enn inn onn unn app epp ipp opp upp arr err irr orr urr
att ett itt ott utt aff eff iff off uff ight ough tch dge ph wh qu ew ow aw oy ay ey ee oo ea ai oa ie ei eu au äu ou
ue ui ia io ua üh üs ör öß äng äch ück ütz ähr ühr örd ürt tz ck ff gg ll mm nn pp rr ss tt zz bb dd ize ized izes
izing ise ised ator ators ject tract struct form port press spec sist sert vert cept ceive duct fer fy fied fies gram
graph log logy meter scope phone cess ross ound own ough ould ake ame ane ape are ate ave age ade ace ice ide ile ime
ine ipe ire ite ive oke ole ome one ope ore ose ote ove use ute ure ble ple tle dle gle kle fle cle ful less ward
wards wise like time side man men work line name type file list dict stream bahn haus platz raum wasser berg feld
stück zeug wagen mann frau kind hund spiel band
"""
