"""The one adapter to the `evaluate` library: any of its metrics by name, with what can go wrong said plainly.

A metric of that library is a Python file, from the hub or from a folder, that is executed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ftkit.disk import failure_of_disk
from ftkit.errors import UserError
from ftkit.metrics.predictions import Entry, Predictions
from ftkit.storage import scratch_folder

TAKE, CONFIG = "take", "config_name"
"""Arguments that are not the metric's: which of its results is the value, and the configuration that is loaded."""
_INPUTS = ("predictions", "references", "prediction_scores")
_PIP = re.compile(r"pip install ([^'\n]+)'")
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def evaluate_from_hub(name: str, predictions: Predictions) -> Entry:
    """Compute one metric of the `evaluate` library; no interval, for nothing is known of its cost.

    Args:
        name: `accuracy`, `user/metric`, or a path of the machine that begins with `.`, `/` or `~`: a metric's file, or
            a folder that holds one of its own name. Arguments may follow, as in `bertscore?lang=en&take=f1`: they are
            the metric's, but for `config_name`, which it is loaded with, and `take`, the result that is the value.
        predictions: the metric gets class indices as predictions and references, and probabilities where it asks for
            prediction_scores (of the positive class when there are two).

    Returns:
        `value` is the first number that the metric gives, or the mean of a number a row; `values` all of them when
        there are several.

    Raises:
        UserError: the metric is nowhere to be had, would be something else than its name says, or fails.
    """
    metric = _load(name)
    return _compute(name, metric, _inputs(name, metric, predictions), predictions.num_rows)


def evaluate_texts_from_hub(name: str, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Entry:
    """Compute one metric of the `evaluate` library on generated texts; no interval, as in `evaluate_from_hub`.

    Args:
        name: as in `evaluate_from_hub`.
        outputs: (N,), at least one.
        references: of each row at least one (N,). A metric that takes lists of references gets them; one that takes a
            text a row gets the first of each, which the entry notes where there were more.

    Returns:
        As `evaluate_from_hub`.

    Raises:
        UserError: as there, and for a metric that asks for something else than texts.
    """
    metric = _load(name)
    options = metric.features if isinstance(metric.features, list) else [metric.features]
    if unknown := sorted({feature for option in options for feature in option} - {"predictions", "references"}):
        raise UserError(
            f"evaluate:{name} asks for {', '.join(unknown)}, which generated texts do not give",
            fix="metrics that take predictions and references can be used",
        )
    forms = {form for option in options if (form := _form_of_references(option))}
    if not forms:
        raise UserError(
            f"evaluate:{name} asks for {' or '.join(str(option) for option in options)}, not for texts",
            fix="metrics can be used whose predictions are strings, and whose references are strings or lists of them",
        )
    known: dict[str, Any] = {"predictions": list(outputs)}
    known["references"] = (
        [list(row) for row in references] if "lists" in forms else [candidates[0] for candidates in references]
    )
    inputs = {feature: known[feature] for feature in options[0]}
    entry = _compute(name, metric, inputs, len(outputs))
    if "references" in inputs and "lists" not in forms and any(len(candidates) > 1 for candidates in references):
        entry["note"] = "it takes one reference a row, and got the first of each"
    return entry


def _form_of_references(option: Mapping[str, Any]) -> str | None:
    """`lists` or `texts`, for a metric of texts; None for another one. What takes no references takes either."""
    predictions, references = option.get("predictions"), option.get("references")
    if not _is_text(predictions):
        return None
    if references is None or _is_text(references):
        return "texts"
    items = references[0] if isinstance(references, list) and references else getattr(references, "feature", None)
    return "lists" if _is_text(items) else None


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")


def with_arguments(name: str) -> tuple[str, dict[str, Any]]:
    """A metric's name and its arguments; values are JSON where they can be, else texts.

    Raises:
        UserError: what stands behind the question mark is no list of arguments.

    Example:
        >>> with_arguments("bertscore?lang=en&idf=true&num_layers=9")
        ('bertscore', {'lang': 'en', 'idf': True, 'num_layers': 9})
    """
    base, _, said = name.partition("?")
    arguments: dict[str, Any] = {}
    for part in said.split("&") if said else ():
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier() or key in arguments or key in _INPUTS:
            fix = "write evaluate:NAME?argument=value&other=value, each argument once"
            raise UserError(f"evaluate:{name}: {part!r} is no argument", fix=fix)
        try:
            arguments[key] = json.loads(value)
        except ValueError:
            arguments[key] = value
    return base, arguments


def _compute(name: str, metric: Any, inputs: dict[str, Any], num_rows: int) -> Entry:
    arguments = with_arguments(name)[1]
    arguments.pop(CONFIG, None)
    take = arguments.pop(TAKE, None)
    try:
        results = metric.compute(**inputs, **arguments)
    except Exception as error:
        if failure_of_disk(error) is not None:
            raise
        # whatever its code raises is for the person who chose it to read; the cause stays attached
        raise UserError(
            f"evaluate:{name} failed: {type(error).__name__}: {error}",
            fix="take it out of evaluation.metrics, or use one of ftkit's own metrics",
        ) from error
    found = results if isinstance(results, dict) else {name: results}
    if take is not None and take not in found:
        fix = f"take is one of {', '.join(map(str, found))}"
        raise UserError(f"evaluate:{name} gives no {take}", fix=fix)
    return _entry(found, num_rows, take=take)


def _load(name: str) -> Any:
    base, arguments = with_arguments(name)
    path = _checked_path(base)
    import evaluate

    try:
        # its temporary files go to a folder of our own: the default is shared, and fails when it is not writable
        with scratch_folder("metric") as folder:
            return evaluate.load(
                path, arguments.get(CONFIG), module_type="metric", cache_dir=str(folder), keep_in_memory=True
            )
    except ImportError as error:
        # evaluate's own words have the command within them
        install = _PIP.search(str(error))
        packages = install[1] if install else error.name or "what it asks for"
        raise UserError(
            f"evaluate:{base} needs a package that is not installed", fix=f"pip install {packages}"
        ) from error
    except (FileNotFoundError, ConnectionError) as error:
        raise UserError(
            f"evaluate:{name} is neither on this machine nor to be reached on the hub",
            fix="check its name, or load it once while online; a folder of your own is written evaluate:./NAME",
        ) from error
    except Exception as error:
        if failure_of_disk(error) is not None:
            raise
        # loading runs the metric's file: a package that it misses, a syntax error, no metric in it
        raise UserError(
            f"evaluate:{name} cannot be loaded: {type(error).__name__}: {error}",
            fix="install what it asks for or mend its file, or take it out of evaluation.metrics",
        ) from error


def _checked_path(name: str) -> str:
    """The argument for evaluate.load, which runs a file of the working directory in place of a hub metric if it can."""
    if name.startswith((".", "/", "~")):
        path = Path(name).expanduser().absolute()
        script = path if path.suffix == ".py" else path / f"{path.name}.py"
        if not script.is_file():
            raise UserError(f"evaluate:{name}: no such metric", where=str(script), fix="expected a Python file there")
        return str(path)
    if not HUB_NAME.fullmatch(name):
        raise UserError(f"evaluate:{name} is no name of a metric", fix="write NAME, USER/NAME or ./FOLDER")
    last = name.rsplit("/", 1)[-1]
    for script in (Path(name), Path(name) / f"{last}.py"):
        if script.is_file():
            raise UserError(
                f"evaluate:{name} would run this file instead of the hub's metric",
                where=str(script),
                fix=f"write evaluate:./{name} if that is what you mean, else work in another folder",
            )
    return name


def _inputs(name: str, metric: Any, predictions: Predictions) -> dict[str, Any]:
    scores = predictions.probabilities
    known = {
        "predictions": predictions.predicted,
        "references": predictions.labels,
        "prediction_scores": scores[:, predictions.positive] if predictions.num_classes == 2 else scores,
    }
    wanted = list(metric.features)
    if unknown := [feature for feature in wanted if feature not in known]:
        raise UserError(
            f"evaluate:{name} asks for {', '.join(unknown)}, which a classifier does not give",
            fix=f"metrics that take {', '.join(known)} can be used",
        )
    return {feature: known[feature] for feature in wanted}


def _entry(results: dict[str, Any], num_rows: int, *, take: str | None = None) -> Entry:
    values = {key: _mean_of_rows(_plain(value), num_rows) for key, value in results.items()}
    numbers = [value for key, value in values.items() if isinstance(value, float) and take in (None, key)]
    entry: Entry = {"value": numbers[0] if numbers else None, "n": num_rows}
    if not numbers:
        entry["reason"] = "the metric gave no finite number"
    if len(values) > 1 or not numbers:
        entry["values"] = values
    return entry


def _mean_of_rows(value: Any, num_rows: int) -> Any:
    """The mean of a list of one number a row; anything else as it is."""
    if isinstance(value, list) and len(value) == num_rows and all(isinstance(item, float) for item in value):
        return math.fsum(value) / num_rows
    return value


def _plain(value: Any) -> Any:
    """What JSON can hold: numbers as floats, NaN and infinities as None, arrays as lists, anything else as text."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)
