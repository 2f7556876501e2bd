"""The answer to a key that is called otherwise here."""

from __future__ import annotations

from typing import NamedTuple


class Today(NamedTuple):
    """What a foreign or old key is called here.

    Attributes:
        key: dotted path of today's key, empty when there is none.
        note: what else has to change, or why there is no such key.
    """

    key: str
    note: str = ""
