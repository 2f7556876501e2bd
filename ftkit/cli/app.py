"""The Typer application and the one place where exceptions become messages and exit codes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import typer

from ftkit.cli.builtin import builtin
from ftkit.cli.check import check
from ftkit.cli.compare import compare
from ftkit.cli.console import obeying_signals, quiet_libraries
from ftkit.cli.doctor import doctor
from ftkit.cli.eval import evaluate
from ftkit.cli.export import export
from ftkit.cli.generate import generate
from ftkit.cli.new import new
from ftkit.cli.predict import predict
from ftkit.cli.runs import runs
from ftkit.cli.schema import schema
from ftkit.cli.streams import outlive_readers
from ftkit.cli.train import train
from ftkit.disk import FREE_SOME, disk_error, failure_of_disk
from ftkit.errors import EXIT_RUN, EXIT_USER, RunError, UserError
from ftkit.interruption import Interrupted
from ftkit.report.safe import printable
from ftkit.version import __version__

app = typer.Typer(
    name="ftkit",
    help="Finetuning on the Hugging Face stack: one YAML recipe in, a finetuned model and the truth about it out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # rich's help doubles the time of `ftkit --help`
    rich_markup_mode=None,
)
app.command("eval")(evaluate)
for command in (new, check, train, compare, predict, generate, export, runs, builtin, doctor, schema):
    app.command()(command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ftkit {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),  # noqa: ARG001
) -> None:
    """Options that stand before any command."""
    quiet_libraries()


def main() -> None:
    """Run the command line; a UserError becomes one message and exit code 2 or 3, a bug keeps its traceback."""
    outlive_readers()
    try:
        with obeying_signals():
            app()
    except Interrupted as stop:
        if stop.signum != getattr(signal, "SIGPIPE", None):
            print(f"{stop}" + (f"; {stop.advice}" if stop.advice else ""), file=sys.stderr)
        sys.exit(stop.exit_code)
    except (RunError, UserError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(EXIT_RUN if isinstance(error, RunError) else EXIT_USER)
    except Exception as error:
        if (reason := failure_of_disk(error)) is None:
            raise
        file = getattr(error, "filename", None)
        told = disk_error(Path(file), reason, fix=FREE_SOME) if file else f"a file could not be written: {reason}"
        print(f"error: {told}", file=sys.stderr)
        sys.exit(EXIT_RUN)
