"""When two texts count as the same, and a fast key for it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import takewhile
from typing import Any

import numpy as np
import pyarrow as pa

from ftkit.data.chat.turns import Chat, texts_of
from ftkit.interruption import STOP


def normalise(text: str) -> str:
    """The form in which texts are compared: NFKC, casefolded, runs of white space as one blank, none at the ends.

    Example:
        >>> normalise("  Ｆree\\tENTRY \\n now")
        'free entry now'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def key_of(*texts: str) -> int:
    """64-bit key of a text, or of a pair: equal for equal normalised texts, the same on every machine and run.

    Two different texts among a million share a key with probability 3e-8.
    """
    # no normalised text holds U+001F (str.split takes it for white space), so it cannot blur where a pair is cut
    data = "\x1f".join(map(normalise, texts)).encode()
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


_SIGNS, _DIGITS = re.compile(r"[\W_]+"), re.compile(r"\d+")


def lookalike(text: str) -> str:
    """The form in which texts that are made after one pattern are equal: as `normalise`, numbers as 0, letters alone.

    Example:
        >>> lookalike("You've WON £250!"), lookalike("?!")
        ('you ve won 0', '?!')
    """
    return _SIGNS.sub(" ", _DIGITS.sub("0", normalise(text))).strip() or text


def text_columns(table: pa.Table) -> list[str]:
    """Names of the columns that hold text: all but the labels."""
    return [field.name for field in table.schema if field.type == pa.string()]


def example_columns(table: pa.Table) -> list[str]:
    """Names of the columns of text that make an example: all but further right answers, which training rows lack."""
    return [name for name in text_columns(table) if name != "references"]


def text_keys(table: pa.Table) -> np.ndarray:
    """Keys (N,), uint64, of a table's rows, from all texts of their examples."""
    return _keys(table, example_columns(table), lambda messages: messages)


def prompt_keys(table: pa.Table) -> np.ndarray:
    """Keys (N,), uint64, of what the model is given in each row: the prompt, or a chat up to the first answer.

    A text, which has no prompt, has the key of the whole.
    """
    names = ["prompt"] if "prompt" in table.column_names else text_columns(table)
    return _keys(table, names, lambda messages: takewhile(lambda message: message["role"] != "assistant", messages))


def lookalike_keys(table: pa.Table) -> np.ndarray:
    """Keys (N,), uint64, equal for rows whose texts are look-alikes."""
    return _keys(table, text_columns(table), lambda messages: messages, form=lookalike)


Turns = Iterable[dict[str, Any]]


def _keys(
    table: pa.Table, names: Sequence[str], part: Callable[[Turns], Turns], *, form: Callable[[str], str] = str
) -> np.ndarray:
    keys = np.empty(table.num_rows, dtype=np.uint64)
    start = 0
    for batch in table.select(names).to_batches(max_chunksize=10_000):
        STOP.poll()
        columns: Sequence[list[str]] = [batch.column(name).to_pylist() for name in names]
        rows: Iterable[tuple[str, ...]] = zip(*columns, strict=True)
        if names == ["messages"]:
            # JSON writes a line break as two letters, which would hide it from the comparison
            chats = (part(Chat.from_json(row[0]).messages) for row in rows)
            rows = (tuple(texts_of(list(chat))) for chat in chats)
        keys[start : start + batch.num_rows] = [key_of(*map(form, row)) for row in rows]
        start += batch.num_rows
    return keys


def mix(values: np.ndarray, seed: int) -> np.ndarray:
    """Scramble uint64 values (N,) with a seed: random-looking, the same everywhere.

    NumPy's generators may change their streams between versions; this does not.
    Source: the output function of SplitMix64 (Steele, Lea, Flood 2014).
    """
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))
