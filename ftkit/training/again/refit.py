"""training.refit: the second training of a run, on all rows, to the step that the first one found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from ftkit.data.dataset import Split, Splits
from ftkit.errors import UserError
from ftkit.recipe.dump import changed
from ftkit.recipe.schema import Recipe
from ftkit.runs.run import Run
from ftkit.storage import write_json


class Again(NamedTuple):
    """A training once more.

    Attributes:
        recipe: what is trained: the schedule of the first, stretched by the rows that are more, without evaluations.
        splits: all rows to learn from.
        epochs: after which it ends.
        in_words: the same.
    """

    recipe: Recipe
    splits: Splits
    epochs: float
    in_words: str


def plan_refit(recipe: Recipe, splits: Splits, fit: Mapping[str, Any]) -> Again:
    """What is trained once more after a first training.

    Every row is seen as often as in the first, so that steps grow with what there is to learn; and the learning rate
    goes down over the whole schedule of the first, stretched alike, of which the best step is a part.

    Args:
        recipe: of the run.
        splits: of the run.
        fit: facts of the first training.
    """
    everything = all_rows(splits)
    found = fit["best_step"] if recipe.training.load_best_model_at_end and fit["best_step"] else fit["num_steps"]
    epochs = found / fit["steps_an_epoch"]
    words = (
        f"refit: once more from the start on all {len(everything.train):,} rows, for the {epochs:.3g} epochs "
        f"({found:,} steps on {len(splits.train):,} rows) that were found"
    )
    schedule = fit["planned_steps"] / fit["steps_an_epoch"]
    return Again(changed(recipe, _without_evaluations(recipe, schedule)), everything, epochs, words)


def _without_evaluations(recipe: Recipe, epochs: float) -> dict[str, object]:
    training = recipe.training
    strategy, every = training.save_strategy, training.save_steps
    if strategy == "evaluation":
        # as often as in the first training, where each evaluation was sealed
        strategy, every = ("steps", training.eval_steps) if training.eval_strategy == "steps" else ("epoch", None)
    return {
        "training.max_steps": None,
        "training.num_train_epochs": epochs,
        "training.eval_strategy": "no",
        "training.eval_steps": None,
        "training.save_strategy": strategy,
        "training.save_steps": every,
        "training.load_best_model_at_end": False,
        "training.early_stopping_patience": None,
    }


def all_rows(splits: Splits) -> Splits:
    """The same with the validation rows behind the training rows; validation is what it was."""
    train, validation = splits.train, splits.validation
    # of several sources one may have columns that no row of the other split has
    table = pa.concat_tables([train.table, validation.table], promote_options="default")
    return replace(splits, train=replace(train, table=table, source=f"{train.source} and {validation.source}"))


def begin_refit(run: Run) -> None:
    """Make the folder of the second training, whose checkpoints are of what the run is made of."""
    run.refit.path.mkdir(exist_ok=True)
    manifest = run.manifest()
    write_json(run.refit.manifest_file, {name: manifest.get(name) for name in ("hashes", "former_hashes")})


def refit_notes(recipe: Recipe, splits: Splits) -> list[str]:
    """What a refit will cost, said before anything is trained.

    Raises:
        UserError: some validation rows are of a source without a weight, so that they would not be learnt.
    """
    if not recipe.training.refit:
        return []
    for number, _, _ in splits.validation.by_source() if splits.weights else ():
        if not splits.weights[number]:
            raise UserError(
                f"training.refit learns the validation rows too, and those of {splits.validation.source_names[number]} "
                "have no weight among the sources of training",
                fix="remove training.refit or the weights, or take validation from the sources of training",
            )
    num_train, num_validation = len(splits.train), len(splits.validation)
    more = _text_bytes(splits.validation) / max(1, _text_bytes(splits.train))
    when = "the best step is found" if recipe.training.load_best_model_at_end else "the first training"
    return [
        f"training.refit: after {when} it is trained once more on all {num_train + num_validation:,} "
        f"rows ({num_train:,} and {num_validation:,} of validation): up to {more + 2:.1f} times "
        "the steps"
    ]


def _text_bytes(split: Split) -> int:
    """How much text a split has, in UTF-8 bytes: rows may be documents of any length."""
    import pyarrow.compute as pc

    columns = [column for column in split.table.columns if pa.types.is_string(column.type)]
    return sum(int(pc.sum(pc.binary_length(column)).as_py() or 0) for column in columns)
