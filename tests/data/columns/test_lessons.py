from __future__ import annotations

import pytest

from ftkit.data.columns.lessons import preference_columns, refuse_unobeyed, verdict_column
from ftkit.data.columns.names import note_unread
from ftkit.errors import UserError

KEYS = ("data.prompt_column", "data.completion_column")


def refusal(row: dict[str, object], *read: str, completions: bool = True) -> UserError:
    with pytest.raises(UserError) as caught:
        refuse_unobeyed([row], read, where="a.jsonl", completions=completions, named=False, keys=KEYS)
    return caught.value


@pytest.mark.parametrize(
    ("row", "fix"),
    [
        ({"question": "q", "chosen": "a", "rejected": "b"}, "data.prompt_column: question and data.completion_column"),
        ({"prompt": "q", "Chosen": "a", "Rejected": "b", "score_chosen": 1.0}, "data.completion_column: Chosen"),
        ({"chosen": "a", "rejected": "b"}, "data.text_column: chosen"),
        ({"chosen": [{"role": "user", "content": "q"}], "rejected": []}, "data.messages_column: chosen"),
        ({"prompt": "q", "response_a": "a", "response_b": "b", "winner": "a"}, "a column of its own"),
    ],
)
def test_preferences_are_refused_with_what_can_be_learnt_of_them(row, fix):
    error = refusal(row, *(name for name in row if name in ("question", "prompt")), completions=False)
    assert "one is preferred" in error.problem
    assert fix in str(error.fix)


def test_one_of_two_answers_may_be_learnt_by_name_and_not_one_from_the_other():
    row = {"question": "q", "chosen": "a", "rejected": "b"}
    refuse_unobeyed([row], ["question", "chosen"], where="a", completions=True, named=True, keys=KEYS)
    refuse_unobeyed([row], ["chosen"], where="a", completions=False, named=True, keys=KEYS)
    assert "one is preferred" in refusal(row, "chosen", "rejected").problem
    assert preference_columns([{"chosen": "a", "text": "b"}]) is None


def test_what_stands_before_a_prompt_is_refused_unless_a_person_chose_the_columns():
    row = {"instruction": "i", "output": "o", "system": "s", "history": []}
    assert "column system" in refusal(row, "instruction", "output").problem
    assert "column history" in refusal(row | {"system": "", "history": [["a", "b"]]}, "instruction", "output").problem
    refuse_unobeyed([row], ["instruction", "output"], where="a", completions=True, named=True, keys=KEYS)
    refuse_unobeyed([row | {"system": ""}], [], where="a", completions=True, named=False, keys=KEYS)


def test_a_verdict_is_a_column_of_true_and_false_that_nothing_reads():
    rows = [{"prompt": "p", "completion": "c", "label": value} for value in (True, False, True)]
    assert verdict_column(rows, ["prompt", "completion"]) == "label"
    assert verdict_column(rows, ["prompt", "label"]) is None
    assert verdict_column([{"label": "False"}], []) == "label"
    assert verdict_column([{"label": "good"}, {"label": 1}], []) is None


@pytest.mark.parametrize(
    ("columns", "read", "unread"),
    [
        (["id", "text", "label"], ["text", "label"], "id"),
        (["id", "t", "t.de", "t.en", "t.fr"], ["t.de", "t.en"], "id, t.fr"),
        (["t", "t.de", "m", "m.a", "m.b"], ["t"], "m"),
    ],
)
def test_columns_of_which_nothing_is_made_are_listed_once(columns, read, unread):
    notes: list[str] = []
    note_unread(columns, read, notes)
    assert notes == [f"columns that are not read: {unread}"]
    note_unread(read, read, notes)
    assert len(notes) == 1
