"""What an encoder-decoder gives a split: losses of its targets, outputs, and the labels that it would choose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ftkit.data.dataset import Split
from ftkit.decoding.knobs import Decoding
from ftkit.diagnosis.measurements import Unit
from ftkit.inputs.pairs import TokenizedPairs
from ftkit.metrics.scores import Scores
from ftkit.tasks.seq2seq.pair_outputs import write_split
from ftkit.training.pair_scoring import PairScorer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

unit: Unit = "token"


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

    def run(self, model: Any, split: Split, tokenized: TokenizedPairs, *, whose: str, generates: bool = True) -> Scores:
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
            return targets
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
        return replace(targets, logits=labels, outputs=outputs)
