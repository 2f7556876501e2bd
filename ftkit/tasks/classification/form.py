"""The `data` part of a recipe to splits of texts and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ftkit.data.chat.rendering import ChatBase
from ftkit.data.dataset import Splits
from ftkit.data.gather import Source
from ftkit.data.labelled import load_labelled, made_up_labelled
from ftkit.recipe.labelled import LabelledData


def load_splits(
    spec: LabelledData,
    *,
    seed: int,
    narrow: Callable[[Source], Source] | None = None,
    head: Sequence[str] = (),
    chats: ChatBase | None = None,  # noqa: ARG001
) -> Splits:
    """Read, check and split the data of a recipe; the splits have texts and labels."""
    return load_labelled(spec, seed=seed, narrow=narrow, head=head)[0]


def made_up_row(spec: LabelledData, *, sentence: str, text: str, label: str) -> dict[str, Any]:
    """A row that the data of a recipe could have."""
    return made_up_labelled(spec, sentence=sentence, text=text, label=label)
