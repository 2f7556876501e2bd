"""A data set for classification as sources and targets: what is written is the name of the label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from ftkit.data.dataset import ABOUT_ROWS, BATCH_CHARACTERS, BATCH_ROWS, Split, Splits, integers, strings
from ftkit.data.gather import Source
from ftkit.data.labelled import Columns, load_labelled
from ftkit.data.mixture.joining import asked_notes, joined
from ftkit.data.prompting import Prompting, fill
from ftkit.errors import UserError
from ftkit.recipe.generative import LEARN
from ftkit.recipe.labelled import LabelledData
from ftkit.tasks.seq2seq.recipe import Seq2SeqData


def load_labels_as_text(spec: Seq2SeqData, *, seed: int, narrow: Callable[[Source], Source] | None = None) -> Splits:
    """Read, check and split the data of a recipe as for classification, and write labels as targets.

    Args:
        spec, seed, narrow: as for `load_splits`; spec.source_prefix stands before every source.

    Returns:
        Splits with the columns prompt, completion (the name of the label) and label; their prompting names the
        columns of the data, whether they were named or found.

    Raises:
        UserError: as for `load_splits`; label names that text cannot tell apart; a column that no template can name.
    """
    splits, read = load_labelled(spec, seed=seed, narrow=narrow)
    _check_names(splits)
    promptings = tuple(_prompting(one.columns, one.spec) for one in read)
    written = dict.fromkeys(f"labels are written as text: {prompting.template!r}" for prompting in promptings)

    def as_text(split: Split) -> Split:
        parts = [
            (part.source, _as_text(part, splits.label_names, promptings[number], read[number].columns))
            for number, _, part in split.by_source()
        ]
        return replace(split, table=joined(split.name, parts, split.source_names).table)

    return replace(
        splits,
        train=as_text(splits.train),
        validation=as_text(splits.validation),
        test=None if splits.test is None else as_text(splits.test),
        notes=(*splits.notes, *written, *asked_notes(promptings, splits.train.source_names)),
        prompting=promptings[0],
        promptings=promptings if splits.train.source_names else (),
    )


def _template(columns: Columns, prefix: str) -> str:
    for name in (columns.text, columns.pair, columns.label):
        if name is not None and (set("{}") & set(name) or not name.strip()):
            raise UserError(f"column {name!r} cannot stand in a template", fix="rename it: no braces, not blank")
    if columns.pair is None:
        return escaped(prefix) + pair_template(columns.text, columns.label)
    source = f"{columns.text}: {{{columns.text}}} {columns.pair}: "
    return escaped(prefix) + source + pair_template(columns.pair, columns.label)


def _prompting(columns: Columns, spec: LabelledData) -> Prompting:
    assert isinstance(spec, Seq2SeqData), "each source is read by the data section of its task"
    return Prompting("completion", _template(columns, spec.source_prefix or ""))


def _check_names(splits: Splits) -> None:
    """What a model writes is told apart by its words, not by the white space between them."""
    seen: dict[str, str] = {}
    for name in splits.label_names:
        words = " ".join(name.split())
        if not words:
            raise UserError(
                f"the label name {name!r} is blank, so there is nothing to write",
                where=splits.train.source,
                fix="name it",
            )
        if words in seen:
            raise UserError(
                f"the label names {seen[words]!r} and {name!r} differ in white space only",
                where=splits.train.source,
                fix="spell them so that their words differ; a model that writes labels is judged by those",
            )
        seen[words] = name


def _as_text(split: Split, names: Sequence[str], prompting: Prompting, columns: Columns) -> Split:
    schema = pa.schema([("prompt", pa.string()), ("completion", pa.string()), ("label", pa.int32())])
    start, batches = 0, []
    for prompts in _prompts(split, prompting, columns):
        labels = split.labels[start : start + len(prompts)]
        completions = [names[label] for label in labels.tolist()]
        batch = [strings(prompts), strings(completions), integers(labels)]
        batches.append(pa.RecordBatch.from_arrays(batch, schema=schema))
        start += len(prompts)
    table = pa.Table.from_batches(batches, schema=schema)
    for name in (name for name in ABOUT_ROWS if name in split.table.column_names):
        table = table.append_column(name, split.table[name])
    return split.with_table(table)


def _prompts(split: Split, prompting: Prompting, columns: Columns) -> Iterator[list[str]]:
    """In batches that an array of strings can hold."""
    prompts: list[str] = []
    size = 0
    for batch in split.table.to_batches(max_chunksize=BATCH_ROWS):
        texts = batch.column("text").to_pylist()
        seconds = batch.column("text_pair").to_pylist() if columns.pair is not None else texts
        for text, second in zip(texts, seconds, strict=True):
            fields = {columns.text: text} if columns.pair is None else {columns.text: text, columns.pair: second}
            prompts.append(fill(prompting.parsed.prompt, fields))
            size += len(prompts[-1])
            if len(prompts) == BATCH_ROWS or size > BATCH_CHARACTERS:
                yield prompts
                prompts, size = [], 0
    if prompts:
        yield prompts


def pair_template(source: str, target: str) -> str:
    """What source_column and target_column are short for.

    Example:
        >>> pair_template("de", "en")
        '{de}<learn>{en}'
    """
    return f"{{{source}}}{LEARN}{{{target}}}"


def escaped(text: str) -> str:
    """Text that stands in a template for itself.

    Example:
        >>> escaped("{x}: ")
        '{{x}}: '
    """
    return text.replace("{", "{{").replace("}", "}}")
