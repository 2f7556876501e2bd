import json
import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from ftkit.cli.builtin import builtin
from ftkit.models.builtin.builtin import BUILTIN_MODELS

app = typer.Typer()
app.command()(builtin)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    for name, value in {"FTKIT_CACHE": str(tmp_path), "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)


def test_the_list_shows_names_and_commands_unbroken_and_all_else_within_a_narrow_terminal():
    shown = CliRunner().invoke(app, []).stdout
    assert all(f"builtin:{name} " in shown for name in [*BUILTIN_MODELS, "docstrings", "signatures", "pydoc"])
    assert all(len(line) <= 80 or "pip install" in line for line in shown.splitlines())


def test_json_tells_names_sizes_and_what_is_there_and_builds_nothing(tmp_path):
    listing = json.loads(CliRunner().invoke(app, ["--json"]).stdout)
    models = {entry["name"]: entry for entry in listing["models"]}
    assert models["builtin:tiny-t5"]["state"] == "made on first use"
    assert models["builtin:tiny-t5"]["ready"] is False
    assert 100_000 < models["builtin:tiny-t5"]["bytes"] < 500_000
    assert {entry["name"] for entry in listing["data"]} == {
        f"builtin:{name}" for name in ("docstrings", "signatures", "pydoc", "commands", "commands-new")
    }
    assert list(tmp_path.iterdir()) == []


def test_listing_imports_neither_torch_nor_transformers_nor_pyarrow():
    code = (
        "import sys; from ftkit.cli.builtin import builtin; builtin(); "
        "assert not {'torch', 'transformers', 'datasets', 'pandas', 'numpy', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ), stdout=subprocess.DEVNULL)
