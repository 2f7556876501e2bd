"""What the tiny tokenizers know: a word list, an alphabet, and the pieces and merges made of them.

Training a WordPiece or Unigram vocabulary is not deterministic (the result varies from run to run), so those two are
written down from the word list and the alphabet. Byte pair merges are learnt from the word list, which is
deterministic: the trainer breaks ties by token id.
"""

from __future__ import annotations

import json
import string
from typing import NamedTuple

NUM_MERGES = 480


class Merges(NamedTuple):
    """What byte pair encoding has learnt: `vocab` token -> id, `merges` in order of priority."""

    vocab: dict[str, int]
    merges: list[tuple[str, str]]


def listed(text: str) -> list[str]:
    """The words of a text without repetitions, in the order of their first appearance."""
    return list(dict.fromkeys(text.split()))


def wordpiece_vocab() -> dict[str, int]:
    """Token -> id for a lower-casing WordPiece: specials, words, characters, and their `##` continuations."""
    # Lower-casing also strips accents, so of the letters only the plain ones can ever arrive.
    alphabet = [*string.ascii_lowercase, *string.digits, *string.punctuation, *"ßæœø", *TYPOGRAPHY]
    pairs = listed(LETTER_PAIRS)
    continuations = [f"##{piece}" for piece in [*alphabet, *pairs, *listed(SUFFIXES)]]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *listed(COMMON_WORDS), *alphabet, *pairs, *continuations]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def unigram_pieces(*, lower_case: bool) -> list[tuple[str, float]]:
    """Pieces with log-probabilities that fall with the rank, as Zipf has it; characters come last, as a fallback."""
    alphabet = ALPHABET.replace(string.ascii_uppercase, "") if lower_case else ALPHABET
    # Multiples of 1/128 are exact in binary and short in JSON: the file reads the same on every machine.
    scores = {f"▁{word}": -(4 + rank / 128) for rank, word in enumerate(listed(COMMON_WORDS))}
    scores |= dict.fromkeys([*listed(LETTER_PAIRS), *listed(SUFFIXES)], -10.0)
    scores |= {"▁": -8.0} | {letter: -12.0 for letter in alphabet if letter not in scores}
    return list(scores.items())


def training_words() -> list[str]:
    """The word list with frequent words repeated, so that the first merges make them whole."""
    return [word for rank, word in enumerate(listed(COMMON_WORDS)) for _ in range(1 + 120 // (rank + 1))]


def learn_byte_merges(specials: list[str]) -> Merges:
    """Byte-level BPE over the word list: `specials`, then the 256 bytes, then what the merges made."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=len(specials) + len(alphabet) + NUM_MERGES,
        special_tokens=specials,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator([f" {word}" for word in training_words()], trainer)
    return read_merges(tokenizer.to_str())


def learn_character_merges(specials: list[str]) -> Merges:
    """SentencePiece-style BPE with byte fallback: `specials`, the 256 `<0xNN>`, characters, then the merges."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_MERGES + len(ALPHABET) + 1, initial_alphabet=["▁", *ALPHABET], show_progress=False
    )
    tokenizer.train_from_iterator(training_words(), trainer)
    learnt = read_merges(tokenizer.to_str())
    tokens = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *learnt.vocab]
    return Merges({token: i for i, token in enumerate(tokens)}, learnt.merges)


def read_merges(tokenizer_json: str) -> Merges:
    """Take vocabulary (ordered by id) and merges out of a serialised BPE tokenizer."""
    model = json.loads(tokenizer_json)["model"]
    vocab = dict(sorted(model["vocab"].items(), key=lambda entry: entry[1]))
    return Merges(vocab, [(left, right) for left, right in model["merges"]])


# Most frequent first: rank stands in for frequency where a vocabulary needs one.
COMMON_WORDS = """
the of and to a in is it that for was on are with as he be at by this had not or from but they which you we his her
she an were there been one all their has would what if can when so no will out up more who them about some into than
its do only other time new could two then first now any like my may over such our man me even most made after also
did many off before must well back through years where much your way down should because each just those how too
good great best better nice love loved loves like liked enjoy enjoyed happy fun funny beautiful brilliant excellent
fine perfect amazing wonderful warm smart fresh strong powerful moving charming entertaining interesting worth
bad worse worst poor awful terrible boring dull hate hated sad angry fear afraid weak slow cold silly stupid wrong
fails failed waste mess empty flat never nothing hard difficult problem broken error lost late
film movie story plot character acting director scene comedy drama music book show game play series performance
people world life day night year week month home house family child woman city country state government company
money bank card account payment transfer cash price cost pay charge order refund fee balance number code name
question answer what why who where when which how kind type mean meaning word words language english letter
work works job school student team place part point case fact thing things group system program water food car
hand head eye face body mind heart room door street side end line power health war law party president market
say said says see saw seen go goes going went come came get got give given take took make makes making know known
think thought find found tell told ask asked feel felt look looks want wanted need needs use used using try keep let
help seem seems start started call called turn move run read write wrote written play believe bring happen hold leave
become set put show shown change follow stop create speak open close win lose send receive build stay fall cut reach
big small large little long short high low old young early important different same own right left next last few real
free full sure clear able public possible whole certain white black red blue green hot simple true false main common
again always often still yet already here very really quite almost maybe perhaps rather together without within
between under against during while since until upon both either every another however though although instead
three four five six seven eight nine ten hundred thousand million half once twice second third
function method class module object value return returns argument arguments string list dict file path key index item
items type types default option options raise raises exception given whether test tests data text input output
message messages format table row column size length count add remove check load save model user server client
today tomorrow yesterday morning minute hour please thank thanks hello yes okay twitter phone online internet news
report science research study history art sport sports football weather sun rain train tree animal dog cat bird
mother father friend girl boy men women king human nature earth space light air fire sea land north south east west
"""

SUFFIXES = "s es ed d ing er est ly ion tion al ment ness y able ful less ous ive ity ist ic en ation ers ings 's"

LETTER_PAIRS = (
    "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro ic "
    "ne ea ra ce li ch ll be ma si om ur ca el ta la ns di fo ho pe ec pr no ct us ac ot il tr ly nc et ut ss so rs un"
)

LATIN_LETTERS = "àáâãäåæçèéêëìíîïñòóôõöøùúûüßœÀÁÂÄÅÆÇÈÉÊËÍÎÑÓÔÖØÚÜ"
TYPOGRAPHY = "–—‘’“”…€£¥§©®°·¿¡«»•"
ALPHABET = string.ascii_letters + string.digits + string.punctuation + LATIN_LETTERS + TYPOGRAPHY
