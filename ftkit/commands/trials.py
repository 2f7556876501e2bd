"""Short trainings beside a run: what would a higher rate, more trained weights or more steps have done?"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.diagnosis.advice import FEW_STEPS, MANY_EPOCHS, rounded
from ftkit.diagnosis.measurements import Trial, TrialKind
from ftkit.errors import RunError, UserError
from ftkit.evaluation.subject import Subject
from ftkit.interruption import Interrupted
from ftkit.methods.full import FullMethod
from ftkit.methods.section import MethodSection
from ftkit.progress import Silent
from ftkit.recipe.dump import changed, dump_recipe
from ftkit.recipe.parse import recipe_from_values
from ftkit.recipe.schema import Recipe
from ftkit.runs.folder import create
from ftkit.runs.run import Run
from ftkit.storage import scratch_folder
from ftkit.tasks.table import task_of, task_rules
from ftkit.training.opening import Opened
from ftkit.training.probes import read_probes
from ftkit.training.story import finish

USUAL_SIZE = 110e6
"""Parameters of the models whose usual rates the defaults are; a narrower one takes larger steps, in proportion to its
width (Yang et al. 2022, Tensor Programs V), which is about the root of its size."""
RATES: dict[TrialKind, float] = {"rate": 10.0, "faster": 100.0, "slower": 0.1}
TRIAL_WORDS: dict[TrialKind, str] = {
    "rate": "a trial with ten times the learning rate",
    "faster": "a trial with a hundred times the learning rate",
    "slower": "a trial with a tenth of the learning rate",
    "longer": "a trial of three times the length",
    "unfrozen": "a trial that trains every weight",
    "rank": "a trial with eight times the rank",
}


def possible_trials(subject: Subject) -> dict[TrialKind, dict[str, object]]:
    """Kind of trial -> recipe keys and values that it changes; those that make sense for the method."""
    recipe, training = subject.recipe, subject.recipe.training
    found: dict[TrialKind, dict[str, object]] = {
        kind: {"training.learning_rate": rounded(training.learning_rate * factor)} for kind, factor in RATES.items()
    }
    found["longer"] = (
        {"training.max_steps": training.max_steps * 3}
        if training.max_steps is not None
        else {"training.num_train_epochs": training.num_train_epochs * 3}
    )
    if subject.checkpoint.adapter is not None:
        # one that is gone on with stays of its rank, and of its method
        return found
    if recipe.method.more_of_it:
        found["rank"] = recipe.method.more_of_it
    # what trains every weight is not scored out of fold, so there would be nothing to hold it against
    if recipe.method.trains != "weights" and subject.splits.folds is None:
        found["unfrozen"] = _every_weight(recipe, size_of(subject.checkpoint.folder), rows=len(subject.splits.train))
    return found


def size_of(folder: Path) -> int:
    """Parameters of a checkpoint, by its files."""
    from safetensors import safe_open

    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "np") as weights:
            total += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return total


def usual_rate(recipe: Recipe, method: MethodSection, parameters: int) -> float:
    """Peak learning rate that a method usually takes: its default, larger for models that are narrower.

    Args:
        method: the recipe's, or another.
        parameters: of the base; 0 where its files do not tell, which leaves the default.
    """
    rate = task_rules()[recipe.task].defaults_of(method.type, recipe.value)["training.learning_rate"]
    assert isinstance(rate, float), "a rate"
    # a head on frozen features has the width of its features, not of the model's body
    if method.trains == "head" or not parameters:
        return rate
    return rounded(rate * max(1.0, (USUAL_SIZE / parameters) ** 0.5))


def _every_weight(recipe: Recipe, parameters: int, *, rows: int) -> dict[str, object]:
    full = FullMethod(type="full")
    defaults = task_rules()[recipe.task].defaults_of(full.type, recipe.value)
    found: dict[str, object] = {"method": {"type": full.type}}
    keys = ("lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "weight_decay")
    found |= {f"training.{key}": defaults[f"training.{key}"] for key in keys}
    found["training.learning_rate"] = usual_rate(recipe, full, parameters)
    if recipe.method.trains == "head":
        # a head's epochs cost nothing, those of an encoder do; on few rows the usual three do not reach far
        batch, epochs = (defaults[f"training.{key}"] for key in ("per_device_train_batch_size", "num_train_epochs"))
        assert isinstance(batch, int), "rows"
        assert isinstance(epochs, int), "passes"
        enough = math.ceil(FEW_STEPS * batch / max(1, rows))
        found |= {
            "training.per_device_train_batch_size": batch,
            "training.num_train_epochs": max(epochs, min(MANY_EPOCHS, enough)),
        }
    return found


def try_out(subject: Subject, kind: TrialKind, changes: Mapping[str, object]) -> Trial | str:
    """Train once more with some changes, in a folder that is thrown away.

    Returns:
        What came out, or the reason why nothing did.
    """
    assert subject.run is not None, "a model that ftkit did not train has no recipe to try again"
    began, task = time.perf_counter(), task_of(subject.recipe.task)
    with scratch_folder("trial") as folder:
        try:
            # a trial is nothing for the trackers of a run
            lean = {**changes, **task.losses_alone, "training.report_to": "none", "training.refit": False}
            recipe = changed_recipe(subject.recipe, lean, output_dir=folder / "run")
            opened = Opened(_fresh(subject, recipe), subject.checkpoint, subject.splits)
            with subject.reporter.track(TRIAL_WORDS[kind], total=1) as advance:
                finish(opened, recipe, task, reporter=Silent())
                advance(1)
        except Interrupted as stop:
            stop.advice = "nothing of a trial is kept"
            raise
        except (UserError, RunError) as error:
            return f"{TRIAL_WORDS[kind]} failed: {error}"
        points = read_probes(opened.run)
    if not points:
        return f"{TRIAL_WORDS[kind]} left no record"
    best = min((point for point in points if point.step > 0), key=lambda point: point.validation.loss)
    spent = time.perf_counter() - began
    wider = " on all linear layers" if "method.target_modules" in changes else ""
    words = f"{TRIAL_WORDS[kind]}{wider} ({best.step:,} steps, {spent:.0f} s)"
    return Trial(kind, words, best.train, best.validation, dict(changes))


def changed_recipe(recipe: Recipe, changes: Mapping[str, object], *, output_dir: Path) -> Recipe:
    """A recipe with some keys replaced, read anew; `method` replaces the whole section.

    Raises:
        RecipeError: the result is no valid recipe.
    """
    other = changed(recipe, {**changes, "training.output_dir": str(output_dir)})
    return recipe_from_values({"task": other.task, **other.settings()}, output_dir / "recipe.yaml", tasks=task_rules())


def _fresh(subject: Subject, recipe: Recipe) -> Run:
    assert subject.run is not None, "only runs are tried again"
    assert recipe.training.output_dir is not None, "named by the caller"
    known = subject.run.manifest()
    names = ("seed", "data", "hashes", "versions", "hardware", "label_names")
    kept: dict[str, Any] = {name: known[name] for name in names if name in known}
    return create(Path(recipe.training.output_dir), recipe_text=dump_recipe(recipe), manifest=kept)
