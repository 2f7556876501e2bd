"""Columns of texts that become other texts: found where names or contents tell, left open where they do not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.data.columns.pairs import describe_unclear, guess_pair_columns


def named(source, target, /, **others):
    return [{"id": n, source: f"a long text {n}", target: f"short {n}", **others} for n in range(9)]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("source", "target"),
        ("src", "tgt"),
        ("article", "highlights"),
        ("Document", "Summary"),
        ("dialogue", "summary"),
        ("question", "answer"),
        ("inputs", "targets"),
        ("input_text", "target_text"),
        ("instruction", "output"),
        ("prompt", "completion"),
        ("signature", "docstring"),
    ],
)
def test_usual_names_tell_in_whatever_order_the_columns_stand(source, target):
    rows = named(source, target)
    for ordered in (rows, [dict(reversed(row.items())) for row in rows]):
        found = guess_pair_columns(ordered)
        assert (found.source, found.target, found.candidates) == (source, target, ())
        assert found.notes == (f"source column `{source}` and target column `{target}`, found by their names",)


def test_a_source_column_that_says_where_a_text_is_from_is_not_the_source():
    found = guess_pair_columns(named("text", "summary", source="the harbour news"))
    assert (found.source, found.target) == ("text", "summary")


def test_what_a_question_is_about_is_said_to_be_left_unused_unless_it_is_always_empty():
    assert "`context` is left unused" in guess_pair_columns(named("question", "answer", context="a pier")).notes[1]
    assert len(guess_pair_columns(named("instruction", "output", input="")).notes) == 1


def test_keys_of_objects_are_columns_too():
    rows = [{"data": {"source": "a long text", "target": "short", "score": 0.5}}] * 9
    found = guess_pair_columns(rows)
    assert (found.source, found.target) == ("data.source", "data.target")


@pytest.mark.parametrize(
    ("row", "candidates"),
    [
        ({"id": 4, "de": "Guten Tag", "en": "Good day"}, ("de", "en")),
        ({"id": "4", "en": "Good day", "de": "Guten Tag", "score": "0.5"}, ("en", "de")),
        ({"translation": {"en": "Good day", "fr": "Bonjour"}}, ("translation.en", "translation.fr")),
        ({"sentence_en": "Good day", "sentence_fr": "Bonjour"}, ("sentence_en", "sentence_fr")),
        ({"English": "Good day", "Czech": "Dobrý den"}, ("English", "Czech")),
        ({"en_GB": "Good day", "pt-br": "Bom dia"}, ("en_GB", "pt-br")),
        ({"id": "Selamat siang", "en": "Good day"}, ("id", "en")),
    ],
)
def test_two_languages_do_not_tell_which_is_translated_into_which(row, candidates):
    found = guess_pair_columns([row] * 9)
    assert (found.source, found.target, found.candidates) == (None, None, candidates)
    assert describe_unclear(list(row), found) == (
        f"{candidates[0]} and {candidates[1]} do not tell which is translated into which"
    )


def test_columns_that_say_which_language_is_the_source_settle_it():
    row = {"de": "Guten Tag", "en": "Good day", "source_lang": "en", "target_lang": "de"}
    found = guess_pair_columns([row] * 9)
    assert (found.source, found.target) == ("en", "de")
    mixed = guess_pair_columns([row, row | {"source_lang": "de", "target_lang": "en"}])
    assert (mixed.source, mixed.candidates) == (None, ("de", "en"))


def test_the_only_two_texts_are_a_pair_in_their_order():
    found = guess_pair_columns([{"id": n, "plain": f"words {n}", "fancy": f"finer words {n}"} for n in range(9)])
    assert (found.source, found.target) == ("plain", "fancy")
    assert found.notes[0].endswith("the only two texts, in their order")


def test_names_without_spaces_give_way_to_texts():
    rows = [{"key": f"row-{n}", "plain": f"words {n}", "fancy": f"finer words {n}"} for n in range(9)]
    assert guess_pair_columns(rows).source == "plain"


def test_a_label_is_no_text_to_be_written():
    found = guess_pair_columns([{"review": f"a film like number {n}", "label": "good"} for n in range(9)])
    assert (found.source, found.target) == (None, None)
    assert describe_unclear(["review", "label"], found) == (
        "no two columns are clearly source and target (columns: review, label)"
    )


def test_three_texts_stay_open():
    found = guess_pair_columns([{"a": f"one {n}", "b": f"two {n}", "c": f"three {n}"} for n in range(9)])
    assert (found.source, found.candidates) == (None, ("a", "b", "c"))
    assert describe_unclear(["a", "b", "c"], found) == "more than two columns could be source and target: a, b, c"


def test_lists_of_texts_are_references_beside_a_pair_and_nothing_without_one():
    rows = named("source", "target", refs=["short", "brief"])
    found = guess_pair_columns(rows)
    assert (found.source, found.target, found.references) == ("source", "target", "refs")
    assert found.notes[-1] == "references column `refs`, found by its name"
    assert guess_pair_columns(named("source", "target", refs="short")).references is None
    assert guess_pair_columns([{"refs": ["short", "brief"]}]).references is None


def test_a_few_broken_rows_do_not_hide_a_column():
    rows = [*named("source", "target"), {"source": None}, {"target": ["x"]}]
    assert guess_pair_columns(rows).target == "target"


def test_braces_in_a_name_would_break_a_template():
    found = guess_pair_columns([{"{source}": "a long text", "target": "short", "text": {"{a}": "x", "b.c": "y"}}])
    assert (found.source, found.target) == (None, None)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(["source", "target", "de", "en", "refs", "translation", "source_lang", "label", "", "id"])


@settings(max_examples=40)
@given(st.lists(st.dictionaries(NAMES | st.text(max_size=3), VALUES, max_size=5), max_size=4))
def test_whatever_the_rows_hold_nothing_is_raised_and_pairs_are_whole(rows):
    found = guess_pair_columns(rows)
    assert (found.source is None) == (found.target is None)
    assert found.source is None or found.source != found.target
    assert found.source is not None or found.references is None
    assert describe_unclear(["a"], found)
