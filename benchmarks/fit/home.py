"""Text of the distribution that the bases are pretrained on: half English, half invented languages."""

from __future__ import annotations

import functools
import random

from fit.languages import HOME, make_language, sentences
from fit.prose import pretraining_paragraphs


@functools.cache
def home_texts(*, seed: int, num_sentences: int = 6_000) -> tuple[list[str], list[str]]:
    """(texts that the bases are pretrained on, fresh text of the same distribution): half English, half invented.

    Args:
        seed: of the sentences; the English is the same for every seed.
        num_sentences: of each home language, a tenth of it fresh.
    """
    english, back = pretraining_paragraphs()
    found, fresh = [*english], [*back]
    for home in HOME:
        spoken = sentences(make_language(home, lexicon=home), seed=seed * 1_000 + home)
        lines = [next(spoken) for _ in range(num_sentences // len(HOME))]
        found += lines[: len(lines) * 9 // 10]
        fresh += lines[len(lines) * 9 // 10 :]
    random.Random(seed).shuffle(found)
    random.Random(seed).shuffle(fresh)
    return found, fresh
