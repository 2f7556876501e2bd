"""method.type: frozen."""

from __future__ import annotations

from typing import ClassVar, Literal

from ftkit.methods.section import MethodSection, Trains


class FrozenMethod(MethodSection):
    """The encoder stays as it is and runs once; only a classification head is trained."""

    trains: ClassVar[Trains] = "head"
    in_words: ClassVar[str] = "a head on an encoder that stays as it is"

    type: Literal["frozen"]
    """frozen: train a head on the encoder's stored outputs."""

    pooling: Literal["auto", "cls", "mean", "max", "first_token"] = "auto"
    """How token vectors become one vector. `cls`: the architecture's own head; `mean`, `max` and `first_token`: that
    vector and a linear layer, saved as sentence-transformers modules; `auto`: what the checkpoint's own
    sentence-transformers files say, else `cls`."""
