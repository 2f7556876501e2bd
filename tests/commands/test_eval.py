"""Language models measured end to end, on tiny checkpoints."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import ftkit
from ftkit.commands.eval import advised_recipe, evaluate
from ftkit.diagnosis.report import Report
from ftkit.errors import RunError, UserError
from ftkit.progress import Silent
from ftkit.runs.run import Run
from ftkit.tasks.table import read_recipe
from ftkit.training.probes import read_probes
from tests.fixtures.tiers import slow_but

COUNTS = [f"{a} and {b} and then {c}" for a in ("one", "two", "six") for b in ("ten", "four", "nine", "two") for c in
          ("seven", "three", "eight", "five", "zero")]  # fmt: skip

RECIPES = {
    "causal_lm": "model: {name_or_path: builtin:tiny-gpt2}\nmethod: {type: full}\n"
    "data: {train_file: train.jsonl, validation_file: new.jsonl, text_column: text, max_length: 32}\n",
    # in float32 on every processor, or what is compared differs in its third digit
    "lora": "model: {name_or_path: builtin:tiny-gpt2, dtype: float32}\nmethod: {type: lora}\n"
    "data: {train_file: train.jsonl, validation_file: new.jsonl, text_column: text, max_length: 32}\n",
    "seq2seq": "model: {name_or_path: builtin:tiny-t5}\nmethod: {type: full}\ngeneration: {max_new_tokens: 4}\n"
    "data: {train_file: train.jsonl, validation_file: new.jsonl, source_column: text, target_column: other}\n",
}


def evaluated(kind: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Report]:
    folder = tmp_path_factory.mktemp(kind)
    rows = [json.dumps({"text": text, "other": text.split()[-1] + " of all these"}) for text in COUNTS]
    (folder / "train.jsonl").write_text("\n".join(rows))
    (folder / "new.jsonl").write_text(
        "\n".join(json.dumps({"text": f"{n} of them", "other": f"{n}"}) for n in range(60))
    )
    task = "seq2seq" if kind == "seq2seq" else "causal_lm"
    (folder / "recipe.yaml").write_text(
        f"task: {task}\n{RECIPES[kind]}"
        "training: {learning_rate: 0.01, num_train_epochs: 4, per_device_train_batch_size: 8, bf16: false, "
        f"load_best_model_at_end: false, output_dir: {folder / 'run'}}}\n"
        "evaluation: {metrics: [loss], num_resamples: 100}\n"
    )
    run = ftkit.train(folder / "recipe.yaml").run
    return run, evaluate(run.path, effort="quick")


@pytest.fixture(scope="module", params=slow_but(["causal_lm"], sorted(RECIPES)))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Run, Report]:
    return (request.param, *evaluated(request.param, tmp_path_factory))


def test_the_kept_model_is_scored_as_it_was_at_the_last_evaluation(case):
    _, run, report = case
    last = read_probes(run)[-1]
    assert report.kept == "final"
    for which, losses in (("train", last.train), ("validation", last.validation)):
        score = report.table["final"][which]["loss"]
        assert score.n == len(losses)
        assert score.value == pytest.approx(losses.loss, abs=1e-4)


def test_the_base_is_scored_as_it_was_before_the_first_step(case):
    _, run, report = case
    first = read_probes(run)[0]
    assert first.step == 0
    assert report.table["base"]["validation"]["loss"].value == pytest.approx(first.validation.loss, abs=1e-4)


def test_a_decoder_writes_a_reference_on_which_nobody_is_better_than_itself(case):
    kind, _, report = case
    if kind == "seq2seq":
        assert "reference" not in report.table["base"]
        return
    base, tuned = (report.table[model]["reference"]["loss"].value for model in ("base", "final"))
    # a KL divergence is never negative
    assert tuned > base
    rises = [document.tuned - document.base for document in report.forgetting]
    assert rises == sorted(rises, reverse=True)
    assert np.isclose(sum(rise for _, rise in report.forgetting[0].tokens) / len(report.forgetting[0].tokens), rises[0],
                      atol=1e-2)  # fmt: skip


def test_the_report_says_the_same_as_its_file(case):
    _, run, report = case
    told = json.loads((run.eval_dir / "report.json").read_text())
    assert told["verdict"]["headline"] == report.verdict.headline
    assert len(told["curve"]) == len(read_probes(run))


def test_the_advice_makes_a_valid_recipe(case, tmp_path):
    _, run, report = case
    (tmp_path / "better.yaml").write_text(advised_recipe(run.path, report))
    advised = read_recipe(tmp_path / "better.yaml").recipe
    for change in report.verdict.changes:
        if change.key.startswith("training.") and change.value is not None:
            assert getattr(advised.training, change.key.removeprefix("training.")) == change.value


def test_without_its_checkpoints_the_best_weights_are_told_from_the_record_or_are_missing_with_a_reason(case, tmp_path):
    _, run, _ = case
    copy = Run(tmp_path / "run")
    shutil.copytree(run.path, copy.path)
    shutil.rmtree(copy.checkpoints_dir)
    report = evaluate(copy.path, effort="quick")
    best = next(point for point in read_probes(copy) if point.step == report.best_step)
    assert report.table["best"]["validation"]["loss"].value == pytest.approx(best.validation.loss, abs=1e-4)
    if report.best_step != report.last_step and "reference" in report.table["final"]:
        assert "is not there" in report.absent["best/reference"]


class Meanwhile(Silent):
    """Somebody replaces the run when it is being looked at."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def track(self, description: str, *, total: int):
        self.run.update_manifest(started="later")
        return super().track(description, total=total)


def test_a_report_has_a_place_before_the_work_and_is_of_the_run_that_is_there_after_it(classifier_runs, tmp_path):
    run = Run(tmp_path / "run")
    shutil.copytree(classifier_runs().run.path, run.path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be made: .*file is a file"):
        evaluate(run, out=tmp_path / "file" / "eval", reporter=(silent := Silent()))
    assert silent.messages == []
    with pytest.raises(RunError, match="was replaced, moved or gone on with while it was judged"):
        evaluate(run, effort="quick", reporter=Meanwhile(run))
    assert not run.eval_dir.exists()
