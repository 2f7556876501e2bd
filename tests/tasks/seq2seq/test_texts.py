from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ftkit.data.dataset import Split, Splits
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.reading.locating import locate
from ftkit.models.seq2seq import load_tokenizer_for_seq2seq
from ftkit.recipe.schema import ModelSpec
from ftkit.tasks.seq2seq.texts import text_warnings


def warnings(base: str, *rows: tuple[str, str], prefix: str | None = None, taught: str = "") -> list[str]:
    checkpoint: Checkpoint = locate(ModelSpec(name_or_path=base))
    if taught:
        tasks: dict[str, Any] = {"task_specific_params": {"summarization": {"prefix": taught}}}
        checkpoint = replace(checkpoint)
        checkpoint.config.update(tasks)
    split = Split.of_rows("train", [{"prompt": prompt, "completion": completion} for prompt, completion in rows])
    splits = Splits(split, replace(split, name="validation"), None, (), (), ())
    return text_warnings(splits, load_tokenizer_for_seq2seq(checkpoint), checkpoint, prefix=prefix)


def test_white_space_that_t5_drops_is_counted_and_bart_keeps_it() -> None:
    rows = [("one", "first\nsecond\tthird"), ("two  spaces", "a\nb"), ("three", "plain")]
    sources, targets = warnings("builtin:tiny-t5", *rows)
    assert sources.startswith("of 3 training sources")
    assert sources.endswith("single spaces: runs of spaces (1)")
    assert targets.endswith("line breaks (2), tabs (1); they cannot be written")
    assert warnings("builtin:tiny-bart", *rows) == []


@pytest.mark.parametrize(("prompt", "said"), [("sum: sum: a", 1), ("sum: a", 0)])
def test_a_prefix_that_stands_there_already_is_told(prompt: str, said: int) -> None:
    found = warnings("builtin:tiny-t5", *[(prompt, "b")] * 3, prefix="sum: ")
    assert len(found) == said
    assert all("begin twice" in text for text in found)


def test_what_a_template_writes_before_sources_that_have_it_already_is_told() -> None:
    rows = [(f"{task}: {task}: a {number}", "b") for number, task in enumerate(("sum", "ask"))]
    (said,) = warnings("builtin:tiny-t5", *rows)
    assert said == "most sources of train, validation begin twice with what stands before a source, such as 'sum:'"


def test_sources_of_another_set_that_lack_what_those_of_train_begin_with_are_told() -> None:
    whole = [Split.of_rows(name, [{"prompt": f"{start}a {n}", "completion": "b"} for n in range(9)])
             for name, start in (("train", "sum: "), ("validation", "sum: "), ("test", ""))]  # fmt: skip
    checkpoint = locate(ModelSpec(name_or_path="builtin:tiny-t5"))
    tokenizer = load_tokenizer_for_seq2seq(checkpoint)
    found = text_warnings(Splits(*whole, (), (), ()), tokenizer, checkpoint, prefix=None)
    assert found == ["the sources of test do not begin with 'sum:', as those of train do"]


def test_a_base_that_was_taught_by_prefixes_asks_for_one() -> None:
    assert "'sum: '" in warnings("builtin:tiny-t5", ("a", "b"), taught="sum: ")[0]
    assert warnings("builtin:tiny-t5", ("sum: a", "b"), taught="sum: ") == []
