"""Data files and recipes with something broken in them, by a seed: never a traceback, never a silent drop."""

from __future__ import annotations

import random
import re
import tempfile
from pathlib import Path

from ftkit.errors import RecipeError, UserError
from ftkit.tasks.table import read_recipe, task_of
from tests.faults.experiments import Finding
from tests.faults.outcomes import lines_of
from tests.recipe.broken_recipes import broken_recipe

KEYS = {
    "classification": ("text", "label"),
    "causal_lm": ("text",),
    "seq2seq": ("source", "target"),
}
MODELS = {"classification": "tiny-bert", "causal_lm": "tiny-gpt2", "seq2seq": "tiny-t5"}
JUNK = (
    b"\x00", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b'"', b"\\u", b"{", b"}", b"[", b"\r", b"\n\n", b",,,", b"NaN",
    b"null", b"1e999", b"\xef\xbb\xbf", b'{"text": 1}', b"[1, 2]\n", b'"text"\n', b"\\ud800", b"\x1a", b"\t",
)  # fmt: skip


def mutate_data(folder: Path, *, seed: int, number: int) -> list[Finding]:
    """Load `number` broken files, each by one task: rows come out, or one message with the file's name.

    Counted as lost: any other exception. As differing: rows that vanished without a word, where no skipping was asked
    for.
    """
    chance = random.Random(seed)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for case in range(number):
            task = chance.choice(list(KEYS))
            data = _broken_file(chance, KEYS[task])
            told = _load(Path(name), task, data, skips=chance.random() < 0.3)
            if told:
                wrong.append(f"seed {seed}, case {case}, {task}: {told}\n{data[:400]!r}")
    name = "mutated data files"
    good = Finding(name, fired=True, number=number - len(wrong))
    return [good, *(Finding(name, fired=True, lost=True, note=note) for note in wrong)]


def _load(folder: Path, task: str, data: bytes, *, skips: bool) -> str:
    (folder / "train.jsonl").write_bytes(data)
    columns = "".join(f", {key}_column: {key}" for key in KEYS[task])
    skipping = ", on_bad_row: skip" if skips else ""
    (folder / "recipe.yaml").write_text(
        f"task: {task}\nmodel: {{name_or_path: builtin:{MODELS[task]}}}\n"
        f"data: {{train_file: train.jsonl{columns}{skipping}}}\n",
        encoding="utf-8",
    )
    try:
        recipe = read_recipe(folder / "recipe.yaml").recipe
        splits = task_of(task).load_splits(recipe.data, seed=1)
    except UserError as error:
        return "" if "train.jsonl" in str(error) or "data." in str(error) else f"names no place: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    held = sum(len(split) for split in splits.all()) + len(splits.skipped)
    rows = sum(1 for line in data.splitlines() if line.strip())
    silent = held == 0 or (rows - held > 0 and not splits.notes and not splits.skipped)
    return f"{rows} lines, {held} rows, and not a word" if silent else ""


def _broken_file(chance: random.Random, keys: tuple[str, ...]) -> bytes:
    words = ("red", "blue", "green", "späte", "雨", "x" * 50)
    rows = [
        {key: f"{chance.choice(words)} {chance.randrange(3)}" for key in keys} for _ in range(chance.randrange(4, 30))
    ]
    if "label" in keys:
        for row in rows:
            row["label"] = chance.choice("ab")
    data = bytearray(lines_of(rows).encode("utf-8"))
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data))
        how = chance.randrange(6)
        if how == 0:
            data[at : at + chance.randrange(1, 40)] = b""
        elif how == 1:
            data[at:at] = chance.choice(JUNK)
        elif how == 2:
            data[at] = chance.randrange(256)
        elif how == 3:
            del data[at:]
        elif how == 4:
            line = bytes(data).splitlines(keepends=True)
            data[at:at] = chance.choice(line)
        else:
            data[at:at] = b"y" * chance.choice((1, 5000, 200_000))
        if not data:
            data = bytearray(b"\n")
    return bytes(data)


def fuzz_recipes(*, seed: int, number: int) -> list[Finding]:
    """Read `number` broken recipes: problems with line and column, and the right key for a typo.

    Counted as lost: any exception but a RecipeError, or a problem without a place. As differing: a typo accepted, or
    answered with another key.
    """
    lost, differing = [], []
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "train.csv").write_text("text,label\na,yes\nb,no\n", encoding="utf-8")
        path = Path(name) / "recipe.yaml"
        for case_number in range(seed * number, (seed + 1) * number):
            case = broken_recipe(case_number)
            path.write_bytes(case.text)
            problems: list[str] = []
            try:
                read_recipe(path)
            except RecipeError as error:
                problems = [str(problem) for problem in error.problems]
                unplaced = [p for p in error.problems if not re.fullmatch(r".*recipe\.yaml:\d+:\d+", p.where)]
                lost += [f"{case_number}: no place: {problem}" for problem in unplaced]
            except Exception as error:
                lost.append(f"{case_number}: {type(error).__name__}: {error}")
            if case.kind == "typo":
                here = [text for text in problems if f"recipe.yaml:{case.line}:" in text]
                if not any(re.search(rf"(?<!\w){re.escape(case.key)}(?!\w)", text.partition("; ")[2]) for text in here):
                    differing.append(f"{case_number}: {case.key} -> {case.typo}: {problems}")
    name = "fuzzed recipes"
    return [
        Finding(name, fired=True, number=number - len(lost) - len(differing)),
        *(Finding(name, fired=True, lost=True, note=note) for note in lost),
        *(Finding(name, fired=True, differs=True, note=note) for note in differing),
    ]
