"""Out of memory: recognised, and answered with the key to change and a value for it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import torch

from ftkit.disk import gibibytes
from ftkit.errors import RunError, UserError
from ftkit.models.placement import is_out_of_memory
from ftkit.recipe.schema import Recipe

_CPU_ALLOCATOR = re.compile(r"tried to allocate (\d+) bytes")
_ACCELERATOR = re.compile(r"Tried to allocate ([\d.]+) ([KMG]iB)")
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@contextlib.contextmanager
def exhaustion_told(recipe: Recipe) -> Iterator[None]:
    """Turn memory that ran out anywhere but in a step (there a batch is known) into one message.

    Args:
        recipe: whose keys are named.

    Raises:
        RunError: memory ran out.
    """
    try:
        yield
    except UserError:
        raise
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        asked = bytes_asked_for(error)
        wanted = "" if asked is None else f": {gibibytes(asked)} were asked for"
        rows = recipe.training.rows_scored_at_once()
        first = f"set training.per_device_eval_batch_size: {max(1, rows // 2)}, " if rows is not None else ""
        raise RunError(
            f"memory ran out while a model was loaded, run over data or saved{wanted}",
            fix=f"{first}lower data.max_length, or take a smaller model",
        ) from error


@dataclass(frozen=True)
class Batch:
    """What one pass forward and backward was about.

    Attributes:
        rows: examples; None where tokens are counted instead.
        tokens: of all of them, with padding.
        num_accumulated: such batches in one step.
    """

    rows: int | None
    tokens: int
    num_accumulated: int


def bytes_asked_for(error: BaseException) -> int | None:
    """How much was being allocated, None where the exception does not say."""
    text = str(error)
    if found := _CPU_ALLOCATOR.search(text):
        return int(found[1])
    if found := _ACCELERATOR.search(text):
        return round(float(found[1]) * _UNITS[found[2]])
    return None


def free_bytes(device: torch.device) -> int:
    """Memory that is left on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free = min(free, max(0, limit - psutil.Process().memory_info().vms))
    except ImportError:
        pass  # Windows sets no such limit
    return free


def share_that_fits(*, asked: int | None, free: int, most: int) -> int:
    """Into how many parts a batch is cut so that it may fit: doubled until what was asked for fits, once at the least.

    What a step allocates grows with its rows, and the rest of the step needs room too.

    Args:
        asked: bytes of the allocation that failed, None when unknown.
        free: bytes that were left then.
        most: parts beyond which there is nothing to cut.

    Example:
        >>> share_that_fits(asked=4 * 2**30, free=3 * 2**29, most=16)
        4
    """
    parts = 2
    while parts < most and (asked or 0) // parts > free:
        parts *= 2
    return min(parts, most)


def advice(batch: Batch, *, asked: int | None, free: int, checkpointing: bool) -> str:
    """Which key of the recipe to change, and to what.

    Args:
        batch: did not fit.
        asked: bytes of the allocation that failed, None when unknown.
        free: bytes that were left.
        checkpointing: whether training.gradient_checkpointing is on already.
    """
    more = "" if checkpointing else ", or training.gradient_checkpointing: true"
    if batch.rows is None:
        parts = share_that_fits(asked=asked, free=free, most=max(2, batch.tokens // 8))
        return f"set training.max_tokens_per_batch: {batch.tokens // parts}{more}"
    if batch.rows == 1:
        shorter = max(8, batch.tokens // 2 // 8 * 8)
        return f"set data.max_length: {shorter}{more}; one example of {batch.tokens:,} tokens is a batch already"
    rows = max(1, batch.rows // share_that_fits(asked=asked, free=free, most=batch.rows))
    steps = -(-batch.rows * batch.num_accumulated // rows)
    return (
        f"set training.per_device_train_batch_size: {rows} and training.gradient_accumulation_steps: {steps}, "
        f"which is the same step{more}"
    )


def what_happened(batch: Batch, *, asked: int | None, free: int, step: int) -> str:
    """The failure in words."""
    wanted = "" if asked is None else f": {gibibytes(asked)} were asked for and {gibibytes(free)} are free"
    rows = "" if batch.rows is None else f"{batch.rows} rows, "
    return f"memory ran out in step {step} ({rows}{batch.tokens:,} tokens){wanted}"
