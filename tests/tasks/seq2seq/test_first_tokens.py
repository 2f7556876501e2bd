"""A decoder begins what it writes with the token that its loss put first, or the base is refused before training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftkit.commands.generate import generate
from ftkit.decoding.outputs import settings_of_the_model
from ftkit.errors import UserError
from ftkit.models.builtin.builtin import resolve
from ftkit.training.outcome import TrainResult
from tests.fixtures.pair_forge import TWO_BERTS, first_of_the_loss, make_pegasus, make_two_berts
from tests.fixtures.tiers import slow_but

Train = Callable[..., TrainResult]
FAMILIES = ("t5", "bart", "pegasus", "berts")
ONCE = {"training__max_steps": 1, "training__eval_steps": 1, "evaluation__score_base": "false"}


def checkpoint_of(family: str, folder: Path) -> Path:
    if family == "pegasus":
        return make_pegasus(folder)
    return make_two_berts(folder, **TWO_BERTS) if family == "berts" else Path(resolve(f"builtin:tiny-{family}"))


def without_first_token(family: str, folder: Path) -> Path:
    """A tiny checkpoint in which nothing says what its decoder begins with."""
    shutil.copytree(resolve(f"builtin:tiny-{family}"), folder)
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((folder / name).read_text())
        # a class of transformers may have a token of its own for what is absent
        (folder / name).write_text(json.dumps(settings | {"decoder_start_token_id": None}))
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_begins_as_the_loss_does(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    folder = checkpoint_of(family, tmp_path / family)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    # what a checkpoint's settings of generation say otherwise was never trained
    model.generation_config.decoder_start_token_id = 9
    labels = tokenizer(text_target="a b", return_tensors="pt")["input_ids"]
    assert settings_of_the_model(model, tokenizer)["decoder_start_token_id"] == first_of_the_loss(model, labels) != 9


def test_t5_begins_with_padding_where_nothing_says_it_also_when_it_is_loaded_by_others(
    train_pairs: Train, tmp_path: Path
) -> None:
    from transformers import AutoModelForSeq2SeqLM

    run = train_pairs(model__name_or_path=without_first_token("t5", tmp_path / "t5"), **ONCE).run
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(run.model_dir)
    assert model.config.decoder_start_token_id == model.generation_config.decoder_start_token_id == 0


@pytest.mark.parametrize("family", ["bart", "berts"])
def test_others_are_refused_with_the_entry_that_is_missing(family: str, train_pairs: Train, tmp_path: Path) -> None:
    folder = tmp_path / family
    if family == "bart":
        without_first_token(family, folder)
    else:
        make_two_berts(folder)
    with pytest.raises(UserError, match="no decoder_start_token_id"):
        train_pairs(model__name_or_path=folder, **ONCE)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning"])
def test_a_prompt_before_two_models_in_one_is_refused_before_training(
    method: str, train_pairs: Train, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="needs one model that reads and writes"):
        train_pairs(
            model__name_or_path=make_two_berts(tmp_path / "berts", **TWO_BERTS),
            method__type=method,
            data__max_length=24,
            **ONCE,
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("family", "method"), slow_but([("berts", "lora")], [("berts", "lora"), ("pegasus", "full")]))
def test_a_run_of_them_answers_as_it_was_measured(family: str, method: str, train_pairs: Train, tmp_path: Path) -> None:
    folder = checkpoint_of(family, tmp_path / family)
    length = {"data__max_length": 32, "data__max_target_length": 32}
    run = train_pairs(model__name_or_path=folder, method__type=method, **length, **ONCE).run
    rows = [json.loads(line) for line in run.predictions_file("validation").read_text().splitlines()]
    found = generate(run.path, [row["source"] for row in rows], use_cpu=True)
    assert [row["generated"] for row in found] == [row["output"] for row in rows]
