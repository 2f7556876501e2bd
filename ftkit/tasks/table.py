"""The tasks, in an explicit table; a task is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftkit.tasks.task import Task

TASKS = ("classification", "causal_lm", "seq2seq")
"""Names of the tasks, the usual ones first."""


def task_of(name: str) -> Task:
    """`task` of a recipe -> what it does."""
    if name == "classification":
        from ftkit.tasks import classification

        return classification
    if name == "causal_lm":
        from ftkit.tasks import causal_lm

        return causal_lm
    from ftkit.tasks import seq2seq

    assert name == "seq2seq", f"no task {name}"
    return seq2seq
