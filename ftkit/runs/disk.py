"""Room on the disk: counted before step 1, and told in one message when it runs out or the disk fails."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftkit.disk import DiskError, gibibytes, nearest_folder, writing_told
from ftkit.errors import UserError
from ftkit.runs.checkpoints import Checkpoints
from ftkit.runs.replacing import replaced_by
from ftkit.runs.run import Run

ADAM_MOMENTS = 2
"""Numbers that Adam keeps of every trained weight, in the weight's precision; other optimizers keep no more."""
SMALL_FILES = 2**20
"""Bytes that a checkpoint has besides its numbers: configuration, random state, Trainer's log."""
TOKENIZER_BYTES = 32 * 2**20
"""Most that a tokenizer's files take."""


def checkpoint_bytes(model: Any) -> int:
    """Bytes that one checkpoint of a model takes: the weights that are saved, and the optimizer's state.

    A transformers model is saved whole, of a peft model the trained weights.
    """
    return _saved_bytes(model) + ADAM_MOMENTS * _num_bytes(model, only_trained=True) + SMALL_FILES


def refuse_little_space(model: Any, checkpoints: Checkpoints) -> None:
    """Refuse to begin what cannot be saved.

    Counts the checkpoints that are kept, one more that is being written, and the finished model; what lies there
    already is not needed again.

    Raises:
        UserError: naming how much is needed, how much there is, and what to change.
    """
    each = checkpoint_bytes(model)
    num_kept = checkpoints.limit + 1
    there = len(checkpoints.steps())
    needed = max(0, num_kept - there) * each + _saved_bytes(model) + TOKENIZER_BYTES
    _refuse_more_than_free(
        checkpoints.folder.parent,
        needed,
        f"{num_kept} checkpoints of {gibibytes(each)} at one time, and the model",
        fix="free some, lower training.save_total_limit, or choose a training.output_dir on another disk",
    )


def refuse_little_space_for_model(run: Run, num_bytes: int) -> None:
    """Refuse to begin a training without checkpoints whose model, of so many bytes, cannot be saved.

    Raises:
        UserError: naming how much is needed, how much there is, and what to change.
    """
    fix = "free some, or choose a training.output_dir on another disk"
    _refuse_more_than_free(run.path, num_bytes + TOKENIZER_BYTES, "the finished model", fix=fix)


def _refuse_more_than_free(run: Path, needed: int, what: str, *, fix: str) -> None:
    free = shutil.disk_usage(nearest_folder(run)).free
    if needed > free:
        aside = replaced_by(Run(run)) if Run(run).manifest_file.is_file() else []
        also = f"; {aside[0]} is the run that this one replaces" if aside else ""
        raise UserError(f"{run} needs {gibibytes(needed)} more ({what}), and {gibibytes(free)} are free{also}", fix=fix)


@contextlib.contextmanager
def failing_writes_are_told(checkpoints: Checkpoints, what: str) -> Iterator[None]:
    """Turn a write that the disk refused into one message, and give its half-written bytes back.

    Raises:
        RunError: the disk is full or broken.
    """
    try:
        with writing_told(checkpoints.staging):
            yield
    except DiskError as error:
        written = sum(file.stat().st_size for file in checkpoints.staging.rglob("*") if file.is_file())
        shutil.rmtree(checkpoints.staging, ignore_errors=True)
        newest = checkpoints.newest_name
        safe = f"{newest} is safe" if newest else "no checkpoint had been written before it"
        raise DiskError(
            f"{what} could not be written ({gibibytes(written)} of it were on the disk): {error.problem}; {safe}",
            fix=f"{error.fix}, then go on with --resume",
        ) from error


@contextlib.contextmanager
def disk_failures_told(path: Path) -> Iterator[None]:
    """Turn a write that a disk refused, anywhere in the work for a run, into one message.

    Raises:
        RunError: a disk is full or broken; the newest checkpoint is named.
    """
    try:
        with writing_told(path):
            yield
    except DiskError as error:
        if "--resume" in str(error.fix):
            raise
        newest = Checkpoints(Run(path).checkpoints_dir).newest_name
        safe = f"; {newest} is safe" if newest else ""
        raise DiskError(f"{error.problem}{safe}", fix=f"{error.fix}, then go on with --resume") from error


def _saved_bytes(model: Any) -> int:
    return _num_bytes(model, only_trained=hasattr(model, "peft_config"))


def _num_bytes(model: Any, *, only_trained: bool) -> int:
    weights = [weight for weight in model.parameters() if weight.requires_grad or not only_trained]
    return sum(int(weight.numel()) * int(weight.element_size()) for weight in weights)
