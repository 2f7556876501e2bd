"""What `ftkit new` sees in a data file for task seq2seq: sources and targets, or texts with labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftkit.data.look import is_labelled, siblings_of, some
from ftkit.errors import UserError

if TYPE_CHECKING:
    from ftkit.data.columns.pairs import PairColumns
    from ftkit.data.look import Head
    from ftkit.tasks.seq2seq.new import PairFacts

_OF_LABELS = {"text", "text_pair", "label"}
_OPTIONS = "--source-column and --target-column"


def holds_labels(head: Head) -> bool:
    """Whether a file is a data set for classification: by the options, by names of columns, else by their contents.

    Raises:
        UserError: options name columns of both kinds.
    """
    from ftkit.data.columns.pairs import pair_by_name

    named = head.named.keys()
    if named & _OF_LABELS and named & {"source", "target"}:
        fix = f"{_OPTIONS} for texts to be written; --text-column and --label-column for labels"
        raise UserError("columns of two kinds are named", where=str(head.path), fix=fix)
    if head.is_text_file or named & {"source", "target"}:
        return False
    if named & _OF_LABELS or is_labelled(head):
        return True
    guess = head.guess()
    return guess.text is not None and guess.label is not None and pair_by_name(head.rows) is None


def pair_facts(head: Head) -> PairFacts:
    """Find source and target.

    Raises:
        UserError: they are not obvious and not named, or only one of them is.
    """
    from ftkit.data.columns.names import columns_of
    from ftkit.data.columns.pairs import describe_unclear, guess_pair_columns
    from ftkit.tasks.seq2seq.new import PairFacts

    if head.is_text_file:
        fix = "write source and target side by side, as CSV or JSON lines"
        raise UserError("a text file has no columns", where=str(head.path), fix=fix)
    found = _named(head) or guess_pair_columns(head.rows)
    if found.source is None or found.target is None:
        columns = columns_of(head.rows)
        fix = f"say {_OPTIONS}; columns: {some(found.candidates or columns)}"
        raise UserError(describe_unclear(columns, found), where=str(head.path), fix=fix)
    return PairFacts(
        source=found.source,
        target=found.target,
        references=found.references,
        num_rows=len(head.rows),
        complete=head.complete,
        notes=found.notes,
        siblings=siblings_of(head.path),
        num_bad_rows=head.num_bad_rows,
    )


def _named(head: Head) -> PairColumns | None:
    """The columns that the options name; None where they name none."""
    from ftkit.data.columns.pairs import PairColumns

    source, target = head.named.get("source"), head.named.get("target")
    if source is None and target is None:
        return None
    if source is None or target is None:
        given = "--source-column" if target is None else "--target-column"
        raise UserError(f"{given} alone does not say what an example is", fix=f"name both: {_OPTIONS}")
    if source == target:
        raise UserError(f"{_OPTIONS} are both {source}", fix="name two columns")
    return PairColumns(source, target)
