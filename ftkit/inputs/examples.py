"""Examples as trainer, probes, plan and scorer see them: numbered, of some length, any of them a batch.

What goes in is known to the one file that made them: the tokens of documents, of pairs or of labelled texts, and as
well the frames of sounds or the patches of pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Arrays = dict[str, npt.NDArray[Any]]
"""What a model is called with, by name, `labels` among them."""


class Examples(Protocol):
    """N examples."""

    def __len__(self) -> int:
        """N."""

    @property
    def rows(self) -> Rows:
        """The row of the split that each comes from (N,)."""

    @property
    def scored_rows(self) -> Rows:
        """The row of the split that each score is of (M,): of each example, or of each row whose examples are read
        as one."""

    @property
    def lengths(self) -> Rows:
        """What each takes of a batch (N,); of S sides that are padded each for itself, (N, S)."""

    @property
    def packed(self) -> bool:
        """Whether those of a batch lie end to end in one row, so that nothing is padded."""

    def arrays(self, rows: Rows) -> Arrays:
        """The model inputs of some examples (B,), laid out as one batch: arrays (B, T), or (1, T) where packed."""

    def take(self, rows: Rows) -> Self:
        """Some of the examples, in the order of `rows`."""

    def cut(self, device: str) -> Iterator[Rows]:
        """All of them, each once, cut into batches to be scored on a kind of device: `cpu`, `cuda`, ..."""


class Targets(NamedTuple):
    """The targets of a batch, in the order of its answers: which example each is of, and whether it is no text (n,)."""

    examples: Rows
    special: npt.NDArray[np.bool_]


class TokenExamples(Examples, Protocol):
    """Examples of which tokens are learnt."""

    @property
    def text_bytes(self) -> Rows:
        """UTF-8 bytes that the targets of each stand for (N,)."""

    def targets(self, rows: Rows) -> Targets:
        """What is scored of some examples, as `arrays` lays them out."""
