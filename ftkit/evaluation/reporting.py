"""From measurements and a verdict to the report: tables with intervals, curves, the worst rows, and the words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Split
from ftkit.data.duplicates import example_columns
from ftkit.diagnosis.intervals import Estimate, mean_accuracy, mean_loss
from ftkit.diagnosis.measurements import MODELS, SETS, Measurements, Overlap, Set
from ftkit.diagnosis.report import TEXT_KEPT, Bin, Point, Report, Score, SuspectRow
from ftkit.diagnosis.verdict import Verdict
from ftkit.evaluation.subject import FEW_GROUPS, Gathered, Subject
from ftkit.evaluation.words import words_for
from ftkit.metrics.bootstrap import Bootstrap
from ftkit.metrics.calibration import confidence_bins, ece
from ftkit.metrics.predictions import Predictions
from ftkit.metrics.scores import Scores

ROWS_SHOWN = 30
POINTS = 200
"""Evaluations whose intervals are computed; more are thinned out."""


def make_report(
    subject: Subject, found: Gathered, measured: Measurements, verdict: Verdict, *, created: str, seconds: float
) -> Report:
    """Everything that is shown, as plain values."""
    classes = measured.classes
    return Report(
        run=str(subject.run.path if subject.run is not None else subject.model_dir),
        created=created,
        seconds=round(seconds, 2),
        effort=subject.effort,
        task=subject.recipe.task,
        method=subject.recipe.method.type,
        base=subject.checkpoint.name,
        best_step=subject.best_step,
        last_step=subject.last_step,
        kept=measured.kept,
        unit=measured.unit,
        rows={which: len(losses) for which in SETS if (losses := measured.of(measured.kept, which)) is not None},
        table=dict(_table(found, measured)),
        absent=dict(found.absent),
        curve=_curve(measured),
        verdict=verdict,
        calibration=_bins(measured),
        ece=_ece(measured),
        confusion=[] if classes is None else _confusion(classes.labels, classes.predicted, len(classes.names)),
        label_names=[] if classes is None else list(classes.names),
        forgetting=found.documents,
        suspects=[*_noisy(subject, measured), *_leaked(subject, measured)],
        worst=_worst(found, measured, subject.splits.validation),
        drift=found.drift,
        notes=[*_sizes(found, measured), *found.notes],
        words=words_for(measured),
        by_source=_by_source(subject, found, measured),
    )


def _table(found: Gathered, measured: Measurements) -> Iterator[tuple[str, dict[str, dict[str, Score]]]]:
    for model in MODELS:
        row = {which: measured.losses[model, which] for which in SETS if (model, which) in measured.losses}
        if row:
            yield model, {which: _scores(found, measured, which, losses) for which, losses in row.items()}
    for name, sets in measured.baselines.items():
        yield name, {which: _scores(found, measured, which, losses) for which, losses in sets.items()}


def _scores(
    found: Gathered,
    measured: Measurements,
    which: str,
    losses: Scores,
    *,
    rows: npt.NDArray[np.int64] | None = None,
) -> dict[str, Score]:
    """Metrics of the examples of a set, or of some of them by their places."""
    groups = measured.groups.get(which)  # type: ignore[call-overload]
    counted = found.bytes_of.get(which)  # type: ignore[call-overload]
    if groups is not None and len(groups) != len(losses):
        groups = None
    if counted is not None and len(counted) != len(losses):
        counted = None
    if rows is not None:
        losses = losses.take(rows)
        groups, counted = (None if values is None else values[rows] for values in (groups, counted))
        if groups is not None and len(np.unique(groups)) < FEW_GROUPS:
            # of a source with next to no documents, as of a set with as few
            groups = None
    scores = {
        "loss": _score(mean_loss(losses, groups=groups, seed=measured.seed)),
        "accuracy": _score(mean_accuracy(losses, groups=groups, seed=measured.seed)),
    }
    if counted is not None and counted.sum() > 0:
        # bits a byte of all targets; end tokens, which stand for no text, are paid for too
        per_byte = Scores(losses.nll / math.log(2), counted, counted)
        scores["bits_per_byte"] = _score(mean_loss(per_byte, groups=groups, seed=measured.seed))
    return scores


def _by_source(
    subject: Subject, found: Gathered, measured: Measurements
) -> dict[str, dict[str, dict[str, dict[str, Score]]]]:
    """The table of base, best and final of each source by itself; nothing where data have one source."""
    by_source: dict[str, dict[str, dict[str, dict[str, Score]]]] = {}
    for split in subject.splits.all():
        which: Set = split.name  # type: ignore[assignment]
        if split.source_numbers is None or which not in found.row_numbers:
            continue
        numbers = split.source_numbers[found.row_numbers[which]]
        for number, name in enumerate(split.source_names):
            rows = np.flatnonzero(numbers == number)
            for model in MODELS:
                losses = measured.losses.get((model, which))
                if losses is not None and len(losses) == len(numbers) and len(rows):
                    of_model = by_source.setdefault(name, {}).setdefault(model, {})
                    of_model[which] = _scores(found, measured, which, losses, rows=rows)
    return by_source


def _score(estimate: Estimate) -> Score:
    finite = math.isfinite(estimate.value)
    ends = (estimate.low, estimate.high) if finite and estimate.n > 1 else (None, None)
    return Score(estimate.value if finite else None, ends[0], ends[1], estimate.n)


def _curve(measured: Measurements) -> list[Point]:
    points = list(measured.curve)
    if len(points) > POINTS:
        kept = np.unique(np.linspace(0, len(points) - 1, POINTS).round().astype(int))
        points = [points[place] for place in kept]
    return [
        Point(
            point.step,
            round(point.epoch, 4),
            _score(mean_loss(point.train, seed=measured.seed)),
            _score(mean_loss(point.validation, seed=measured.seed)),
        )
        for point in points
    ]


def _bins(measured: Measurements) -> list[Bin]:
    classes = measured.classes
    if classes is None:
        return []
    confidence = classes.probabilities.max(axis=1)
    bins, right = confidence_bins(confidence), classes.predicted == classes.labels
    return [
        Bin(float(confidence[bins == one].mean()), float(right[bins == one].mean()), int((bins == one).sum()))
        for one in np.unique(bins)
    ]


def _ece(measured: Measurements) -> Score | None:
    classes = measured.classes
    if classes is None or len(classes.labels) < 2:
        return None
    entry = ece(
        Predictions(classes.labels, classes.probabilities, classes.names, 0, False), Bootstrap(1_000, measured.seed)
    )
    values = [entry[name] for name in ("value", "low", "high")]
    value, low, high = (float(one) if isinstance(one, int | float) else None for one in values)
    return Score(value, low, high, len(classes.labels))


def _confusion(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], num_classes: int) -> list[list[int]]:
    counts = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    matrix: list[list[int]] = counts.reshape(num_classes, num_classes).tolist()
    return matrix


def _noisy(subject: Subject, measured: Measurements) -> list[SuspectRow]:
    noise = measured.noise
    if noise is None:
        return []
    names, train = subject.splits.label_names, subject.splits.train
    texts, rows = train.table.column("text"), []
    for place in noise.suspects[:ROWS_SHOWN]:
        probabilities, given = noise.out_of_fold[place], int(noise.labels[place])
        other = int(probabilities.argmax())
        number = int(noise.rows[place])
        rows.append(
            SuspectRow(
                "train", number, _short(texts[number].as_py()), names[given], names[other],
                round(float(probabilities[other] - probabilities[given]), 4),
                "classifiers that did not see this label expect another one", train.place(number),
            )
        )  # fmt: skip
    return rows


def _leaked(subject: Subject, measured: Measurements) -> list[SuspectRow]:
    splits = {split.name: split for split in subject.splits.all()}
    found: list[SuspectRow] = []
    for name, overlap in (("validation", measured.overlap), ("test", measured.test_overlap)):
        if overlap is not None and name in splits:
            found += _pairs_of(overlap, splits[name], splits["train"])
    return found


def _pairs_of(overlap: Overlap, split: Split, train: Split) -> list[SuspectRow]:
    # a sample of a large split has other numbers; its texts would be the wrong ones
    if len(overlap.exact) != len(split):
        return []
    names = example_columns(split.table)
    rows = np.flatnonzero(overlap.exact | overlap.near)[:ROWS_SHOWN]
    return [
        SuspectRow(
            split.name, int(row), _short(_first_text(split, names, row)), "",
            f"train, {train.place(overlap.partners[row]) or f'row {overlap.partners[row]:,}'}",
            1.0 if overlap.exact[row] else 0.8,
            "stands in train word for word" if overlap.exact[row] else "nearly the same as a training row",
            split.place(row),
        )
        for row in rows
    ]  # fmt: skip


def _first_text(split: Split, names: Sequence[str], row: int) -> str:
    """The first text of a row; a column that its source lacks is null."""
    texts: Iterator[str | None] = (split.table[name][row].as_py() for name in names)
    return next(text for text in texts if text is not None)


def _worst(found: Gathered, measured: Measurements, split: Split) -> list[SuspectRow]:
    losses = measured.of(measured.kept, "validation")
    texts, targets = found.texts.get("validation", []), found.targets.get("validation", [])
    if losses is None or len(texts) != len(losses):
        return []
    means = losses.nll / np.maximum(1, losses.num_targets)
    wrong = np.flatnonzero(losses.num_correct < losses.num_targets)
    order = wrong[np.argsort(-means[wrong], kind="stable")][:ROWS_SHOWN]
    numbers = found.row_numbers["validation"]
    return [
        SuspectRow(
            "validation", int(numbers[row]), _short(texts[row]), _short(targets[row]),
            found.answers[row] if found.answers else "", round(float(means[row]), 4), "", split.place(numbers[row]),
        )
        for row in order
    ]  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= TEXT_KEPT else text[:TEXT_KEPT] + " ..."


def _sizes(found: Gathered, measured: Measurements) -> Iterator[str]:
    for which in SETS:
        losses, whole = measured.of(measured.kept, which), found.sizes.get(which)
        if losses is not None and whole is not None and len(losses) < whole:
            name = "training examples" if which == "train" else f"{which} examples"
            yield f"{len(losses):,} of {whole:,} {name} were scored, drawn with the seed"
