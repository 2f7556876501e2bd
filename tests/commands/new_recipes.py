"""`ftkit new` called as a person would, and data files to call it on."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner

from ftkit.cli.new import new

app = typer.Typer()
app.command()(new)


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def write_rows(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
