"""The tasks, in an explicit table; each entry imports its room only when it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ftkit.training.outcome import Finished


class Task(NamedTuple):
    """What a task of a recipe does.

    Attributes:
        rehearse: (recipe, splits) -> None; refuses, before a run directory is made, what would fail at the end.
        train: (recipe, splits, run, *, checkpoint, reporter, resume_from) -> Finished.
    """

    rehearse: Callable[..., None]
    train: Callable[..., Finished]


def _rehearse_classification(*args: Any) -> None:
    from ftkit.training.classification import rehearse_classification

    rehearse_classification(*args)


def _train_classification(*args: Any, **kwargs: Any) -> Finished:
    from ftkit.training.classification import train_classification

    return train_classification(*args, **kwargs)


TASKS: dict[str, Task] = {"classification": Task(_rehearse_classification, _train_classification)}
"""`task` of a recipe -> what it does."""
