"""Which of some names was meant by another."""

from __future__ import annotations

from collections.abc import Iterable

from rapidfuzz.distance import OSA


def nearest(word: str, candidates: Iterable[str], *, second_choice: Iterable[str] = ()) -> str | None:
    """The candidate that is few edits away from `word` (a third of its length at most), or None.

    Edits are insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). Of equally near
    names the one that begins alike wins.
    """
    later = set(second_choice)
    allowed = max(1, len(word) // 3)
    scored = [(OSA.distance(word, name), name in later, word[:2] != name[:2], name) for name in candidates]
    best = min(scored, default=None)
    return best[-1] if best is not None and best[0] <= allowed else None
