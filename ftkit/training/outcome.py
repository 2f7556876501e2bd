"""What a finished run gives its caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ftkit.errors import RunError
from ftkit.metrics.scores import Scores
from ftkit.progress import Reporter
from ftkit.runs.run import Run
from ftkit.training.way import Kept

ROUNDED, ROUNDED_TO_16_BITS = 0.002, 0.05
"""Shares of 1 + a loss by which two computations of it may differ.

Of the tiny models of the tests they differ by 1e-7 at most, and by 5e-4 where products are bfloat16; the rest is room
for deeper models and other devices, of which none was measured."""


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        run: its directory.
        metrics: by split, as in metrics.json.
        scores: what the model that was kept gave each row of validation and test (where validation rows are scored out
            of fold, of train too); empty for a run that was finished before.
        facts: of the training, as in the manifest.
    """

    run: Run
    metrics: dict[str, Any]
    scores: Mapping[str, Scores] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __fspath__(self) -> str:
        """A result stands wherever the path of its run is asked for."""
        return str(self.run.path)

    def _repr_html_(self) -> str:
        """The scores, for a notebook."""
        return self.run._repr_html_()


def refuse_other_model(kept: Kept, fit: Mapping[str, Any], *, rounds: bool) -> None:
    """Hold the model that was read back against the one in memory, by the loss of the same validation rows.

    Args:
        kept: losses of the model that was read back.
        fit: `validation_loss` of the weights in memory, where they were scored in the same way; `watched`, the rows of
            the validation set that were scored while it trained, where these were not all.
        rounds: whether one of the two was computed in 16 bits.

    Raises:
        RunError: they are further apart than rounding explains.
    """
    trained = fit.get("validation_loss")
    if trained is None or "validation" not in kept.final:
        return
    validation = kept.final["validation"]
    found = (validation.take(np.asarray(fit["watched"])) if "watched" in fit else validation).loss
    share = ROUNDED_TO_16_BITS if rounds else ROUNDED
    if abs(found - trained) <= share * (1.0 + abs(trained)):
        return
    raise RunError(
        f"what was saved is not what was trained: read back, the model has a validation loss of {found:.4f}, and it "
        f"had {trained:.4f}",
        fix="do not use it; another method, or data.packing: false, may do with this architecture",
    )


def say_failure(kept: Kept, fit: Mapping[str, Any], *, reporter: Reporter) -> None:
    """A word where training did nothing or did harm, before the figures are shown.

    Args:
        kept: losses of the model that was kept, and of the untrained one.
        fit: `num_steps` and `warmup_steps` of the training.
        reporter: hears of it.
    """
    if not kept.base or "validation" not in kept.final:
        return
    if fit["num_steps"] <= fit["warmup_steps"]:
        reporter.say(f"warning: all {fit['num_steps']} steps were warm-up; nothing was learnt to speak of")
    elif not float(np.sum(kept.final["validation"].nll)) < float(np.sum(kept.base["validation"].nll)):
        reporter.say("warning: the validation loss is no better than the base's: lower training.learning_rate")
