"""The record example by example: right by an independent scoring, the same after a resume, and felt by nothing."""

from __future__ import annotations

import csv
import json
import math
import signal
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from ftkit.data.dataset import Split
from ftkit.encoders.optimization import learning_rate_factor
from ftkit.inputs.documents import evaluation_sequences
from ftkit.interruption import STOP, Interrupted
from ftkit.metrics.scores import CurvePoint, Scores, scores_of_logits
from ftkit.models.classifier import open_classifier
from ftkit.models.saved_lm import load_saved_lm
from ftkit.runs.run import Run
from ftkit.tasks.classification import frozen
from ftkit.tasks.table import read_recipe, task_of
from ftkit.training import probes
from ftkit.training.probes import (
    ProbeLog,
    ProbeRows,
    probe_rows,
    read_final_test,
    read_probe_rows,
    read_probes,
    validation_probe_rows,
)
from tests.fixtures.tiers import slow_but

STEPS: dict[str, Any] = {
    "training__max_steps": 6,
    "training__eval_strategy": "steps",
    "training__eval_steps": 3,
    "training__load_best_model_at_end": "false",
    "training__warmup_steps": 2,
    "training__lr_scheduler_type": "cosine",
}
# what is in the loss of the training and must not be in the probe's
WEIGHED = {"training__label_smoothing_factor": 0.3, "training__class_weights": "balanced"}
KINDS: dict[str, dict[str, Any]] = {
    "frozen": {"method__pooling": "mean", "training__learning_rate": 1e-1} | WEIGHED,
    "full classification": {"method__type": "full", "training__learning_rate": 5e-3} | WEIGHED,
    "lora causal_lm": {"data": "texts", "method__lora_dropout": 0.1, "training__learning_rate": 1e-2},
    "full seq2seq": {"method__type": "full", "training__learning_rate": 1e-2, "evaluation__score_base": "false"},
}
TRAINED = [kind for kind in KINDS if kind != "frozen"]
Start = Callable[..., Run]


@pytest.fixture
def start(train: Callable[..., Any], train_lm: Callable[..., Any], train_pairs: Callable[..., Any]) -> Start:
    """Train a run of one of the kinds."""

    def run(kind: str, name: str = "run", **settings: Any) -> Run:
        by_task = {"lora causal_lm": train_lm, "full seq2seq": train_pairs}
        return by_task.get(kind, train)(name, **(settings_of(kind) | settings)).run

    return run


@pytest.fixture
def runs(
    classifier_runs: Callable[..., Any], lm_runs: Callable[..., Any], runs_of_pairs: Callable[..., Any]
) -> Callable[..., Run]:
    """A run of each kind that is only looked at."""

    def run(kind: str, **settings: Any) -> Run:
        by_task = {"lora causal_lm": lm_runs, "full seq2seq": runs_of_pairs}
        return by_task.get(kind, classifier_runs)(**(settings_of(kind) | settings)).run

    return run


def settings_of(kind: str) -> dict[str, Any]:
    logging = {} if kind == "frozen" else {"training__logging_steps": 3}
    return STEPS | logging | KINDS[kind]


def history(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.history_file.read_text().splitlines()]


def weights(run: Run) -> dict[str, bytes]:
    return {str(file.relative_to(run.path)): file.read_bytes() for file in run.model_dir.rglob("*.safetensors")}


def files(run: Run) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(run.probes_dir.iterdir())}


def class_losses(run: Run, split: Split, rows: Any) -> list[tuple[float, int]]:
    found = open_classifier(run.path)
    scored = []
    for row in rows:
        inputs = found.tokenizer(split.texts[row], return_tensors="pt")
        logits = found.module(**inputs)
        name = split.table["label"][row].as_py()
        loss = -float(logits.log_softmax(dim=1)[0, name])
        scored.append((loss, 1))
    return scored


def document_losses(run: Run, split: Split, rows: Any) -> list[tuple[float, int]]:
    recipe = read_recipe(run.recipe_file).recipe
    splits = task_of(recipe.task).load_splits(recipe.data, seed=recipe.training.seed)
    saved = load_saved_lm(run.model_dir, dtype=torch.float32, device=torch.device("cpu"), trust_remote_code=False)
    assert splits.prompting is not None
    scored = []
    for row in rows:
        one = Split("one", split.table.slice(int(row), 1), "")
        found = evaluation_sequences(saved.tokenizer, one, splits.prompting, max_length=512).sequences
        ids, learnt = torch.from_numpy(found.ids).long(), torch.from_numpy(found.learnt)
        logits = saved.model(input_ids=ids[None]).logits[0, :-1][learnt[1:]]
        scored.append((float(cross_entropy(logits, ids[1:][learnt[1:]], reduction="sum")), int(learnt.sum())))
    return scored


def pair_losses(run: Run, split: Split, rows: Any) -> list[tuple[float, int]]:
    saved = load_saved_lm(run.model_dir, dtype=torch.float32, device=torch.device("cpu"), trust_remote_code=False)
    tokenizer: Any = saved.tokenizer
    scored = []
    for row in rows:
        source, target = (split.table[name][int(row)].as_py() for name in ("prompt", "completion"))
        labels = tokenizer(text_target=target, return_tensors="pt")["input_ids"]
        logits = saved.model(**tokenizer(source, return_tensors="pt"), labels=labels).logits[0]
        scored.append((float(cross_entropy(logits, labels[0], reduction="sum")), labels.shape[1]))
    return scored


INDEPENDENT = {"lora causal_lm": document_losses, "full seq2seq": pair_losses}


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_record_is_what_the_saved_model_gives_the_same_rows_by_another_way(kind: str, runs: Start) -> None:
    run = runs(kind)
    recipe = read_recipe(run.recipe_file).recipe
    splits = task_of(recipe.task).load_splits(recipe.data, seed=recipe.training.seed)
    last, rows = read_probes(run)[-1], read_probe_rows(run)
    assert rows is not None
    assert last.step == 6
    for split, chosen, found in (
        (splits.train, rows.train, last.train),
        (splits.validation, rows.validation, last.validation),
    ):
        with torch.inference_mode():
            expected = INDEPENDENT.get(kind, class_losses)(run, split, chosen)
        assert found.num_targets.tolist() == [targets for _, targets in expected]
        np.testing.assert_allclose(found.nll, [loss for loss, _ in expected], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_means_of_the_record_stand_in_history_from_before_the_first_step_on(kind: str, runs: Start) -> None:
    run = runs(kind)
    points = {point.step: point for point in read_probes(run)}
    lines = {line["step"]: line for line in history(run) if "validation_loss" in line}
    assert list(points) == list(lines) == [0, 3, 6]
    for step, line in lines.items():
        assert points[step].validation.loss == pytest.approx(line["validation_loss"], abs=1e-6)
        assert points[step].train.loss == pytest.approx(line["train_probe_loss"], abs=1e-6)
        assert points[step].train.accuracy == pytest.approx(line["train_probe_accuracy"], abs=1e-6)
        assert points[step].epoch == pytest.approx(line["epoch"], abs=1e-4)
    accuracy = {"frozen": "accuracy", "full classification": "accuracy"}.get(kind, "token_accuracy")
    assert points[6].validation.accuracy == pytest.approx(lines[6][f"validation_{accuracy}"], abs=1e-6)
    assert not np.array_equal(points[6].train.nll, points[0].train.nll)
    if kind == "frozen":
        # a head that begins at zero finds every class as likely
        np.testing.assert_allclose(points[0].train.nll, math.log(3), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_learning_rates_of_all_steps_are_added_up(kind: str, runs: Start) -> None:
    run = runs(kind)
    peak = KINDS[kind]["training__learning_rate"]
    factors = [learning_rate_factor(step, num_steps=6, warmup_steps=2, schedule="cosine") for step in range(6)]
    expected = [peak * sum(factors[:step]) for step in (0, 3, 6)]
    assert [point.rate_mass for point in read_probes(run)] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", slow_but(["frozen", "lora causal_lm"], KINDS))
def test_a_run_that_nobody_looks_on_ends_in_the_same_bytes(
    kind: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = {"training__load_best_model_at_end": "true", "training__early_stopping_patience": 5}
    seen = start(kind, "seen", **best)
    unseen_of(kind, monkeypatch)
    unseen = start(kind, "unseen", **best)
    assert not unseen.probes_dir.exists()
    assert weights(seen) == weights(unseen)
    assert seen.manifest()["training"]["fit"] == unseen.manifest()["training"]["fit"]
    if kind != "frozen":
        assert trainer_log(seen) == trainer_log(unseen)
        assert not [name for line in trainer_log(seen) for name in line if "probe" in name]


def unseen_of(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftkit.training.validating.training_probe import TrainingProbe

    if kind == "frozen":
        fit = frozen.fit_head
        monkeypatch.setattr(frozen, "fit_head", lambda *args, probe, **kwargs: fit(*args, **kwargs))
        monkeypatch.setattr("ftkit.encoders.scores.HeadProbe.write", lambda _probe: None)
    for name in ("begin", "score", "record", "on_train_begin", "on_optimizer_step"):
        monkeypatch.setattr(TrainingProbe, name, lambda *_args, **_kwargs: None)
    monkeypatch.setattr(TrainingProbe, "history", lambda _probe: {})


def trainer_log(run: Run) -> list[dict[str, float]]:
    state = json.loads((run.checkpoints_dir / "checkpoint-6" / "trainer_state.json").read_text())
    # how long it took is another time each time
    clocks = ("runtime", "_per_second", "preparation_time")
    return [{name: line[name] for name in line if not name.endswith(clocks)} for line in state["log_history"]]


@pytest.mark.parametrize(
    ("kind", "stopped_at"),
    slow_but(
        [("lora causal_lm", 5), ("full classification", 6)],
        product(TRAINED, (5, 6)),
    ),
)
def test_a_run_that_was_stopped_and_resumed_has_the_record_of_one_that_was_not(
    kind: str, stopped_at: int, start: Start, runs: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # a signal before an evaluation leaves a checkpoint between two of them; one at it leaves the evaluation due
    from ftkit.training.validating.training_probe import TrainingProbe

    settings = {"training__max_steps": 9, "training__warmup_steps": 4}
    whole = runs(kind, **settings)
    on_optimizer_step = TrainingProbe.on_optimizer_step
    steps = []

    def stopping(probe: Any, *args: Any, **kwargs: Any) -> None:
        on_optimizer_step(probe, *args, **kwargs)
        steps.append(1)
        if len(steps) == stopped_at:
            STOP.signum = signal.SIGTERM

    with monkeypatch.context() as patched:
        patched.setattr(TrainingProbe, "on_optimizer_step", stopping)
        with pytest.raises(Interrupted):
            start(kind, "stopped", **settings)
    STOP.signum = None
    stopped = Run(tmp_path / "stopped")
    assert stopped.checkpoints().newest_name == f"checkpoint-{stopped_at}"
    assert [point.step for point in read_probes(stopped)] == [0, 3]
    start(kind, "stopped", resume=True, **settings)
    assert weights(stopped) == weights(whole)
    assert files(stopped) == files(whole)
    scored = [[line for line in history(run) if "validation_loss" in line] for run in (stopped, whole)]
    assert scored[0] == scored[1]
    assert [point.step for point in read_probes(stopped)] == [0, 3, 6, 9]


def test_a_due_evaluation_that_was_written_before_a_kill_is_not_written_twice(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftkit.training.sealed_trainer import SealedTrainer

    kind, save = "full classification", SealedTrainer._save_sealed
    with monkeypatch.context() as patched:
        # the checkpoint of step 3 says that its evaluation is due, and that of step 6 is never sealed

        def due(trainer: Any, *args: Any, **_kwargs: Any) -> None:
            if trainer.state.global_step == 6:
                raise KeyboardInterrupt
            save(trainer, *args, evaluation_due=True)

        patched.setattr(SealedTrainer, "_save_sealed", due)
        with pytest.raises(KeyboardInterrupt):
            start(kind)
    run = start(kind, resume=True)
    assert [line["step"] for line in history(run) if "validation_loss" in line] == [0, 3, 6]
    assert [point.step for point in read_probes(run)] == [0, 3, 6]


@pytest.mark.parametrize("kind", slow_but(["frozen", "full seq2seq"], KINDS))
def test_of_large_sets_a_fixed_part_is_recorded(
    kind: str, start: Start, runs: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, whole_rows = read_probes(runs(kind)), 6
    monkeypatch.setattr(probes, "PROBE_ROWS", 4)
    monkeypatch.setattr(probes, "WHOLE_VALIDATION", 5)
    run = start(kind, "part")
    rows = read_probe_rows(run)
    assert rows is not None
    assert (len(rows.train), len(rows.validation)) == (4, 4)
    assert len(whole[-1].validation) >= whole_rows
    for part, point in zip(read_probes(run), whole, strict=True):
        np.testing.assert_allclose(part.train.nll, point.train.take(rows.train).nll, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(part.validation.nll, point.validation.take(rows.validation).nll, atol=1e-6)


def test_a_frozen_run_keeps_what_its_last_weights_give_the_test_split(rows: Any, start: Start, tmp_path: Path) -> None:
    # the validation rows once more, in another wording of the number that no two of them share
    with rows[1].open(newline="") as file:
        lines = [[f"{text} again", label] for text, label in csv.reader(file)]
    test = tmp_path / "test.csv"
    with test.open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *lines[1:]])
    for name, keeps in (("last", "false"), ("best", "true")):
        run = start("frozen", name, data__test_file=test, training__load_best_model_at_end=keeps)
        found, loss = read_final_test(run), run.metrics()["test"]["loss"]["value"]
        assert found is not None
        assert len(found) == 32
        if name == "last":
            last = found
            assert found.loss == pytest.approx(loss, abs=1e-5)
    np.testing.assert_array_equal(last.nll, found.nll)
    assert read_final_test(start("frozen", "none")) is None


def test_the_rows_of_a_probe_are_fixed_by_size_and_seed_sorted_and_each_there_once() -> None:
    for size in (0, 1, 500, 501, 20_000):
        rows = probe_rows(size, seed=3)
        assert rows.dtype == np.int64
        assert len(rows) == min(size, 500)
        assert (np.diff(rows) > 0).all()
        assert ((rows >= 0) & (rows < size)).all()
        np.testing.assert_array_equal(rows, probe_rows(size, seed=3))
    assert not np.array_equal(probe_rows(20_000, seed=3), probe_rows(20_000, seed=4))
    assert [len(validation_probe_rows(size, seed=3)) for size in (999, 1_000, 1_001)] == [999, 1_000, 500]
    # the draw of today is the draw of a run that is read in a year
    assert probe_rows(20_000, seed=42)[:4].tolist() == [93, 158, 217, 263]


def test_probing_rows_draws_from_no_state_that_training_uses() -> None:
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[union-attr]
    probe_rows(20_000, seed=3)
    np.testing.assert_array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())


def losses(*nll: float) -> Scores:
    return Scores(np.array(nll), np.arange(1, len(nll) + 1), np.zeros(len(nll), dtype=np.int64))


def run_in(folder: Path) -> Run:
    """A run of which there is no more than its manifest."""
    (folder / "manifest.json").write_text("{}")
    return Run(folder)


def test_what_is_written_is_read_back_in_the_order_of_steps(tmp_path: Path) -> None:
    log = ProbeLog(run_in(tmp_path))
    points = [
        CurvePoint(step, step / 7, step * 1e-3, losses(0.1, step), losses(2.0)) for step in (1_000_000_000, 20, 3)
    ]
    log.write_all(points[1:])
    log.write(points[0])
    assert read_final_test(log.run) is read_probe_rows(log.run) is None
    for found, point in zip(read_probes(log.run), reversed(points), strict=True):
        assert (found.step, found.epoch, found.rate_mass) == (point.step, point.epoch, point.rate_mass)
        np.testing.assert_array_equal(found.train.nll, point.train.nll)
        np.testing.assert_array_equal(found.train.num_targets, [1, 2])
    assert {file.name for file in tmp_path.iterdir()} == {"manifest.json", "probes"}, "nothing is left beside them"
    log.run.cut_probes(step=20)
    assert [point.step for point in read_probes(log.run)] == [3, 20]
    log.run.cut_probes(step=0)
    assert list(log.run.probes_dir.iterdir()) == []


def test_points_of_other_rows_are_let_go_when_the_data_have_changed(tmp_path: Path) -> None:
    log, rows = ProbeLog(run_in(tmp_path)), ProbeRows.of(num_train=2, num_validation=1, seed=0)
    log.write_rows(rows)
    log.write(CurvePoint(3, 1.0, 0.1, losses(1.0, 2.0), losses(1.0)))
    log.write_rows(rows)
    assert len(read_probes(log.run)) == 1
    log.write_rows(ProbeRows.of(num_train=3, num_validation=1, seed=0))
    assert read_probes(log.run) == []


def test_the_loss_of_logits_is_the_plain_cross_entropy() -> None:
    logits = np.random.default_rng(0).normal(scale=30, size=(50, 4)).astype(np.float32)
    labels = np.arange(50) % 4
    found = scores_of_logits(logits, labels)
    expected = cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels), reduction="none")
    np.testing.assert_allclose(found.nll, expected.numpy(), atol=1e-12)
    np.testing.assert_array_equal(found.num_correct, logits.argmax(axis=1) == labels)
    np.testing.assert_allclose(scores_of_logits(np.zeros((2, 8), np.float32), labels[:2]).nll, math.log(8))
