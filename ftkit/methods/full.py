"""method.type: full."""

from __future__ import annotations

from typing import ClassVar, Literal

from ftkit.methods.section import MethodSection, Trains


class FullMethod(MethodSection):
    """Every weight is trained."""

    trains: ClassVar[Trains] = "weights"
    in_words: ClassVar[str] = "every weight trained"
    takes_tokens: ClassVar[bool] = True

    type: Literal["full"]
    """full: train all weights."""
