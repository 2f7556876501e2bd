"""The tasks, in an explicit table; each entry imports its room only when it is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftkit.training.outcome import Finished


def _classification(*args: Any, resume_from: Path | None, **kwargs: Any) -> Finished:
    from ftkit.training.classification import train_classification

    return train_classification(*args, resume_from=resume_from, **kwargs)


TASKS: dict[str, Callable[..., Finished]] = {"classification": _classification}
"""task of a recipe -> its trainer: (recipe, splits, run, *, checkpoint, reporter, resume_from) -> Finished."""
