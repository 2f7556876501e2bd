"""Predict with a finetuned classifier: texts or a file of any size in, one JSON object a row out, in order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftkit.data.columns.labelled import guess_columns
from ftkit.data.prompting import PROMPTING_FILE
from ftkit.data.reading.files import iter_rows
from ftkit.data.reading.json_rows import kind_of
from ftkit.data.reading.rows import BadRow, Row
from ftkit.errors import UserError
from ftkit.inputs.batching import exact_length_batches
from ftkit.inputs.text import tokenize_texts
from ftkit.metrics.predictions import describe_prediction
from ftkit.metrics.scores import softmax
from ftkit.models.classifier import Classifier, load_classifier
from ftkit.models.placement import choose_device
from ftkit.models.scoring import score_logits
from ftkit.progress import Advance
from ftkit.runs.run import Run, is_run

CHUNK_ROWS = 4_096
"""Rows read, sorted by length and predicted together; what bounds memory."""

TOKENS_A_BATCH = 4_096
HEAD_ROWS = 200
"""Rows by which the columns of a file are told."""

OWN_KEYS = ("label", "score", "scores")


@dataclass(frozen=True)
class TextRow:
    """A row to predict: its text or two texts, and all its columns."""

    text: str
    pair: str | None
    values: Mapping[str, object]


@dataclass(frozen=True)
class FileColumns:
    """Where a file keeps its texts; None is found by name and content."""

    text: str | None = None
    pair: str | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None


def open_classifier(path: Path, *, use_cpu: bool = False, trust_remote_code: bool = False) -> Classifier:
    """Load the classifier of a run, or of a model folder.

    Raises:
        UserError: there is none.
    """
    device = choose_device(use_cpu=use_cpu)
    folder = Run(path).model_dir if is_run(path) else path
    if not folder.is_dir():
        what = f"the run {path} has no model yet ({Run(path).manifest().get('state')})" if is_run(path) else None
        raise UserError(what or f"there is neither a run nor a model folder at {path}", fix="`ftkit runs` lists runs")
    if (folder / PROMPTING_FILE).is_file():
        raise UserError(f"{path} holds a language model, which gives no labels", fix="let it write: ftkit generate")
    return load_classifier(folder, device=device, trust_remote_code=trust_remote_code)


def predict_rows(
    classifier: Classifier, rows: Iterable[TextRow], *, advance: Advance = lambda _rows: None
) -> Iterator[dict[str, Any]]:
    """Predictions in the order of the rows: each row's own columns, then `label`, `score` and `scores`.

    A column of the row that is called like one of those three gets `input_` before its name.
    """
    device = next(classifier.module.parameters()).device
    remaining = iter(rows)
    while chunk := list(itertools.islice(remaining, CHUNK_ROWS)):
        pairs = [row.pair or "" for row in chunk] if any(row.pair is not None for row in chunk) else None
        tokens = tokenize_texts(
            classifier.tokenizer, [row.text for row in chunk], pairs, max_length=classifier.max_length
        )
        batches = (
            (batch, tokens.stack(batch)) for batch in exact_length_batches(tokens.lengths, max_tokens=TOKENS_A_BATCH)
        )
        logits = score_logits(
            classifier.module,
            batches,
            num_rows=len(chunk),
            num_labels=len(classifier.label_names),
            device=device,
            advance=advance,
        )
        for row, probability in zip(chunk, softmax(logits), strict=True):
            yield _own_columns(row.values) | describe_prediction(probability, label_names=classifier.label_names)


def _own_columns(values: Mapping[str, object]) -> dict[str, Any]:
    renamed = {}
    for name in OWN_KEYS:
        if name in values:
            renamed[name] = f"input_{name}"
            while renamed[name] in values:
                renamed[name] = f"input_{renamed[name]}"
    return {renamed.get(name, name): value for name, value in values.items()}


def text_rows(path: Path, columns: FileColumns) -> Iterator[TextRow]:
    """The rows of a file, its text columns found when they are not named.

    The file is opened and its columns are settled before this returns, so that a wrong name costs no model's loading.

    Raises:
        UserError: there is no such file, no row or no such column, or no column is obviously the text; while the rows
            are taken: a broken row, with `file:line`.
    """
    if columns.delimiter is not None and (len(columns.delimiter) != 1 or columns.delimiter in '"\r\n'):
        raise UserError(
            f"{columns.delimiter!r} cannot separate fields", fix="give one character; a tab is typed $'\\t' in a shell"
        )
    rows = iter_rows(path, encoding=columns.encoding, delimiter=columns.delimiter)
    head = list(itertools.islice(rows, HEAD_ROWS))
    text = _text_column(path, columns, head)
    return _with_texts(path, itertools.chain(head, rows), [text, columns.pair] if columns.pair else [text])


def _text_column(path: Path, columns: FileColumns, head: Sequence[Row | BadRow]) -> str:
    sample = [row.values for row in head if isinstance(row, Row)]
    if not sample:
        raise _refusal(path, head[0]) if head else UserError("there is no row in it", where=str(path))
    present = list(dict.fromkeys(name for values in sample for name in values))
    listed = f"columns here: {', '.join(present)}"
    for name, option in ((columns.text, "--text-column"), (columns.pair, "--text-pair-column")):
        if name is not None and name not in present:
            raise UserError(f"no such column: {name}", where=str(path), fix=f"name another with {option}; {listed}")
    text = columns.text or guess_columns(sample, text_pair_column=columns.pair).text
    if text is None:
        raise UserError("no column is obviously the text", where=str(path), fix=f"name it with --text-column; {listed}")
    return text


def _with_texts(path: Path, rows: Iterable[Row | BadRow], names: Sequence[str]) -> Iterator[TextRow]:
    for row in rows:
        if isinstance(row, BadRow):
            raise _refusal(path, row)
        texts = []
        for name in names:
            value = row.values.get(name)
            if not isinstance(value, str):
                found = "absent" if name not in row.values else f"{kind_of(value)}, not a text"
                raise UserError(f"column {name} is {found}", where=f"{path}:{row.line}", fix="mend the row")
            texts.append(value)
        yield TextRow(texts[0], texts[1] if len(texts) > 1 else None, row.values)


def _refusal(path: Path, row: Row | BadRow) -> UserError:
    assert isinstance(row, BadRow)
    return UserError(row.reason, where=f"{path}:{row.line}", fix=row.fix)


def columns_of_run(path: Path) -> FileColumns:
    """The column names that a run's recipe gives, for files like the ones it was trained on."""
    if not is_run(path):
        return FileColumns()
    from ftkit.recipe.parse import load_recipe

    data = load_recipe(Run(path).recipe_file, check_files=False).recipe.data
    return FileColumns(data.text_column, data.text_pair_column)
