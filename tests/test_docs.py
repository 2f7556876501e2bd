"""The guides name keys that recipes have, and rows that are read as they say."""

from __future__ import annotations

import ast
import doctest
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ftkit
from ftkit.cli.app import app
from ftkit.data.columns.language import guess_language_columns
from ftkit.recipe.keys import all_keys
from ftkit.recipe.task_rules import sections_of
from ftkit.tasks.table import task_rules

GUIDES = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))
OF_SOURCES = {key for task in task_rules().values() for key in task.classes("full")["data"].source_class.model_fields}
KEYS = {"task", *sections_of(task_rules()), *all_keys(task_rules()), *OF_SOURCES}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_every_key_in_a_guide_is_one_of_the_recipe(guide):
    spans = re.findall(r"`([^`\n]+)`", guide.read_text(encoding="utf-8"))
    keys = {match[1] for span in spans if (match := re.match(r"(?:[a-z]+\.)?([a-z_0-9]+): \S", span))}
    assert len(keys) > {"adapters": 0, "surviving": 2, "compare": 0, "evaluating": 0, "python": 0}.get(guide.stem, 8), (
        "the reader of keys has gone blind"
    )
    assert keys - KEYS == set()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_every_command_in_a_guide_is_there_with_its_options(guide):
    text = guide.read_text(encoding="utf-8")
    commands = re.findall(r"^ftkit (\w+)(.*?)(?:  #.*)?$", text, re.MULTILINE)
    assert commands or guide.stem == "python"
    for name, words in commands:
        shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
        assert shown.exit_code == 0, f"ftkit {name}"
        for option in re.findall(r"--\w[\w-]*", words):
            assert option in shown.output, f"ftkit {name} {option}"


def test_the_rows_of_the_guide_to_language_models_are_of_the_forms_that_it_says():
    text = (GUIDES[0].parent / "causal-lm.md").read_text(encoding="utf-8")
    block = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    rows = [json.loads(line) for line in block[1].splitlines()]
    assert [guess_language_columns([row]).kind for row in rows] == ["text", "completion", "chat"]


def test_the_guide_to_python_says_what_python_says():
    text = (GUIDES[0].parent / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    typed = "\n".join(block for block in blocks if block.startswith(">>>"))
    found = doctest.DocTestRunner(verbose=False).run(
        doctest.DocTestParser().get_doctest(typed, {}, "python.md", None, 0)
    )
    assert found.attempted > 3
    assert found.failed == 0
    for block in blocks:
        if not block.startswith(">>>"):
            ast.parse(block)
    named = set(re.findall(r"ftkit\.([a-z]+)\(", text))
    assert named == set(ftkit.__all__) - {"__version__"} - {"compare"}
