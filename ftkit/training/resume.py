"""Going on with a run that was stopped: is it still made of the same things, and from which checkpoint?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ftkit.errors import RunError, UserError
from ftkit.progress import Reporter
from ftkit.recipe.data_section import SPLIT_NAMES
from ftkit.recipe.dump import changed, dump_recipe, leaves
from ftkit.recipe.nearest import nearest
from ftkit.recipe.schema import Recipe
from ftkit.recipe.yaml.scalars import write_value
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.folder import versions
from ftkit.runs.run import Run
from ftkit.runs.seals import BrokenSeal
from ftkit.training.opening import UNSAID, Opened, hashes_of, load_base_and_data, resolve
from ftkit.training.way import Trainable

PLACES = frozenset({"training.output_dir"})
"""Keys of a recipe that say where things lie and nothing about what comes out."""


CONTENTS = ("base_weights", "adapter", "tokenizer", "prompting")
"""What a run is made of beside its recipe and its data: `prompting` is what chat templates and the like hold."""


class Altered(NamedTuple):
    """Something that a run was made of and that is different now.

    Attributes:
        field: a key of the recipe, or `data.SPLIT`, `base_weights`, `tokenizer` for what the files hold.
        before: its value then, in words.
        now: its value now.
    """

    field: str
    before: str
    now: str


def recipe_changes(started_with: Recipe, recipe: Recipe) -> list[Altered]:
    """Keys whose values differ from those that a run was started with."""
    before = dict(leaves(started_with.model_dump()))
    now = dict(leaves(recipe.model_dump()))
    fields = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return [
        Altered(name, write_value(before.get(name)), write_value(now.get(name)))
        for name in fields
        if name not in PLACES
    ]


def _as_found(recipe: Recipe, run: Run, started_with: Recipe) -> Recipe:
    """Today's recipe with what the run found for keys that were left open: it finds that again in the same data."""
    missing = (key for key in run.manifest().get("found", ()) if recipe.value(key) in UNSAID)
    return changed(recipe, {key: started_with.value(key) for key in missing})


def content_changes(run: Run, hashes: Mapping[str, Any], rows: Mapping[str, int]) -> list[Altered]:
    """Files behind the recipe whose content differs: data by split, base weights, tokenizer.

    Args:
        run: the run.
        hashes: as in its manifest, of today.
        rows: how many each split has today.
    """
    manifest, before = run.manifest(), run.told("hashes")
    data, changes = before.get("data") or {}, []
    for split in sorted(data.keys() | hashes["data"].keys()):
        then, today = data.get(split), hashes["data"].get(split)
        if then != today:
            rows_then = manifest.get("data", {}).get(split, {}).get("rows", 0)
            changes.append(Altered(f"data.{split}", _rows(rows_then, then), _rows(rows.get(split, 0), today)))
    for name in CONTENTS:
        # a run of an older version says nothing of its prompting
        if before.get(name) != hashes.get(name) and (name in before or name != "prompting"):
            changes.append(Altered(name, _short(before.get(name)), _short(hashes.get(name))))
    return changes


def refuse_changes(run: Run, changes: Sequence[Altered], *, allowed: Sequence[str]) -> None:
    """Refuse to go on with something else under the same name.

    Args:
        run: the run.
        changes: what is different.
        allowed: fields that may be.

    Raises:
        UserError: naming every other field, with both values.
    """
    refused = [change for change in changes if change.field not in allowed]
    if not refused:
        return
    shown = "".join(f"\n  {change.field}: {change.before} -> {change.now}" for change in refused)
    flags = " ".join(f"--allow-changed {change.field}" for change in refused)
    raise UserError(
        f"the run {run.path} cannot be resumed, for it was started with something else",
        fix=f"undo that, start a new run with another training.output_dir, or go on all the same with {flags}{shown}",
    )


def refuse_unknown_fields(recipe: Recipe, allowed: Sequence[str]) -> None:
    """Refuse to allow a change of something that no run is made of.

    Raises:
        UserError: naming the nearest field.
    """
    known = [name for name, _ in leaves(recipe.model_dump())]
    known += [*CONTENTS, *(f"data.{split}" for split in SPLIT_NAMES)]
    for name in allowed:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near}?" if near else "the refusal of a resume names the fields"
            raise UserError(f"--allow-changed {name}: a run is made of no such field", fix=hint)


def version_notes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is installed otherwise than when the run was started: the last bits of weights may come out otherwise."""
    return [
        f"{name} was {before[name]} when this run was started and is {now[name]}: weights may differ in their last bits"
        for name in sorted(before.keys() & now.keys())
        if before[name] != now[name]
    ]


def go_on(
    run: Run,
    recipe: Recipe,
    task: Trainable,
    *,
    started_with: Recipe | None,
    asked: Path | None,
    allowed: Sequence[str],
    reporter: Reporter,
) -> Opened | None:
    """Open a run again, where nothing but what is allowed has changed.

    Args:
        run: that was begun before.
        recipe: of today.
        task: of the recipe.
        started_with: the run's own recipe; None for a run that was killed while it was made: nothing is done in it.
        asked: the checkpoint to go on from, where one is named.
        allowed: fields that may have changed.
        reporter: hears of changes.

    Returns:
        None where it is finished and nothing has changed.

    Raises:
        UserError: it cannot be gone on with.
    """
    refuse_unknown_fields(recipe, allowed)
    changes = [] if started_with is None else recipe_changes(started_with, _as_found(recipe, run, started_with))
    refuse_changes(run, changes, allowed=allowed)
    if run.manifest().get("state") == "finished" and not changes and asked is None:
        reporter.say(f"{run.path} is finished already: nothing to resume")
        return None
    checkpoint, splits = load_base_and_data(recipe, task, moment=run.manifest().get("moment"), reporter=reporter)
    whole, found = resolve(recipe, task, checkpoint, splits)
    hashes = hashes_of(whole, checkpoint, splits)
    changes += content_changes(run, hashes, {split.name: len(split) for split in splits.all()})
    refuse_changes(run, changes, allowed=allowed)
    for change in changes:
        reporter.say(f"changed as allowed: {change.field}: {change.before} -> {change.now}")
    for note in version_notes(run.told("versions"), versions()):
        reporter.say(note)
    run.remake(hashes, recipe_text=dump_recipe(whole), changed=[change._asdict() for change in changes])
    run.update_manifest(found=found)
    if run.first_model_dir.is_dir() and recipe.training.refit and not changes and asked is None:
        reporter.say("the first training is done: the refit goes on")
        return Opened(run, checkpoint, splits)
    run.forget_refit()
    resumed = checkpoint_to_resume(run, asked, reporter=reporter)
    run.cut_history(step=0 if resumed is None else resumed.progress.step)
    return Opened(run, checkpoint, splits, resumed)


def checkpoint_to_resume(run: Run, asked: Path | None, *, reporter: Reporter) -> SealedCheckpoint | None:
    """The checkpoint to go on from: the one that was asked for, else the newest that verifies.

    Returns:
        None when there is none, and training starts again.

    Raises:
        UserError: the one asked for does not count.
    """
    checkpoints = run.checkpoints()
    if asked is None:
        found = checkpoints.newest(reporter=reporter)
    else:
        checkpoints.recover()
        if asked.resolve().parent != run.checkpoints_dir.resolve():
            raise UserError(f"{asked} is no checkpoint of the run {run.path}", fix=f"they lie in {run.checkpoints_dir}")
        try:
            found = checkpoints.usable(asked)
        except BrokenSeal as error:
            raise UserError(
                f"{asked} cannot be gone on from: {error}", fix="--resume alone takes the newest one that is whole"
            ) from None
    if found is None:
        reporter.say("no checkpoint to go on from: training starts again, stored features are reused")
    else:
        due = "; its evaluation comes first" if found.progress.evaluation_due else ""
        reporter.say(f"going on from {found.path.name}, whose seal is unbroken{due}")
    return found


def _rows(num_rows: int, fingerprint: str | None) -> str:
    return "none" if fingerprint is None else f"{num_rows:,} rows of sha256 {fingerprint[:12]}"


def _short(digest: str | None) -> str:
    return "none" if digest is None else f"sha256 {digest[:12]}"


def refuse_other_weights(model: Any, read: Any) -> None:
    """Refuse a checkpoint that does not hold the weights of the model that it was read into.

    Args:
        model: the model.
        read: `missing_keys` and `unexpected_keys` as torch has them.

    Raises:
        RunError: it lacks some, or has others.
    """
    weights = dict(model.named_parameters(remove_duplicate=False))
    # some are computed anew instead of being saved, as the positions of Marian
    missing = set(read.missing_keys) - set(getattr(model, "_keys_to_ignore_on_save", None) or ())
    there = {weight.data_ptr() for name, weight in weights.items() if name not in missing}
    lacking = [name for name, weight in weights.items() if name in missing and weight.data_ptr() not in there]
    if wrong := [*lacking, *read.unexpected_keys]:
        raise RunError(
            f"a checkpoint does not hold the weights of this model: {', '.join(wrong[:3])}",
            fix="train anew: ftkit train --overwrite",
        )
