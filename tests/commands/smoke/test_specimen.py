from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ftkit.commands.smoke.specimen import CHARACTERS_KEPT, MADE_UP_ROWS, ROWS_READ, FirstRows, few_rows, write_made_up
from ftkit.data.dataset import Split, Splits
from ftkit.data.prompting import Prompting
from ftkit.tasks.causal_lm.data_section import CausalData
from ftkit.tasks.causal_lm.form import load_splits, made_up_row


def test_of_texts_the_first_rows_are_kept_and_long_ones_cut() -> None:
    texts = ["x" * (CHARACTERS_KEPT + 5), *(f"text {n}" for n in range(99))]
    split = Split("train", pa.table({"text": pa.array(texts, pa.string())}), "a")
    few = few_rows(Splits(split, split, None, (), (), (), Prompting("text")), train=8, evaluation=4)
    assert few.train.texts == [texts[0][:CHARACTERS_KEPT], *texts[1:8]]
    assert (len(few.validation), few.prompting) == (4, Prompting("text"))


def test_chats_stay_whole(tmp_path: Path) -> None:
    chat = json.dumps([{"role": "assistant", "content": "x" * 2 * CHARACTERS_KEPT}])
    split = Split("train", pa.table({"messages": pa.array([chat] * 9, pa.string())}), "a")
    few = few_rows(Splits(split, split, None, (), (), (), Prompting("chat")), train=2, evaluation=1)
    assert few.train.table["messages"].to_pylist() == [chat, chat]


def test_a_long_file_is_read_to_its_first_rows_only(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    rows = (json.dumps({"prompt": f"p{n}", "completion": "c"}) + "\n" for n in range(ROWS_READ + 50))
    file.write_text("".join(rows) + "broken", encoding="utf-8")
    spec = CausalData(train_file=str(file))
    first = FirstRows(spec)
    splits = load_splits(spec, seed=1, narrow=first)
    assert len(splits.train) + len(splits.validation) == ROWS_READ
    assert first.cut


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"text_column": "body"},
        {"prompt_column": "asked", "completion_column": "said"},
        {"messages_column": "talk", "chat_template": "plain"},
        {"template": "{title}: {body}\n<learn>{verdict}"},
        {"template": "{title}\n{body}", "test_split": "later"},
    ],
)
def test_rows_are_made_up_in_the_columns_that_a_recipe_names(tmp_path: Path, keys: dict[str, Any]) -> None:
    made = write_made_up(CausalData(dataset_name="somebody/something", **keys), tmp_path, made_up_row)
    splits = load_splits(made, seed=1)
    assert [len(split) for split in splits.all()] == [MADE_UP_ROWS] * (3 if "test_split" in keys else 2)
    assert splits.train.fingerprint != splits.validation.fingerprint
