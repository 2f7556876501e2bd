from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.columns.references import read_references, references_json
from ftkit.data.dataset import Split
from ftkit.data.unusable import Unusable
from ftkit.tasks.seq2seq.outputs import group_by_prompt

TEXT = st.sampled_from(["a", "b", "A", " a", "c\n", "é"])


def split_of(prompts: list[str], completions: list[str], lists: list[list[str]] | None = None) -> Split:
    columns = {"prompt": pa.array(prompts, pa.string()), "completion": pa.array(completions, pa.string())}
    if lists is not None:
        columns["references"] = pa.array(map(references_json, lists), pa.string())
    return Split("test", pa.table(columns), "a.csv")


@given(st.lists(st.tuples(TEXT, TEXT), max_size=30))
def test_every_target_is_a_reference_of_its_prompt_once_and_of_no_other(rows):
    first, groups = group_by_prompt(split_of([prompt for prompt, _ in rows], [text for _, text in rows]))
    prompts = [rows[row][0] for row in first]
    assert len(prompts) == len(set(prompts)) == len(groups)
    assert first.tolist() == sorted(first.tolist())
    pairs = [(prompt, text) for prompt, texts in zip(prompts, groups, strict=True) for text in texts]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == set(rows)


def test_lists_of_references_are_joined_in_their_order_and_targets_do_not_count():
    split = split_of(["p", "q", "p"], ["x", "y", "z"], [["1", "2"], ["1"], ["2", "é\n3"]])
    first, groups = group_by_prompt(split)
    assert first.tolist() == [0, 1]
    assert groups == [["1", "2", "é\n3"], ["1"]]


def test_rows_are_counted_through_the_batches_of_a_table():
    parts = [split_of(["a", "b"], ["1", "2"]).table, split_of(["a", "c"], ["3", "4"]).table]
    first, groups = group_by_prompt(Split("test", pa.concat_tables(parts), "a.csv"))
    assert first.tolist() == [0, 1, 3]
    assert groups == [["1", "3"], ["2"], ["4"]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        ("one text", ["one text"]),
        ('["a", "b"]', ["a", "b"]),
        ("[1, 2]", ["[1, 2]"]),
        ("[not JSON", ["[not JSON"]),
    ],
)
def test_a_list_a_text_and_the_json_text_of_a_list_are_references(value, expected):
    assert read_references(value, "refs", target="t") == expected


def test_where_targets_are_lists_as_text_a_reference_is_one_too():
    assert read_references('["a", "b"]', "refs", target='["a"]') == ['["a", "b"]']


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "refs is an empty list"),
        ("[]", "refs is an empty list"),
        (["a", 1], "text 2 of refs is the number 1 instead of a string"),
        (["a", None], "text 2 of refs is null"),
        (["a", " \n"], "text 2 of refs is empty"),
        ("", "refs is empty"),
        (5, "refs is the number 5 instead of a list"),
        ({"a": "b"}, "refs is an object instead of a list"),
        (["a\0b"], "NUL"),
        (json.loads('["\\ud83d"]'), "half a surrogate pair"),
    ],
)
def test_what_is_no_list_of_texts_is_told(value, said):
    with pytest.raises(Unusable, match=said):
        read_references(value, "refs", target="t")
