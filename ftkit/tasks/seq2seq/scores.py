"""What an encoder-decoder gives a split: losses of its targets, outputs, and the labels that it would choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Split
from ftkit.decoding.knobs import Decoding
from ftkit.inputs.pairs import TokenizedPairs
from ftkit.metrics.language import LanguageScores
from ftkit.tasks.seq2seq.pair_outputs import Outputs, write_split
from ftkit.training.pair_scoring import PairScorer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class SplitScores:
    """What a model gave one split.

    Attributes:
        targets: losses by row, (N,).
        outputs: what it wrote; None where it was not let write.
        labels: log-likelihood of every label (N, K), where labels are the targets.
    """

    targets: LanguageScores
    outputs: Outputs | None = None
    labels: npt.NDArray[np.float64] | None = None

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Of each label (N, K), given that the output is one of them."""
        assert self.labels is not None, "asked only where labels are the targets"
        weights = np.exp(self.labels - self.labels.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True)
class Evaluation:
    """How splits are scored, the same for every model of a run.

    Attributes:
        tokenizer: of the model.
        scorer: of targets and labels.
        decoding: how outputs are generated.
        stop_ids: tokens that end an output.
        label_ids: tokens of each of K labels, where labels are the targets; else none.
    """

    tokenizer: PreTrainedTokenizerBase
    scorer: PairScorer
    decoding: Decoding
    stop_ids: frozenset[int]
    label_ids: tuple[tuple[int, ...], ...] = ()

    def run(
        self, model: Any, split: Split, tokenized: TokenizedPairs, *, whose: str, generates: bool = True
    ) -> SplitScores:
        """Score one split.

        Args:
            model: an encoder-decoder, perhaps with adapters.
            split: N rows.
            tokenized: its pairs.
            whose: model this is, for the progress: `the saved model`.
            generates: let it write, and score labels; else targets alone.
        """
        targets = self.scorer.targets(model, tokenized, what=f"scoring {whose} on {split.name}")
        if not generates:
            return SplitScores(targets)
        labels = None
        if self.label_ids:
            what = f"{whose} chooses labels of {split.name}"
            labels = self.scorer.labels(model, tokenized, self.label_ids, what=what)
        outputs = write_split(
            model,
            self.tokenizer,
            split,
            tokenized,
            self.decoding,
            stop_ids=self.stop_ids,
            reporter=self.scorer.reporter,
            what=f"{whose} writes for {split.name}",
        )
        return SplitScores(targets, outputs, labels)
