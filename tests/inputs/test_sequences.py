from __future__ import annotations

import json
import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.data.dataset import Split, Splits
from ftkit.data.mixture.joining import joined
from ftkit.data.prompting import Prompting
from ftkit.inputs import long_texts
from ftkit.inputs.documents import evaluation_sequences, training_sequences
from ftkit.inputs.encoding import special_tokens
from ftkit.inputs.long_texts import Cutter
from ftkit.inputs.mixed import of_each_source
from ftkit.inputs.sequences import Sequences, Tokenized

TEXTS = [
    "the weather is good\nand the sun shines  twice",
    "naïve café 🙂👩‍👩‍👧 — done \n",
    "a",
    " leading and trailing ",
    "日本語\tand\u00a0more",
    "x" * 90,
]
PAIRS = [
    ("Question: how far?\n", "Two miles."),
    ("Question: how far?\nAnswer:", " Two miles 🙂"),
    ("the end of the prompt is a space ", "yes"),
    ("a line break\n", "\nanother"),
    ("cafe", "\u0301 combining"),
    ("ends in fo", "ur letters"),
    ("spaces  ", "  both"),
]
TOKENIZERS = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3", "sentencepiece")
TEXT = Prompting("text")
COMPLETION = Prompting("completion", "{p}<learn>{c}")


def split_of(**columns: list[str]) -> Split:
    return Split("train", pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}), "a.csv")


def documents(texts: list[str]) -> Split:
    return split_of(text=texts)


def completions(pairs: list[tuple[str, str]]) -> Split:
    return split_of(prompt=[prompt for prompt, _ in pairs], completion=[completion for _, completion in pairs])


def chats(*all_messages: list[tuple[str, str]]) -> Split:
    rows = [[{"role": role, "content": content} for role, content in messages] for messages in all_messages]
    return split_of(messages=[json.dumps(row) for row in rows])


def each(sequences: Sequences, values: Any) -> list[Any]:
    return [values[start:stop] for start, stop in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)]


def whole(tokenizer: Any, text: str) -> list[int]:
    """What the tokenizer gives for a document, with one end token."""
    ids: list[int] = tokenizer(text)["input_ids"]
    return [*ids, tokenizer.eos_token_id]


def train(tokenizer: Any, split: Split, prompting: Prompting, *, max_length: int = 4096, packing: bool = False) -> Any:
    return training_sequences(tokenizer, split, prompting, max_length=max_length, packing=packing)


def learnt_ids(found: Tokenized) -> list[list[int]]:
    sequences = found.sequences
    parts = zip(each(sequences, sequences.ids), each(sequences, sequences.learnt), strict=True)
    return [ids[learnt].tolist() for ids, learnt in parts]


def test_documents_are_what_the_tokenizer_makes_of_them_and_one_end_token(tokenizer):
    found = train(tokenizer, documents(TEXTS), TEXT).sequences
    assert [ids.tolist() for ids in each(found, found.ids)] == [whole(tokenizer, text) for text in TEXTS]


def test_the_begin_token_is_never_doubled(tokenizer):
    bos = tokenizer.bos_token
    if bos is None or tokenizer("a")["input_ids"][0] != tokenizer.bos_token_id:
        assert train(tokenizer, documents(["abc"]), TEXT).sequences.ids[0] != tokenizer.bos_token_id
        return
    for split, prompting in (
        (documents([f"{bos}abc", "abc"]), TEXT),
        (completions([(f"{bos}abc", "d"), ("abc", "d")]), COMPLETION),
    ):
        found = train(tokenizer, split, prompting).sequences
        assert [int((ids == tokenizer.bos_token_id).sum()) for ids in each(found, found.ids)] == [1, 1]
        assert all(ids[0] == tokenizer.bos_token_id for ids in each(found, found.ids))


def test_a_tokenizer_that_ends_texts_itself_and_a_text_that_ends_already_get_no_second_end_token(tokenizer_of):
    from tokenizers import processors

    tokenizer = tokenizer_of("sentencepiece")
    before = tokenizer.backend_tokenizer.post_processor
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    try:
        assert tokenizer("the")["input_ids"][-1] == 2
        ended = train(tokenizer, documents(["the end", "the end</s>"]), TEXT).sequences
        answered = train(tokenizer, completions([("the", " end"), ("the", " end</s>")]), COMPLETION).sequences
    finally:
        tokenizer.backend_tokenizer.post_processor = before
    for found in (ended, answered):
        assert [int((ids == 2).sum()) for ids in each(found, found.ids)] == [1, 1]
        assert all(ids[-1] == 2 for ids in each(found, found.ids))


def test_the_end_token_is_learnt_though_it_is_the_pad_token_too(tokenizer):
    for split, prompting in ((documents(TEXTS), TEXT), (completions(PAIRS), COMPLETION)):
        for ids in learnt_ids(train(tokenizer, split, prompting)):
            assert ids[-1] == tokenizer.eos_token_id


def test_bytes_of_documents_add_up_to_theirs(tokenizer):
    expected = [len(text.encode()) for text in TEXTS]
    found = train(tokenizer, documents(TEXTS), TEXT).sequences
    assert [int(values.sum()) for values in each(found, found.num_bytes)] == expected
    assert not found.num_bytes[found.special].any()
    for max_length in (2, 7, 4096):
        scored = evaluation_sequences(tokenizer, documents(TEXTS), TEXT, max_length=max_length).sequences
        sums = np.bincount(scored.rows, weights=[values.sum() for values in each(scored, scored.num_bytes)])
        assert sums.tolist() == expected


def test_the_unknown_token_stands_for_text_though_it_is_the_pad_token(tokenizer_of):
    tokenizer = tokenizer_of("sentencepiece")
    assert tokenizer.pad_token_id == tokenizer.unk_token_id
    found = train(tokenizer, documents(["the <unk> end"]), TEXT).sequences
    assert tokenizer.unk_token_id in found.ids
    assert found.num_bytes.sum() == len("the <unk> end")


@settings(max_examples=60)
@given(
    st.sampled_from(TOKENIZERS),
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1),
)
def test_bytes_add_up_for_any_text(tokenizer_of, name, texts):
    tokenizer = tokenizer_of(name)
    found = train(tokenizer, documents(texts), TEXT).sequences
    sums = np.zeros(len(texts))
    np.add.at(sums, found.rows, [values.sum() for values in each(found, found.num_bytes)])
    assert sums.tolist() == [len(text.encode()) for text in texts]


def test_blocks_lose_nothing_and_begin_anew_where_a_document_is_cut(tokenizer):
    joined = [token for text in TEXTS for token in whole(tokenizer, text)]
    starts = np.cumsum([0, *(len(whole(tokenizer, text)) for text in TEXTS)])[:-1]
    for max_length in (4, 7, 64, 4096):
        found = train(tokenizer, documents(TEXTS), TEXT, max_length=max_length, packing=True).sequences
        assert found.ids.tolist() == joined
        assert set(np.flatnonzero(found.begins)) == {*starts, *found.offsets[:-1]}
        assert (found.learnt == ~found.begins).all()
        assert found.lengths.max() <= max_length
        assert found.num_learnt.min() > 0


def test_a_block_names_the_document_that_it_starts_in(tokenizer_of):
    tokenizer = tokenizer_of("gpt2")
    found = train(tokenizer, documents(["abcdef", "xyz", "qqqqqq"]), TEXT, max_length=4, packing=True).sequences
    firsts = np.repeat([0, 1, 2], [len(whole(tokenizer, text)) for text in ("abcdef", "xyz", "qqqqqq")])
    assert found.rows.tolist() == firsts[found.offsets[:-1]].tolist()


@pytest.mark.parametrize("length", [7, 8, 9, 10])
def test_no_block_and_no_piece_is_a_single_token_that_would_teach_nothing(tokenizer_of, length):
    tokenizer = tokenizer_of("gpt2")
    text = "1" * length
    assert len(whole(tokenizer, text)) == length + 1
    for packing in (True, False):
        found = train(tokenizer, documents([text]), TEXT, max_length=4, packing=packing).sequences
        assert found.ids.tolist() == whole(tokenizer, text)
        assert found.lengths.min() >= 2
        assert found.lengths.max() <= 4


def test_pieces_keep_documents_apart_and_cut_nothing_off(tokenizer):
    found = train(tokenizer, documents(TEXTS), TEXT, max_length=16)
    pieces = list(zip(each(found.sequences, found.sequences.ids), found.sequences.rows, strict=True))
    rows = [np.concatenate([ids for ids, row in pieces if row == number]) for number in range(len(TEXTS))]
    assert [row.tolist() for row in rows] == [whole(tokenizer, text) for text in TEXTS]
    assert (found.num_truncated, found.num_unlearnt, found.num_examples) == (0, 0, len(TEXTS))
    assert found.lengths.tolist() == [len(whole(tokenizer, text)) for text in TEXTS]


@pytest.mark.parametrize("max_length", [2, 3, 5, 16, 4096])
def test_scoring_takes_every_token_but_a_documents_first_exactly_once(tokenizer, max_length):
    found = evaluation_sequences(tokenizer, documents(TEXTS), TEXT, max_length=max_length).sequences
    for number, text in enumerate(TEXTS):
        own = found.take(np.flatnonzero(found.rows == number))
        ids = whole(tokenizer, text)
        assert [int(token) for token in own.ids[own.learnt]] == ids[1:]
        # each piece but the first begins with the last target of the one before
        firsts = [int(piece[0]) for piece in each(own, own.ids)]
        lasts = [int(piece[-1]) for piece in each(own, own.ids)]
        assert firsts == [ids[0], *lasts[:-1]]
    assert found.lengths.max() <= max_length


@pytest.mark.parametrize(("max_length", "stride"), [(2, 1), (5, 1), (16, 3), (16, 8), (4096, 7)])
def test_in_windows_every_token_is_scored_once_behind_as_much_context_as_the_stride_leaves(
    tokenizer, max_length, stride
):
    found = evaluation_sequences(tokenizer, documents(TEXTS), TEXT, max_length=max_length, stride=stride).sequences
    for number, text in enumerate(TEXTS):
        own = found.take(np.flatnonzero(found.rows == number))
        ids = whole(tokenizer, text)
        assert [int(token) for token in own.ids[own.learnt]] == ids[1:]
        starts = [stride * window for window in range(len(own))]
        assert [piece.tolist() for piece in each(own, own.ids)] == [ids[at : at + max_length] for at in starts]
        before = [int(np.flatnonzero(learnt)[0]) for learnt in each(own, own.learnt)]
        assert before == [1, *[max_length - stride] * (len(own) - 1)]
        assert own.num_bytes.sum() == len(text.encode())


def test_tokens_that_windows_repeat_count_once_beside_completions_that_are_cut(tokenizer_of):
    tokenizer, names = tokenizer_of("gpt2"), ("texts", "answers")
    parts = [(names[0], documents(TEXTS)), (names[1], completions(PAIRS))]
    split = joined("validation", parts, names)
    splits = Splits(split, split, None, (), (), (), TEXT, (TEXT, COMPLETION))

    def tokenized(part: Split, prompting: Prompting) -> Tokenized:
        return evaluation_sequences(tokenizer, part, prompting, max_length=8, stride=2)

    found = of_each_source(split, splits, tokenized)
    alone = tokenized(parts[1][1], COMPLETION)
    assert (alone.num_truncated > 0, alone.num_tokens) == (True, len(alone.sequences.ids))
    assert found.num_tokens == sum(len(whole(tokenizer, text)) for text in TEXTS) + alone.num_tokens


def test_what_is_learnt_of_a_completion_is_the_completion_and_the_end_token(tokenizer):
    found = train(tokenizer, completions(PAIRS), COMPLETION)
    for ids, (prompt, completion) in zip(learnt_ids(found), PAIRS, strict=True):
        assert ids[-1] == tokenizer.eos_token_id
        given = tokenizer(prompt)["input_ids"]
        read = tokenizer.decode(given + ids[:-1], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        wanted = tokenizer.decode(tokenizer(prompt + completion)["input_ids"], skip_special_tokens=True)
        # Qwen's tokenizer composes accents, which it cannot do across the end of a prompt
        assert unicodedata.normalize("NFC", read) == unicodedata.normalize("NFC", wanted)


@settings(max_examples=150)
@given(
    st.sampled_from(TOKENIZERS),
    st.lists(
        st.tuples(*[st.text(st.sampled_from("ab the\n .,'é́🙂<|>▁1"), min_size=1, max_size=12)] * 2),
        min_size=1,
        max_size=4,
    ),
)
def test_a_completion_follows_exactly_the_tokens_that_its_prompt_has_alone(tokenizer_of, name, pairs):
    tokenizer = tokenizer_of(name)
    found = train(tokenizer, completions(pairs), COMPLETION)
    sequences = found.sequences
    for ids, learnt, num_bytes, (prompt, completion) in zip(
        each(sequences, sequences.ids), each(sequences, sequences.learnt), each(sequences, sequences.num_bytes), pairs,
        strict=True,
    ):  # fmt: skip
        given = tokenizer(prompt)["input_ids"]
        assert ids[: len(given)].tolist() == given
        assert learnt.tolist() == [False] * len(given) + [True] * (len(ids) - len(given))
        assert num_bytes[: len(given)].sum() == len(prompt.encode())
        assert num_bytes[len(given) :].sum() == len(completion.encode())


def test_prompts_that_would_merge_with_their_completions_are_counted(tokenizer_of):
    tokenizer = tokenizer_of("gpt2")
    assert len(tokenizer(" the")["input_ids"]) == 1
    pairs = [("say ", "the"), ("say", " the"), ("say\n", "the")]
    assert train(tokenizer, completions(pairs), COMPLETION).num_merged_boundaries == 1


def test_a_token_of_the_last_byte_of_one_character_and_the_first_of_the_next_is_not_split_over_prompt_and_completion():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate(["<end>", *letters, "©Ã"])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[("©", "Ã")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")
    assert tokenizer.convert_ids_to_tokens(tokenizer("éè")["input_ids"]) == ["Ã", "©Ã", "¨"]
    found = train(tokenizer, completions([("é", "è")]), COMPLETION)
    assert tokenizer.convert_ids_to_tokens(found.sequences.ids.tolist()) == ["Ã", "©", "Ã", "¨", "<end>"]
    assert found.sequences.learnt.tolist() == [False, False, True, True, True]
    assert found.num_merged_boundaries == 1


def test_everything_but_the_first_token_is_learnt_when_the_loss_is_not_on_completions_only(tokenizer):
    found = train(tokenizer, completions(PAIRS), Prompting("completion", "{p}<learn>{c}", None, False)).sequences
    firsts = found.offsets[:-1]
    assert not found.learnt[firsts].any()
    assert found.learnt.sum() == len(found.ids) - len(PAIRS)


def test_what_is_cut_off_and_what_is_left_out_is_counted(tokenizer_of):
    tokenizer = tokenizer_of("gpt2")
    pairs = [("12", "34"), ("1234", "5678"), ("12345678", "90")]
    found = train(tokenizer, completions(pairs), COMPLETION, max_length=6)
    assert found.lengths.tolist() == [5, 9, 11]
    assert (found.num_examples, found.num_truncated, found.num_unlearnt) == (3, 2, 1)
    assert found.length_for_99_percent == 11
    assert found.sequences.rows.tolist() == [0, 1]
    assert [tokenizer.decode(ids) for ids in learnt_ids(found)] == ["34<|endoftext|>", "56"]


def test_when_every_completion_is_cut_off_no_sequence_is_left(tokenizer_of):
    found = train(tokenizer_of("gpt2"), completions([("abcdefgh", "ij")] * 3), COMPLETION, max_length=4)
    assert (len(found.sequences), found.num_unlearnt, len(found.sequences.ids)) == (0, 3, 0)
    assert found.sequences.num_learnt.tolist() == []


def test_a_long_document_has_the_same_tokens_in_pieces_as_whole(tokenizer, monkeypatch):
    monkeypatch.setattr(long_texts, "_WINDOW", 16)
    lines = [f"the line {index % 7} of a long text, " + "and so on " * (index % 5) + "🙂." for index in range(200)]
    text = "\n".join(lines) + "\n\n  the end"
    pieces = Cutter(tokenizer, special_tokens(tokenizer), characters=500).cut(text)
    assert "".join(pieces) == text
    assert len(pieces) > 5
    monkeypatch.setattr(Cutter.__init__, "__kwdefaults__", {"characters": 500})
    found = train(tokenizer, documents([text]), TEXT, max_length=10**6).sequences
    assert found.ids.tolist() == whole(tokenizer, text)
    assert found.num_bytes.sum() == len(text.encode())


def test_a_text_without_a_safe_place_stays_whole(tokenizer_of):
    tokenizer = tokenizer_of("gpt2")
    text = "x" * 5000
    assert Cutter(tokenizer, special_tokens(tokenizer), characters=500).cut(text) == [text]


def cut(tokenizer: Any, text: str) -> list[str]:
    return Cutter(tokenizer, special_tokens(tokenizer), characters=50).cut(text)


def test_no_text_is_cut_where_a_token_of_the_vocabulary_could_reach_across(monkeypatch):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    monkeypatch.setattr(long_texts, "_WINDOW", 16)
    vocab = {token: index for index, token in enumerate(["<end>", "\n", "a", "b", "c", "ab", "\na"])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[("a", "b"), ("\n", "a")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")
    # here `\na` is never made, yet only a vocabulary without it proves that
    assert cut(tokenizer, "abc\n" * 60) == ["abc\n" * 60]
    assert len(cut(tokenizer, "bca\n" * 60)) > 2


def test_no_text_is_cut_before_a_mark_that_swallows_the_space_in_front_of_it(tokenizer_of, monkeypatch):
    monkeypatch.setattr(long_texts, "_WINDOW", 16)
    tokenizer = tokenizer_of("roberta")
    assert tokenizer.decode(tokenizer("a\n<mask>")["input_ids"]) == "<s>a<mask></s>"
    pieces = cut(tokenizer, "word\n<mask>\n" * 30)
    assert len(pieces) > 2
    assert all(piece.startswith("word") for piece in pieces)


def test_taken_sequences_are_those_that_were_asked_for(tokenizer_of):
    tokenizer = tokenizer_of("gpt2")
    found = train(tokenizer, documents(TEXTS), TEXT).sequences
    some = found.take(np.array([3, 0]))
    assert [ids.tolist() for ids in each(some, some.ids)] == [whole(tokenizer, TEXTS[3]), whole(tokenizer, TEXTS[0])]
    assert some.rows.tolist() == [3, 0]
    assert some.num_learnt.tolist() == [found.num_learnt[3], found.num_learnt[0]]
