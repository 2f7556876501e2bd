from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ftkit.data.dataset import Split, Splits
from ftkit.data.prompting import Prompting
from ftkit.inputs.pairs import TokenizedPairs, tokenize_pairs
from ftkit.tasks.seq2seq.audit import PairLengths, audit, token_report


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import ByT5Tokenizer

    return ByT5Tokenizer()


def split_of(name: str, pairs: list[tuple[str, str]], lists: list[str] | None = None) -> Split:
    columns = {"prompt": [source for source, _ in pairs], "completion": [target for _, target in pairs]}
    columns |= {} if lists is None else {"references": lists}
    return Split(name, pa.table({key: pa.array(texts, pa.string()) for key, texts in columns.items()}), "a")


def splits_of(*splits: Split) -> Splits:
    test = splits[2] if len(splits) == 3 else None
    return Splits(splits[0], splits[1], test, (), (), (), Prompting("completion", "{a}<learn>{b}"))


def tokenized(tokenizer: Any, pairs: list[tuple[str, str]], **limits: int) -> TokenizedPairs:
    return tokenize_pairs(tokenizer, split_of("train", pairs), **limits)


def test_a_source_in_two_splits_is_a_leak_whatever_its_targets_are() -> None:
    train = split_of("train", [("one", "eins"), ("two", "zwei"), ("three", "drei"), ("three", "die Drei")])
    validation = split_of("validation", [("ONE", "eins"), ("two ", "2"), ("four", "vier")])
    found = audit(splits_of(train, validation))
    assert found.prompt_leaks == {"train/validation": 2}
    assert found.leaks == {"train/validation": 1}
    assert found.repeated_prompts == {"train": 1, "validation": 0}
    assert found.warnings == [
        "2 validation examples (66.7%) with a source that is also in train: scores will be too good."
    ]


def test_lists_of_references_hide_no_leak_and_are_searched_for_wrong_encodings() -> None:
    train = split_of("train", [("one", "eins"), ("two", "zwei")], ['["eins"]', '["zwei"]'])
    test = split_of("test", [("one", "eins"), ("six", "sechs")], ['["eins", "die Eins"]', '["sechs", "fÃ¼nf"]'])
    found = audit(splits_of(train, train, test))
    assert found.leaks["train/test"] == found.prompt_leaks["train/test"] == 1
    assert found.wrongly_decoded["test"] == 1
    assert found.characters["test"] == len("oneeinssixsechs")


def test_clean_pairs_have_no_warning() -> None:
    found = audit(splits_of(split_of("train", [("a", "b"), ("c", "d")]), split_of("validation", [("e", "b")])))
    assert found.warnings == []


def test_lengths_of_both_sides_are_counted_before_cutting(tokenizer: Any) -> None:
    # a byte is a token, and an end token stands behind
    pairs = [("x" * (n + 1), "y" * (2 * n + 1)) for n in range(100)]
    found = tokenized(tokenizer, pairs, max_length=91, max_target_length=102)
    report = token_report(found, "train", PairLengths(91, 102))
    sources, targets = np.arange(100) + 2, 2 * np.arange(100) + 2
    for side, lengths, limit in ((report.sources, sources, 91), (report.targets, targets, 102)):
        assert side.mean == pytest.approx(lengths.mean())
        assert (side.p50, side.p95, side.longest) == (lengths[49], lengths[94], lengths[99])
        assert (side.max_length, side.percent_truncated) == (limit, float((lengths > limit).sum()))
        assert side.length_for_99_percent == lengths[99]
    assert report.num_source_tokens == np.minimum(sources, 91).sum()
    assert report.num_examples == 100


def test_much_that_is_cut_is_told_with_the_lengths_that_would_hold_it_and_what_they_take(tokenizer: Any) -> None:
    pairs = [("x" * 50, "y" * 70)] * 6 + [("x" * 60, "y" * 70)] + [("x", "y")] * 93
    found = tokenized(tokenizer, pairs, max_length=20, max_target_length=30)
    # of n tokens a layer of width 8 takes n (48 + n) multiplications, up to a factor
    short, now, most, all_ = ((48 + n) * n for n in (2, 20, 51, 61))
    before = 7 * now + 93 * short
    work = [(6 * most + last + 93 * short) / before for last in (most, all_)]
    assert token_report(found, "train", PairLengths(20, 30, width=8)).warnings[0] == (
        "7 of 100 train sources (7.0%) are longer than 20 tokens and are cut, 227 tokens (41.0% of all) with them: "
        f"data.max_length: 51 (holds 95% of them, for {work[0]:.1f} times the work of the encoder) or "
        f"61 (holds all, for {work[1]:.1f} times the work of the encoder)."
    )
    limited = token_report(found, "train", PairLengths(20, 30, source_limit=55, target_limit=60)).warnings
    assert limited[0].endswith(
        "data.max_length: 51 (holds 95% of them); 61 tokens would hold all, and the model has positions for 55; "
        "LED, Pegasus-X, LongT5 read so many, each token by its neighbours."
    )
    assert limited[1].endswith(
        "models that count distances between tokens (T5, mT5, LongT5) write texts of any length."
    )
    some = tokenized(tokenizer, [*pairs, ("x" * 30, "y")], max_length=20, max_target_length=80)
    assert (
        "data.max_length: 40 (holds 93.1% of them); 51 tokens would hold 95% of them and 61 tokens would hold all"
        in (token_report(some, "train", PairLengths(20, 80, source_limit=40)).warnings[0])
    )
    whole = tokenized(tokenizer, pairs, max_length=61, max_target_length=71)
    assert token_report(whole, "train", PairLengths(61, 71)).warnings == []
