"""Predict with a finetuned classifier: texts or a file of any size in, one JSON object a row out, in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ftkit.data.columns.labelled import guess_columns
from ftkit.data.columns.names import SAMPLE_ROWS, absent, listing
from ftkit.data.form import text_of
from ftkit.data.reading.asked import AS_TRAINED, FileReading, iter_asked, usable
from ftkit.data.reading.nested import names_within, value_of
from ftkit.data.reading.rows import BadRow, Row, beside
from ftkit.errors import UserError
from ftkit.models.classifier import Classifier, open_classifier
from ftkit.models.placement import choose_device
from ftkit.models.trial import code_failures_told
from ftkit.progress import Reporter, Silent
from ftkit.recipe.sources.section import Quoting
from ftkit.runs.folder import is_run
from ftkit.runs.run import Run
from ftkit.storage import StrPath
from ftkit.tasks.classification.scores import PREDICTED, TextRow, predict_rows
from ftkit.tasks.table import recipe_of_run

if TYPE_CHECKING:
    from ftkit.models.adapted.in_turn import ClassifiersBeside


class FileColumns(NamedTuple):
    """Where and how a file keeps its texts; None is found by name and content, or as it was in training."""

    text: str | None = None
    pair: str | None = None
    reading: FileReading = AS_TRAINED


BY_CONTENT = FileColumns()
ROWS_BESIDE = 4_096
"""Rows that one of several adapters is asked about before the next is."""


def predict(
    path: StrPath,
    texts: str | Sequence[str] = (),
    *,
    adapters: Mapping[str, StrPath] | None = None,
    pairs: str | Sequence[str] | None = None,
    file: StrPath | None = None,
    columns: FileColumns = BY_CONTENT,
    use_cpu: bool = False,
    trust_remote_code: bool = False,
    reporter: Reporter | None = None,
) -> Iterator[dict[str, Any]]:
    """Label texts, or the rows of a file: each row's own columns, then `label`, `score` and `scores`, in order.

    The file is opened before the model, which is loaded before this returns.

    Args:
        path: a run or a model folder.
        texts: one or several, to be labelled where no file is named.
        adapters: name -> run or folder, of classifiers for the same labels that are adapters on this base (or on that
            of this adapter): each row then has `label.NAME`, `score.NAME` and `scores.NAME` of each.
        pairs: the second text of each.
        file: CSV, TSV, JSON, JSON lines, Parquet, Arrow or text.
        columns: of the file; where they are not named, as the run's recipe names them.
        use_cpu: leave an accelerator alone.
        trust_remote_code: let code that comes with the model run; what a run's own recipe says of it does not count.
        reporter: hears of texts that the model's tokenizer hardly knows.

    Raises:
        UserError: there is no classifier, the texts do not suit it, or the file cannot be read; while the rows are
            taken: a broken row, with `file:line`.
    """
    path, together = Path(path), None
    if adapters is not None:
        from ftkit.models.adapted.in_turn import find_beside

        together = find_beside(path, {name: Path(one) for name, one in adapters.items()})
        path = next(iter(together.runs.values()))
    # the folder of a run's model is asked as its run
    recipe = recipe_of_run(path.parent if path == Run(path.parent).model_dir and is_run(path.parent) else path)
    reporter, trained_on = reporter or Silent(), None
    trained: Quoting = "minimal" if recipe is None else recipe.data.quoting
    if recipe is not None:
        trained_on, pair = recipe.data.columns_of_texts()
        pair = columns.pair or pair
        columns = columns._replace(pair=pair)
        if file is None and pairs is None and pair is not None:
            raise UserError(f"the run {path} was trained on pairs of texts", fix="give a --text-pair for each --text")
    rows = (
        text_rows(Path(file), columns, trained_on=trained_on, trained=trained, say=reporter.say)
        if file is not None
        else _typed_rows(several(texts), several(pairs))
    )
    if together is not None:
        from ftkit.models.adapted.in_turn import load_beside

        device = choose_device(use_cpu=use_cpu)
        each = load_beside(together, device=device, trust_remote_code=trust_remote_code)
        return _answered_by_each(each, rows, say=reporter.say)
    classifier = open_classifier(path, use_cpu=use_cpu, trust_remote_code=trust_remote_code)
    return _answered(classifier, rows, path, reporter=reporter)


def _answered(
    classifier: Classifier, rows: Iterable[TextRow], path: Path, *, reporter: Reporter
) -> Iterator[dict[str, Any]]:
    with code_failures_told(classifier.module, name=str(path), doing="asked"):
        yield from predict_rows(classifier, rows, say=reporter.say)


def _answered_by_each(
    each: ClassifiersBeside, rows: Iterable[TextRow], *, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Rows with what each of several classifiers says of them, so many at a time as one is put on for."""
    names = list(each.together.adapters)
    taken = [f"{key}.{name}" for name in names for key in PREDICTED]
    remaining, warned = iter(rows), set[str]()
    while chunk := list(itertools.islice(remaining, ROWS_BESIDE)):
        found = [beside(row.values, taken) for row in chunk]
        for name in names:
            heard: list[str] = []
            with each.one(name) as classifier, code_failures_told(classifier.module, name=name, doing="asked"):
                for row, said in zip(found, predict_rows(classifier, chunk, say=heard.append), strict=True):
                    row |= {f"{key}.{name}": said[key] for key in PREDICTED}
            for message in heard:
                if message not in warned:
                    say(message)
            warned.update(heard)
        yield from found


def several(texts: str | Sequence[str] | None) -> Sequence[str]:
    """One text or several as several; a text is no sequence of letters here."""
    return [texts] if isinstance(texts, str) else texts or ()


def _typed_rows(texts: Sequence[str], pairs: Sequence[str]) -> Iterator[TextRow]:
    if pairs and len(pairs) != len(texts):
        raise UserError(f"{len(texts)} texts and {len(pairs)} second texts", fix="give one for each")
    for index, text in enumerate(texts):
        pair = pairs[index] if pairs else None
        yield TextRow(text, pair, {"text": text} | ({"text_pair": pair} if pair is not None else {}))


def text_rows(
    path: Path,
    columns: FileColumns,
    *,
    trained_on: str | None = None,
    trained: Quoting = "minimal",
    say: Callable[[str], None] = lambda _message: None,
) -> Iterator[TextRow]:
    """The rows of a file, its text columns those of the training, or found when neither is named.

    The file is opened and its columns are settled before this returns, so that a wrong name costs no model's loading.

    Raises:
        UserError: there is no such file, no row or no such column, or no column is obviously the text; while the rows
            are taken: a broken row, with `file:line`.
    """
    delimiter = columns.reading.delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise UserError(
            f"{delimiter!r} cannot separate fields", fix="give one character; a tab is typed $'\\t' in a shell"
        )
    rows = iter_asked(path, columns.reading, trained=trained, say=say)
    head = list(itertools.islice(rows, SAMPLE_ROWS))
    text = _text_column(path, columns, trained_on, head)

    def texts_of(row: Row) -> TextRow:
        first, *second = (text_of(value_of(row.values, name), name) for name in (text, columns.pair) if name)
        return TextRow(first, second[0] if second else None, row.values)

    return usable(path, itertools.chain(head, rows), texts_of, on_bad_row=columns.reading.on_bad_row, say=say)


def _text_column(path: Path, columns: FileColumns, trained_on: str | None, head: Sequence[Row | BadRow]) -> str:
    sample = [row.values for row in head if isinstance(row, Row)]
    if not sample:
        bad = next((row for row in head if isinstance(row, BadRow)), None)
        where = f"{path}:{bad.line}" if bad else str(path)
        raise UserError(bad.reason if bad else "there is no row in it", where=where, fix=bad.fix if bad else None)
    present = names_within(sample)
    # a file of texts alone has but one column, whatever it is called
    named = columns.text or (trained_on if len(present) > 1 else None)
    for name, option in ((named, "--text-column"), (columns.pair, "--text-pair-column")):
        if name is not None and name not in present:
            fix = f"name another with {option}; {absent(name, present)}"
            raise UserError(f"no such column: {name}", where=str(path), fix=fix)
    text = named or guess_columns(sample, text_pair_column=columns.pair).text
    if text is None:
        raise UserError(
            "no column is obviously the text",
            where=str(path),
            fix=f"name it with --text-column; columns here: {listing(present)}",
        )
    return text
