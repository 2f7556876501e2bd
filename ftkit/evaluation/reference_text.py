"""Text that stands for what a base model knew: the user's own, or the prose of Python's reference manual."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ftkit.data.builtin.builtin import load_builtin
from ftkit.data.columns.labelled import guess_columns
from ftkit.data.reading.documents import iter_documents
from ftkit.data.reading.files import iter_rows
from ftkit.data.reading.rows import BadRow, Row
from ftkit.diagnosis.report import TEXT_KEPT, DocumentLoss
from ftkit.errors import UserError
from ftkit.evaluation.subject import REFERENCE_DOCUMENTS, Subject
from ftkit.metrics.scores import Scores
from ftkit.recipe.files import ending

SHORTEST, LONGEST = 40, 600
"""Characters of a paragraph that becomes a document."""
RISEN, IN_PIECES = 40, 5
"""Documents that are shown, and those that are shown token by token."""
SIGNS = ((0x3040, 0x30FF, 2), (0xAC00, 0xD7A3, 2), (0x2E80, 0x9FFF, 3), (0xF900, 0xFAFF, 3), (0x20000, 0x3FFFF, 3))
"""First and last code point, and the letters that a sign amounts to: kana and Hangul are syllables, others words."""


def reference_texts(subject: Subject) -> list[str]:
    """Documents of the reference, at most as many as the effort asks for, drawn with the seed."""
    named = subject.named_reference()
    texts = _of_file(named) if named is not None else _prose()
    limit = REFERENCE_DOCUMENTS[subject.effort]
    if len(texts) <= limit:
        return texts
    chosen = np.sort(np.random.default_rng([subject.seed, 8]).choice(len(texts), limit, replace=False))
    return [texts[row] for row in chosen]


def _prose() -> list[str]:
    return paragraphs(load_builtin("pydoc")["train"].column("text").to_pylist())


def _of_file(path: Path) -> list[str]:
    """Texts of a file: paragraphs of plain text, else its text column, row by row."""
    if ending(path.name) in {".txt", ".md", ""}:
        read = list(iter_documents(path, encoding="utf-8", separator=None))
        if bad := next((row for row in read if isinstance(row, BadRow)), None):
            raise UserError(bad.reason, where=f"{path}:{bad.line}", fix="write it again as UTF-8")
        return paragraphs([str(row.values["text"]) for row in read if isinstance(row, Row)])
    rows = [row.values for row in itertools.islice(iter_rows(path), 100_000) if isinstance(row, Row)]
    column = guess_columns(rows[:200]).text if rows else None
    if column is None:
        raise UserError("no column is obviously the text", where=str(path), fix="name a text file, or a column `text`")
    texts = [str(values[column]) for values in rows if values.get(column)]
    return [text[:LONGEST] for text in texts if text.strip()]


def paragraphs(texts: list[str]) -> list[str]:
    """Paragraphs of prose, none of them short, cut at a length.

    Example:
        >>> paragraphs(["Short.\\n\\n" + "A paragraph that is long enough to be told from a heading."])
        ['A paragraph that is long enough to be told from a heading.']
    """
    found = (part.strip() for text in texts for part in text.split("\n\n"))
    return list(dict.fromkeys(part[:LONGEST] for part in found if len(part) >= SHORTEST and " " in part))


def tokens_a_word(texts: list[str], encode: object) -> float | None:
    """Tokens that a word of these texts takes on average; None where there are no words.

    Args:
        texts: at most a few hundred.
        encode: text -> token ids, without special tokens.
    """
    assert callable(encode)
    words = sum(len(text.split()) for text in texts)
    return sum(len(encode(text)) for text in texts) / words if words else None


def tokens_for_one(tokenizer: Any, texts: list[str], reference: list[str]) -> float | None:
    """Tokens that a word of some texts takes, over what one of the reference takes; None where either has no words."""

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    ours, theirs = (tokens_a_word(some, encode) for some in (texts, reference))
    return ours / theirs if ours and theirs else None


def most_risen(
    before: Scores, after: Scores, texts: list[str], *, pieces: Callable[[int], list[tuple[str, float]]] | None = None
) -> list[DocumentLoss]:
    """The documents of a reference whose loss rose most from one model to another, the worst first.

    Args:
        before: of the base, by document.
        after: of the tuned model.
        texts: of the documents.
        pieces: number of a document -> its tokens with the rise of each; asked for the worst few.
    """
    counts = np.maximum(1, before.num_targets)
    worst = np.argsort(-(after.nll - before.nll) / counts)[:RISEN].tolist()
    return [
        DocumentLoss(
            texts[number][:TEXT_KEPT],
            float(before.nll[number] / counts[number]),
            float(after.nll[number] / counts[number]),
            pieces(number) if pieces is not None and place < IN_PIECES else [],
        )
        for place, number in enumerate(worst)
    ]


def letters(text: str) -> int:
    """How many letters of an alphabet a text amounts to, so that texts of all scripts can be held against one another.

    A byte of UTF-8 is a letter in English, half of one in Greek and a third in Georgian. A Japanese or Korean syllable
    counts as two letters, a Chinese sign as three.

    Example:
        >>> letters("tree"), letters("ხე"), letters("木"), letters("나무")
        (4, 2, 3, 4)
    """
    if text.isascii():
        return len(text)
    return sum(next((weight for low, high, weight in SIGNS if low <= ord(sign) <= high), 1) for sign in text)


def letters_a_byte(texts: list[str]) -> float:
    """Letters for each byte of UTF-8 in these texts; 1 where they are empty."""
    size = sum(len(text.encode()) for text in texts)
    return sum(map(letters, texts)) / size if size else 1.0
