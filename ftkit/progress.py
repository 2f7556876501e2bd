"""How long work tells that it is going on, without knowing whether anybody looks at a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of units just finished."""


class Reporter(Protocol):
    """What the working rooms tell their caller."""

    def say(self, message: str) -> None:
        """A fact that the user should know: what was assumed, found, chosen or left out."""

    def track(self, description: str, *, total: int) -> contextlib.AbstractContextManager[Advance]:
        """A stretch of work of `total` units."""


class Silent:
    """A reporter for library use and tests: keeps what was said, shows nothing."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def say(self, message: str) -> None:
        """Keep the message."""
        self.messages.append(message)

    @contextlib.contextmanager
    def track(self, description: str, *, total: int) -> Iterator[Advance]:  # noqa: ARG002
        """Show nothing."""
        yield lambda _units: None
