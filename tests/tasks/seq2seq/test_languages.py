"""Tokenizers that mark languages: those are named, mark every row, and what is written begins as the loss has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from ftkit.commands.generate import generate
from ftkit.data.dataset import Split
from ftkit.errors import UserError
from ftkit.inputs.pairs import tokenize_pairs
from ftkit.progress import Silent
from ftkit.training.outcome import TrainResult
from tests.fixtures.pair_forge import LANGUAGES, first_of_the_loss, mark_of, multilingual_tokenizer
from tests.fixtures.tiers import slow_but

Train = Callable[..., TrainResult]
FAMILIES = tuple(LANGUAGES)
ONCE = {"training__max_steps": 1, "training__eval_steps": 1, "evaluation__score_base": "false"}


def named(family: str) -> dict[str, str]:
    source, target = LANGUAGES[family]
    return {"data__source_language": source, "data__target_language": target}


@pytest.mark.parametrize("family", FAMILIES)
def test_languages_are_asked_for_and_the_codes_are_listed(
    family: str, train_pairs: Train, multilingual: Callable[[str], Path]
) -> None:
    model = {"model__name_or_path": multilingual(family)} | ONCE
    with pytest.raises(UserError, match="the recipe names none") as missing:
        train_pairs(**model)
    assert all(code in str(missing.value) for code in LANGUAGES[family])
    with pytest.raises(UserError, match=f"did you mean {LANGUAGES[family][1]}"):
        train_pairs(**model, **named(family) | {"data__target_language": f"{LANGUAGES[family][1]}x"})
    with pytest.raises(UserError, match="target_language is missing"):
        train_pairs(**model, data__source_language=LANGUAGES[family][0])


def test_a_language_for_a_tokenizer_without_any_is_refused(train_pairs: Train) -> None:
    with pytest.raises(UserError, match="marks no languages"):
        train_pairs(data__source_language="de", data__target_language="en", **ONCE)


@pytest.mark.parametrize("family", slow_but(["nllb"], FAMILIES))
def test_a_run_writes_in_its_language_with_transformers_alone_and_as_it_was_measured(
    family: str, train_pairs: Train, multilingual: Callable[[str], Path]
) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    reporter = Silent()
    run = train_pairs(model__name_or_path=multilingual(family), reporter=reporter, **named(family), **ONCE).run
    source, target = LANGUAGES[family]
    assert f"languages: sources are {source}, targets are {target}" in reporter.messages
    tokenizer = AutoTokenizer.from_pretrained(run.model_dir)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(run.model_dir)
    rows = [json.loads(line) for line in run.predictions_file("validation").read_text().splitlines()]
    mark = mark_of(tokenizer, target)
    for row in rows[:2]:
        inputs = tokenizer(row["source"], return_tensors="pt")
        assert mark_of(tokenizer, source) in inputs["input_ids"]
        labels = tokenizer(text_target="a", return_tensors="pt")["input_ids"]
        written = model.generate(**inputs)[0]
        assert mark in labels
        assert written[0] == first_of_the_loss(model, labels)
        assert mark in written[:2].tolist()
        assert tokenizer.decode(written, skip_special_tokens=True) == row["output"]
    assert [row["generated"] for row in generate(run.path, [row["source"] for row in rows], use_cpu=True)] == [
        row["output"] for row in rows
    ]


@pytest.mark.parametrize("limit", [2, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_target_keeps_what_ends_it_and_the_decoder_its_first_token(
    family: str, limit: int, multilingual: Callable[[str], Path]
) -> None:
    from transformers import AutoModelForSeq2SeqLM

    tokenizer = multilingual_tokenizer(family)
    tokenizer.src_lang, tokenizer.tgt_lang = LANGUAGES[family]
    split = Split("train", pa.table({"prompt": ["a"] * 2, "completion": ["to be cut here", "b"]}), "a.csv")
    pairs = tokenize_pairs(tokenizer, split, max_length=8, max_target_length=limit).pairs
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(multilingual(family))
    cut = pairs.target_ids[: pairs.target_offsets[1]].tolist()
    assert len(cut) == limit
    whole = tokenizer(text_target="to be cut here", return_tensors="pt")["input_ids"]
    assert first_of_the_loss(model, torch.tensor([cut])) == first_of_the_loss(model, whole)
    assert {tokenizer.eos_token_id, mark_of(tokenizer, LANGUAGES[family][1])} <= set(cut)


@pytest.mark.parametrize("family", slow_but(["mbart"], FAMILIES))
def test_rows_have_the_languages_that_their_columns_name(
    family: str, train_pairs: Train, multilingual: Callable[[str], Path], tmp_path: Path
) -> None:
    source, target = LANGUAGES[family]
    rows = [
        {"source": f"cat {number}", "target": f"{number} {to[:2]}", "from": source, "to": to}
        for number in range(6)
        for to in (target, source)
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = train_pairs(
        model__name_or_path=multilingual(family),
        data__train_file=data,
        data__validation_file=data,
        data__source_language=source,
        data__target_language_column="to",
        training__learning_rate=0.05,
        **ONCE,
    ).run
    written = [json.loads(line) for line in run.predictions_file("validation").read_text().splitlines()]
    # a source that is translated into two languages has two outputs, each with references of its own
    assert [row["references"] for row in written] == [[row["target"]] for row in rows]
    assert [row["generated"] for row in generate(run.path, file=data, use_cpu=True)] == [
        row["output"] for row in written
    ]
    with pytest.raises(UserError, match="the target language is not named"):
        generate(run.path, "cat 1", use_cpu=True)
    one = generate(run.path, "cat 1", target_language=source, use_cpu=True)[0]["generated"]
    assert one == next(row["output"] for row in written if row["references"] == [f"1 {source[:2]}"])
    with pytest.raises(UserError, match="did you mean"):
        generate(run.path, "cat 1", target_language=f"{source}x", use_cpu=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_row_is_tokenized_as_the_tokenizer_does_it_in_the_languages_of_the_row(family: str) -> None:
    tokenizer = multilingual_tokenizer(family)
    one, other = LANGUAGES[family]
    columns = {
        "prompt": ["cat", "dog", "cat"],
        "completion": ["a b", "c", "d"],
        "source_language": [one, other, one],
        "target_language": [other, one, one],
    }
    tokenizer.src_lang, tokenizer.tgt_lang = one, other
    pairs = tokenize_pairs(
        tokenizer, Split("train", pa.table(columns), "a.csv"), max_length=9, max_target_length=9
    ).pairs
    for row, (prompt, completion, source, target) in enumerate(zip(*columns.values(), strict=True)):
        tokenizer.src_lang, tokenizer.tgt_lang = source, target
        start, stop = pairs.source_offsets[row : row + 2]
        assert pairs.source_ids[start:stop].tolist() == tokenizer(prompt)["input_ids"]
        start, stop = pairs.target_offsets[row : row + 2]
        assert pairs.target_ids[start:stop].tolist() == tokenizer(text_target=completion)["input_ids"]
