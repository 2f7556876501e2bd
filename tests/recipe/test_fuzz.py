"""2,000 broken recipes: no traceback, a place for each problem, and the right key for a typo."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ftkit.errors import RecipeError
from ftkit.tasks.table import read_recipe
from tests.recipe.broken_recipes import VALID, Broken, broken_recipe

NUM_QUICK = 300
NUM_ALL = int(os.environ.get("FTKIT_FUZZ", "2000"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.csv").write_text("text,label\na,yes\nb,no\n")
    return tmp_path


def problems_of(folder: Path, text: bytes) -> tuple[str, ...]:
    path = folder / "recipe.yaml"
    path.write_bytes(text)
    try:
        read_recipe(path)
    except RecipeError as error:
        num_lines = text.count(b"\n") + text.count(b"\r") + 1
        for problem in error.problems:
            place = re.fullmatch(r".*recipe\.yaml:(\d+):(\d+)", problem.where)
            assert place, f"no line and column: {problem}"
            assert 1 <= int(place[1]) <= num_lines + 1, f"no such line: {problem}"
            assert int(place[2]) >= 1
            assert "pydantic" not in str(problem)
            assert "function-" not in str(problem)
        return tuple(str(problem) for problem in error.problems)
    return ()


def named_the_key(case: Broken, problems: tuple[str, ...]) -> bool:
    """Whether the problem on the line of the typo names the right key."""
    here = [text for text in problems if f"recipe.yaml:{case.line}:" in text]
    return any(re.search(rf"(?<![\w]){re.escape(case.key)}(?!\w)", text.partition("; ")[2]) for text in here)


def run(folder: Path, seeds: range) -> tuple[int, int, list[str]]:
    num_typos, missed = 0, []
    for seed in seeds:
        case = broken_recipe(seed)
        problems = problems_of(folder, case.text)
        if case.kind in ("typo", "duplicated"):
            assert problems, f"seed {seed}: accepted {case.kind} of {case.key}: {case.typo}"
        if case.kind == "typo":
            num_typos += 1
            if not named_the_key(case, problems):
                missed.append(f"{case.key} -> {case.typo}: {problems}")
    return num_typos, num_typos - len(missed), missed


def report(num_typos: int, num_right: int, missed: list[str]) -> None:
    print(f"\n{num_right} of {num_typos} one-edit typos answered with the right key ({num_right / num_typos:.1%})")
    print("\n".join(missed))
    assert num_right >= 0.95 * num_typos


@pytest.mark.parametrize("text", VALID)
def test_the_recipes_that_are_broken_here_are_whole_before(folder: Path, text: str) -> None:
    assert problems_of(folder, text.encode()) == ()


def test_a_few_hundred_broken_recipes_give_problems_with_a_place_and_the_right_key(folder: Path) -> None:
    report(*run(folder, range(NUM_QUICK)))


@pytest.mark.slow
def test_two_thousand_broken_recipes_give_problems_with_a_place_and_the_right_key(folder: Path) -> None:
    report(*run(folder, range(NUM_ALL)))
