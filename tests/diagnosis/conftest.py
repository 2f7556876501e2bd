"""Synthetic measurements: runs whose fate is known, as numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from ftkit.diagnosis.measurements import Classes, Forgetting, Measurements, Overlap, Setting
from ftkit.metrics.bootstrap import Bootstrap
from ftkit.metrics.scores import CurvePoint, Scores


def losses(mean: float, n: int = 400, *, seed: int = 0, targets: int = 20, spread: float = 0.3) -> Scores:
    """N examples of a language model: what makes an example hard (`seed`) is the same for every mean."""
    hard = np.random.default_rng(seed).normal(0.0, spread, size=n)
    counts = np.full(n, targets)
    return Scores((mean + hard) * counts, counts, counts // 2)


def curve(
    train: Callable[[float], float], validation: Callable[[float], float], *, points: int = 11
) -> list[CurvePoint]:
    """Evaluations at even steps of 1,000, with a constant rate."""
    found = []
    for share in np.linspace(0, 1, points):
        step = round(1_000 * share)
        found.append(
            CurvePoint(step, 4 * share, share, losses(train(share), seed=1), losses(validation(share), seed=2))
        )
    return found


def falling(share: float, *, constants: float = 8.0) -> float:
    """From 3 to 1 nat, exponentially."""
    return 1.0 + 2.0 * float(np.exp(-constants * share))


@pytest.fixture
def healthy() -> Measurements:
    """A language model, fully trained, that learnt and forgot nothing."""
    points = curve(falling, lambda share: falling(share) + 0.03)
    sets: dict[Any, Scores] = {
        ("base", "train"): points[0].train,
        ("base", "validation"): points[0].validation,
        ("base", "reference"): losses(2.0, seed=3),
        ("best", "reference"): losses(2.05, seed=3),
    }
    for model in ("best", "final"):
        sets |= {(model, "train"): points[-1].train, (model, "validation"): points[-1].validation}
    nowhere = np.zeros(400, dtype=bool)
    return Measurements(
        unit="token",
        trains="weights",
        losses=sets,
        curve=points,
        setting=Setting(
            num_steps=1_000, num_train_epochs=4.0, num_epochs_done=4.0, learning_rate=1e-3, weight_decay=0.1, patience=3
        ),
        forgetting=Forgetting("kl"),
        overlap=Overlap(nowhere, nowhere, 0.0, np.full(400, -1)),
    )


@pytest.fixture
def classifier(healthy: Measurements) -> Measurements:
    """A classifier of three labels that is right on 90 % of 400 rows."""
    random = np.random.default_rng(4)
    labels = random.integers(0, 3, size=400)
    return with_predictions(healthy, labels, right=0.9)


def with_predictions(
    found: Measurements, labels: np.ndarray, *, right: float, answer: int | None = None
) -> Measurements:
    """A classifier with these labels; `answer` is what it says where it is wrong."""
    random = np.random.default_rng(5)
    hits = random.random(len(labels)) < right
    wrong = (labels + 1) % 3 if answer is None else np.full(len(labels), answer)
    predicted = np.where(hits, labels, wrong)
    probabilities = np.full((len(labels), 3), 0.05)
    probabilities[np.arange(len(labels)), predicted] = 0.9
    nll = -np.log(probabilities[np.arange(len(labels)), labels])
    ones = np.ones(len(labels), dtype=np.int64)
    kept = Scores(nll, ones, (predicted == labels).astype(np.int64))
    constant = Scores(np.full(len(labels), np.log(3.0)), ones, (labels == 0).astype(np.int64))
    sets = dict(found.losses) | {("base", "validation"): constant}
    for model in ("best", "final"):
        sets |= {(model, "validation"): kept, (model, "train"): kept}
    sets.pop(("base", "train"))
    points = [replace(p, train=kept, validation=kept) if p.step else p for p in found.curve]
    names, counts = ("a", "b", "c"), np.bincount(labels, minlength=3)
    return replace(
        found,
        unit="example",
        losses=sets,
        curve=[point for point in points if point.step],
        classes=Classes(names, labels, probabilities, counts),
    )


@pytest.fixture(autouse=True)
def same_rows_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed and a number of rows always draw the same resamples: made for the first check that asks for them."""
    monkeypatch.setattr(Bootstrap, "row_weights", drawn)


draw = Bootstrap.row_weights


@lru_cache(maxsize=8)
def drawn(bootstrap: Bootstrap, num_rows: int) -> list[np.ndarray]:
    return list(draw(bootstrap, num_rows))
