"""Metrics of generated text: outputs held against one or more references each, with bootstrap intervals over rows.

An empty text is a text of no words. Where output and reference are both empty, exact_match and token_f1 are 1, and
BLEU, chrF and ROUGE, which count what two texts share, find nothing. A ratio over references that are all empty has no
value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics import matching, overlap
from ftkit.metrics.bootstrap import Bootstrap, Sufficient, mean, no_value, ratio
from ftkit.metrics.names import HUB_PREFIX, ROUGE_METRICS, SPACED_TOKENIZERS, TEXT_METRICS
from ftkit.metrics.predictions import Entry
from ftkit.metrics.rouge_words import rouge_signature
from ftkit.metrics.scores import Floats


def evaluate_texts(
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    at_limit: NDArray[np.bool_],
    metrics: Sequence[str],
    num_resamples: int,
    seed: int,
    bleu_tokenize: str = "13a",
    rouge_language: str = "english",
) -> dict[str, Entry]:
    """Score generated texts, each metric with a 95 % percentile bootstrap interval over rows.

    - `exact_match`: share of outputs that equal a reference but for white space. Case and punctuation count.
    - `token_f1`: F1 of the bags of words (what stands between white space), best reference, mean over rows; 0 to 1.
    - `bleu`, `chrf`: corpus BLEU and chrF2 as the sacrebleu command gives them; 0 to 100.
    - `rouge1`, `rouge2`, `rougeL`, `rougeLsum`: F-measure as rouge-score gives it with the words and stems of a
      language, best reference, mean over rows; 0 to 1. For rougeLsum a sentence is a line.
    - `length_ratio`: words of the outputs over words of the references, each row's closest in length.
    - `limit_share`: share of outputs that were cut at `max_new_tokens`.
    - `edit_distance`: Levenshtein distance to the nearest reference over its length, in characters and summed over rows
      before dividing; 0 is best, and more than 1 is possible. White space is collapsed first.

    Args:
        outputs: (N,).
        references: of each row at least one (N,), as many as there are.
        at_limit: whether the output ended because it had reached `max_new_tokens` (N,).
        metrics: some of TEXT_METRICS, or `evaluate:NAME` for a metric of that library.
        num_resamples: bootstrap resamples, the same ones whichever metrics are asked for.
        seed: of the resamples.
        bleu_tokenize: name of sacrebleu's tokenizer.
        rouge_language: whose words and stems ROUGE counts; see `rouge_words.words_for`.

    Returns:
        Entries by metric, in the order asked: `{"value": .., "low": .., "high": .., "n": N}`, for BLEU, chrF and ROUGE
        also a `signature` that says how they were computed. A metric without a value here is None with a `reason`; NaN
        and infinities never occur. `note` says what else to know, such as letters that ROUGE does not see.

    Raises:
        ValueError: arguments that do not fit one another, a row without a reference, or an unknown metric.
        UserError: a metric of `evaluate` that cannot be had or computed, or asks for something else than texts.

    Example:
        >>> scores = evaluate_texts(["a b", "c d e"], [["a b"], ["c d", "f"]], at_limit=np.array([False, True]),
        ...     metrics=["exact_match", "length_ratio", "limit_share"], num_resamples=100, seed=0)
        >>> [entry["value"] for entry in scores.values()]
        [0.5, 1.25, 0.5]
    """
    names = list(dict.fromkeys(metrics))
    if unknown := [name for name in names if name not in TEXT_METRICS and not name.startswith(HUB_PREFIX)]:
        raise ValueError(f"no such metrics: {', '.join(unknown)}")
    rows = _Rows(outputs, references, at_limit, bleu_tokenize=bleu_tokenize, rouge_language=rouge_language)
    if not len(outputs):
        return {name: no_value(0, "there are no rows") for name in names}
    bootstrap = Bootstrap(num_resamples, seed)
    return {
        name: _METRICS[name](rows).entry(bootstrap) if name in _METRICS else _from_hub(name, outputs, references)
        for name in names
    }


def score_rows(
    outputs: Sequence[str],
    references: Sequence[Sequence[str]],
    names: Sequence[str],
    *,
    rouge_language: str = "english",
) -> dict[str, NDArray[np.float64]]:
    """Score each row by itself, against its best reference, for those who read the outputs.

    The mean over rows is the metric, except of `chrf` and `edit_distance`: there a row by itself is not what it adds to
    the whole. The edit distance of a row whose reference is empty is divided by 1.

    Args:
        outputs: (N,).
        references: of each row at least one (N,).
        names: some of ROW_METRICS. A BLEU of one sentence is another metric than that of a corpus, a length ratio of
            one sentence is mostly chance, and so neither is among them.
        rouge_language: as in `evaluate_texts`.

    Returns:
        Finite scores by name (N,), scaled as in `evaluate_texts`.

    Raises:
        ValueError: arguments that do not fit one another, or a metric that says nothing of a row.

    Example:
        >>> score_rows(["a b", "c"], [["a  b"], ["d", "c c c"]], ["exact_match", "token_f1", "edit_distance"])
        {'exact_match': array([1., 0.]), 'token_f1': array([1. , 0.5]), 'edit_distance': array([0., 1.])}
    """
    if unknown := [name for name in names if name not in _OF_ROWS]:
        raise ValueError(f"no metrics of single rows: {', '.join(unknown)}")
    rows = _Rows(outputs, references, np.zeros(len(outputs), dtype=bool), rouge_language=rouge_language)
    return {name: _OF_ROWS[name](rows) for name in names}


@dataclass(frozen=True, eq=False)
class _Rows:
    """Texts to be scored, and what several metrics need of them."""

    outputs: Sequence[str]
    references: Sequence[Sequence[str]]
    at_limit: NDArray[np.bool_]
    bleu_tokenize: str = "13a"
    rouge_language: str = "english"

    def __post_init__(self) -> None:
        num_rows = len(self.outputs)
        if num_rows != len(self.references):
            raise ValueError(f"{num_rows} outputs do not fit references of {len(self.references)} rows")
        for row, candidates in enumerate(self.references):
            if isinstance(candidates, str) or not len(candidates):
                raise ValueError(f"row {row} has no list of references: {candidates!r}")
        if np.shape(self.at_limit) != (num_rows,):
            raise ValueError(f"at_limit {np.shape(self.at_limit)} does not fit {num_rows} outputs")

    @cached_property
    def rouge(self) -> overlap.Rouge:
        return overlap.Rouge(self.rouge_language)

    @cached_property
    def rouge_notes(self) -> list[str]:
        return matching.notes_on_rouge(self.references, self.rouge_language)

    @cached_property
    def word_notes(self) -> list[str]:
        return matching.notes_on_words(self.references)

    def each(self, score: Callable[[str, Sequence[str]], float]) -> Floats:
        """A score of each row (N,)."""
        return np.array([score(*pair) for pair in zip(self.outputs, self.references, strict=True)], dtype=float)

    def rouge_rows(self, name: str) -> Floats:
        return self.rouge.rows(name, self.outputs, self.references)

    def rouge_mean(self, name: str) -> Sufficient:
        one = mean(self.rouge_rows(name))
        return replace(one, signature=rouge_signature(name, self.rouge_language), notes=self.rouge_notes)

    def edits(self) -> Floats:
        """Edit distance over the length of the reference (N,)."""
        edits, sizes = matching.count_edits(self.outputs, self.references).T
        rates: Floats = edits / np.maximum(sizes, 1)
        return rates


_OF_ROWS: Mapping[str, Callable[[_Rows], Floats]] = {
    "exact_match": lambda rows: rows.each(matching.exact_match),
    "token_f1": lambda rows: rows.each(matching.token_f1),
    "chrf": lambda rows: overlap.sentence_chrf(rows.outputs, rows.references),
    **{name: partial(_Rows.rouge_rows, name=name) for name in ROUGE_METRICS},
    "edit_distance": _Rows.edits,
}
_METRICS: Mapping[str, Callable[[_Rows], Sufficient]] = {
    "exact_match": lambda rows: mean(_OF_ROWS["exact_match"](rows)),
    "token_f1": lambda rows: mean(_OF_ROWS["token_f1"](rows)).noting(rows.word_notes),
    "bleu": lambda rows: overlap.bleu(rows.outputs, rows.references, tokenize=rows.bleu_tokenize).noting(
        rows.word_notes if rows.bleu_tokenize in SPACED_TOKENIZERS else []
    ),
    "chrf": lambda rows: overlap.chrf(rows.outputs, rows.references),
    **{name: partial(_Rows.rouge_mean, name=name) for name in ROUGE_METRICS},
    "length_ratio": lambda rows: ratio(
        matching.count_words(rows.outputs, rows.references), why_undefined="the references hold no word"
    ).noting(rows.word_notes),
    "limit_share": lambda rows: mean(rows.at_limit),
    "edit_distance": lambda rows: ratio(
        matching.count_edits(rows.outputs, rows.references), why_undefined="the references hold no character"
    ),
}
ROW_METRICS = tuple(_OF_ROWS)
"""Those of TEXT_METRICS that say something of a single row."""


def _from_hub(name: str, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Entry:
    # imported here: `evaluate` takes seconds to import, and most recipes never name one of its metrics
    from ftkit.metrics.foreign.hub import evaluate_texts_from_hub

    return evaluate_texts_from_hub(name.removeprefix(HUB_PREFIX), outputs, references)
