from __future__ import annotations

import pytest

from ftkit.data.columns.labelled import choose_columns, guess_columns
from ftkit.errors import UserError

FILMS = [{"id": f"{i:04}", "text": f"film number {i}", "label": "ab"[i % 2]} for i in range(30)]


def renamed(**names: str) -> list[dict[str, str]]:
    return [{names.get(column, column): value for column, value in row.items()} for row in FILMS]


def test_usual_names_are_found_whatever_their_case() -> None:
    guess = guess_columns(renamed(text="Review", label="SENTIMENT"))
    assert (guess.text, guess.label) == ("Review", "SENTIMENT")
    assert all("by its name" in note for note in guess.notes)


def test_unusual_names_are_found_by_what_is_in_them() -> None:
    guess = guess_columns(renamed(text="v2", label="v1"))
    assert (guess.text, guess.label) == ("v2", "v1")
    assert all("by its contents" in note for note in guess.notes)


def test_integer_labels_are_found() -> None:
    rows = [{"a": f"some words {i}", "b": i % 3} for i in range(30)]
    assert guess_columns(rows).label == "b"


def test_a_column_named_by_the_caller_is_not_guessed_for_anything_else() -> None:
    rows = [{"text": f"a b {i}", "label": "xy"[i % 2], "category": "pq"[i % 2]} for i in range(30)]
    guess = guess_columns(rows, label_column="category")
    assert (guess.text, guess.label) == ("text", "category")


def test_two_columns_that_fit_equally_well_are_left_to_the_user() -> None:
    rows = [{"sentence": f"a b {i}", "question": f"c d {i}", "label": "xy"[i % 2]} for i in range(30)]
    guess = guess_columns(rows)
    assert guess.text is None
    assert guess.candidates["text"] == ("sentence", "question")
    with pytest.raises(UserError) as caught:
        choose_columns(rows, where="a.csv")
    assert "sentence, question" in caught.value.problem
    assert "data.text_pair_column" in (caught.value.fix or "")
    guess = choose_columns(rows, where="a.csv", text_pair_column="question")
    assert guess.text == "sentence"


def test_an_unclear_column_is_an_error_that_lists_the_columns() -> None:
    rows = [{"a": f"w{i}", "b": f"x{i}"} for i in range(30)]
    with pytest.raises(UserError, match=r"no column is clearly the text .*\(columns: a, b\)"):
        choose_columns(rows, where="a.csv")


def test_an_absent_column_is_an_error_that_lists_the_columns_and_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        choose_columns(FILMS, where="a.csv", text_column="txet")
    assert str(caught.value) == (
        "a.csv no such column: txet (data.text_column); columns here: id, text, label; did you mean text?"
    )


def test_nothing_is_found_in_nothing() -> None:
    guess = guess_columns([])
    assert (guess.text, guess.label) == (None, None)


@pytest.mark.parametrize("text", ["这部电影非常好看", "とても良い映画でした", "หนังเรื่องนี้ดีมาก"])
def test_texts_of_scripts_without_spaces_are_texts(text):
    rows = [{"a": f"{text}{row}", "b": "xy"[row % 2]} for row in range(20)]
    guess = guess_columns(rows)
    assert (guess.text, guess.label) == ("a", "b")
