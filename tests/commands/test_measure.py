"""`ftkit eval MODEL --data FILE`: any model measured on the rows of a file, as its own run would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftkit.commands.asking.measure import measure
from ftkit.errors import UserError
from tests.fixtures.tiers import slow

Trained = Callable[..., Any]


def values(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: one["value"] for name, one in metrics.items()}


@pytest.mark.parametrize("method", ["lora", slow("full"), slow("frozen")])
def test_a_classifier_is_measured_as_its_run_measured_it_whether_the_run_is_named_or_the_folder(
    method: str, classifier_runs: Trained, rows: tuple[Path, Path]
) -> None:
    length = {"training__num_train_epochs": 1} if method == "frozen" else {"training__max_steps": 2}
    result = classifier_runs(method__type=method, **length)
    for model in (result.run.path, result.run.model_dir):
        found = measure(model, rows[1], num_resamples=100)
        assert found.num_rows == 32
        assert values(found.metrics) == pytest.approx(values(result.metrics["validation"]), abs=1e-4)


@pytest.mark.parametrize("task", ["causal_lm", slow("seq2seq")])
def test_a_language_model_is_measured_as_its_run_measured_it_beside_its_base(
    task: str, request: pytest.FixtureRequest, texts: dict[str, Path], questions: dict[str, Path]
) -> None:
    file = texts["pairs"] if task == "causal_lm" else questions["validation"]
    runs = request.getfixturevalue("lm_runs" if task == "causal_lm" else "runs_of_pairs")
    result = runs(method__type="lora", training__max_steps=2, data__validation_file=file)
    for model in (result.run.path, result.run.model_dir):
        found = measure(model, file, num_resamples=100)
        assert values(found.metrics) == pytest.approx(values(result.metrics["validation"]), abs=1e-4)
        assert values(found.base) == pytest.approx(values(result.metrics["base_validation"]), abs=1e-4)


def test_a_model_of_no_run_is_measured_and_no_verdict_is_given(
    texts: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from ftkit.cli.eval import evaluate

    evaluate(Path("builtin:tiny-llama"), ["evaluation.metrics=[loss]"], data=texts["texts"], as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["task"], told["verdict"], set(told["metrics"])) == ("causal_lm", None, {"loss"})
    with pytest.raises(UserError, match="--quick is about a verdict"):
        evaluate(Path("builtin:tiny-llama"), data=texts["texts"], quick=True)
    with pytest.raises(UserError, match="holds no classifier and no language model"):
        measure("builtin:tiny-bert", texts["texts"])


def test_rows_that_do_not_fit_a_model_are_refused(
    classifier_runs: Trained, texts: dict[str, Path], tmp_path: Path
) -> None:
    run = classifier_runs(method__type="lora", training__max_steps=2).run
    with pytest.raises(UserError, match="there is no file"):
        measure(run, tmp_path / "nowhere.csv")
    with pytest.raises(UserError, match="no such column: text"):
        measure(run, texts["pairs"])
    (tmp_path / "other.csv").write_text("text,label\na ship,spoon\na rose,garden\n")
    with pytest.raises(UserError, match="spoon"):
        measure(run.model_dir, tmp_path / "other.csv")
