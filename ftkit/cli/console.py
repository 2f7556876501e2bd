"""What a person sees: notes and progress on stderr, results on stdout; plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ftkit.cli.streams import commanding
from ftkit.errors import SettingAdvice, UserError
from ftkit.interruption import SIGNALS, STOP, Interrupted
from ftkit.progress import Advance
from ftkit.report.safe import ILLEGAL, printable

SECONDS_BETWEEN_LINES = 10.0
"""Without a terminal, a long stretch of work writes a line this often."""

Trusted = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the model: read it before.")
]
"""The option of every command that opens a model that is there: whether its code may run is for who types to say."""

OwnMetrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="FILE.PY:FUNCTION",
        help="Run this file, and measure answers by its function (predictions, references[, inputs]) too.",
    ),
]
"""The option of commands that measure answers: code is named by who types, never by a recipe or a run."""


class ConsoleReporter:
    """Notes as lines, progress as a rich bar on a terminal and as occasional lines elsewhere."""

    def say(self, message: str) -> None:
        """Write a note to stderr."""
        print(f"  {printable(message)}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def track(self, description: str, *, total: int) -> Iterator[Advance]:
        """Show how far a stretch of work has come."""
        tracker = _bar if sys.stderr.isatty() else _lines
        with tracker(description, total) as advance:

            def advance_or_stop(units: int) -> None:
                STOP.poll()
                advance(units)

            yield advance_or_stop


@contextlib.contextmanager
def _bar(description: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=commanding(sys.stderr)), transient=True) as progress:
        task = progress.add_task(description, total=total)
        yield lambda units: progress.advance(task, units)


@contextlib.contextmanager
def _lines(description: str, total: int) -> Iterator[Advance]:
    start = last = time.monotonic()
    done = 0

    def advance(units: int) -> None:
        nonlocal done, last
        done += units
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"  {description}: {done:,} of {total:,}", file=sys.stderr, flush=True)

    yield advance
    print(f"  {description}: {done:,} in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)


def quiet_libraries() -> None:
    """Keep other libraries' progress bars and load reports out of the way; called before any of them comes in."""
    warnings.simplefilter("ignore", FutureWarning)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


def leave_hub_alone(asked: bool) -> None:
    """Keep the hub out of it where that is asked for; called before huggingface_hub comes in, which reads it then."""
    if asked:
        os.environ["HF_HUB_OFFLINE"] = "1"


def leave_hub_alone_for(model: Path) -> None:
    """Keep the hub out of it unless the base of an adapter has to come from there.

    Raises:
        UserError: there is neither a run with a model nor a model folder.
    """
    from ftkit.models.download import needs_hub
    from ftkit.models.saved_folder import model_folder

    leave_hub_alone(not needs_hub(model_folder(model)))


def screen_width() -> int:
    """Characters of a line on the terminal, from 40 to those that a report asks for at most."""
    from ftkit.report.tables import LINE_WIDTH

    return min(LINE_WIDTH, max(40, shutil.get_terminal_size((LINE_WIDTH, 24)).columns))


def show_lines(lines: Iterable[str]) -> None:
    """Print lines as they come."""
    for line in lines:
        typer.echo(printable(line))


def show_json(value: Any, *, indent: int | None = None) -> None:
    """Print one JSON value for machines."""
    typer.echo(_escaped(json.dumps(value, ensure_ascii=False, indent=indent)))


def json_line(row: Mapping[str, Any]) -> tuple[str, bool]:
    """A row as one line of JSON, and whether a number in it was none (NaN, infinite): JSON has null for those."""
    try:
        line, mended = json.dumps(row, ensure_ascii=False, allow_nan=False, default=str), False
    except ValueError:
        line, mended = json.dumps(finite(row), ensure_ascii=False, allow_nan=False, default=str), True
    return f"{_escaped(line)}\n", mended


def _escaped(text: str) -> str:
    """JSON in which every character that a terminal obeys is written by its number: the same value."""
    return ILLEGAL.sub(lambda found: json.dumps(found.group())[1:-1], text)


def finite(value: Any) -> Any:
    """A value in which numbers that are none (NaN, infinite) are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value


@contextlib.contextmanager
def keys_as_options() -> Iterator[None]:
    """The data room's advice names keys of a recipe; here they are options."""
    try:
        yield
    except UserError as error:
        if not isinstance(error.fix, SettingAdvice):
            raise
        raise UserError(error.problem, where=error.where, fix=error.fix.option) from error


@contextlib.contextmanager
def obeying_signals() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP finish and seal the step under way before the command ends."""

    def say(message: str) -> None:
        # nobody may be there to read it any more
        with contextlib.suppress(OSError):
            os.write(2, f"\n  {message}\n".encode())

    def leave(code: int) -> None:
        say("stopped at once; what was sealed is safe")
        os._exit(code)

    try:
        with STOP.listening(say=say, leave=leave):
            yield
    except Interrupted:
        # the process is on its way out; one more signal shall not change its exit code
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise
