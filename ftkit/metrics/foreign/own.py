"""A metric that is a function of a Python file: named on the command line, never by a recipe or a run."""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftkit.errors import UserError
from ftkit.metrics.bootstrap import Bootstrap, mean, no_value, with_interval
from ftkit.metrics.predictions import Entry

MOST_SECONDS = 60.0
"""What the resamples of a function that takes all rows at once may take; beyond it there is no interval."""


class AnsweredRows(NamedTuple):
    """What a model answered, N rows.

    Attributes:
        predictions: what it said: a label, or a text.
        references: what is right: a label, or a list of texts each of which is right.
        inputs: what it was given: a text, or the texts of a pair.
    """

    predictions: Sequence[str]
    references: Sequence[Any]
    inputs: Sequence[Any]

    def take(self, rows: NDArray[np.int64]) -> AnsweredRows:
        """Some of the rows, or the same ones again."""
        return AnsweredRows(*([values[row] for row in rows] for values in self))


@dataclass(frozen=True)
class OwnMetric:
    """A function (predictions, references) or (predictions, references, inputs) of a file.

    Attributes:
        name: of the function.
        file: where it lies.
        function: gives a number, numbers by name, or a number a row.
        takes_inputs: whether it wants what the model was given too.
    """

    name: str
    file: Path
    function: Callable[..., Any]
    takes_inputs: bool

    def __call__(self, answered: AnsweredRows) -> Any:
        """What the function gives for some rows.

        Raises:
            UserError: it failed; with the line of the file.
        """
        arguments = answered if self.takes_inputs else answered[:2]
        try:
            return self.function(*(list(values) for values in arguments))
        except Exception as error:
            # whatever it raises is for the person who wrote it to read; the cause stays attached
            raise UserError(
                f"--metric {self.name} failed on {len(answered.predictions):,} rows: {_said(error)}",
                where=_line_in(self.file, error),
                fix="mend the function; `ftkit eval RUN --metric FILE:FUNCTION` measures a finished run once more",
            ) from error


def load_own(spec: str) -> OwnMetric:
    """Run a Python file and take a function from it.

    Args:
        spec: `metrics.py:my_score`.

    Raises:
        UserError: there is no such file or function, the file cannot be run, or the function takes something else.
    """
    path, colon, name = spec.rpartition(":")
    if not colon or not name.isidentifier() or not path.endswith(".py"):
        raise UserError(f"--metric {spec}: it is no function of a file", fix="write metrics.py:my_score")
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise UserError(
            f"--metric {spec}: there is no such file", where=str(file), fix="give the path of a Python file"
        )
    found = importlib.util.spec_from_file_location(f"ftkit_own_metric_{file.stem}", file)
    assert found is not None, "the name ends in .py"
    assert found.loader is not None, "and so it has a loader"
    module = importlib.util.module_from_spec(found)
    # dataclasses look their own module up there
    sys.modules[found.name] = module
    # its neighbours are imported as if it were run by itself
    sys.path.insert(0, str(file.parent))
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise UserError(
            f"--metric {spec}: the file cannot be run: {_said(error)}", where=_line_in(file, error), fix="mend it"
        ) from error
    finally:
        sys.path.remove(str(file.parent))
    function = getattr(module, name, None)
    if not callable(function):
        there = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
        near = get_close_matches(name, there, n=1)
        fix = f"did you mean {near[0]}?" if near else f"there is {', '.join(there[:8]) or 'none at all'}"
        raise UserError(f"--metric {spec}: the file has no function {name}", where=str(file), fix=fix)
    return OwnMetric(name, file, function, _takes_inputs(spec, function))


def measure_own(metric: OwnMetric, answered: AnsweredRows, *, num_resamples: int, seed: int) -> dict[str, Entry]:
    """What a function gives for some rows, with a 95 % bootstrap interval over rows.

    A number a row is resampled as it is; a function of all rows is called once more for each resample, unless that
    would take more than a minute, which the entry says then.

    Args:
        metric: of a file.
        answered: N rows.
        num_resamples: bootstrap resamples.
        seed: of these.

    Returns:
        Entries by name: that of the function, and behind a dot those of the numbers that it gives by name.

    Raises:
        UserError: it failed, or gave something else.
    """
    num_rows = len(answered.predictions)
    if not num_rows:
        return {metric.name: no_value(0, "there are no rows")}
    bootstrap = Bootstrap(num_resamples, seed)
    began = time.perf_counter()
    given = metric(answered)
    seconds = time.perf_counter() - began
    rows = _numbers_of_rows(given, num_rows)
    if rows is not None:
        if not np.isfinite(rows).all():
            return {metric.name: no_value(num_rows, "it is not finite on every row")}
        return {metric.name: mean(rows).entry(bootstrap)}
    values = _values(metric, given)
    if seconds * num_resamples > MOST_SECONDS or num_rows < 2:
        note = (
            f"no interval: {num_resamples:,} resamples would take about {seconds * num_resamples / 60:.0f} minutes; a "
            "function that gives a number a row has one"
        )
        resampled = dict.fromkeys(values, None)
    else:
        note, resampled = "", _resampled(metric, answered, bootstrap, list(values))
    return {name: _entry(value, resampled[name], num_rows, note) for name, value in values.items()}


def _resampled(
    metric: OwnMetric, answered: AnsweredRows, bootstrap: Bootstrap, names: Sequence[str]
) -> dict[str, NDArray[np.float64] | None]:
    """The metric on every resample (R,), by name; NaN where it is undefined."""
    found: list[list[float]] = []
    num_rows = len(answered.predictions)
    for weights in bootstrap.row_weights(num_rows):
        for drawn in weights:
            rows = np.repeat(np.arange(num_rows), drawn.astype(np.int64))
            values = _values(metric, metric(answered.take(rows)))
            found.append([values.get(name, math.nan) for name in names])
    table = np.array(found)
    table[~np.isfinite(table)] = math.nan
    return {name: table[:, column] for column, name in enumerate(names)}


def _entry(value: float, resampled: NDArray[np.float64] | None, num_rows: int, note: str) -> Entry:
    if not math.isfinite(value):
        return no_value(num_rows, "the function gave no finite number")
    if resampled is None:
        return {"value": value, "low": None, "high": None, "n": num_rows, "note": note}
    return with_interval(value, resampled, num_rows=num_rows)


def _numbers_of_rows(given: Any, num_rows: int) -> NDArray[np.float64] | None:
    """A number a row (N,); None where something else was given."""
    if not isinstance(given, np.ndarray | list | tuple) or len(given) != num_rows:
        return None
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return found if found.shape == (num_rows,) else None


def _values(metric: OwnMetric, given: Any) -> dict[str, float]:
    named = given.items() if isinstance(given, Mapping) else [("", given)]
    found = {f"{metric.name}.{name}" if name else metric.name: value for name, value in named}
    wrong = [value for value in found.values() if not _is_number(value)]
    if wrong or not found:
        what = f"{type(wrong[0]).__name__}s" if wrong and wrong[0] is not None else "nothing"
        raise UserError(
            f"--metric {metric.name} gave {what}",
            where=str(metric.file),
            fix="a metric gives a number, numbers by name, or a list with a number for each row",
        )
    return {name: float(value) for name, value in found.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) or (isinstance(value, np.ndarray) and value.ndim == 0)


def _takes_inputs(spec: str, function: Callable[..., Any]) -> bool:
    """Whether a function takes three arguments.

    Raises:
        UserError: it takes neither two nor three.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # one that is written in C
        return False
    for count in (3, 2):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 3
    raise UserError(
        f"--metric {spec}: the function takes {signature}",
        fix="let it take predictions, references, and perhaps inputs",
    )


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _line_in(file: Path, error: BaseException) -> str:
    """`file:line` of the last line of a file that an error went through."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{file}:{error.lineno}"
    lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == str(file)]
    return f"{file}:{lines[-1]}" if lines else str(file)
