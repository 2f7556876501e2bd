"""The one expected exception, and the exit codes that scripts may rely on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

EXIT_OK = 0
"""The command did what was asked."""
EXIT_BUG = 1
"""An unexpected exception: a bug of ftkit or of a library; the traceback is printed."""
EXIT_USER = 2
"""The recipe, the data or the command line is wrong; one message, no traceback."""
EXIT_RUN = 3
"""A run could not go on: no disk space, no memory, numbers that are not finite. What it had sealed is safe."""
EXIT_FOUND = 4
"""`ftkit eval --fail-on`: a check that was named has fired."""
EXIT_INTERRUPTED = 130
"""Stopped by Ctrl-C; after another signal it is 128 and that signal's number, 143 after SIGTERM."""


class SettingAdvice(str):
    """What to do about a setting, as a recipe calls it; `option` is the same for who typed it as an option.

    Args:
        sentence: with `{}` where the setting stands.
        key: dotted key of a recipe, whose last word is the name of the option.
        value: what it is to be set to, as it is written.

    Example:
        >>> advice = SettingAdvice("set {}", "data.encoding", "utf-16")
        >>> str(advice), advice.option
        ('set data.encoding: utf-16', 'set --encoding utf-16')
    """

    option: str

    def __new__(cls, sentence: str, key: str, value: str | None = None) -> SettingAdvice:
        """A text that knows how else it is said."""
        name = key.rpartition(".")[2]
        advice = super().__new__(cls, sentence.format(key if value is None else f"{key}: {value}"))
        advice.option = sentence.format(f"--{name}" if value is None else f"--{name} {value}")
        return advice


def typed(*words: object) -> str:
    """A command as a person can paste it: words with spaces or signs of the shell are quoted.

    Example:
        >>> typed("ftkit", "eval", "my runs/one")
        "ftkit eval 'my runs/one'"
    """
    return shlex.join(map(str, words))


class UserError(Exception):
    """Something a person can mend: says what is wrong, where, and what to do.

    Args:
        problem: what was asked and what was found, one sentence.
        where: `file`, `file:line` or `file:line:column`, when the problem has a place.
        fix: what to do about it.

    Example:
        >>> print(UserError("no such column: txt", where="a.csv:1", fix="columns here: text, label"))
        a.csv:1 no such column: txt; columns here: text, label
    """

    def __init__(self, problem: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.problem = problem
        self.where = where
        self.fix = fix
        super().__init__(problem)

    def __str__(self) -> str:
        # a problem may name its place already
        place = f"{self.where} " if self.where and self.where not in self.problem else ""
        remedy = f"; {self.fix}" if self.fix else ""
        return f"{place}{self.problem}{remedy}"

    def with_advice(self, more: str) -> UserError:
        """The same error with a line more on what to do."""
        return UserError(self.problem, where=self.where, fix=f"{self.fix}\n{more}" if self.fix else more)


class RunError(UserError):
    """A run that was under way cannot go on; its recipe is not wrong, and what it had sealed is safe."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a recipe.

    Attributes:
        where: `file:line:column`, or `override 2`.
        key: dotted path of the key (`training.learning_rate`), empty for the whole file.
        message: what is wrong.
        fix: what to do, empty when the message says it all.
    """

    where: str
    key: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.where} {key}{self.message}{fix}"


class RecipeError(UserError):
    """Every problem of one recipe, reported together."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        assert problems, "a RecipeError needs at least one problem"
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
