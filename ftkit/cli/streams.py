"""Standard output and error for a process whose terminal or pipe may go away before its work is done."""

from __future__ import annotations

import errno
import io
import signal
import sys
from typing import Any, TextIO

from ftkit.interruption import Interrupted
from ftkit.report.safe import printable


class Notes(io.FileIO):
    """Where notes and progress go: what nobody can read any more is dropped, since the work matters more."""

    def write(self, data: Any) -> int:
        """Write, or do as if."""
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


class Results(io.FileIO):
    """Where results go: without a reader the command ends, as a shell's commands do by SIGPIPE.

    Raises:
        Interrupted: the reader is gone (`ftkit predict ... | head -1`).
        OSError: the disk behind it is full; what is written after that is dropped.
    """

    failed = False

    def write(self, data: Any) -> int:
        """Write; what is left in buffers when the process ends is not told a second time."""
        if self.failed:
            return memoryview(data).nbytes
        try:
            return super().write(data) or 0
        except OSError as error:
            self.failed = True
            if error.errno == errno.EPIPE and hasattr(signal, "SIGPIPE"):
                raise Interrupted(signal.SIGPIPE) from None
            error.filename = "standard output"
            raise


class Shown(io.TextIOWrapper):
    """Text whoever wrote it (labels, files, templates, warnings of libraries, tracebacks): no terminal obeys it."""

    commands: io.TextIOWrapper

    def write(self, text: str) -> int:
        """Write what of it is harmless, with a mark for the rest."""
        return super().write(printable(text))


def commanding(stream: TextIO) -> TextIO:
    """The same stream for what the terminal is to obey: bars and tables of our own words."""
    return stream.commands if isinstance(stream, Shown) else stream


_BEFORE: list[io.TextIOWrapper] = []
"""The streams that were replaced: a stream that nobody holds closes its file."""


def outlive_readers() -> None:
    """Put such streams in the place of sys.stdout and sys.stderr; what an encoding lacks is shown as it can be."""
    for name, kind in (("stdout", Results), ("stderr", Notes)):
        stream: Any = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and isinstance(stream.buffer, io.BufferedWriter):
            stream.flush()
            _BEFORE.append(stream)
            raw = io.BufferedWriter(kind(stream.fileno(), "w", closefd=False))
            options: Any = {"errors": "backslashreplace", "line_buffering": stream.line_buffering}
            text = Shown(raw, stream.encoding, **options)
            text.commands = io.TextIOWrapper(raw, stream.encoding, **options)
            setattr(sys, name, text)
