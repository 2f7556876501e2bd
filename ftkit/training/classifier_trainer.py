"""HF Trainer for classifiers, whose evaluation leaves the loss of every row behind."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftkit.metrics.scores import Scores, scores_of_logits
from ftkit.training.sealed_trainer import SealedTrainer


class ClassifierTrainer(SealedTrainer):
    """Trainer over tokenized examples with labels."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._order: list[int] | None = None
        self._validation: Scores | None = None

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Trainer's, and the probes: that of the training set first, so that no line is written before all is done."""
        self.probe.score(self)
        # rows that were told to be left out are none of the record's
        whole = self.probe.score_whole(self) if self.args.dataloader_drop_last else None
        found: dict[str, float] = super().evaluate(*args, **kwargs)
        validation = whole or self._validation
        assert validation is not None, "an evaluation goes through evaluation_loop"
        self.probe.record(self, validation)
        return found

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's; keeps the plain loss of each row."""
        found = super().evaluation_loop(*args, **kwargs)
        losses = scores_of_logits(found.predictions, found.label_ids)
        # Trainer scores rows of like length together
        rows = None if self._order is None else np.asarray(self._order[: len(losses)])
        self._validation = losses if rows is None else losses.take(np.argsort(rows))
        return found

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        sampler = super()._get_eval_sampler(eval_dataset)
        # drawn by a generator of the sampler's own, the same for every evaluation
        self._order = None if sampler is None else [int(row) for row in sampler]
        return self._order
