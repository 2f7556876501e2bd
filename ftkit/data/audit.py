"""What is odd about data, whatever the task: repeats, leaks, lengths, texts that were read in a wrong encoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np
import pyarrow.compute as pc

from ftkit.data.dataset import Split, Splits
from ftkit.data.duplicates import example_columns, text_columns

SMALL_CLASS = 10
"""Training rows below which a class is named in the warnings."""
MANY_CUT = 1.0
"""Percent of the examples above which their cutting is warned of."""

WRONGLY_DECODED = "\ufffd|ï¿½|Ã[\\x{80}-\\x{BF}]|Â[\\x{A0}-\\x{BF}]|â€"
"""A replacement character, or UTF-8 that was read as cp1252 or latin-1: `Ã©` for `é`, `â€™` for an apostrophe."""


@dataclass(frozen=True)
class TokenStatistics:
    """Lengths of one split in tokens, special tokens included, before anything is cut.

    percent_truncated (0 to 100) are longer than max_length; length_for_99_percent would cut less than 1 % of the rows.
    """

    mean: float
    p50: int
    p95: int
    longest: int
    max_length: int
    percent_truncated: float
    length_for_99_percent: int


def leaks(keys: Mapping[str, np.ndarray]) -> dict[str, int]:
    """`first/second` -> rows of the second split whose key is in the first, for every pair of splits in their order."""
    return {
        f"{first}/{second}": int(np.isin(keys[second], keys[first]).sum()) for first, second in combinations(keys, 2)
    }


def repeats(keys: np.ndarray) -> int:
    """How many of some keys (N,) occur among those before them."""
    return len(keys) - len(np.unique(keys))


def rows_matching(split: Split, pattern: str, columns: Sequence[str]) -> int:
    """How many rows match a regular expression (RE2) in at least one of some text columns."""
    found = [pc.match_substring_regex(split.table.column(name), pattern) for name in columns]
    # a column that the source of a row lacks is null there
    return int(pc.sum(reduce(pc.or_kleene, found)).as_py() or 0)


def number_of(count: int, noun: str) -> str:
    """A count with its noun, for a message.

    Example:
        >>> number_of(1, "row"), number_of(2000, "row")
        ('1 row', '2,000 rows')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def percent_of(count: int, total: int) -> str:
    """A share of a whole, for a message."""
    return f"{count / total:.1%}"


def token_statistics(lengths: np.ndarray, max_length: int) -> TokenStatistics:
    """Statistics of the tokens of each row (N,), special tokens included, not cut; N at least 1.

    Example:
        >>> token_statistics(np.arange(1, 101), 90).percent_truncated
        10.0
    """
    ordered, num_rows = np.sort(lengths), len(lengths)
    return TokenStatistics(
        mean=float(ordered.mean()),
        p50=int(ordered[(num_rows - 1) // 2]),
        p95=int(ordered[-(-95 * num_rows // 100) - 1]),
        longest=int(ordered[-1]),
        max_length=max_length,
        percent_truncated=100.0 * float((ordered > max_length).mean()),
        length_for_99_percent=length_for_99_percent(ordered),
    )


def length_for_99_percent(ordered: np.ndarray) -> int:
    """The smallest limit that is exceeded by less than 1 % of some lengths (N,), sorted, N at least 1."""
    may_be_longer = -(-len(ordered) // 100) - 1
    return int(ordered[len(ordered) - 1 - may_be_longer])


def cut_warning(what: str, key: str, lengths: TokenStatistics, limit: int | None) -> list[str]:
    """A word on examples that are cut, where they are many, and on the length that would keep them.

    Args:
        what: is cut, in the plural.
        key: of the recipe that sets the length.
        limit: tokens that the model has positions for; None: any number.
    """
    if lengths.percent_truncated <= MANY_CUT:
        return []
    wanted = lengths.length_for_99_percent
    advice = f"{key}: {wanted} would cut less than 1%."
    if limit is not None and wanted > limit:
        advice = f"less than 1% would need {wanted:,}, and the model has positions for {limit:,}."
    return [f"{lengths.percent_truncated:.1f}% of the {what} are cut at {lengths.max_length:,} tokens: {advice}"]


def split_warnings(
    counts: Mapping[str, int], noun: str, said: str, *, rows: Mapping[str, int] | None = None
) -> list[str]:
    """A word on each split of which something was counted, as `2 train rows (1.0%) ...`.

    Args:
        counts: split -> how much.
        noun: what was counted.
        said: of it.
        rows: split -> all its rows, where the share is told too.
    """
    shares = {split: f" ({percent_of(count, rows[split])})" for split, count in counts.items() if rows and count}
    return [
        f"{number_of(count, f'{split} {noun}')}{shares.get(split, '')} {said}"
        for split, count in counts.items()
        if count
    ]


def leak_warnings(
    leaks: Mapping[str, int], rows: Mapping[str, int], noun: str, said: Callable[[str], str]
) -> list[str]:
    """A word on each pair of splits, `first/second`, of which the second has rows that leak; `said` of the first."""
    found: list[str] = []
    for pair, count in leaks.items():
        first, second = pair.split("/")
        found += split_warnings({second: count}, noun, said(first), rows=rows)
    return found


def encoding_warnings(wrong: Mapping[str, int], rows: Mapping[str, int], noun: str) -> list[str]:
    """A word on each split with rows that were read in a wrong encoding."""
    said = "with the marks of a wrong encoding (such as Ã© for é): was the file read and written with the wrong one?"
    return split_warnings(wrong, noun, said, rows=rows)


NOUNS = {"text": "document", "completion": "example", "chat": "chat", "several": "example"}


@dataclass(frozen=True)
class LanguageAudit:
    """What was counted in each split; texts are the same when they differ in case, spacing and Unicode form only.

    Attributes:
        kind: as of a prompting; `several` where sources are of several.
        characters: prompts included (of chats: as JSON).
        duplicates: rows that occur in an earlier row of the split.
        repeated_prompts: other rows whose prompt occurs in an earlier row of the split; none for texts.
        leaks: `train/validation`, `train/test` and `validation/test` -> rows of the second that are in the first.
        prompt_leaks: the same for prompts alone; none for texts.
        empty_texts: rows in which there is nothing to learn.
        warnings: what of this a person should look at, one sentence each.
    """

    kind: str
    rows: dict[str, int]
    characters: dict[str, int]
    duplicates: dict[str, int]
    repeated_prompts: dict[str, int]
    leaks: dict[str, int]
    prompt_leaks: dict[str, int]
    empty_texts: dict[str, int]
    wrongly_decoded: dict[str, int]
    warnings: list[str]


def count_language(splits: Splits) -> LanguageAudit:
    """The figures of an audit without its warnings."""
    assert splits.prompting is not None, "splits of a language model, which have a prompting"
    present = splits.all()
    kinds = {prompting.kind for prompting in (splits.prompting, *splits.promptings)}
    kind = kinds.pop() if len(kinds) == 1 else "several"
    prompted = present if kind != "text" else ()
    return LanguageAudit(
        kind=kind,
        rows={split.name: len(split) for split in present},
        characters={split.name: _characters(split) for split in present},
        duplicates={split.name: repeats(split.keys) for split in present},
        repeated_prompts={split.name: repeats(split.prompt_keys) - repeats(split.keys) for split in prompted},
        leaks=leaks({split.name: split.keys for split in present}),
        prompt_leaks=leaks({split.name: split.prompt_keys for split in prompted}),
        empty_texts={split.name: _empty(split) for split in present},
        wrongly_decoded={
            split.name: rows_matching(split, WRONGLY_DECODED, text_columns(split.table)) for split in present
        },
        warnings=[],
    )


def _characters(split: Split) -> int:
    columns = (split.table.column(name) for name in example_columns(split.table))
    return sum(int(pc.sum(pc.utf8_length(column)).as_py() or 0) for column in columns)


def _empty(split: Split) -> int:
    # the answers of a chat were looked at when it was read
    found = (name for name in ("completion", "text") if name in split.table.column_names)
    return sum(rows_matching(split, r"^\s*$", [name]) for name in found)


def other_warnings(figures: LanguageAudit) -> list[str]:
    """Behind the leaks: what makes the model worse, then what to know."""
    noun = NOUNS[figures.kind]
    return [
        *split_warnings(figures.empty_texts, noun, "with nothing to learn."),
        *encoding_warnings(figures.wrongly_decoded, figures.rows, noun),
        *split_warnings(figures.duplicates, noun, "equal to an earlier one.", rows=figures.rows),
    ]
