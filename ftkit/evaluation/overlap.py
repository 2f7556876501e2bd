"""Which held-out rows stand in the training set too: word for word, or nearly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftkit.data.duplicates import key_of, mix, normalise
from ftkit.diagnosis.measurements import Overlap
from ftkit.evaluation.shingles import Keys, ngrams, similar
from ftkit.interruption import STOP
from ftkit.metrics.scores import Integers

NEAR = 0.8
"""Jaccard similarity of shingles from which on two texts are nearly the same."""
CANDIDATE = 0.55
"""From here on texts are compared word by word: one long word of twelve costs up to 0.4 of the similarity."""
SAME_WORDS = 0.9
"""Share of words that an edit may leave in place: one of ten may be changed, dropped or added."""
SAME_TARGET = 0.9
"""Similarity (by letters inserted and deleted) from which on two targets are the same."""
WORD_RUN = 8
LEAST_WORDS = WORD_RUN + 5
PART_LETTERS = 4_000_000
CHANCE_ROWS = 1_000
TRIES = 20
_NO_WORD = re.compile(r"[\W_]+")


class _KeyedRows(NamedTuple):
    keys: Keys
    words: list[str]
    targets: Integers
    target_words: list[str] | None


def find_overlap(
    held_out: Sequence[str],
    train: Sequence[str],
    *,
    held_out_targets: Sequence[str | int] | None,
    train_targets: Sequence[str | int] | None,
    seed: int = 0,
) -> Overlap:
    """Find rows of a held-out set whose text stands in the training set, word for word or nearly.

    Exact: equal but for case, spacing and Unicode form, whatever the target. Near: not exact, the target is the same,
    and of the texts without punctuation the 4-grams of characters have a Jaccard similarity of at least 0.8, or at most
    a tenth of the words was changed. Targets are the same when they are equal, or texts of which an edit of characters
    leaves 90 %. All pairs are scored, by products of sparse matrices; of the candidates of a row the best 20 are looked
    at. Where that takes more than 1.5e9 multiplications (about 10 s; some 100,000 short training rows), the commonest
    4-grams are left out, and similarity is that of the rest. Memory beyond the texts: about 200 MB.

    Args:
        held_out: N texts.
        train: M texts.
        held_out_targets: label or text of each (N); None where the text is all there is.
        train_targets: the same of the training set (M).
        seed: of the training rows from which chance is estimated.

    Returns:
        Flags and partners (N,), and the near rate of at most 1,000 training rows among the other training rows.

    Source: Broder 1997, On the Resemblance and Containment of Documents; here without the sampling.
    """
    ids: dict[str | int, int] = {}
    sought = _rows(held_out, held_out_targets, ids)
    known = _rows(train, train_targets, ids)
    exact, partners = _exact(sought.keys, known.keys)
    first = _first_of_each(mix(known.keys, 0) + known.targets.astype(np.uint64))
    distinct = _take(known, first)
    # rows of one text, with several targets, are one row of the sample
    sample = np.sort(np.random.default_rng([seed, 11]).permutation(_first_of_each(distinct.keys))[:CHANCE_ROWS])
    rest = np.flatnonzero(~exact)
    found = _near_partners(_concatenate(_take(sought, rest), _take(distinct, sample)), distinct)
    near, by_chance = found[: len(rest)], found[len(rest) :]
    partners[rest[near >= 0]] = first[near[near >= 0]]
    return Overlap(exact, ~exact & (partners >= 0), float((by_chance >= 0).mean()) if len(sample) else 0.0, partners)


def _rows(texts: Sequence[str], targets: Sequence[str | int] | None, ids: dict[str | int, int]) -> _KeyedRows:
    targets = [0] * len(texts) if targets is None else targets
    if len(targets) != len(texts):
        raise ValueError(f"{len(texts)} texts have {len(targets)} targets")
    as_texts = bool(targets) and isinstance(targets[0], str)
    same = [normalise(target) if isinstance(target, str) else int(target) for target in targets]
    numbers = np.array([ids.setdefault(target, len(ids)) for target in same], dtype=np.int64)
    keys = np.array([key_of(text) for text in texts], dtype=np.uint64)
    return _KeyedRows(
        keys, [_words(text) for text in texts], numbers, [str(target) for target in same] if as_texts else None
    )


def _words(text: str) -> str:
    return _NO_WORD.sub(" ", normalise(text)).strip()


def _take(rows: _KeyedRows, which: Integers) -> _KeyedRows:
    targets = None if rows.target_words is None else [rows.target_words[i] for i in which]
    return _KeyedRows(rows.keys[which], [rows.words[i] for i in which], rows.targets[which], targets)


def _concatenate(a: _KeyedRows, b: _KeyedRows) -> _KeyedRows:
    # an empty side has no kind of target
    targets = (
        None
        if a.target_words is None and b.target_words is None
        else [*(a.target_words or []), *(b.target_words or [])]
    )
    return _KeyedRows(
        np.concatenate([a.keys, b.keys]), a.words + b.words, np.concatenate([a.targets, b.targets]), targets
    )


def _first_of_each(keys: Keys) -> Integers:
    return np.asarray(np.unique(keys, return_index=True)[1], dtype=np.int64)


def _exact(sought: Keys, known: Keys) -> tuple[NDArray[np.bool_], Integers]:
    partners = np.full(len(sought), -1, dtype=np.int64)
    if len(known):
        values, first = np.unique(known, return_index=True)
        place = np.minimum(np.searchsorted(values, sought), len(values) - 1)
        partners = np.where(values[place] == sought, first[place], -1)
    return partners >= 0, partners


def _near_partners(sought: _KeyedRows, known: _KeyedRows) -> Integers:
    """A near row of another text for each row (N,), or -1."""
    partners = np.full(len(sought.keys), -1, dtype=np.int64)
    for row, others, scores in similar(sought.words, known.words, least=CANDIDATE):
        fit = known.keys[others] != sought.keys[row]
        if known.target_words is None:
            fit &= known.targets[others] == sought.targets[row]
        others, scores = others[fit], scores[fit]
        for place in np.argsort(-scores, kind="stable")[:TRIES]:
            other = int(others[place])
            if (scores[place] >= NEAR or _same_words(sought.words[row], known.words[other])) and _same_target(
                sought, row, known, other
            ):
                partners[row] = other
                break
    return partners


def _same_words(a: str, b: str) -> bool:
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.normalized_similarity(a.split(), b.split()) >= SAME_WORDS


def _same_target(a: _KeyedRows, row: int, b: _KeyedRows, other: int) -> bool:
    from rapidfuzz.distance import Indel

    if a.targets[row] == b.targets[other] or a.target_words is None or b.target_words is None:
        return bool(a.targets[row] == b.targets[other])
    return Indel.normalized_similarity(a.target_words[row], b.target_words[other]) >= SAME_TARGET


def find_text_overlap(held_out: Sequence[str], train: Sequence[str], *, seed: int = 0) -> Overlap:
    """Find held-out documents that stand in the training texts, whole or for the most part.

    Exact: the document is equal to one of training but for case, spacing and Unicode form. Near: of its runs of eight
    words at least 80 % occur in the training texts, anywhere. Documents of fewer than 13 words, which have hardly any
    such run, are judged by the exact rule only. Training texts are read in parts, and only runs of words that the
    held-out documents or the sample hold are kept, so that memory does not grow with the training set.

    Args:
        held_out: N documents.
        train: M documents.
        seed: of the training documents from which chance is estimated.

    Returns:
        Flags and partners (N,): of a near one, the training document in which most of its runs stand first. Also the
        near rate of at most 1,000 training documents, each one text, against the others.

    Source: Brown et al. 2020, Language Models are Few-Shot Learners, appendix C (overlap by n-grams of words).
    """
    keys = np.array([key_of(text) for text in train], dtype=np.uint64)
    exact, partners = _exact(np.array([key_of(text) for text in held_out], dtype=np.uint64), keys)
    distinct = np.sort(_first_of_each(keys))
    sample = np.sort(np.random.default_rng([seed, 11]).permutation(distinct)[:CHANCE_ROWS])
    vocabulary: dict[str, int] = {}
    sought = _Runs.of([*held_out, *(train[i] for i in sample)], vocabulary)
    runs, places = np.unique(sought.keys, return_inverse=True)
    first, holders = _holders(runs, train, distinct, vocabulary)
    # a document of the sample finds itself: its runs have to stand in another one as well
    held = holders[places] > (sought.owner >= len(held_out))
    total = np.bincount(sought.owner, minlength=len(sought.lengths))
    share = np.bincount(sought.owner, weights=held, minlength=len(total)) / np.maximum(total, 1)
    near = (share >= NEAR) & (sought.lengths >= LEAST_WORDS)
    for row in np.flatnonzero(near[: len(held_out)] & ~exact):
        begin, end = np.searchsorted(sought.owner, [row, row + 1])
        found = first[places[begin:end]]
        partners[row] = np.bincount(found[found >= 0]).argmax()
    by_chance = near[len(held_out) :]
    return Overlap(exact, ~exact & near[: len(held_out)], float(by_chance.mean()) if len(sample) else 0.0, partners)


class _Runs(NamedTuple):
    owner: Integers
    keys: Keys
    lengths: Integers

    @classmethod
    def of(cls, texts: Sequence[str], vocabulary: dict[str, int]) -> _Runs:
        """Runs of eight words of each text; `vocabulary` numbers the words and grows."""
        words = [_words(text).split() for text in texts]
        lengths = np.array([len(row) for row in words], dtype=np.int64)
        numbers = np.array([vocabulary.setdefault(word, len(vocabulary)) for row in words for word in row], np.uint64)
        owner, keys = ngrams(mix(numbers, 1), lengths, WORD_RUN)
        return cls(owner, keys, lengths)


def _holders(
    runs: Keys, train: Sequence[str], distinct: Integers, vocabulary: dict[str, int]
) -> tuple[Integers, Integers]:
    """The first document that holds each run (R,), or -1, and how many do (R,)."""
    first, holders = np.full(len(runs), -1, dtype=np.int64), np.zeros(len(runs), dtype=np.int64)
    if not len(runs):
        return first, holders
    sizes = np.cumsum([len(train[i]) for i in distinct])
    for part in np.split(distinct, np.flatnonzero(np.diff(sizes // PART_LETTERS)) + 1):
        STOP.poll()
        found = _Runs.of([train[i] for i in part], vocabulary)
        places = np.minimum(np.searchsorted(runs, found.keys), len(runs) - 1)
        known = runs[places] == found.keys
        # each run once a document
        held, document = np.divmod(np.unique(places[known] * len(train) + part[found.owner[known]]), len(train))
        holders += np.bincount(held, minlength=len(runs))
        held, earliest = np.unique(held, return_index=True)
        first[held] = np.where(first[held] < 0, document[earliest], first[held])
    return first, holders
