"""What cannot be used of the data, and why."""

from __future__ import annotations

from ftkit.data.reading.json_rows import encodable


class Unusable(Exception):
    """A row that cannot be used: what is wrong with it, and what to do about it."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


def check_text(text: str, what: str) -> None:
    """Refuse what no tokenizer can take.

    Raises:
        Unusable: a NUL character, or half of a surrogate pair (JSON inside a string can hold both).
    """
    if "\0" in text:
        raise Unusable(f"{what} holds a NUL character", "remove it")
    if not text.isascii() and not encodable(text):
        raise Unusable(f"{what} holds half a surrogate pair", "write the character itself or both halves")
