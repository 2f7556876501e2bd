"""`ftkit train`: from a recipe to a finished run, begun or gone on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.interruption import Interrupted
from ftkit.progress import Reporter, Silent
from ftkit.runs.disk import disk_failures_told
from ftkit.runs.folder import is_run, refuse_taken
from ftkit.runs.lock import locked
from ftkit.runs.run import Run
from ftkit.tasks.table import read_recipe

if TYPE_CHECKING:
    from ftkit.data.dataset import Splits
    from ftkit.recipe.schema import Recipe
    from ftkit.training.outcome import TrainResult


def train(
    recipe_file: Path,
    overrides: Sequence[str] = (),
    *,
    overwrite: bool = False,
    resume: bool | Path = False,
    allow_changed: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> TrainResult:
    """Train what a recipe describes.

    Signals are left as they are: whoever wants SIGTERM to finish the step and seal a checkpoint listens to them, as the
    command line does (`ftkit.interruption.STOP.listening`).

    Args:
        recipe_file: a YAML recipe.
        overrides: dotted `key=value` words.
        overwrite: replace an existing run of the same name.
        resume: go on with an existing run, from its newest whole checkpoint or from the one named; a new run is
            started when there is none.
        allow_changed: fields that may differ from those the run was started with, as the refusal names them.
        reporter: hears notes and progress.

    Raises:
        UserError: anything that a person can mend.
        RunError: the run was under way and cannot go on.
        Interrupted: a signal was listened to.
    """
    recipe, reporter = read_recipe(recipe_file, overrides).recipe, reporter or Silent()
    assert recipe.training.output_dir is not None, "read_recipe fills it"
    path = Path(recipe.training.output_dir)
    with disk_failures_told(path), locked(path, reporter=reporter):
        going_on = resume is not False and is_run(path)
        if isinstance(resume, Path) and not going_on:
            raise UserError(f"{path} is no run to go on with", fix="say --resume without a checkpoint to start one")
        if resume and not going_on:
            reporter.say(f"there is no run {path} to go on with: a new one is started")
        if not going_on:
            refuse_taken(path, overwrite=overwrite)

        from ftkit.tasks.table import task_of
        from ftkit.training.outcome import TrainResult
        from ftkit.training.resume import go_on
        from ftkit.training.story import begin, finish

        task = task_of(recipe.task)
        try:
            if going_on:
                asked = resume if isinstance(resume, Path) else None
                run, allowed = Run(path), allow_changed
                before = read_recipe(run.recipe_file).recipe if run.recipe_file.exists() else None
                opened = go_on(run, recipe, task, started_with=before, asked=asked, allowed=allowed, reporter=reporter)
            else:
                opened = begin(recipe, task, overwrite=overwrite, reporter=reporter)
            if opened is None:
                return TrainResult(Run(path), Run(path).metrics())
            return finish(opened, recipe, task, write_card=write_model_card, reporter=reporter)
        except Interrupted as stop:
            stop.advice = stop.advice or "nothing was trained yet"
            raise


def write_model_card(
    run: Run, recipe: Recipe, *, splits: Splits, metrics: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Write model/README.md.

    Args:
        run: a run whose model is in its place.
        recipe: what was asked.
        splits: the data.
        metrics: as in metrics.json.
        facts: of the training, as in the manifest.
    """
    from ftkit.report.card import Card, library_of, write_card
    from ftkit.report.terminal import score_rows
    from ftkit.tasks.table import task_of
    from ftkit.version import __version__

    task, folder = task_of(recipe.task), run.model_dir
    told = task.card_facts(recipe, splits, facts)
    rows = ", ".join(f"{len(split):,} {split.name}" for split in splits.all())
    card = Card(
        task=recipe.task,
        name=run.path.name,
        library=library_of(folder),
        base=recipe.model.name_or_path,
        method=recipe.method.type,
        version=__version__,
        data=f"{splits.train.source}; {rows}",
        scores=score_rows(metrics, beside_base=told.beside_base),
        chose_best=recipe.training.load_best_model_at_end,
        loading=task.loading_lines(folder, at=folder.name, name=run.path.name, prompt=told.prompt),
        recipe=run.recipe_file.read_text(encoding="utf-8"),
        told=told,
    )
    write_card(card, folder)
