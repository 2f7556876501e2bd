"""Metrics of somebody's own, measured on what a model answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ftkit.errors import UserError
from ftkit.metrics.foreign.own import AnsweredRows, OwnMetric, load_own, measure_own
from ftkit.metrics.predictions import Entry
from ftkit.recipe.schema import Recipe
from ftkit.runs.run import Run


class AnswerKeys(NamedTuple):
    """Keys of the rows of predictions/ under which an answer stands.

    Attributes:
        prediction: what the model said.
        references: what is right: the first of these that a row has.
        inputs: what it was given: those of these that a row has.
    """

    prediction: str
    references: tuple[str, ...]
    inputs: tuple[str, ...]

    def of(self, rows: Sequence[Mapping[str, Any]]) -> AnsweredRows:
        """The answers of some rows."""
        return AnsweredRows(
            [row[self.prediction] for row in rows],
            [next(row[key] for key in self.references if key in row) for row in rows],
            [self._input(row) for row in rows],
        )

    def _input(self, row: Mapping[str, Any]) -> Any:
        given = [row[key] for key in self.inputs if key in row]
        return given[0] if len(given) == 1 else given


def load_metrics(specs: Sequence[str], recipe: Recipe, keys: AnswerKeys | None) -> list[OwnMetric]:
    """Functions of Python files, which are run, that measure the answers of a recipe's model.

    Args:
        specs: `metrics.py:my_score`.
        recipe: whose own metrics have other names.
        keys: of the task; None where it has no answers.

    Raises:
        UserError: one cannot be had, two have one name, or the task has no answers.
    """
    metrics = [load_own(spec) for spec in specs]
    if metrics and keys is None:
        raise UserError(
            f"--metric {metrics[0].name}: task {recipe.task} is measured by losses; nothing is written that could be "
            "compared",
            fix="leave it out; `ftkit generate --file prompts.jsonl --out answers.jsonl` writes answers",
        )
    names = [metric.name for metric in metrics]
    for name in names:
        if names.count(name) > 1 or name in recipe.evaluation.metrics or name == "loss":
            raise UserError(f"--metric {name}: there is another metric of that name", fix="give the function its own")
    return metrics


def measure_run(
    run: Run, recipe: Recipe, metrics: Sequence[OwnMetric], keys: AnswerKeys | None
) -> dict[str, dict[str, Entry]]:
    """Measure what the model of a run answered to its held-out rows.

    Args:
        run: finished.
        recipe: of it.
        metrics: functions of files, as `load_metrics` gives them.
        keys: of the task, where the answers stand.

    Returns:
        Split -> name -> entry.

    Raises:
        UserError: a function failed or gave something else, or the run has written nothing down.
    """
    found: dict[str, dict[str, Entry]] = {}
    for split in run.metrics():
        if not run.predictions_file(split).is_file():
            continue
        found[split] = measure_rows(metrics, list(_rows(run, split)), keys, recipe)
    if not found:
        raise UserError(f"the run {run.path} has no predictions/", fix="train it again: they are what is measured")
    return found


def measure_rows(
    metrics: Sequence[OwnMetric], rows: Sequence[Mapping[str, Any]], keys: AnswerKeys | None, recipe: Recipe
) -> dict[str, Entry]:
    """What functions give for rows as they stand in predictions/, by name.

    Raises:
        UserError: a function failed or gave something else.
    """
    assert keys is not None, "metrics of answers are refused where a task has none"
    answered, resampling = keys.of(rows), recipe.evaluation.num_resamples
    measured = [
        measure_own(metric, answered, num_resamples=resampling, seed=recipe.training.seed) for metric in metrics
    ]
    return {name: entry for one in measured for name, entry in one.items()}


def _rows(run: Run, split: str) -> Iterator[dict[str, Any]]:
    with run.predictions_file(split).open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file)
