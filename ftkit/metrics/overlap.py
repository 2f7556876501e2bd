"""BLEU, chrF and ROUGE: adapters to sacrebleu and rouge-score, whose numbers these are to the last digit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from ftkit.errors import UserError
from ftkit.metrics.bootstrap import Sufficient
from ftkit.metrics.names import ROUGE_METRICS
from ftkit.metrics.rouge_words import words_for
from ftkit.metrics.scores import Floats

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

MANY_SPACED_STOPS = 100
"""Outputs that end in a word, a space and a full stop: sacrebleu's command suspects tokenized text from so many on."""


def bleu(outputs: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: str = "13a") -> Sufficient:
    """Corpus BLEU with the settings of the sacrebleu command, 0 to 100; `tokenize` is its tokenizer's name.

    An output without a word adds the length of its reference and no match; BLEU is 0 where no output has four words.

    Raises:
        UserError: the tokenizer lacks a package, or a model that sacrebleu would fetch.

    Source: Papineni et al. 2002, BLEU; Post 2018, A Call for Clarity in Reporting BLEU Scores (sacrebleu).
    """
    from sacrebleu.metrics.bleu import BLEU

    try:
        metric = BLEU(tokenize=tokenize)
        columns = _row_statistics(metric, outputs, references)
    except (ImportError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"evaluation.bleu_tokenize: {tokenize} cannot be had: {reason}", fix="name another") from error
    notes = []
    # the last of the totals counts the sequences of four words in the outputs
    if metric._compute_score_from_stats(columns.sum(axis=0).astype(np.int64).tolist()).totals[-1] == 0:
        notes.append("no output has four words, and without a sequence of four BLEU is 0 whatever they say")
    if (spaced := sum(output.endswith(" .") for output in outputs)) >= MANY_SPACED_STOPS:
        notes.append(f"{spaced} outputs end in ' .': BLEU is defined on text as people write it, not on tokenized text")
    return Sufficient(columns, _scores_of(metric), signature=str(metric.get_signature()), notes=notes)


def chrf(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Sufficient:
    """Corpus chrF2 with the settings of the sacrebleu command, 0 to 100: each row counts with its best reference.

    Source: Popovic 2015, chrF: character n-gram F-score for automatic MT evaluation.
    """
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    columns = _row_statistics(metric, outputs, references)
    return Sufficient(columns, _scores_of(metric), signature=str(metric.get_signature()))


def sentence_chrf(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """chrF2 of each row by itself (N,), 0 to 100. Its mean is not the corpus score, to which long rows add more."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    pairs = zip(outputs, references, strict=True)
    return np.array([metric.sentence_score(output, candidates).score for output, candidates in pairs], dtype=np.float64)


def _row_statistics(metric: BLEU | CHRF, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """The counts that the metric sums over rows (N, C).

    sacrebleu has no public name for those of chrF. These are the methods by which its own significance tests resample,
    and which each of its metrics must have; the tests hold what comes of them against its command. One row at a time,
    for it keeps the sequences of all the references that it is given at once: a gigabyte for 10,000 short paragraphs.
    """
    rows = [
        metric._extract_corpus_statistics([output], [[one] for one in candidates])[0]
        for output, candidates in zip(outputs, references, strict=True)
    ]
    # what its signature reads: the number of references of a row, -1 when they differ, and not that of the last row
    sizes = set(map(len, references))
    metric.num_refs = sizes.pop() if len(sizes) == 1 else -1
    return np.array(rows, dtype=np.float64)


def _scores_of(metric: BLEU | CHRF) -> Callable[[Floats], Floats]:
    def score(sums: Floats) -> Floats:
        # sums of counts: whole numbers, which float64 holds exactly
        rows = sums.astype(np.int64).tolist()
        return np.array([metric._compute_score_from_stats(row).score for row in rows], dtype=np.float64)

    return score


class Rouge:
    """rouge-score with the words of a language; it remembers stems and words, on which that library spends its time."""

    def __init__(self, language: str = "english") -> None:
        from rouge_score import rouge_scorer

        self._words = words_for(language)
        tokenizer = SimpleNamespace(tokenize=self._words)
        self._scorers = {name: rouge_scorer.RougeScorer([name], tokenizer=tokenizer) for name in ROUGE_METRICS}

    def rows(self, name: str, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        """F-measure of each row by its best reference (N,), 0 to 1.

        rougeLsum takes each line for a sentence: nothing guesses where else one ends. A text in which there is
        no word scores 0, whatever the other one is.

        Args:
            name: one of ROUGE_METRICS.
            outputs: (N,).
            references: at least one for each.

        Source: Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries.
        """
        pairs = zip(outputs, references, strict=True)
        return np.array(
            [max(self._score(name, output, one) for one in candidates) for output, candidates in pairs], dtype=float
        )

    def _score(self, name: str, output: str, reference: str) -> float:
        # two texts of one line each have the same rougeLsum as rougeL
        if name == "rougeL" or (name == "rougeLsum" and "\n" not in output + reference):
            return self._by_common_length(self._words(output), self._words(reference))
        return float(self._scorers[name].score(reference, output)[name].fmeasure)

    def _by_common_length(self, output: list[str], reference: list[str]) -> float:
        """Of a longest common subsequence rougeL needs the length, which rapidfuzz finds a hundred times faster."""
        from rapidfuzz.distance import LCSseq
        from rouge_score import scoring

        common = LCSseq.similarity(output, reference)
        return float(scoring.fmeasure(common / max(len(output), 1), common / max(len(reference), 1)))
