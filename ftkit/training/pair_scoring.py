"""What an encoder-decoder gives the targets of a split: the same way during training, at the end, and for the base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ftkit.inputs.batching import pair_batch, pair_budget_batches
from ftkit.inputs.pairs import Pairs, TokenizedPairs
from ftkit.metrics.scores import Scores
from ftkit.models.scoring import TokenBatch, score_candidates, score_tokens
from ftkit.progress import Reporter

TOKENS_A_BATCH = {"cpu": 4_096, "cuda": 32_768}
"""Tokens of sources and targets scored together, padding included; logits of a batch are never held whole."""


@dataclass(frozen=True)
class PairScorer:
    """How splits are scored.

    Attributes:
        pad_id: fills up batches.
        device: where the model lies.
        reporter: hears of progress.
    """

    pad_id: int
    device: torch.device
    reporter: Reporter

    @property
    def max_tokens(self) -> int:
        """Tokens of a batch."""
        return TOKENS_A_BATCH.get(self.device.type, TOKENS_A_BATCH["cuda"])

    def targets(self, model: Any, tokenized: TokenizedPairs, *, what: str) -> Scores:
        """Score every token of every target, given its source and the tokens before it.

        Args:
            model: an encoder-decoder; scored in eval mode.
            tokenized: N pairs.
            what: is done, for the progress.

        Returns:
            Sums by row, (N,). The text of a target that was cut counts neither bytes nor their loss.
        """
        pairs = tokenized.pairs
        with self.reporter.track(what, total=len(pairs)) as advance:
            found = score_tokens(
                model, self._batches(pairs), num_sequences=len(pairs), device=self.device, advance=advance
            )
        assert found.text_nll is not None, "targets are tokens"
        return Scores(
            nll=found.nll,
            num_targets=found.num_targets,
            num_correct=found.num_correct,
            text_nll=np.where(pairs.text_bytes > 0, found.text_nll, 0.0),
            text_bytes=pairs.text_bytes,
        )

    def _batches(self, pairs: Pairs) -> Iterator[TokenBatch]:
        for rows in pair_budget_batches(pairs.source_lengths, pairs.target_lengths, max_tokens=self.max_tokens):
            taken = pairs.take(rows)
            owners = np.repeat(rows, taken.target_lengths)
            yield TokenBatch(pair_batch(pairs, rows, pad_id=self.pad_id), owners, taken.target_special)

    def labels(
        self, model: Any, tokenized: TokenizedPairs, label_ids: Sequence[Sequence[int]], *, what: str
    ) -> npt.NDArray[np.float64]:
        """Log-likelihood of every label as a target of every source, (N, K) in nats.

        Args:
            model: an encoder-decoder; scored in eval mode.
            tokenized: N pairs, of which the targets are not looked at.
            label_ids: tokens of each of K labels, special tokens included.
            what: is done, for the progress.
        """
        pairs = tokenized.pairs
        longest = np.full(len(pairs), max(map(len, label_ids)))

        def batches() -> Iterator[tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[np.int64]]]]:
            for rows in pair_budget_batches(pairs.source_lengths, longest, max_tokens=self.max_tokens):
                inputs = pair_batch(pairs, rows, pad_id=self.pad_id)
                del inputs["labels"]
                yield rows, inputs

        with self.reporter.track(what, total=len(pairs)) as advance:
            return score_candidates(
                model, batches(), label_ids, num_rows=len(pairs), device=self.device, advance=advance
            )
