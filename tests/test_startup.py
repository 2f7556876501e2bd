"""What a command loads before it has anything to do; a real process each, so that nothing is loaded already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STACK = {"torch", "transformers", "datasets", "peft", "accelerate", "evaluate", "sklearn", "pandas", "numpy", "pyarrow"}

RUN = """
import sys
sys.argv = ["ftkit", *sys.argv[1:]]
from ftkit.cli.app import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
finally:
    print("LOADED", *sorted({name.split(".")[0] for name in sys.modules}))
"""


def loaded_by(*words: str, cwd: Path) -> set[str]:
    """Top-level modules that are loaded when a command has finished well."""
    environment = dict(os.environ) | {"FTKIT_CACHE": str(cwd / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words], capture_output=True, text=True, env=environment, cwd=cwd, check=True
    )
    return set(done.stdout.rpartition("LOADED")[2].split())


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "task: classification\nmodel:\n  name_or_path: builtin:tiny-bert\nmethod:\n  type: lora\n"
        "data:\n  dataset_name: builtin:docstrings\n"
    )
    return path


def test_help_loads_neither_the_stack_nor_pydantic_nor_rich(tmp_path):
    loaded = loaded_by("--help", cwd=tmp_path)
    assert "typer" in loaded
    assert loaded & (STACK | {"pydantic", "ruamel", "rich", "rapidfuzz"}) == set()


@pytest.mark.parametrize(
    "command", ["train", "check", "predict", "generate", "export", "runs", "new", "builtin", "schema"]
)
def test_the_help_of_a_command_loads_nothing_of_the_stack(command, tmp_path):
    assert loaded_by(command, "--help", cwd=tmp_path) & STACK == set()


def test_a_check_of_the_recipe_alone_loads_nothing_of_the_stack(recipe, tmp_path):
    loaded = loaded_by("check", str(recipe), "--no-data", cwd=tmp_path)
    assert "pydantic" in loaded
    assert loaded & STACK == set()


@pytest.mark.parametrize("words", [["builtin"], ["runs"], ["schema"], ["new", "--list"]])
def test_commands_that_only_list_load_nothing_of_the_stack(words, tmp_path):
    assert loaded_by(*words, cwd=tmp_path) & STACK == set()


def test_the_library_is_imported_without_its_stack(tmp_path):
    code = "import sys, ftkit, ftkit.commands.train, ftkit.commands.check, ftkit.runs.run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert {name.split(".")[0] for name in done.stdout.split()} & STACK == set()
