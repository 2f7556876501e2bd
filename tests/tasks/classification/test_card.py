"""What a run's model card tells a stranger to type works as it stands."""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

import ftkit
from ftkit.commands.export import export
from ftkit.training.outcome import TrainResult
from tests.fixtures.tiers import slow

LONG = "the pan waits beside some soup" + " and so on" * 40
SHORT = {"training__max_steps": 2, "data__max_length": 16}
METHODS = {
    "pooled": {"method__pooling": "mean"},
    "first token": {"method__pooling": "first_token"},
    "own head": {"method__pooling": "cls"},
    "full": {"method__type": "full"},
    "lora": {"method__type": "lora"},
    "ia3": {"method__type": "ia3"},
}


def lines_of(folder: Path) -> str:
    """The Python of a model's card."""
    block = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return block.group(1)


def said_by(lines: str) -> str:
    """What they print."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(lines, "card", "exec"), {})
    return said.getvalue()


@pytest.fixture(scope="session")
def pairs(rows: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two texts of a row each."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    with rows[0].open(newline="") as read, path.open("w", newline="") as write:
        rewritten = csv.writer(write)
        rewritten.writerow(["text", "second", "label"])
        for number, row in enumerate(csv.DictReader(read)):
            rewritten.writerow([row["text"], f"it was {number}", row["label"]])
    return path


@pytest.mark.parametrize("form", ["texts", "pairs"])
@pytest.mark.parametrize(
    ("method", "family"),
    [
        *(("pooled", "bert"), ("own head", "bert"), ("lora", "gpt2"), ("full", "bert")),
        *(slow(*one) for one in [("pooled", "gpt2"), ("lora", "bert"), ("full", "gpt2")]),
        slow("first token", "llama"),
        *(slow(method, "llama") for method in ("pooled", "lora", "full", "ia3")),
        *(slow(method, "modernbert") for method in METHODS),
        slow("ia3", "gpt2"),
    ],
)
def test_the_lines_of_the_card_answer_a_batch_of_short_and_long_texts_as_ftkit_does(
    method: str,
    family: str,
    form: str,
    pairs: Path,
    classifier_runs: Callable[..., TrainResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = {"data__train_file": pairs, "data__text_column": "text", "data__text_pair_column": "second"}
    data |= {"data__validation_file": "null", "data__label_column": "label"}
    settings = METHODS[method] | SHORT | (data if form == "pairs" else {})
    run = classifier_runs(model__name_or_path=f"builtin:tiny-{family}", **settings).run
    lines = lines_of(run.model_dir)
    texts, seconds = ["the rose", LONG, "salt water was found with the pier"], ["a", "it was", LONG]
    asked: list[Any] = list(texts)
    if form == "pairs":
        pooled = method in ("pooled", "first token")
        keyed = [{"text": one, "text_pair": two} for one, two in zip(texts, seconds, strict=True)]
        asked = [list(one.values()) for one in keyed] if pooled else keyed
    monkeypatch.chdir(run.path)
    assert said_by(lines).count("'") >= 4, "the lines as they stand answer two texts"
    answers = ast.literal_eval(said_by(re.sub(r"(?m)^texts = .*$", lambda _: f"texts = {asked!r}", lines)))
    expected = list(ftkit.predict(run, texts, pairs=seconds if form == "pairs" else None))
    assert [one if isinstance(one, str) else one["label"] for one in answers] == [row["label"] for row in expected]
    for one, row in zip(answers, expected, strict=True):
        assert isinstance(one, str) or one["score"] == pytest.approx(row["score"], abs=1e-5)


def test_a_card_has_the_scores(classifier_runs: Callable[..., TrainResult]) -> None:
    run = classifier_runs(**METHODS["lora"], **SHORT).run
    assert "validation | accuracy" in (run.model_dir / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("pooling", ["mean", slow("max"), slow("first_token")])
def test_transformers_takes_no_pooled_folder_for_a_classifier_of_its_own(
    pooling: str, classifier_runs: Callable[..., TrainResult]
) -> None:
    from transformers import AutoModelForSequenceClassification, pipeline

    folder = classifier_runs(method__pooling=pooling, **SHORT).run.model_dir
    with pytest.raises((OSError, ValueError)):
        pipeline("text-classification", model=str(folder))
    with pytest.raises((OSError, ValueError)):
        AutoModelForSequenceClassification.from_pretrained(folder)
    assert "pipeline_tag: feature-extraction" in (folder / "README.md").read_text()


def test_the_head_of_a_base_stays_behind_when_another_is_put_on_its_pooled_outputs(
    train: Callable[..., TrainResult], classifier_runs: Callable[..., TrainResult]
) -> None:
    base = classifier_runs(**METHODS["full"], **SHORT).run.model_dir
    run = train(model__name_or_path=base, method__pooling="mean", **SHORT).run
    (encoder,) = (path.parent for path in run.model_dir.rglob("config.json") if "architectures" in path.read_text())
    config = json.loads((encoder / "config.json").read_text())
    assert config["architectures"] == ["BertModel"]
    assert "garden" not in json.dumps(config)
    with safe_open(encoder / "model.safetensors", "pt") as weights:
        assert not [name for name in weights.keys() if "classifier" in name]  # noqa: SIM118
    rows = [json.loads(line) for line in run.predictions_file("validation").read_text().splitlines()]
    for row, read in zip(rows, ftkit.predict(run, [row["text"] for row in rows]), strict=True):
        assert read["scores"] == pytest.approx(row["scores"], abs=1e-5)


def test_the_lines_of_a_merged_classifiers_card_load_the_folder_that_it_lies_in(
    train: Callable[..., TrainResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(method__type="lora", training__max_steps=2).run
    export(run.path, tmp_path / "merged", merge=True)
    card = (tmp_path / "merged" / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert block is not None
    assert "model/" not in block.group(1)
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(block.group(1), "card", "exec"), {})
    assert any(name in said.getvalue() for name in ("garden", "harbour", "kitchen"))


@pytest.mark.parametrize(
    ("method", "data"),
    [
        slow("full", "pairs"),
        slow("full", "chats"),
        ("lora", "chats"),
        slow("lora", "plain"),
        ("prompt_tuning", "pairs"),
    ],
)
def test_the_lines_of_a_language_models_card_load_it_and_let_it_write(
    method: str, data: str, train_lm: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = {"data__chat_template": "plain"} if data == "chats" else {}
    run = train_lm(data=data, method__type=method, training__max_steps=2, **chat).run
    card = (run.model_dir / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert block is not None
    monkeypatch.chdir(run.path)
    said, names = io.StringIO(), dict[str, object]()
    with contextlib.redirect_stdout(said):
        exec(compile(block.group(1), "card", "exec"), names)
    assert said.getvalue().strip(), "a random model writes something, if not words"
    assert names["prompt"]
    scores = run.metrics()
    for name in ("loss", "perplexity"):
        finetuned, base = (f"{scores[split][name]['value']:.4f}" for split in ("validation", "base_validation"))
        assert re.search(rf"\| validation \| {name} \| {finetuned} \|[^|]*\| {base} \|", card)
