"""Added tokens that stand in the targets' own text are text on both sides; all other special tokens are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftkit.commands.generate import generate
from ftkit.inputs.written import as_written, decode_written, note_written, written_tokens
from ftkit.models.builtin.builtin import resolve
from ftkit.training.outcome import TrainResult

TAGS = ["<triplet>", "<subj>", "<obj>"]
TARGET = "<triplet> cat <subj> dog <obj> chases"


def with_tags(family: str, folder: Path, *, special: bool = True) -> Path:
    """A tiny checkpoint whose vocabulary has the tags."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    source = resolve(f"builtin:tiny-{family}")
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModelForSeq2SeqLM.from_pretrained(source)
    tokenizer.add_tokens(TAGS, special_tokens=special)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_target_comes_back_with_its_own_tokens_and_no_others(family: str, special: bool, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(resolve(f"builtin:tiny-{family}"))
    tokenizer.add_tokens([*TAGS, "<other>"], special_tokens=special)
    ids = tokenizer(text_target=TARGET)["input_ids"]
    note_written(tokenizer, np.array(ids, dtype=np.int32))
    tokenizer.save_pretrained(tmp_path)
    for each in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        assert sorted(written_tokens(each)) == sorted(TAGS)
        more = [each.pad_token_id, *ids, each.pad_token_id]
        assert decode_written(each, more) == as_written(each, TARGET)
        assert decode_written(each, more).split() == TARGET.split()
        if special:
            assert "<other>" not in decode_written(each, [*ids, *each.convert_tokens_to_ids(["<other>"])])


def test_targets_without_such_tokens_are_read_as_ever(tokenizer_of: Callable[[str], Any]) -> None:
    tokenizer = tokenizer_of("t5")
    ids = tokenizer(text_target="a cat.")["input_ids"]
    note_written(tokenizer, np.array(ids, dtype=np.int32))
    assert written_tokens(tokenizer) == ()
    assert as_written(tokenizer, " a  <x> b") == " a  <x> b"
    assert decode_written(tokenizer, ids) == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["t5", "bart"])
def test_what_was_learnt_to_the_letter_is_an_exact_match(
    family: str, train_pairs: Callable[..., TrainResult], tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"source": f"say {number}", "target": TARGET}) + "\n" for number in range(8)))
    result = train_pairs(
        model__name_or_path=with_tags(family, tmp_path / "model"),
        data__train_file=data,
        data__validation_file=data,
        training__max_steps=80,
        training__eval_steps=80,
        training__learning_rate=0.02,
        generation__max_new_tokens=20,
        evaluation__score_base="false",
        evaluation__metrics="[token_accuracy, exact_match]",
    )
    assert result.metrics["validation"]["token_accuracy"]["value"] == 1.0
    assert result.metrics["validation"]["exact_match"]["value"] == 1.0
    said = generate(result.run.path, "say 3", use_cpu=True)[0]["generated"]
    assert said.split() == TARGET.split()
    card = (result.run.model_dir / "README.md").read_text()
    assert "set(tokenizer.convert_tokens_to_ids(" in card
