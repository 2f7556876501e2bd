"""One output held against its references, by words and by characters; nothing here knows a language.

White space never counts: texts are compared after each run of it has become one space and that at the ends has gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def collapse(text: str) -> str:
    """Make each run of white space one space and strip the ends; what Unicode calls white space, no-break included."""
    return " ".join(text.split())


def exact_match(output: str, references: Sequence[str]) -> float:
    """1 if the output equals a reference but for white space, else 0; case and punctuation count."""
    collapsed = collapse(output)
    return float(any(collapsed == collapse(reference) for reference in references))


def token_f1(output: str, references: Sequence[str]) -> float:
    """F1 of the bags of words of output and reference, of the best reference, in [0, 1]; words end at white space.

    Two texts without a word agree (1); one of them alone without a word shares nothing with the other (0).

    Source: Rajpurkar et al. 2016, SQuAD, section 6.1, without its normalisation (lower case, no punctuation, no
    articles), which is made for English.

    Example:
        >>> token_f1("the cat sat", ["a dog", "the cat sat down there"])
        0.75
    """
    words = Counter(output.split())
    return max(_f1_of_bags(words, Counter(reference.split())) for reference in references)


def _f1_of_bags(one: Counter[str], other: Counter[str]) -> float:
    size = one.total() + other.total()
    return 2 * (one & other).total() / size if size else 1.0


def count_words(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Words of each output and of its reference that is closest in length, the shorter one of a tie (N, 2)."""
    counts = []
    for output, candidates in zip(outputs, references, strict=True):
        length = len(output.split())
        lengths = [len(reference.split()) for reference in candidates]
        counts.append((length, min(lengths, key=lambda other: (abs(other - length), other))))
    return np.array(counts, dtype=np.int64).reshape(-1, 2)


def count_edits(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Levenshtein distance of each output to its nearest reference, and that one's characters (N, 2).

    Characters are Unicode code points. Of several references at the same distance, the longest one counts.
    """
    from rapidfuzz.distance import Levenshtein

    counts = []
    for output, candidates in zip(outputs, references, strict=True):
        collapsed = collapse(output)
        edits = [(Levenshtein.distance(collapsed, one), len(one)) for one in map(collapse, candidates)]
        counts.append(min(edits, key=lambda pair: (pair[0], -pair[1])))
    return np.array(counts, dtype=np.int64).reshape(-1, 2)
