"""The two probes while a head is fitted: scored from stored features, kept in memory, written when the fit is over."""

from __future__ import annotations

import numpy as np
import torch

from ftkit.encoders.feature_rows import FeatureRows
from ftkit.encoders.fit import predict_logits
from ftkit.encoders.heads import Head
from ftkit.metrics.scores import CurvePoint, Scores, scores_of_logits
from ftkit.training.probes import ProbeLog, ProbeRows

POINTS_HELD = 1_000
"""Evaluations in memory; each is a few ten kilobytes."""


class HeadProbe:
    """Scores and keeps the probes of one fit.

    Args:
        log: of the run.
        rows: which examples are kept.
        train: the training set.
        test: is scored with the weights after the last step, whichever are kept; None where there is none.
    """

    def __init__(self, log: ProbeLog, rows: ProbeRows, *, train: FeatureRows, test: FeatureRows | None) -> None:
        self.log = log
        self.rows = rows
        self.train = FeatureRows(np.array(train.vectors[rows.train]), train.labels[rows.train])
        self.test = test
        self.points: list[CurvePoint] = []
        self.final_test: Scores | None = None

    def score_train(self, head: Head, candidate: int, *, device: torch.device) -> Scores:
        """What one candidate of a head gives the train probe, in eval mode."""
        return _losses(head, candidate, self.train, device=device)

    def score_test(self, head: Head, candidate: int, *, device: torch.device) -> None:
        """Keep what one candidate of a head gives the test split."""
        if self.test is not None:
            self.final_test = _losses(head, candidate, self.test, device=device)

    def keep(self, point: CurvePoint) -> None:
        """Keep one evaluation, of which `validation` is the whole set's."""
        kept = point.validation.take(self.rows.validation)
        self.points.append(CurvePoint(point.step, point.epoch, point.rate_mass, point.train, kept))
        if len(self.points) >= POINTS_HELD:
            self.write()

    def write(self) -> None:
        """Put on the disk what has been kept."""
        self.log.write_rows(self.rows)
        self.log.write_all(self.points)
        self.points.clear()
        if self.final_test is not None:
            self.log.write_final_test(self.final_test)


def _losses(head: Head, candidate: int, rows: FeatureRows, *, device: torch.device) -> Scores:
    return scores_of_logits(predict_logits(head, rows, device=device)[candidate].numpy(), rows.labels)
