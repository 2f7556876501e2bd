"""The state of everything random that a training draws from: taken, given back, and left alone by what looks on."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any


def random_state() -> tuple[Any, ...]:
    """States of Python's, NumPy's and torch's generators, and of every accelerator's."""
    import numpy as np
    import torch

    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), devices


def restore(state: tuple[Any, ...]) -> None:
    """Go back to a state that `random_state` gave."""
    import numpy as np
    import torch

    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    if state[3]:
        torch.cuda.set_rng_state_all(state[3])


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave no trace in the random state, whatever a model in eval mode draws."""
    state = random_state()
    try:
        yield
    finally:
        restore(state)
