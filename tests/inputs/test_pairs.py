from __future__ import annotations

from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.dataset import Split
from ftkit.errors import UserError
from ftkit.inputs import encoding, sides
from ftkit.inputs.batching import IGNORED, pair_batch, pair_budget_batches
from ftkit.inputs.long_texts import Cutter
from ftkit.inputs.pairs import TokenizedPairs, tokenize_pairs

SOURCES = [
    "the weather is good and the sun shines",
    "a",
    "naïve café 🙂 — done",
    " blanks  around ",
    "one\ntwo\n\nthree",
    "x" * 60,
]
TARGETS = ["das Wetter ist gut", "b", "日本語 🙂 and more of it, for a longer target", " c ", "eins\nzwei", "</s> y"]
KINDS = ("t5", "bart", "byt5", "mbart")


@cache
def tokenizer_named(kind: str) -> Any:
    """One with an end token, one with a begin token too, one without a fast form, one whose targets end otherwise."""
    from transformers import AutoTokenizer, ByT5Tokenizer, MBartTokenizer

    from ftkit.models.builtin.builtin import resolve

    if kind == "byt5":
        return ByT5Tokenizer()
    if kind == "mbart":
        pieces = ["▁", *"abcdefghinorstuw", "▁the", "▁a", "er", "in"]
        vocab = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
        vocab += [(piece, -float(len(pieces) - len(piece))) for piece in pieces]
        return MBartTokenizer(vocab=vocab, src_lang="de_DE", tgt_lang="en_XX")
    return AutoTokenizer.from_pretrained(resolve(f"builtin:tiny-{kind}"))


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return tokenizer_named(request.param)


def split_of(sources: list[str], targets: list[str]) -> Split:
    columns = {"prompt": pa.array(sources, pa.string()), "completion": pa.array(targets, pa.string())}
    return Split("train", pa.table(columns), "a.csv")


def tokenize(tokenizer: Any, *, max_length: int = 512, max_target_length: int = 512) -> TokenizedPairs:
    split = split_of(SOURCES, TARGETS)
    return tokenize_pairs(tokenizer, split, max_length=max_length, max_target_length=max_target_length)


def each(ids: Any, offsets: Any) -> list[list[int]]:
    return [ids[start:stop].tolist() for start, stop in pairwise(offsets)]


def sources_of(found: TokenizedPairs) -> list[list[int]]:
    return each(found.pairs.source_ids, found.pairs.source_offsets)


def targets_of(found: TokenizedPairs) -> list[list[int]]:
    return each(found.pairs.target_ids, found.pairs.target_offsets)


def test_both_sides_are_what_the_tokenizer_makes_of_them(tokenizer):
    found = tokenize(tokenizer)
    assert sources_of(found) == tokenizer(SOURCES)["input_ids"]
    assert targets_of(found) == tokenizer(text_target=TARGETS)["input_ids"]
    assert found.source_lengths.tolist() == found.pairs.source_lengths.tolist()
    assert (found.sources_cut, found.targets_cut) == (0, 0)
    assert found.pairs.rows.tolist() == list(range(len(SOURCES)))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("max_length", [4, 5, 7, 12])
def test_a_source_is_cut_as_the_tokenizer_itself_cuts_it(tokenizer, max_length, side, monkeypatch):
    monkeypatch.setattr(tokenizer, "truncation_side", side)
    found = tokenize(tokenizer, max_length=max_length)
    own = [tokenizer(text, truncation=True, max_length=max_length)["input_ids"] for text in SOURCES]
    assert sources_of(found) == own
    whole = [len(ids) for ids in tokenizer(SOURCES)["input_ids"]]
    assert found.source_lengths.tolist() == whole
    assert found.sources_cut == sum(length > max_length for length in whole)


@pytest.mark.parametrize("limit", [2, 3, 5, 9])
def test_a_cut_target_is_the_beginning_of_the_whole_one_without_what_ends_it(tokenizer, limit):
    """That of mBART keeps what ends it, for its decoder begins with it."""
    found = tokenize(tokenizer, max_target_length=limit)
    whole = tokenizer(text_target=TARGETS)["input_ids"]
    keeps = 2 if tokenizer is tokenizer_named("mbart") else 0
    for ids, own, num_bytes, text in zip(targets_of(found), whole, found.pairs.text_bytes, TARGETS, strict=True):
        if len(own) <= limit:
            assert ids == own
            assert num_bytes == len(text.encode())
        else:
            ends = own[len(own) - keeps :] if keeps else []
            assert ids == own[: min(limit, len(own) - (not keeps)) - keeps] + ends
            assert num_bytes == 0
    assert found.targets_cut == sum(len(own) > limit for own in whole) > 0
    assert found.target_lengths.tolist() == [len(own) for own in whole]


def test_the_end_token_of_a_target_is_special_and_words_and_unknown_ones_are_not(tokenizer):
    found = tokenize_pairs(tokenizer, split_of(["a"], ["a ٱ"]), max_length=8, max_target_length=16).pairs
    ids, special = found.target_ids.tolist(), found.target_special.tolist()
    added = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
    assert special == [token in added for token in ids]
    assert special[ids.index(tokenizer.eos_token_id)]
    assert False in special


def test_tokens_do_not_depend_on_how_many_texts_are_tokenized_together(tokenizer, monkeypatch):
    whole = tokenize(tokenizer, max_length=9, max_target_length=6)
    monkeypatch.setattr(encoding, "_BATCH_TEXTS", 2)
    parted = tokenize(tokenizer, max_length=9, max_target_length=6)
    assert sources_of(parted) == sources_of(whole)
    assert targets_of(parted) == targets_of(whole)
    assert parted.pairs.text_bytes.tolist() == whole.pairs.text_bytes.tolist()


@pytest.mark.parametrize("kind", ["t5", "bart", "mbart"])
def test_a_long_text_has_the_same_tokens_in_pieces(kind, monkeypatch):
    tokenizer = tokenizer_named(kind)
    text = "the sun is out\nand a bird sings in the garden, says  a\n\nman " * 40
    whole = tokenize_pairs(tokenizer, split_of([text, "a"], ["b", text]), max_length=9999, max_target_length=9999)
    monkeypatch.setattr(sides, "LONG_TEXT", 600)
    monkeypatch.setattr(sides, "Cutter", partial(Cutter, characters=300))
    calls: list[int] = []
    encode_parts = sides.encode_parts
    monkeypatch.setattr(sides, "encode_parts", lambda *args: calls.append(len(args[1])) or encode_parts(*args))
    parted = tokenize_pairs(tokenizer, split_of([text, "a"], ["b", text]), max_length=9999, max_target_length=9999)
    assert max(calls) > 3
    assert sources_of(parted) == sources_of(whole)
    assert targets_of(parted) == targets_of(whole)


def test_the_beginning_of_a_long_word_is_kept_as_it_is(monkeypatch):
    tokenizer = tokenizer_named("t5")
    monkeypatch.setattr(sides, "LONG_TEXT", 600)
    monkeypatch.setattr(sides, "LONGEST_PIECE", 500)
    text = "abcdefg" * 200
    found = tokenize_pairs(tokenizer, split_of([text], ["b"]), max_length=100, max_target_length=9)
    assert sources_of(found) == [tokenizer(text, truncation=True, max_length=100)["input_ids"]]
    assert found.sources_cut == 1


def test_a_tokenizer_that_ends_no_target_is_refused(tokenizer_of):
    with pytest.raises(UserError, match="could not learn to stop"):
        tokenize_pairs(tokenizer_of("gpt2"), split_of(["a"], ["b"]), max_length=8, max_target_length=8)


def test_pairs_can_be_taken_in_any_order_and_more_than_once():
    found = tokenize(tokenizer_named("bart"), max_target_length=5)
    rows = np.array([4, 0, 4])
    taken = found.pairs.take(rows)
    assert each(taken.source_ids, taken.source_offsets) == [sources_of(found)[row] for row in rows]
    assert each(taken.target_ids, taken.target_offsets) == [targets_of(found)[row] for row in rows]
    special = each(found.pairs.target_special, found.pairs.target_offsets)
    assert each(taken.target_special, taken.target_offsets) == [special[row] for row in rows]
    assert taken.text_bytes.tolist() == found.pairs.text_bytes[rows].tolist()
    assert taken.rows.tolist() == rows.tolist()


def test_a_batch_holds_each_pair_as_it_is_alone_and_nothing_else(tokenizer):
    pairs = tokenize(tokenizer, max_length=8).pairs
    rows = np.array([1, 3, 0])
    batch = pair_batch(pairs, rows, pad_id=7)
    assert {values.dtype for values in batch.values()} == {np.dtype(np.int64)}
    for index, row in enumerate(rows):
        alone = pair_batch(pairs, np.array([row]), pad_id=7)
        width = alone["input_ids"].shape[1]
        assert batch["input_ids"][index, :width].tolist() == alone["input_ids"][0].tolist()
        assert set(batch["input_ids"][index, width:].tolist()) <= {7}
        assert batch["attention_mask"][index].tolist() == [1] * width + [0] * (batch["input_ids"].shape[1] - width)
        target = alone["labels"][0].tolist()
        assert IGNORED not in target
        assert batch["labels"][index].tolist() == target + [IGNORED] * (batch["labels"].shape[1] - len(target))


def test_labels_are_masked_by_position_and_never_by_the_pad_id():
    tokenizer = tokenizer_named("t5")
    pairs = tokenize_pairs(tokenizer, split_of(["a", "b"], ["<pad> a", "b"]), max_length=8, max_target_length=8).pairs
    batch = pair_batch(pairs, np.array([0, 1]), pad_id=tokenizer.pad_token_id)
    assert tokenizer.pad_token_id in batch["labels"][0].tolist()


LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=60)


@given(LENGTHS, st.integers(1, 200))
def test_batches_of_pairs_stay_within_the_budget_and_hold_each_row_once(lengths, max_tokens):
    sources, targets = (np.array([pair[side] for pair in lengths], dtype=np.int64) for side in (0, 1))
    batches = list(pair_budget_batches(sources, targets, max_tokens=max_tokens))
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * (sources[batch].max() + targets[batch].max())
        assert len(batch) == 1 or padded <= max_tokens


@pytest.mark.parametrize("likeness", [0.0, 0.8])
def test_batches_of_pairs_pad_less_than_those_of_pairs_sorted_by_one_side(likeness):
    draw = np.random.default_rng(1)
    common, own = draw.gamma(4.0, 8.0, size=3_000), draw.gamma(4.0, 8.0, size=(2, 3_000))
    sources, targets = (likeness * common + (1 - likeness) * own + 2).astype(np.int64)

    def padded(rows: Any) -> int:
        return int(len(rows) * (sources[rows].max() + targets[rows].max()))

    ours = list(pair_budget_batches(sources, targets, max_tokens=4096))
    one_side = np.array_split(np.lexsort((-sources, -targets)), len(ours))
    assert sum(map(padded, ours)) < 0.95 * sum(map(padded, one_side))
    assert targets[ours[0]].mean() > targets.mean() > targets[ours[-1]].mean()
