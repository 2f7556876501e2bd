"""Room on the disk: counted before step 1, and told in one message when it runs out or the disk fails."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftkit.errors import RunError, UserError
from ftkit.runs.checkpoints import Checkpoints
from ftkit.runs.run import Run
from ftkit.storage import failure_of_disk, gibibytes, nearest_folder

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
    free = shutil.disk_usage(nearest_folder(checkpoints.folder)).free
    if needed > free:
        raise UserError(
            f"{checkpoints.folder.parent} needs {gibibytes(needed)} more ({num_kept} checkpoints of "
            f"{gibibytes(each)} at one time, and the model), and {gibibytes(free)} are free",
            fix="free some, lower training.save_total_limit, or choose a training.output_dir on another disk",
        )


@contextlib.contextmanager
def failing_writes_are_told(checkpoints: Checkpoints, what: str) -> Iterator[None]:
    """Turn a write that the disk refused into one message, and give its half-written bytes back.

    Raises:
        RunError: the disk is full or broken.
    """
    try:
        yield
    except Exception as error:
        if (reason := failure_of_disk(error)) is None:
            raise
        written = sum(file.stat().st_size for file in checkpoints.staging.rglob("*") if file.is_file())
        shutil.rmtree(checkpoints.staging, ignore_errors=True)
        newest = checkpoints.newest_name
        safe = f"{newest} is safe" if newest else "no checkpoint had been written before it"
        free = shutil.disk_usage(nearest_folder(checkpoints.folder)).free
        raise RunError(
            f"{what} could not be written: {reason}; {gibibytes(written)} of it were on the disk, "
            f"{gibibytes(free)} are free now; {safe}",
            fix="free some space, then go on with --resume",
        ) from error


@contextlib.contextmanager
def disk_failures_told(path: Path) -> Iterator[None]:
    """Turn a write that the disk refused, anywhere in the work for a run, into one message.

    Raises:
        RunError: the disk is full or broken; the newest checkpoint is named.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if (reason := failure_of_disk(error)) is None:
            raise
        newest = Checkpoints(Run(path).checkpoints_dir).newest_name
        safe = f"; {newest} is safe" if newest else ""
        free = shutil.disk_usage(nearest_folder(path.absolute())).free
        raise RunError(
            f"{path} could not be written to: {reason}, {gibibytes(free)} are free on its disk{safe}",
            fix="free some space, then go on with --resume",
        ) from error


def _saved_bytes(model: Any) -> int:
    return _num_bytes(model, only_trained=hasattr(model, "peft_config"))


def _num_bytes(model: Any, *, only_trained: bool) -> int:
    weights = [weight for weight in model.parameters() if weight.requires_grad or not only_trained]
    return sum(int(weight.numel()) * int(weight.element_size()) for weight in weights)
