"""Runs held against one another: what was asked, what came out, what it cost, and which differences are real."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.recipe.defaults import is_read
from ftkit.recipe.parse import load_recipe
from ftkit.recipe.schema import Recipe, Section
from ftkit.report.comparison import LOWER_IS_BETTER, Column, Comparison, Difference, Pair
from ftkit.runs import Run, find_run

if TYPE_CHECKING:
    from ftkit.metrics.paired import Gaps, Worth

LEVEL = 0.05
"""Chance at most that any difference of a split is called real though there is none (Holm)."""
FEWEST_RUNS, MOST_RUNS = 2, 8
SPLITS = ("test", "validation")
ROW_SCORES = ("exact_match", "token_f1", "chrf", "rougeL", "edit_distance")
"""Metrics of one generated text, as they stand in predictions/; their means over rows are compared."""
MEASURED = frozenset({"num_targets", "loss", "base_loss", "text_nll", "text_bytes"})
"""What stands in a language model's predictions beside the texts of a row."""
SMALLEST_PROBABILITY = 5e-7
"""predictions/ keep six decimals: a probability of zero there lies below this."""


class _NotComparable(Exception):
    """Why two runs cannot be paired, in words."""


@dataclass(frozen=True)
class _Side:
    """One run with what is read of it."""

    run: Run
    column: Column
    recipe: Recipe | None
    manifest: Mapping[str, Any]

    @property
    def letter(self) -> str:
        return self.column.letter

    def hash(self, *names: str) -> object:
        """One of the manifest's hashes; None where it has none."""
        found: Any = self.manifest.get("hashes", {})
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


def compare(
    paths: Sequence[Path], *, against: Path | None = None, splits: Sequence[str] = SPLITS, seed: int = 0
) -> Comparison:
    """Hold runs against one another, and pair each with a baseline on the rows that both predicted.

    Args:
        paths: 2 to 8 runs, finished or not.
        against: the baseline, which is added in front where `paths` lacks it; the first run when None.
        splits: of test and validation, whose predictions are paired.
        seed: of the resamples.

    Returns:
        Columns, the recipe keys that differ, and for each pair the differences that its predictions allow.

    Raises:
        UserError: too few or too many runs, the same run twice, or a folder that is no run.
    """
    from ftkit.metrics.paired import RESAMPLES

    named = list(paths)
    if against is not None and against.resolve() not in [path.resolve() for path in named]:
        named.insert(0, against)
    _refuse_paths(named)
    sides = [_read(find_run(path), chr(ord("A") + place)) for place, path in enumerate(named)]
    wanted = (against or named[0]).resolve()
    (baseline,) = (side for side in sides if side.run.path.resolve() == wanted)
    others = [side for side in sides if side is not baseline]
    pairs: list[Pair] = []
    for split in splits:
        if any(side.run.predictions_file(split).exists() for side in sides):
            pairs += _judged([_pair(baseline, side, split, seed=seed) for side in others])
    keys = _differing_keys(sides)
    return Comparison(
        against=baseline.letter,
        level=LEVEL,
        num_resamples=RESAMPLES,
        runs=[side.column for side in sides],
        recipe=keys,
        pairs=pairs,
        notes=_notes(sides, pairs, keys),
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


def _read(run: Run, letter: str) -> _Side:
    manifest, state = run.manifest(), run.state() or "unknown"
    try:
        recipe = load_recipe(run.recipe_file, check_files=False).recipe
    except (UserError, OSError):
        # a run of another version, or one that was killed before its second file was written
        recipe = None
    try:
        metrics = {split: entries for split, entries in run.metrics().items() if split in SPLITS}
    except ValueError:
        metrics, state = {}, f"{state}, metrics.json damaged"
    verdict = _verdict(run)
    training = manifest.get("training") or {}
    fit = training.get("fit") or {}
    model = run.model_dir
    column = Column(
        letter=letter,
        path=str(run.path),
        state=state,
        verdict=str(verdict.get("title") or f"not evaluated: ftkit eval {run.path}"),
        headline=verdict.get("headline"),
        sentence=str(verdict.get("sentence") or ""),
        task=recipe.task if recipe else None,
        method=recipe.method.type if recipe else None,
        base=recipe.model.name_or_path if recipe else None,
        metrics=metrics,
        seconds=_seconds(manifest) if state == "finished" else None,
        trained_parameters=training.get("trained_parameters"),
        num_steps=fit.get("num_steps"),
        best_step=fit.get("best_step"),
        model_bytes=sum(file.stat().st_size for file in model.rglob("*") if file.is_file()) if model.is_dir() else None,
    )
    return _Side(run, column, recipe, manifest)


def _verdict(run: Run) -> Mapping[str, Any]:
    try:
        report = json.loads((run.path / "eval" / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found = report.get("verdict") if isinstance(report, dict) else None
    return found if isinstance(found, dict) else {}


def _seconds(manifest: Mapping[str, Any]) -> float | None:
    try:
        started, finished = (datetime.fromisoformat(manifest[name]) for name in ("started", "finished"))
    except (KeyError, TypeError, ValueError):
        return None
    return (finished - started).total_seconds()


def _differing_keys(sides: Sequence[_Side]) -> dict[str, dict[str, Any]]:
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
    values: dict[str, Any] = {"task": recipe.task}
    for name in type(recipe).model_fields:
        if isinstance(section := getattr(recipe, name), Section):
            values |= {f"{name}.{key}": value for key, value in section.model_dump(mode="json").items()}
    unread = {"training.output_dir"} | {key for key in values if "." in key and not is_read(key, recipe.task)}
    if recipe.training.max_steps is not None:
        unread.add("training.num_train_epochs")
    return {key: value for key, value in values.items() if key not in unread}


def _notes(sides: Sequence[_Side], pairs: Sequence[Pair], keys: Mapping[str, Any]) -> list[str]:
    notes = []
    split_names = {pair.split for pair in pairs if pair.differences}
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


def _pair(baseline: _Side, side: _Side, split: str, *, seed: int) -> Pair:
    """One run against the baseline on one split, before Holm's correction."""
    blank = Pair(split, side.letter, baseline.letter)
    try:
        _refuse_different_tasks(baseline, side)
        theirs, ours = _rows(baseline, split), _rows(side, split)
        places, matched = _match(baseline, side, theirs, ours, split)
        if not places:
            raise _NotComparable(f"there are no rows of {split}")
        both = [(theirs[there], ours[here]) for there, here in places]
        notes, differences = _differences(baseline, side, both, seed=seed)
    except _NotComparable as reason:
        return replace(blank, refused=str(reason))
    except (KeyError, TypeError, AttributeError) as error:
        return replace(blank, refused=f"predictions/{split}.jsonl is not as ftkit writes it ({error!r})")
    return replace(
        blank,
        matched=matched,
        num_paired=len(both),
        num_rows=(len(ours), len(theirs)),
        notes=notes,
        differences=differences,
    )


def _refuse_different_tasks(baseline: _Side, side: _Side) -> None:
    for one in (baseline, side):
        if one.recipe is None:
            raise _NotComparable(f"the recipe of {one.letter} cannot be read")
    tasks = baseline.column.task, side.column.task
    if tasks[0] != tasks[1]:
        raise _NotComparable(
            f"the tasks are {tasks[1]} and {tasks[0]}; only cost and verdicts stand beside one another"
        )
    ours, theirs = (sorted(map(str, one.manifest.get("label_names") or ())) for one in (side, baseline))
    if ours != theirs:
        alone = [*(set(ours) - set(theirs)), *(set(theirs) - set(ours))]
        raise _NotComparable(f"the labels are not the same: {', '.join(sorted(alone)[:5])} in one run alone")


def _rows(side: _Side, split: str) -> list[dict[str, Any]]:
    file = side.run.predictions_file(split)
    if not file.exists():
        raise _NotComparable(f"{side.letter} ({side.column.state}) has no predictions of {split}")
    rows: list[dict[str, Any]] = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise _NotComparable(f"{file}, line {number}, is no JSON") from error
    return rows


def _match(
    baseline: _Side, side: _Side, theirs: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]], split: str
) -> tuple[list[tuple[int, int]], str]:
    """Places of the same rows in both, and how they were found."""
    assert baseline.recipe is not None, "runs without a recipe were refused"
    there, here = ([_key(row, baseline.recipe.task) for row in rows] for rows in (theirs, ours))
    fingerprints = baseline.hash("data", split), side.hash("data", split)
    if there == here and fingerprints[0] == fingerprints[1] is not None:
        return [(place, place) for place in range(len(there))], "data"
    places: tuple[dict[str, list[int]], ...] = (defaultdict(list), defaultdict(list))
    for found, keys in zip(places, (there, here), strict=True):
        for place, key in enumerate(keys):
            found[key].append(place)
    pairs: list[tuple[int, int]] = []
    # in an order of their own, so that it does not matter which run is the baseline
    for key in sorted(places[0].keys() & places[1].keys()):
        several = max(len(found[key]) for found in places) > 1
        # of long texts the predictions keep the beginning, which several texts may share
        if not (several and ' ..."' in key):
            pairs += zip(places[0][key], places[1][key], strict=False)
    if not pairs:
        raise _NotComparable(f"the {split} data differ, and no row is in both")
    return pairs, "text"


def _key(row: Mapping[str, Any], task: str) -> str:
    """What makes a row the same row: its texts, and what was expected of it."""
    if task == "causal_lm":
        known = {name: value for name, value in row.items() if name not in MEASURED}
    else:
        names = ("text", "text_pair", "source", "references", "expected")
        known = {name: row[name] for name in names if name in row}
    return json.dumps(known, ensure_ascii=False, sort_keys=True)


def _differences(
    baseline: _Side, side: _Side, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], *, seed: int
) -> tuple[list[str], list[Difference]]:
    """Every metric that the paired rows allow, and what is to be said of those that they do not."""
    import numpy as np

    from ftkit.metrics.paired import Gaps, f1_worth, mcnemar, mean_worth

    found, notes = [], []
    labelled = all("expected" in row and "label" in row for pair in rows for row in pair)
    if labelled:
        names = {name: place for place, name in enumerate(sorted(baseline.manifest["label_names"], key=str))}
        expected, before, after = (
            np.array([names[pair[which][key]] for pair in rows], dtype=np.int64)
            for which, key in ((0, "expected"), (0, "label"), (1, "label"))
        )
        right = (after == expected).astype(np.float64) - (before == expected)
        alone, against = int((right > 0).sum()), int((right < 0).sum())
        worth = mean_worth(Gaps(right, np.ones(len(right))), seed=seed)._replace(p=mcnemar(alone, against))
        one = _difference("accuracy", worth, n=len(rows))
        found.append(replace(one, only_run=alone, only_against=against))
        worth = f1_worth(expected, before, after, num_classes=len(names), seed=seed)
        found.append(_difference("f1_macro", worth, n=len(rows)))
    for name in ROW_SCORES:
        if all(name in row for pair in rows for row in pair):
            gaps = Gaps(np.array([after[name] - before[name] for before, after in rows]), np.ones(len(rows)))
            found.append(_difference(name, mean_worth(gaps, seed=seed), n=len(rows)))
    try:
        name, gaps = _loss_gaps(baseline, side, rows)
        found.append(_difference(name, mean_worth(gaps, seed=seed), n=len(gaps.values)))
    except _NotComparable as reason:
        notes.append(str(reason))
    return notes, found


def _difference(metric: str, worth: Worth, *, n: int) -> Difference:
    return Difference(metric=metric, n=n, higher_is_better=metric not in LOWER_IS_BETTER, **worth._asdict())


def _loss_gaps(
    baseline: _Side, side: _Side, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> tuple[str, Gaps]:
    """Nats a target; where the tokenizers differ, bits per byte, if the predictions hold what they are made of."""
    import numpy as np

    from ftkit.metrics.paired import Gaps

    if side.column.task == "classification":
        floored = [[max(row["scores"][row["expected"]], SMALLEST_PROBABILITY) for row in pair] for pair in rows]
        table = -np.log(np.array(floored))
        cut = int((np.array(floored) == SMALLEST_PROBABILITY).any(axis=1).sum())
        note = f"{cut:,} of {len(rows):,} rows counted with a probability of {SMALLEST_PROBABILITY:.0e}" if cut else ""
        return "loss", Gaps(table[:, 1] - table[:, 0], np.ones(len(rows)), note)
    above, below, per_what = "loss", "num_targets", "targets"
    if side.hash("tokenizer") != baseline.hash("tokenizer"):
        if not all("text_nll" in row and "text_bytes" in row for pair in rows for row in pair):
            raise _NotComparable(
                "the tokenizers differ, so that losses are of different tokens, and the predictions hold no bytes: "
                "bits_per_byte of the table, where it stands there, may be compared, unpaired"
            )
        above, below, per_what = "text_nll", "text_bytes", "bytes"
    sizes = np.array([[row.get(below, 1) for row in pair] for pair in rows], dtype=np.int64)
    same = (sizes[:, 0] == sizes[:, 1]) & (sizes[:, 0] > 0)
    if not same.any():
        raise _NotComparable(f"no row has as many {per_what} in both, so that losses are of different tokens")
    table = np.array([[row[above] for row in pair] for pair, kept in zip(rows, same, strict=True) if kept], dtype=float)
    weights = sizes[same, 0].astype(np.float64)
    left_out = f"{np.count_nonzero(~same):,} rows with other {per_what} left out" if not same.all() else ""
    if above == "text_nll":
        return "bits_per_byte", Gaps((table[:, 1] - table[:, 0]) / math.log(2) / weights, weights, left_out)
    if not any(below in row for pair in rows for row in pair):
        left_out = "mean over rows, a long target counting as much as a short one"
    return "loss", Gaps(table[:, 1] - table[:, 0], weights, left_out)


def _judged(pairs: Sequence[Pair]) -> list[Pair]:
    """Say which differences of one split are real, all of them considered together."""
    if not any(pair.differences for pair in pairs):
        return list(pairs)
    from ftkit.diagnosis.intervals import holm

    p_values = {f"{pair.run} {one.metric}": one.p for pair in pairs for one in pair.differences}
    passed = holm(p_values, level=LEVEL)

    def judge(pair: Pair, one: Difference) -> Difference:
        apart = one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)
        if not apart or f"{pair.run} {one.metric}" not in passed:
            return one
        return replace(one, real=True, better=pair.run if (one.value > 0) == one.higher_is_better else pair.against)

    return [replace(pair, differences=[judge(pair, one) for one in pair.differences]) for pair in pairs]
