"""A place to type commands in: a working directory with a recipe and its data, and the command line's own main()."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ftkit.cli.app import main
from ftkit.commands.train import train
from tests.fixtures.forge import Forge

RECIPE = """\
task: classification
model:
  name_or_path: builtin:tiny-bert
method:
  type: frozen
data:
  train_file: messages.csv
training:
  num_train_epochs: 2
evaluation:
  metrics: [accuracy]
  num_resamples: 100
"""


@dataclass(frozen=True)
class Outcome:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


def write_workplace(folder: Path) -> None:
    (folder / "recipe.yaml").write_text(RECIPE)
    words = {"spam": "win a free prize now", "ham": "see you at lunch"}
    with (folder / "messages.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        for number in range(24):
            label = "spam" if number % 2 else "ham"
            writer.writerow([number, f"{words[label]} {number}", label])


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # what the command line sets for its own process is taken back after the test
    for name in ("TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS", "TRANSFORMERS_NO_ADVISORY_WARNINGS"):
        monkeypatch.setenv(name, "1" if "DISABLE" in name or "NO" in name else "error")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    write_workplace(tmp_path)
    return tmp_path


@pytest.fixture
def ftkit(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["ftkit", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        shown = capsys.readouterr()
        code = stop.value.code
        return Outcome(code if isinstance(code, int) else 0, shown.out, shown.err)

    return run


@pytest.fixture
def refused(ftkit: Callable[..., Outcome]):
    """Run a command that must be refused: exit 2, nothing on stdout, one message, no traceback; gives the message."""

    def run(*words: object) -> str:
        outcome = ftkit(*words)
        assert outcome.code == 2, outcome
        assert "Traceback" not in outcome.err
        assert outcome.err.lower().count("error: ") == 1, outcome.err
        return outcome.err

    return run


@pytest.fixture
def ftkit_process(workplace: Path, forge: Forge):
    def run(*words: object) -> Outcome:
        done = forge.run(*map(str, words), apart=True)
        assert done.code is not None
        return Outcome(done.code, done.output(), done.errors())

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is only looked at."""
    folder = tmp_path_factory.mktemp("finished")
    write_workplace(folder)
    return train(folder / "recipe.yaml", [f"training.output_dir={folder / 'run'}"]).run.path


LANGUAGE_RECIPE = """\
task: causal_lm
model:
  name_or_path: builtin:tiny-llama
method:
  type: lora
data:
  train_file: rows.jsonl
  {columns}
  max_length: 64
training:
  max_steps: 2
  learning_rate: 1e-2
  output_dir: {output}
"""

LANGUAGE_COLUMNS = {
    "completion": 'template: "{question}\\n<learn>{answer}"',
    "fields": 'template: "{question} ({place})\\n<learn>{answer}"',
    "chat": "messages_column: talk\n  chat_template: plain",
    "text": "text_column: words",
}


@pytest.fixture(scope="session")
def language_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A run for each form of data and method, trained when it is first asked for, only looked at."""
    folder = tmp_path_factory.mktemp("language")
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(40):
            question, answer = f"How far is pier {number}?", f"{number} miles by the sea."
            talk = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            row = {"question": question, "place": "sea", "answer": answer, "talk": talk, "words": question + answer}
            file.write(json.dumps(row) + "\n")

    def run(kind: str, method: str = "lora", family: str = "llama") -> Path:
        output = folder / f"{kind}-{method}-{family}"
        if not output.exists():
            recipe = folder / f"{output.name}.yaml"
            columns = LANGUAGE_COLUMNS[kind]
            recipe.write_text(LANGUAGE_RECIPE.replace("{columns}", columns).replace("{output}", str(output)))
            train(recipe, [f"method.type={method}", f"model.name_or_path=builtin:tiny-{family}"])
        return output

    return run


PAIR_RECIPE = """\
task: seq2seq
model:
  name_or_path: builtin:tiny-{family}
  dtype: float32
method:
  type: {method}
data:
  train_file: rows.jsonl
  {columns}
training:
  max_steps: 12
  learning_rate: {rate}
  output_dir: {output}
generation:
  max_new_tokens: 7
  num_beams: {beams}
evaluation:
  num_resamples: 100
"""

PAIR_COLUMNS = {
    "pair": 'source_column: question\n  target_column: answer\n  source_prefix: "answer: "',
    "fields": 'template: "{question} ({place})<learn>{answer}"',
}


@pytest.fixture(scope="session")
def pair_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """As `language_runs`, of encoder-decoders; a BART's outputs were measured with two beams."""
    folder = tmp_path_factory.mktemp("pairs")
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(24):
            row = {"question": f"How far is pier {number}?", "place": "sea", "answer": f"{number} miles by the sea."}
            file.write(json.dumps(row) + "\n")

    def run(method: str = "lora", family: str = "t5", kind: str = "pair") -> Path:
        output = folder / f"{kind}-{method}-{family}"
        if not output.exists():
            values = {
                "family": family,
                "method": method,
                "columns": PAIR_COLUMNS[kind],
                "rate": {"full": 1e-2, "lora": 3e-2}.get(method, 1.0),
                "beams": 2 if family == "bart" else 1,
                "output": str(output),
            }
            text = PAIR_RECIPE
            for name, value in values.items():
                text = text.replace(f"{{{name}}}", str(value))
            recipe = folder / f"{output.name}.yaml"
            recipe.write_text(text)
            train(recipe)
        return output

    return run
