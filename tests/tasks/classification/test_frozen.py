"""A frozen encoder that runs once gives what a frozen encoder that runs every epoch gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ftkit
from ftkit.encoders.loading import load_for_classification
from ftkit.encoders.optimization import learning_rate_factor
from ftkit.models.classifier import open_classifier
from ftkit.models.reading.locating import locate
from ftkit.progress import Silent
from ftkit.tasks.classification.form import load_splits
from ftkit.tasks.classification.frozen import FrozenHead
from ftkit.tasks.classification.scores import TextRow, predict_rows
from ftkit.tasks.table import read_recipe
from tests.fixtures.tiers import slow, slow_but

ENCODERS = ["bert", "roberta", "distilbert", "albert", "electra", "deberta-v2", "modernbert"]
SETTINGS = {
    "method__pooling": "cls",
    "training__num_train_epochs": 3,
    "training__learning_rate": 1e-2,
    "training__per_device_train_batch_size": 16,
    "training__load_best_model_at_end": "false",
}


def encode_every_epoch(recipe_file: Path) -> torch.nn.Module:
    """The same training without any replay: the whole model runs on every batch, its encoder in eval mode."""
    recipe = read_recipe(recipe_file).recipe
    splits = load_splits(recipe.data, seed=recipe.training.seed)
    checkpoint = locate(recipe.model)
    loaded = load_for_classification(
        checkpoint, label_names=splits.label_names, seed=recipe.training.seed, trust_remote_code=False, cls_pooling=True
    )
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder)
    model = loaded.model
    trained = [value for name, value in model.named_parameters() if name in loaded.new_parameters]
    optimizer = torch.optim.AdamW(trained, lr=recipe.training.learning_rate, weight_decay=0.0)
    torch.manual_seed(recipe.training.seed)
    generator = np.random.default_rng(recipe.training.seed)
    texts, labels = splits.train.texts, torch.from_numpy(splits.train.labels)
    num_steps, step = 3 * 6, 0
    for _epoch in range(3):
        for batch in torch.from_numpy(generator.permutation(len(texts))).split(16):
            model.train()
            model.base_model.eval()
            optimizer.param_groups[0]["lr"] = recipe.training.learning_rate * learning_rate_factor(
                step, num_steps=num_steps, warmup_steps=0, schedule="cosine"
            )
            inputs = tokenizer([texts[row] for row in batch], padding=True, return_tensors="pt")
            loss = torch.nn.functional.cross_entropy(model(**inputs).logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            step += 1
    return model.eval()


FOLDED = {"training__num_train_epochs": 3, "data__validation_file": "null"}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_without_a_validation_set_every_row_counts_out_of_fold_and_every_row_is_learnt_from(
    pooling: str, classifier_runs: Callable[..., Any]
) -> None:
    result = classifier_runs(method__pooling=pooling, **FOLDED)
    metrics = result.run.metrics()["validation"]
    assert all(entry["n"] == 96 and entry["note"].startswith("out of fold") for entry in metrics.values())
    rows = [json.loads(line) for line in result.run.predictions_file("validation").read_text().splitlines()]
    assert len(rows) == 96
    right = np.mean([row["label"] == row["expected"] for row in rows])
    assert right == pytest.approx(metrics["accuracy"]["value"])
    kept = open_classifier(result.run.model_dir, use_cpu=True)
    said = predict_rows(kept, [TextRow(row["text"], None, {}) for row in rows])
    scores = [one["scores"][row["expected"]] for one, row in zip(said, rows, strict=True)]
    # the kept head has seen the rows that the others had not
    assert np.mean(scores) > np.mean([row["scores"][row["expected"]] for row in rows])
    assert "out of fold" in (result.run.model_dir / "README.md").read_text()


def test_eval_and_compare_judge_by_the_scores_out_of_fold(classifier_runs: Callable[..., Any], tmp_path: Path) -> None:
    one, other = (classifier_runs(method__pooling=pooling, **FOLDED) for pooling in ("mean", "cls"))
    report = ftkit.evaluate(one, effort="quick", out=tmp_path / "eval")
    table, metrics = report.table["best"], one.run.metrics()["validation"]
    for metric in ("loss", "accuracy"):
        assert table["validation"][metric].value == pytest.approx(metrics[metric]["value"], abs=1e-6)
    words = report.table["tfidf"]
    assert words["validation"]["loss"].value > 1.3 * words["train"]["loss"].value
    assert table["train"]["loss"].value < table["validation"]["loss"].value
    assert "leakage" not in report.verdict.fired
    (match,) = ftkit.compare([one, other]).matches
    assert (match.split, match.matched, match.num_paired) == ("validation", "data", 96)


def test_a_model_in_folds_that_is_judged_without_its_run_is_said_to_have_learnt_its_judges_perhaps(
    classifier_runs: Callable[..., Any], tmp_path: Path
) -> None:
    run, reporter = classifier_runs(method__pooling="mean", **FOLDED).run, Silent()
    how: dict[str, Any] = {"recipe": run.recipe_file, "effort": "quick", "out": tmp_path, "reporter": reporter}
    report = ftkit.evaluate(run.model_dir, **how)
    assert 0 < report.table["best"]["validation"]["loss"].n < 96
    assert any("if it learnt from them, it looks better" in message for message in reporter.messages)


def test_a_run_in_folds_that_was_stopped_goes_on_to_the_same_bytes(
    train: Callable[..., Any], classifier_runs: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = classifier_runs(method__pooling="mean", **FOLDED).run
    with monkeypatch.context() as broken:
        broken.setattr(FrozenHead, "save", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train("stopped", method__pooling="mean", **FOLDED)
    run = train("stopped", method__pooling="mean", resume=True, **FOLDED).run
    for name in ("model/2_Dense/model.safetensors", "predictions/validation.jsonl", "probes/out_of_fold.npz"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes(), name


@pytest.mark.parametrize("family", slow_but(["bert", "deberta-v2", "modernbert"], ENCODERS))
def test_a_replayed_encoder_trains_the_head_as_one_that_runs_every_epoch_does_and_stays_as_it_was(
    family: str, train: Callable[..., Any]
) -> None:
    result = train(model__name_or_path=f"builtin:tiny-{family}", **SETTINGS)
    saved = load_file(result.run.model_dir / "model.safetensors")
    reference = encode_every_epoch(result.run.recipe_file)
    base = load_for_classification(
        locate(read_recipe(result.run.recipe_file).recipe.model),
        label_names=("a", "b", "c"),
        seed=read_recipe(result.run.recipe_file).recipe.training.seed,
        trust_remote_code=False,
    )
    trained, before = dict(reference.named_parameters()), base.model.state_dict()
    assert base.new_parameters
    for name in base.new_parameters:
        torch.testing.assert_close(saved[name], trained[name].detach(), rtol=0, atol=1e-5)
    assert any(not torch.equal(before[name], saved[name]) for name in base.new_parameters)
    frozen = [name for name in before if name in saved and name not in base.new_parameters]
    assert len(frozen) > 10
    assert all(torch.equal(before[name], saved[name]) for name in frozen)


def test_a_transformers_pipeline_loads_the_run_and_names_the_same_labels(classifier_runs: Callable[..., Any]) -> None:
    from transformers import pipeline

    result = classifier_runs(**SETTINGS)
    rows = read_jsonl(result.run.predictions_file("validation"))
    classify = pipeline("text-classification", model=str(result.run.model_dir))
    answers = classify([row["text"] for row in rows])
    assert [answer["label"] for answer in answers] == [row["label"] for row in rows]
    np.testing.assert_allclose([answer["score"] for answer in answers], [row["score"] for row in rows], atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max", slow("first_token")])
def test_sentence_transformers_alone_loads_a_pooled_run_and_gives_its_logits(
    pooling: str, classifier_runs: Callable[..., Any]
) -> None:
    from sentence_transformers import SentenceTransformer

    result = classifier_runs(method__pooling=pooling, training__num_train_epochs=4)
    rows = read_jsonl(result.run.predictions_file("validation"))
    model = SentenceTransformer(str(result.run.model_dir), device="cpu")
    logits = torch.from_numpy(model.encode([row["text"] for row in rows]))
    names = json.loads((result.run.model_dir / "label_names.json").read_text())["id2label"]
    assert [names[str(int(row))] for row in logits.argmax(dim=1)] == [row["label"] for row in rows]
    expected = torch.tensor([list(row["scores"].values()) for row in rows])
    torch.testing.assert_close(logits.softmax(dim=1), expected, rtol=0, atol=1e-5)


def test_a_pooled_run_holds_no_pickle_and_no_code(classifier_runs: Callable[..., Any]) -> None:
    result = classifier_runs(method__pooling="mean", training__num_train_epochs=4)
    names = [path.name for path in result.run.model_dir.rglob("*") if path.is_file()]
    assert "model.safetensors" in names
    assert not [name for name in names if name.endswith((".bin", ".pkl", ".pt", ".pth", ".py", ".joblib"))]


def test_a_checkpoint_with_sentence_transformers_files_is_pooled_as_they_say(
    train: Callable[..., Any], tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from ftkit.models.builtin.builtin import resolve

    plain = SentenceTransformer(str(resolve("builtin:tiny-bert")), device="cpu")
    from sentence_transformers.base.modules import Normalize

    model = SentenceTransformer(modules=[plain[0], Pooling(plain[0].get_embedding_dimension(), "max"), Normalize()])
    model.save_pretrained(str(tmp_path / "own"))
    result = train(model__name_or_path=tmp_path / "own", training__num_train_epochs=3)
    assert result.run.manifest()["training"]["pooling"] == "max, normalised"
    rows = read_jsonl(result.run.predictions_file("validation"))
    logits = torch.from_numpy(
        SentenceTransformer(str(result.run.model_dir), device="cpu").encode([row["text"] for row in rows])
    )
    expected = torch.tensor([list(row["scores"].values()) for row in rows])
    torch.testing.assert_close(logits.softmax(dim=1), expected, rtol=0, atol=1e-5)


def test_another_learning_rate_reads_the_stored_features_and_says_so(train: Callable[..., Any]) -> None:
    short = {"method__pooling": "mean", "training__num_train_epochs": 2}
    first = train("first", **short, data__max_length=37)
    second = train("second", **short, data__max_length=37, training__learning_rate=1e-3)
    assert not any(stored["reused"] for stored in first.run.manifest()["training"]["features"].values())
    assert all(stored["reused"] for stored in second.run.manifest()["training"]["features"].values())
    third = train("third", **short, data__max_length=36)
    assert not any(stored["reused"] for stored in third.run.manifest()["training"]["features"].values())


def test_the_same_recipe_gives_the_same_bytes_twice(train: Callable[..., Any]) -> None:
    hashes = set()
    for name in ("one", "two"):
        result = train(name, **SETTINGS)
        hashes.add(hashlib.sha256((result.run.model_dir / "model.safetensors").read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_predictions_of_the_loaded_run_equal_those_written_while_training(
    classifier_runs: Callable[..., Any],
) -> None:
    result = classifier_runs(method__pooling="mean", training__num_train_epochs=4)
    rows = read_jsonl(result.run.predictions_file("validation"))
    again = predict_rows(
        open_classifier(result.run.path), (TextRow(row["text"], None, {"text": row["text"]}) for row in rows)
    )
    for row, prediction in zip(rows, again, strict=True):
        assert prediction["label"] == row["label"]
        assert prediction["scores"] == pytest.approx(row["scores"], abs=1e-5)


def test_history_holds_one_line_an_epoch_and_marks_the_best(classifier_runs: Callable[..., Any]) -> None:
    result = classifier_runs(method__pooling="mean", training__num_train_epochs=4)
    before, *lines = read_jsonl(result.run.history_file)
    assert (before["step"], before["epoch"], "best" in before) == (0, 0.0, False)
    assert [line["epoch"] for line in lines] == [1.0, 2.0, 3.0, 4.0]
    best = min(line["validation_loss"] for line in lines)
    assert result.metrics["validation"]["loss"]["value"] == pytest.approx(best, abs=1e-5)
    assert lines[0]["best"] is True


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
