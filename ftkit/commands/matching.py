"""Rows that two runs both predicted, and the differences between the runs on them."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ftkit.metrics.names import ROW_SCORES
from ftkit.recipe.schema import Recipe
from ftkit.report.comparison import LOWER_IS_BETTER, Column, Difference, Match
from ftkit.runs.run import Run

if TYPE_CHECKING:
    from ftkit.metrics.paired import Gaps, Worth

LEVEL = 0.05
"""Chance at most that any difference of a split is called real though there is none (Holm)."""
IDENTITY = ("text", "text_pair", "source", "references", "expected")
"""What stands in predictions/ of a row itself; a language model's rows have columns of any names instead."""
MEASURED = frozenset({"num_targets", "loss", "base_loss", "text_nll", "text_bytes"})
"""What stands in a language model's predictions beside the texts of a row."""
SMALLEST_PROBABILITY = 5e-7
"""predictions/ keep six decimals: a probability of zero there lies below this."""


class _NotComparable(Exception):
    """Why two runs cannot be held against one another, in words."""


@dataclass(frozen=True)
class ComparedRun:
    """One run with what is read of it."""

    run: Run
    column: Column
    recipe: Recipe | None
    manifest: Mapping[str, Any]

    @property
    def letter(self) -> str:
        """What the run is called beside the others."""
        return self.column.letter

    def hash(self, *names: str) -> object:
        """One of the manifest's hashes; None where it has none."""
        found: Any = self.manifest.get("hashes", {})
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


def match_runs(baseline: ComparedRun, side: ComparedRun, split: str, *, seed: int) -> Match:
    """One run against the baseline on one split, before Holm's correction."""
    blank = Match(split, side.letter, baseline.letter)
    try:
        _refuse_different_tasks(baseline, side)
        theirs, ours = _rows(baseline, split), _rows(side, split)
        places, matched = _same_rows(baseline, side, theirs, ours, split)
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


def _refuse_different_tasks(baseline: ComparedRun, side: ComparedRun) -> None:
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


def _rows(side: ComparedRun, split: str) -> list[dict[str, Any]]:
    file = side.run.predictions_file(split)
    if not file.exists():
        raise _NotComparable(f"{side.letter} ({side.column.state}) has no predictions of {split}")
    rows: list[dict[str, Any]] = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise _NotComparable(f"{file}, line {number}, is no JSON") from error
    return rows


def _same_rows(
    baseline: ComparedRun,
    side: ComparedRun,
    theirs: Sequence[Mapping[str, Any]],
    ours: Sequence[Mapping[str, Any]],
    split: str,
) -> tuple[list[tuple[int, int]], str]:
    """Places of the same rows in both, and how they were found."""
    there, here = ([_key(row) for row in rows] for rows in (theirs, ours))
    fingerprints = baseline.hash("data", split), side.hash("data", split)
    if there == here and fingerprints[0] == fingerprints[1] is not None:
        return [(place, place) for place in range(len(there))], "data"
    places: tuple[dict[str, list[int]], ...] = (defaultdict(list), defaultdict(list))
    for of_key, keys in zip(places, (there, here), strict=True):
        for place, key in enumerate(keys):
            of_key[key].append(place)
    found: list[tuple[int, int]] = []
    # in an order of their own, so that it does not matter which run is the baseline
    for key in sorted(places[0].keys() & places[1].keys()):
        several = max(len(of_key[key]) for of_key in places) > 1
        # of long texts the predictions keep the beginning, which several texts may share
        if not (several and ' ..."' in key):
            found += zip(places[0][key], places[1][key], strict=False)
    if not found:
        raise _NotComparable(f"the {split} data differ, and no row is in both")
    return found, "text"


def _key(row: Mapping[str, Any]) -> str:
    """What makes a row the same row: its texts, and what was expected of it."""
    named = {name: row[name] for name in IDENTITY if name in row}
    known = named or {name: value for name, value in row.items() if name not in MEASURED}
    return json.dumps(known, ensure_ascii=False, sort_keys=True)


def _differences(
    baseline: ComparedRun, side: ComparedRun, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], *, seed: int
) -> tuple[list[str], list[Difference]]:
    """Every metric that the rows of both allow, and what is to be said of those that they do not."""
    import numpy as np

    from ftkit.metrics.paired import Gaps, f1_worth, mcnemar, mean_worth

    found, notes = [], []
    labelled = all("expected" in row and "label" in row for both in rows for row in both)
    if labelled:
        names = {name: place for place, name in enumerate(sorted(baseline.manifest["label_names"], key=str))}
        expected, before, after = (
            np.array([names[both[which][key]] for both in rows], dtype=np.int64)
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
        if all(name in row for both in rows for row in both):
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
    baseline: ComparedRun, side: ComparedRun, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> tuple[str, Gaps]:
    """Nats a target; where the tokenizers differ, bits per byte, if the predictions hold what they are made of."""
    import numpy as np

    from ftkit.metrics.paired import Gaps

    if not any("loss" in row for both in rows for row in both):
        floored = [[max(row["scores"][row["expected"]], SMALLEST_PROBABILITY) for row in both] for both in rows]
        table = -np.log(np.array(floored))
        cut = int((np.array(floored) == SMALLEST_PROBABILITY).any(axis=1).sum())
        note = f"{cut:,} of {len(rows):,} rows counted with a probability of {SMALLEST_PROBABILITY:.0e}" if cut else ""
        return "loss", Gaps(table[:, 1] - table[:, 0], np.ones(len(rows)), note)
    above, below, per_what = "loss", "num_targets", "targets"
    if side.hash("tokenizer") != baseline.hash("tokenizer"):
        if not all("text_nll" in row and "text_bytes" in row for both in rows for row in both):
            raise _NotComparable(
                "the tokenizers differ, so that losses are of different tokens, and the predictions hold no bytes: "
                "bits_per_byte of the table, where it stands there, may be compared, unpaired"
            )
        above, below, per_what = "text_nll", "text_bytes", "bytes"
    sizes = np.array([[row.get(below, 1) for row in both] for both in rows], dtype=np.int64)
    same = (sizes[:, 0] == sizes[:, 1]) & (sizes[:, 0] > 0)
    if not same.any():
        raise _NotComparable(f"no row has as many {per_what} in both, so that losses are of different tokens")
    table = np.array([[row[above] for row in both] for both, kept in zip(rows, same, strict=True) if kept], dtype=float)
    weights = sizes[same, 0].astype(np.float64)
    left_out = f"{np.count_nonzero(~same):,} rows with other {per_what} left out" if not same.all() else ""
    if above == "text_nll":
        return "bits_per_byte", Gaps((table[:, 1] - table[:, 0]) / math.log(2) / weights, weights, left_out)
    if not any(below in row for both in rows for row in both):
        left_out = "mean over rows, a long target counting as much as a short one"
    return "loss", Gaps(table[:, 1] - table[:, 0], weights, left_out)


def judged(matches: Sequence[Match]) -> list[Match]:
    """Say which differences of one split are real, all of them considered together."""
    if not any(match.differences for match in matches):
        return list(matches)
    from ftkit.diagnosis.intervals import holm

    p_values = {f"{match.run} {one.metric}": one.p for match in matches for one in match.differences}
    passed = holm(p_values, level=LEVEL)

    def judge(match: Match, one: Difference) -> Difference:
        apart = one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)
        if not apart or f"{match.run} {one.metric}" not in passed:
            return one
        return replace(one, real=True, better=match.run if (one.value > 0) == one.higher_is_better else match.against)

    return [replace(match, differences=[judge(match, one) for one in match.differences]) for match in matches]
