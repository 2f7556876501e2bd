"""`ftkit train`: from a recipe to a finished run, begun or gone on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.interruption import Interrupted
from ftkit.progress import Reporter, Silent
from ftkit.runs.disk import disk_failures_told
from ftkit.runs.folder import is_run, refuse_taken
from ftkit.runs.lock import locked
from ftkit.runs.replacing import kept_meanwhile, recover
from ftkit.runs.run import Run
from ftkit.storage import write_json
from ftkit.tasks.table import RecipeLike, read_recipe, take_recipe, task_of

if TYPE_CHECKING:
    from ftkit.data.dataset import Splits
    from ftkit.evaluation.own_metrics import AnswerKeys
    from ftkit.metrics.foreign.own import OwnMetric
    from ftkit.recipe.schema import ModelSpec, Recipe
    from ftkit.training.opening import Opened
    from ftkit.training.outcome import TrainResult

REFITTED = (
    "Validation was scored before the refit: the model here was then trained once more, on those rows too, for as many "
    "epochs. Test scores, where there are some, are its own."
)


def train(
    recipe: RecipeLike,
    overrides: Sequence[str] = (),
    *,
    overwrite: bool = False,
    resume: bool | PathLike[str] = False,
    allow_changed: Sequence[str] = (),
    own_metrics: Sequence[str] = (),
    reporter: Reporter | None = None,
    **values: object,
) -> TrainResult:
    """Train what a recipe describes: `train("recipe.yaml", learning_rate=3e-4)`.

    Signals are left as they are: whoever wants SIGTERM to finish the step and seal a checkpoint listens to them, as the
    command line does (`ftkit.interruption.STOP.listening`).

    Args:
        recipe: a YAML file, a dictionary of sections, or a recipe.
        overrides: dotted `key=value` words.
        overwrite: replace an existing run of the same name, which is kept aside until the new one is finished.
        resume: go on with an existing run, from its newest whole checkpoint or from the one named; a new run is
            started when there is none.
        allow_changed: fields that may differ from those the run was started with, as the refusal names them.
        own_metrics: functions of Python files (`metrics.py:my_score`), which are run; no recipe and no run names them.
        reporter: hears notes and progress; `ConsoleReporter` of ftkit.cli.console prints them.
        values: keys of the recipe with the values that they have instead; dotted ones by `**{"data.max_length": 64}`.

    Raises:
        UserError: anything that a person can mend.
        RunError: the run was under way and cannot go on.
        Interrupted: a signal was listened to.
    """
    asked, reporter = take_recipe(recipe, overrides, values).recipe, reporter or Silent()
    task = task_of(asked.task)
    own: list[OwnMetric] = []
    if own_metrics:
        from ftkit.evaluation.own_metrics import load_metrics

        own = load_metrics(own_metrics, asked, task.answer_keys)
    from_checkpoint = None if isinstance(resume, bool) else Path(resume)
    assert asked.training.output_dir is not None, "reading fills it"
    path = Path(asked.training.output_dir)
    with disk_failures_told(path), locked(path, reporter=reporter):
        recover(path)
        going_on = _is_to_go_on(path, resume, overwrite=overwrite, reporter=reporter)

        from ftkit.training.arguments import refuse_missing_packages
        from ftkit.training.outcome import TrainResult
        from ftkit.training.story import begin, finish

        refuse_missing_packages(asked)
        try:
            if going_on:
                opened = _go_on(Run(path), asked, from_checkpoint, allowed=allow_changed, reporter=reporter)
            else:
                opened = begin(asked, task, overwrite=overwrite, reporter=reporter)
            with kept_meanwhile(Run(path), say=reporter.say):
                if opened is None:
                    found = TrainResult(Run(path), Run(path).metrics())
                else:
                    found = finish(opened, asked, task, write_card=write_model_card, reporter=reporter)
        except Interrupted as stop:
            stop.advice = stop.advice or "nothing was trained yet"
            raise
        return _with_own(found, own, asked, task.answer_keys, reporter=reporter) if own else found


def _with_own(
    result: TrainResult, own: Sequence[OwnMetric], recipe: Recipe, keys: AnswerKeys | None, *, reporter: Reporter
) -> TrainResult:
    """A finished run with metrics of somebody's own in metrics.json."""
    from ftkit.evaluation.own_metrics import measure_run

    reporter.say(f"measuring {', '.join(metric.name for metric in own)}")
    measured = measure_run(result.run, recipe, own, keys)
    metrics = {
        split: {**known, **_held_out_alike(measured.get(split, {}), known)} for split, known in result.metrics.items()
    }
    write_json(result.run.metrics_file, metrics)
    return replace(result, metrics=metrics)


def _held_out_alike(measured: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Entries with what is said of how their rows are held out, as it stands at the loss of the same split."""
    note = known.get("loss", {}).get("note")
    return {name: entry | {"note": note} if note else entry for name, entry in measured.items()}


def _is_to_go_on(path: Path, resume: bool | PathLike[str], *, overwrite: bool, reporter: Reporter) -> bool:
    """Whether a run is there and to be gone on with; if not, a new one may be made in its place."""
    if resume is not False and is_run(path):
        return True
    if not isinstance(resume, bool):
        raise UserError(f"{path} is no run to go on with", fix="say --resume without a checkpoint to start one")
    if resume:
        reporter.say(f"there is no run {path} to go on with: a new one is started")
    refuse_taken(path, overwrite=overwrite)
    return False


def _go_on(
    run: Run, recipe: Recipe, checkpoint: Path | None, *, allowed: Sequence[str], reporter: Reporter
) -> Opened | None:
    """Open a run to go on with; None where it is finished already."""
    from ftkit.training.resume import go_on

    before = read_recipe(run.recipe_file).recipe if run.recipe_file.exists() else None
    task = task_of(recipe.task)
    return go_on(run, recipe, task, started_with=before, asked=checkpoint, allowed=allowed, reporter=reporter)


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
    from ftkit.recipe.dump import dump_recipe
    from ftkit.report.card import Card, library_of, write_card
    from ftkit.report.terminal import score_rows
    from ftkit.version import __version__

    task, folder = task_of(recipe.task), run.model_dir
    told = task.card_facts(recipe, splits, facts)
    rows = ", ".join(f"{len(split):,} {split.name}" for split in splits.apart())
    name = recipe.model.name_or_path
    is_folder = Path(name).is_absolute()
    source, data_set = splits.train.source, recipe.data.dataset_name
    if splits.train.source_names:
        source = ", ".join(splits.train.source_names)
    elif data_set is None or Path(data_set).is_absolute():
        source = Path(source).name
    card = Card(
        task=recipe.task,
        name=run.path.name,
        library=library_of(folder),
        # where something lay on this machine is nobody else's business
        base=Path(name).name if is_folder else name,
        base_is_folder=is_folder,
        began=_began(recipe.model),
        refitted=REFITTED if recipe.training.refit else "",
        method=recipe.method.type,
        version=__version__,
        data=f"{source}; {rows}",
        scores=score_rows(metrics, beside_base=told.beside_base),
        chose_best=recipe.training.load_best_model_at_end,
        loading=task.loading_lines(folder, at=folder.name, name=run.path.name, prompt=told.prompt),
        recipe=dump_recipe(recipe, folders=False),
        told=told,
    )
    write_card(card, folder)


def _began(spec: ModelSpec) -> str:
    """What a training went on from, for its card; where it lay on this machine is nobody else's business."""
    if spec.adapter is None:
        return ""
    folder = Path(spec.adapter)
    name = folder.parent.name if folder.name == "model" else folder.name
    if spec.adapter_use == "continue":
        return f"It went on from the weights of the adapter {name}."
    return f"The adapter {name} was merged into that base first: what was trained here fits the two together."
