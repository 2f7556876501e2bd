"""Runs held against one another: what was asked, what came out, what it cost, and which differences are real."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ftkit.errors import UserError
from ftkit.recipe.defaults import is_read
from ftkit.recipe.parse import load_recipe
from ftkit.recipe.schema import Recipe, Section
from ftkit.report.comparison import LOWER_IS_BETTER, Column, Comparison, Difference, Pair
from ftkit.runs import Run, find_run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

LEVEL = 0.05
"""Chance at most that any difference of a split is called real though there is none (Holm)."""
RESAMPLES = 2_000
"""Resamples behind an interval, and exchanges behind a p: the smallest p is 1 / 2,001, enough for 100 comparisons."""
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


class _Gaps(NamedTuple):
    """A metric that is a weighted mean over rows: run minus baseline (N,), weights (N,), what else to know."""

    values: Floats
    weights: Floats
    note: str = ""


class _Worth(NamedTuple):
    """A difference with its 95 % interval and its two-sided p."""

    value: float
    low: float | None
    high: float | None
    p: float
    note: str


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
        worth = _mean_worth(_Gaps(right, np.ones(len(right))), seed=seed)._replace(p=_mcnemar(alone, against))
        one = _difference("accuracy", worth, n=len(rows))
        found.append(replace(one, only_run=alone, only_against=against))
        worth = _f1_worth(expected, before, after, num_classes=len(names), seed=seed)
        found.append(_difference("f1_macro", worth, n=len(rows)))
    for name in ROW_SCORES:
        if all(name in row for pair in rows for row in pair):
            gaps = _Gaps(np.array([after[name] - before[name] for before, after in rows]), np.ones(len(rows)))
            found.append(_difference(name, _mean_worth(gaps, seed=seed), n=len(rows)))
    try:
        name, gaps = _loss_gaps(baseline, side, rows)
        found.append(_difference(name, _mean_worth(gaps, seed=seed), n=len(gaps.values)))
    except _NotComparable as reason:
        notes.append(str(reason))
    return notes, found


def _difference(metric: str, worth: _Worth, *, n: int) -> Difference:
    return Difference(metric=metric, n=n, higher_is_better=metric not in LOWER_IS_BETTER, **worth._asdict())


def _loss_gaps(
    baseline: _Side, side: _Side, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> tuple[str, _Gaps]:
    """Nats a target; where the tokenizers differ, bits per byte, if the predictions hold what they are made of."""
    import numpy as np

    if side.column.task == "classification":
        floored = [[max(row["scores"][row["expected"]], SMALLEST_PROBABILITY) for row in pair] for pair in rows]
        table = -np.log(np.array(floored))
        cut = int((np.array(floored) == SMALLEST_PROBABILITY).any(axis=1).sum())
        note = f"{cut:,} of {len(rows):,} rows counted with a probability of {SMALLEST_PROBABILITY:.0e}" if cut else ""
        return "loss", _Gaps(table[:, 1] - table[:, 0], np.ones(len(rows)), note)
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
        return "bits_per_byte", _Gaps((table[:, 1] - table[:, 0]) / math.log(2) / weights, weights, left_out)
    if not any(below in row for pair in rows for row in pair):
        left_out = "mean over rows, a long target counting as much as a short one"
    return "loss", _Gaps(table[:, 1] - table[:, 0], weights, left_out)


def _mean_worth(gaps: _Gaps, *, seed: int) -> _Worth:
    """Weighted mean with a paired bootstrap interval; p by exchanging the two runs' rows at random.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 10 and 15; Yeh 2000, More Accurate
    Tests for the Statistical Significance of Result Differences.
    """
    import numpy as np

    from ftkit.metrics.bootstrap import MAX_UNITS, Bootstrap

    products = gaps.values * gaps.weights
    sums = Bootstrap(RESAMPLES, seed).sums(np.stack([products, gaps.weights], axis=1))
    shifted = np.random.default_rng([seed, 5]).permutation(products[products != 0])
    # many rows are exchanged in groups, as wholes, which leaves the variance as it was
    units = np.bincount(np.arange(len(shifted)) % MAX_UNITS, weights=shifted)

    def exchanged(random: np.random.Generator, size: int) -> Floats:
        signs = 2.0 * random.integers(0, 2, size=(size, len(units)), dtype=np.int8) - 1.0
        return np.asarray(signs @ units, dtype=np.float64)

    p = _p_of_exchange(float(products.sum()), exchanged, width=len(units), seed=seed)
    value = float(products.sum() / gaps.weights.sum())
    return _worth(value, sums[:, 0] / sums[:, 1], p, n=len(products), note=gaps.note)


def _f1_worth(expected: Integers, before: Integers, after: Integers, *, num_classes: int, seed: int) -> _Worth:
    """As `_mean_worth` for the difference of two macro F1, from how often each (expected, before, after) occurs."""
    import numpy as np

    from ftkit.metrics.bootstrap import Bootstrap

    triples = np.stack([expected, before, after], axis=1)
    cells, first, counts = np.unique(triples, axis=0, return_index=True, return_counts=True)
    # in order of the rows: the same draws whichever run is the baseline
    order = np.argsort(first)
    (labels, one, other), counts = cells[order].T, counts[order]
    twice = np.concatenate([labels, labels]), np.concatenate([one, other]), np.concatenate([other, one])

    def gap(kept: NDArray[np.integer[Any]], swapped: NDArray[np.integer[Any]]) -> Floats:
        drawn = np.concatenate([kept, swapped], axis=1)
        return _f1_macro(twice[0], twice[2], drawn, num_classes) - _f1_macro(twice[0], twice[1], drawn, num_classes)

    def exchanged(random: np.random.Generator, size: int) -> Floats:
        swapped = random.binomial(counts, 0.5, size=(size, len(counts)))
        return gap(counts - swapped, swapped)

    resampled = np.concatenate([gap(some, 0 * some) for some in Bootstrap(RESAMPLES, seed).cell_counts(counts)])
    value = float(gap(counts[None], 0 * counts[None])[0])
    p = _p_of_exchange(value, exchanged, width=2 * len(counts), seed=seed)
    return _worth(value, resampled, p, n=len(expected))


def _f1_macro(labels: Integers, predicted: Integers, counts: NDArray[np.integer[Any]], num_classes: int) -> Floats:
    """Macro F1 (R,) of cells (C,) that occur `counts` (R, C) times, over the classes that occur, as in scikit-learn."""
    import numpy as np

    def by_class(classes: Integers, columns: NDArray[np.integer[Any]]) -> Floats:
        sums = np.zeros((len(columns), num_classes))
        if len(classes):
            by_order = np.argsort(classes, kind="stable")
            occurring, starts = np.unique(classes[by_order], return_index=True)
            sums[:, occurring] = np.add.reduceat(columns[:, by_order], starts, axis=1)
        return sums

    hit = labels == predicted
    both = by_class(labels, counts) + by_class(predicted, counts)
    hits = by_class(labels[hit], counts[:, hit])
    scores = np.divide(2 * hits, both, out=np.zeros_like(both), where=both > 0)
    return np.asarray(scores.sum(axis=1) / (both > 0).sum(axis=1), dtype=np.float64)


def _p_of_exchange(
    observed: float, exchanged: Callable[[np.random.Generator, int], Floats], *, width: int, seed: int
) -> float:
    """Two-sided p: how often chance exchanges of the two runs' answers make as large a difference."""
    import numpy as np

    from ftkit.metrics.bootstrap import MAX_ELEMENTS

    random, size = np.random.default_rng([seed, 6]), max(1, MAX_ELEMENTS // max(1, width))
    as_large = 0
    for start in range(0, RESAMPLES, size):
        found = np.abs(exchanged(random, min(size, RESAMPLES - start)))
        # sums in another order differ in their last digits
        as_large += int((found >= abs(observed) * (1 - 1e-9) - 1e-12).sum())
    return (1 + as_large) / (1 + RESAMPLES)


def _mcnemar(one: int, other: int) -> float:
    """Exact two-sided p of as uneven a split of the rows that one of two models alone got right.

    Source: McNemar 1947, Note on the Sampling Error of the Difference Between Correlated Proportions (exact binomial).

    Example:
        >>> _mcnemar(0, 6), _mcnemar(3, 3)
        (0.03125, 1.0)
    """
    total, ways, tail = one + other, 1, 0
    for place in range(min(one, other) + 1):
        tail += ways
        ways = ways * (total - place) // (place + 1)
    return min(1.0, float(2 * tail / 2**total))


def _worth(value: float, resampled: Floats, p: float, *, n: int, note: str = "") -> _Worth:
    from ftkit.metrics.bootstrap import with_interval

    entry: dict[str, Any] = with_interval(value, resampled, num_rows=n)
    said = [note, entry.get("note", "")]
    return _Worth(value, entry["low"], entry["high"], p, "; ".join(one for one in said if one))


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
