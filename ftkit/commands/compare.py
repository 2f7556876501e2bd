"""Runs held against one another: what was asked, what came out, what it cost, and which differences are real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftkit.commands.matching import LEVEL, ComparedRun, judged, match_runs
from ftkit.errors import UserError, typed
from ftkit.recipe.schema import Recipe
from ftkit.report.comparison import Column, Comparison, Match
from ftkit.runs.folder import find_run
from ftkit.runs.run import Run
from ftkit.storage import StrPath, read_json_object
from ftkit.tasks.table import read_recipe

FEWEST_RUNS, MOST_RUNS = 2, 8
SPLITS = ("test", "validation")


def compare(
    paths: Sequence[StrPath], *, against: StrPath | None = None, splits: Sequence[str] = SPLITS, seed: int = 0
) -> Comparison:
    """Hold runs against one another, and match each with a baseline on the rows that both predicted.

    Args:
        paths: 2 to 8 runs, finished or not.
        against: the baseline, which is added in front where `paths` lacks it; the first run when None.
        splits: of test and validation, whose predictions are matched.
        seed: of the resamples.

    Returns:
        Columns, the recipe keys that differ, and for each run the differences that its predictions allow.

    Raises:
        UserError: too few or too many runs, the same run twice, or a folder that is no run.
    """
    from ftkit.metrics.bootstrap import RESAMPLES

    named = [Path(path) for path in paths]
    baseline_path = named[0] if against is None and named else Path(against or "")
    if against is not None and baseline_path.resolve() not in [path.resolve() for path in named]:
        named.insert(0, baseline_path)
    _refuse_paths(named)
    sides = [_read(find_run(path), chr(ord("A") + place)) for place, path in enumerate(named)]
    wanted = baseline_path.resolve()
    (baseline,) = (side for side in sides if side.run.path.resolve() == wanted)
    others = [side for side in sides if side is not baseline]
    matches: list[Match] = []
    for split in splits:
        if any(side.run.predictions_file(split).exists() for side in sides):
            matches += judged([match_runs(baseline, side, split, seed=seed) for side in others])
    keys = _differing_keys(sides)
    return Comparison(
        against=baseline.letter,
        level=LEVEL,
        num_resamples=RESAMPLES,
        runs=[side.column for side in sides],
        recipe=keys,
        matches=matches,
        notes=_notes(sides, matches, keys),
    )


def _refuse_paths(paths: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for path in paths:
        if (former := seen.get(path.resolve())) is not None:
            names = f"{path}" if former == path else f"{former} and {path}"
            raise UserError(f"the same run twice: {names}", fix="name each run once")
        seen[path.resolve()] = path
    if not FEWEST_RUNS <= len(paths) <= MOST_RUNS:
        count = f"{len(paths)} run{'' if len(paths) == 1 else 's'}"
        raise UserError(f"{count} to compare", fix=f"name {FEWEST_RUNS} to {MOST_RUNS} runs; `ftkit runs` lists them")


def _read(run: Run, letter: str) -> ComparedRun:
    manifest, state = run.manifest(), run.state() or "unknown"
    try:
        recipe = read_recipe(run.recipe_file, check_files=False).recipe
    except (UserError, OSError):
        # a run of another version, or one that was killed before its second file was written
        recipe = None
    try:
        metrics = {split: entries for split, entries in run.metrics().items() if split in SPLITS}
    except UserError:
        metrics, state = {}, f"{state}, metrics.json damaged"
    verdict = _verdict(run)
    training = manifest.get("training") or {}
    fit = training.get("fit") or {}
    model = run.model_dir
    column = Column(
        letter=letter,
        path=str(run.path),
        state=state,
        verdict=str(verdict.get("title") or f"not evaluated: {typed('ftkit', 'eval', run.path)}"),
        headline=verdict.get("headline"),
        sentence=str(verdict.get("sentence") or ""),
        task=recipe.task if recipe else None,
        method=recipe.method.type if recipe else None,
        base=recipe.model.name_or_path if recipe else None,
        metrics=metrics,
        seconds=run.seconds() if state == "finished" else None,
        trained_parameters=training.get("trained_parameters"),
        num_steps=fit.get("num_steps"),
        best_step=fit.get("best_step"),
        model_bytes=sum(file.stat().st_size for file in model.rglob("*") if file.is_file()) if model.is_dir() else None,
    )
    return ComparedRun(run, column, recipe, manifest)


def _verdict(run: Run) -> Mapping[str, Any]:
    try:
        found = read_json_object(run.eval_dir / "report.json").get("verdict")
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def _differing_keys(sides: Sequence[ComparedRun]) -> dict[str, dict[str, Any]]:
    """Dotted key -> letter -> value, of the keys that the recipes do not agree on; where a run lies is not one."""
    flat = {side.letter: _flat(side.recipe) for side in sides if side.recipe is not None}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    found = {key: {letter: values[key] for letter, values in flat.items() if key in values} for key in keys}

    def differs(key: str) -> bool:
        # a key that is not read asks for as little as one that is null
        first, *rest = (values.get(key) for values in flat.values())
        return any(value != first for value in rest)

    return {key: values for key, values in found.items() if differs(key)}


def _flat(recipe: Recipe) -> dict[str, Any]:
    values = {f"{section}.{key}": value for section, below in recipe.settings().items() for key, value in below.items()}
    return {"task": recipe.task} | {key: value for key, value in values.items() if key != "training.output_dir"}


def _notes(sides: Sequence[ComparedRun], matches: Sequence[Match], keys: Mapping[str, Any]) -> list[str]:
    notes = []
    split_names = {match.split for match in matches if match.differences}
    if "validation" in split_names:
        beside = ": differences on test count more" if "test" in split_names else ""
        notes.append(f"validation chose the checkpoints, so its scores are a little too good{beside}")
    if len({side.hash("data", "train") for side in sides}) > 1:
        notes.append("the runs did not learn from the same training rows")
    if set(keys) == {"training.seed"}:
        notes.append("only the seed differs: what is real here is what chance in training does")
    elif split_names:
        notes.append("a real difference is one between these models; another seed of one recipe makes another model")
    return notes
