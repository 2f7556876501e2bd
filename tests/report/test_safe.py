"""Labels and texts of others are shown, never obeyed: by no terminal and by no reader of Markdown."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from ftkit.cli.console import ConsoleReporter, json_line, show_json, show_lines
from ftkit.report.safe import ILLEGAL, code, escaped, printable

HOSTILE = ["\x1b[31mred\x1b[0m", "\u009b2J", "<script>alert(1)</script>\n# Heading", "a|b `c` \u202egnol"]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_is_obeyed_is_left_in_what_is_shown(text: str) -> None:
    for shown in (printable(text), escaped(text), code(text)):
        assert not ILLEGAL.search(shown)
    assert not re.search(r"<|(?m:^#)", escaped(text))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((f"row {i} {HOSTILE[i % 4]}", HOSTILE[i % 4]) for i in range(48))
    return tmp_path / "rows.csv"


@pytest.mark.parametrize("text", HOSTILE)
def test_notes_lines_and_json_are_written_without_it_and_json_is_the_same_value(text: str, capsys) -> None:
    ConsoleReporter().say(f"2 labels: {text}")
    show_lines([f"{text}  12"])
    show_json({"label": text})
    line, mended = json_line({"label": text, "score": 0.5})
    shown = capsys.readouterr()
    assert not ILLEGAL.search(shown.err + shown.out + line)
    assert (json.loads(line)["label"], json.loads(shown.out.splitlines()[-1])["label"], mended) == (text, text, False)


SAYS = """
import logging, sys, warnings
import typer
from ftkit.cli.streams import outlive_readers
outlive_readers()
text = "said: " + sys.argv[1]
print(text)
print(text, file=sys.stderr)
typer.echo(text, err=True)
warnings.warn(text)
logging.getLogger("some.library").error(text)
raise ValueError(text)
"""


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_writes_to_the_terminal_writes_what_is_harmless(text: str, forge) -> None:
    child = forge.run(text, code=SAYS, apart=True)
    assert child.output().count("said: ") == 1
    assert child.errors().count("said: ") == 5, child.errors()
    assert not ILLEGAL.search(child.output() + child.errors())


@pytest.mark.slow
def test_no_command_lets_a_label_or_a_text_reach_the_terminal_raw(rows: Path, tmp_path: Path, forge) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    settings = ["method.type=frozen", "training.num_train_epochs=1", "evaluation.num_resamples=100"]
    commands = [
        ["new", recipe, "--data", rows, "--model", "builtin:tiny-bert"],
        ["check", recipe],
        ["check", recipe, "--json"],
        ["train", recipe, *settings, f"training.output_dir={run}"],
        ["eval", run, "--quick"],
        ["predict", run, "--file", rows],
        ["predict", run, "--text", HOSTILE[0]],
        ["check", recipe, f"data.label_column={HOSTILE[0]}"],
        ["runs", tmp_path],
    ]
    for words in commands:
        child = forge.run(*map(str, words), apart=True)
        said = child.output() + child.errors()
        assert said, words
        assert not ILLEGAL.search(said), (words, ILLEGAL.findall(said))
        if words[0] == "predict":
            texts = [json.loads(line)["text"] for line in child.output().splitlines()]
            assert texts[0] in (HOSTILE[0], f"row 0 {HOSTILE[0]}"), "the value is what it was"
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", card)
    assert not ILLEGAL.search(card)
    assert "<script>" not in prose
    assert "# Heading" not in prose.replace("\\#", "")
