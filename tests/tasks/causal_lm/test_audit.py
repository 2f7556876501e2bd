from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pytest

from ftkit.data.dataset import Split, Splits
from ftkit.data.prompting import Prompting
from ftkit.inputs.documents import training_sequences
from ftkit.models.builtin.builtin import resolve
from ftkit.tasks.causal_lm.audit import audit, token_report

COMPLETION = Prompting("completion", "{q}<learn>{a}")


def table(**columns: list[str]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def splits(prompting: Prompting, train: pa.Table, validation: pa.Table, test: pa.Table | None = None) -> Splits:
    made = [Split(name, part, "a") for name, part in zip(("train", "validation"), (train, validation), strict=True)]
    return Splits(*made, None if test is None else Split("test", test, "a"), (), (), (), prompting)


def pairs(*rows: tuple[str, str]) -> pa.Table:
    return table(prompt=[prompt for prompt, _ in rows], completion=[completion for _, completion in rows])


CLEAN = [(f"question {n}", f"answer {n}") for n in range(20)]


def test_clean_data_has_counts_and_no_warning() -> None:
    found = audit(splits(COMPLETION, pairs(*CLEAN), pairs(("other", "x"), ("more", "y"))))
    assert (found.kind, found.rows) == ("completion", {"train": 20, "validation": 2})
    assert found.characters["validation"] == len("otherxmorey")
    assert found.warnings == []


def test_whole_rows_and_prompts_that_occur_again_are_told_apart() -> None:
    train = [*CLEAN, ("Question  1", "ANSWER 1"), ("question 2", "another answer")]
    found = audit(
        splits(COMPLETION, pairs(*train), pairs(("question 3", "answer 3"), ("question 4", "so"), ("new", "one")))
    )
    assert found.duplicates == {"train": 1, "validation": 0}
    assert found.repeated_prompts == {"train": 1, "validation": 0}
    assert found.leaks == {"train/validation": 1}
    assert found.prompt_leaks == {"train/validation": 2}
    assert found.warnings == [
        "1 validation example (33.3%) also in train: scores will be too good.",
        "1 validation example (33.3%) with a prompt that is also in train, answered otherwise: scores may be too good.",
        "1 train example (4.5%) equal to an earlier one.",
    ]


def test_one_prompt_for_all_rows_is_no_leak() -> None:
    train = [("Write a story:\n", f"story {n}") for n in range(9)]
    found = audit(splits(COMPLETION, pairs(*train), pairs(("Write a story:\n", "new"))))
    assert found.prompt_leaks == {"train/validation": 1}
    assert found.warnings == []


def test_texts_have_no_prompts_and_their_faults_are_counted() -> None:
    train = table(text=["one", "two", " \n", "cafÃ©", "TWO"])
    found = audit(splits(Prompting("text"), train, table(text=["three"]), table(text=["one"])))
    assert (found.prompt_leaks, found.repeated_prompts) == ({}, {})
    assert found.empty_texts == {"train": 1, "validation": 0, "test": 0}
    assert found.wrongly_decoded == {"train": 1, "validation": 0, "test": 0}
    assert found.leaks == {"train/validation": 0, "train/test": 1, "validation/test": 0}
    assert len(found.warnings) == 4


def test_a_fault_in_a_prompt_or_in_a_chat_is_seen() -> None:
    chat = [{"role": "user", "content": "itâ€™s"}, {"role": "assistant", "content": "yes"}]
    chats = table(messages=[json.dumps(chat, ensure_ascii=False)])
    other = table(messages=[json.dumps([{**chat[0], "content": "x"}, chat[1]])])
    assert audit(splits(Prompting("chat"), chats, other)).wrongly_decoded == {"train": 1, "validation": 0}
    found = audit(splits(COMPLETION, pairs(("a \ufffd", "b"), ("c", "d")), pairs(("e", "f"))))
    assert found.wrongly_decoded["train"] == 1


def test_an_audit_is_json() -> None:
    found = audit(splits(COMPLETION, pairs(*CLEAN), pairs(CLEAN[0])))
    assert json.loads(json.dumps(asdict(found))) == asdict(found)


@pytest.fixture
def gpt2() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(resolve("builtin:tiny-gpt2"))


def report(tokenizer: Any, rows: list[tuple[str, str]], *, max_length: int) -> Any:
    made = training_sequences(
        tokenizer, Split("train", pairs(*rows), "a"), COMPLETION, max_length=max_length, packing=False
    )
    return token_report(made)


def test_a_report_counts_tokens_by_arithmetic(gpt2: Any) -> None:
    found = report(gpt2, [("1" * 4, "2" * 5), ("1" * 2, "2" * 7)], max_length=64)
    assert (found.lengths.mean, found.lengths.p50, found.lengths.longest, found.lengths.max_length) == (
        10.0,
        10,
        10,
        64,
    )
    assert (found.num_examples, found.num_sequences, found.num_tokens, found.num_learnt) == (2, 2, 20, 14)
    assert (found.percent_learnt, found.lengths.percent_truncated, found.warnings) == (70.0, 0.0, [])
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_what_is_cut_and_what_is_left_out_comes_with_the_number_to_set(gpt2: Any) -> None:
    found = report(gpt2, [("1" * 9, "2" * 4), ("1" * 20, "2"), ("1", "2")], max_length=10)
    assert (found.num_unlearnt, found.lengths.length_for_99_percent) == (1, 22)
    assert found.warnings == [
        "1 example (33.3%) left out: what is to be learnt lies beyond 10 tokens.",
        "66.7% of the examples are cut at 10 tokens: data.max_length: 22 would cut less than 1%.",
    ]


def test_prompts_that_end_within_a_token_and_completions_that_are_next_to_nothing_are_warned_of(gpt2: Any) -> None:
    merged = report(gpt2, [("say ", "the"), ("tell ", "the")], max_length=64)
    assert merged.num_merged_boundaries == 2
    assert "behind <learn>" in merged.warnings[0]
    few = report(gpt2, [("1" * 200, "2")], max_length=512)
    assert few.warnings == ["Only 1.0% of the tokens are learnt; the others are prompts."]


def test_documents_are_cut_into_pieces_and_lose_nothing(gpt2: Any) -> None:
    split = Split("train", table(text=["1" * 99, "2" * 9]), "a")
    made = training_sequences(gpt2, split, Prompting("text"), max_length=10, packing=True)
    found = token_report(made)
    assert (found.num_examples, found.num_tokens, found.num_sequences) == (2, 110, 11)
    assert (found.lengths.longest, found.lengths.percent_truncated, found.warnings) == (100, 0.0, [])
