"""Adapters that are asked side by side answer as each does alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftkit
from ftkit.commands.generate import Question, ask, generate
from ftkit.decoding.knobs import Decoding
from ftkit.decoding.writer import generate as let_write
from ftkit.errors import UserError
from tests.fixtures.tiers import slow

Trained = Callable[..., Any]
PROMPTS = ["What of the ship?", "What of a rose?"]


@pytest.fixture
def adapters(lm_runs: Trained) -> dict[str, Path]:
    """Two adapters of different kinds on one base."""
    return {kind: lm_runs(method__type=kind, training__max_steps=2).run.path for kind in ("lora", "ia3")}


def test_each_adapter_writes_what_it_writes_alone_and_the_base_what_it_writes_without(
    adapters: dict[str, Path],
) -> None:
    rows = generate("builtin:tiny-llama", PROMPTS, adapters=adapters, max_new_tokens=6)
    assert [(row["prompt"], row["adapter"]) for row in rows] == [
        (prompt, name) for prompt in PROMPTS for name in ("base", "lora", "ia3")
    ]
    for name, run in adapters.items():
        alone = generate(run, PROMPTS, max_new_tokens=6)
        assert [row["generated"] for row in rows if row["adapter"] == name] == [row["generated"] for row in alone]
    base = ask(adapters["lora"], Question(PROMPTS), with_adapter=False)
    without = [one.text for one in let_write(*base, Decoding(max_new_tokens=6))]
    assert [row["generated"] for row in rows if row["adapter"] == "base"] == without


@pytest.mark.parametrize("kinds", [("lora", "lora"), slow(("lora", "ia3"))])
def test_each_classifier_says_what_it_says_alone(
    kinds: tuple[str, str], classifier_runs: Trained, classifier_recipe: Trained, tmp_path: Path
) -> None:
    first = classifier_runs(method__type=kinds[0], training__max_steps=2).run.path
    settings = {"method__type": kinds[1], "training__max_steps": 1, "training__learning_rate": 1e-2}
    second = classifier_recipe(tmp_path, "two", **settings, training__warmup_steps=0).run.path
    runs = {"one": first, "two": second}
    texts = ["the ship waits beside the pier", "a rose"]
    rows = list(ftkit.predict("builtin:tiny-bert", texts, adapters=runs))
    assert [row["text"] for row in rows] == texts
    for name, run in runs.items():
        for row, alone in zip(rows, ftkit.predict(run, texts), strict=True):
            assert row[f"label.{name}"] == alone["label"]
            assert row[f"scores.{name}"] == pytest.approx(alone["scores"], abs=1e-5)
    assert rows[0]["scores.one"] != pytest.approx(rows[0]["scores.two"], abs=1e-5)


def test_what_cannot_stand_side_by_side_is_refused(
    adapters: dict[str, Path], classifier_runs: Trained, tmp_path: Path
) -> None:
    lora = adapters["lora"]
    with pytest.raises(
        UserError, match=r"the adapter was trained on .*tiny-llama.*, and the base is builtin:tiny-gpt2"
    ):
        generate("builtin:tiny-gpt2", "a", adapters={"one": lora})
    with pytest.raises(UserError, match="two adapters are called"):
        generate(lora, "a", adapters={lora.name: adapters["ia3"]})
    with pytest.raises(UserError, match="the model without an adapter is called base"):
        generate("builtin:tiny-llama", "a", adapters={"base": lora})
    with pytest.raises(UserError, match="holds no adapter"):
        generate("builtin:tiny-llama", "a", adapters={"whole": "builtin:tiny-llama"})
    classifier = classifier_runs(method__type="lora", training__max_steps=2).run.path
    with pytest.raises(UserError, match="holds a classifier"):
        generate("builtin:tiny-bert", "a", adapters={"one": classifier})
    with pytest.raises(UserError, match="names no labels"):
        ftkit.predict("builtin:tiny-llama", "a", adapters={"one": lora})
