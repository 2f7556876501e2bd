"""The tasks, in an explicit table; each entry imports its room only when it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ftkit.training.outcome import Finished

if TYPE_CHECKING:
    from ftkit.data.dataset import Splits


class Task(NamedTuple):
    """What a task of a recipe does.

    Attributes:
        load_splits: (data section, *, seed, narrow=None) -> Splits.
        rehearse: (recipe, splits, checkpoint) -> None; refuses, before a run directory is made, what would fail later.
        train: (recipe, splits, run, *, checkpoint, reporter, resumed) -> Finished.
    """

    load_splits: Callable[..., Splits]
    rehearse: Callable[..., None]
    train: Callable[..., Finished]


def _load_labelled(*args: Any, **kwargs: Any) -> Splits:
    from ftkit.tasks.classification.form import load_splits

    return load_splits(*args, **kwargs)


def _rehearse_classification(*args: Any) -> None:
    from ftkit.tasks.classification.classification import rehearse_classification

    rehearse_classification(*args)


def _train_classification(*args: Any, **kwargs: Any) -> Finished:
    from ftkit.tasks.classification.classification import train_classification

    return train_classification(*args, **kwargs)


def _load_texts(*args: Any, **kwargs: Any) -> Splits:
    from ftkit.tasks.causal_lm.form import load_language_splits

    return load_language_splits(*args, **kwargs)


def _rehearse_causal_lm(*args: Any) -> None:
    from ftkit.tasks.causal_lm.train import rehearse_causal_lm

    rehearse_causal_lm(*args)


def _train_causal_lm(*args: Any, **kwargs: Any) -> Finished:
    from ftkit.tasks.causal_lm.train import train_causal_lm

    return train_causal_lm(*args, **kwargs)


def _load_pairs(*args: Any, **kwargs: Any) -> Splits:
    from ftkit.tasks.seq2seq.form import load_pair_splits

    return load_pair_splits(*args, **kwargs)


def _rehearse_seq2seq(*args: Any) -> None:
    from ftkit.tasks.seq2seq.train import rehearse_seq2seq

    rehearse_seq2seq(*args)


def _train_seq2seq(*args: Any, **kwargs: Any) -> Finished:
    from ftkit.tasks.seq2seq.train import train_seq2seq

    return train_seq2seq(*args, **kwargs)


TASKS: dict[str, Task] = {
    "classification": Task(_load_labelled, _rehearse_classification, _train_classification),
    "causal_lm": Task(_load_texts, _rehearse_causal_lm, _train_causal_lm),
    "seq2seq": Task(_load_pairs, _rehearse_seq2seq, _train_seq2seq),
}
"""`task` of a recipe -> what it does."""
