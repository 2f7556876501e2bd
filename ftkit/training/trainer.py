"""HF Trainer for language models: batches made of flat token arrays, validation scored as everything else is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from ftkit.errors import UserError
from ftkit.inputs.batching import flat_batch, padded_batch, pair_batch
from ftkit.inputs.pairs import Pairs
from ftkit.inputs.sequences import Sequences
from ftkit.interruption import STOP
from ftkit.metrics.scores import Scores
from ftkit.training.callbacks import refuse_bad_loss
from ftkit.training.sampling import LengthGroupedEpochs, ShuffledEpochs, TokenBudgetBatches
from ftkit.training.sealed_trainer import SealedTrainer

Arrays = dict[str, npt.NDArray[np.int64]]
"""Model inputs by name."""


@dataclass(frozen=True)
class Batching:
    """How sequences become batches.

    Attributes:
        packed: laid end to end in one row instead of padded.
        pad_id: token that fills the ends of padded rows; its id is never looked at.
        max_tokens: tokens of a batch, or None for a number of examples.
    """

    packed: bool
    pad_id: int
    max_tokens: int | None = None

    def arrays(self, sequences: Sequences, rows: npt.NDArray[np.int64]) -> Arrays:
        """The model inputs of some sequences, with their labels."""
        if self.packed:
            return flat_batch(sequences, rows)
        return padded_batch(sequences, rows, pad_id=self.pad_id)


class TrainingRows(Protocol):
    """A training set as a trainer sees it: numbered rows of which any become a batch."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row (N, S), on each of its sides."""

    @property
    def batching(self) -> Batching:
        """How they are laid out."""

    def arrays(self, rows: npt.NDArray[np.int64]) -> Arrays:
        """The model inputs of some rows, with their labels."""


@dataclass(frozen=True)
class SequenceRows:
    """The sequences of a decoder as training rows of one side."""

    sequences: Sequences
    batching: Batching

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each sequence (N, 1)."""
        return self.sequences.lengths[:, None]

    def arrays(self, rows: npt.NDArray[np.int64]) -> Arrays:
        """The model inputs of some sequences, with their labels."""
        return self.batching.arrays(self.sequences, rows)


@dataclass(frozen=True)
class PairRows:
    """Sources and targets as training rows of two sides, each padded for itself."""

    pairs: Pairs
    batching: Batching

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each source and each target (N, 2)."""
        return np.stack([self.pairs.source_lengths, self.pairs.target_lengths], axis=1)

    def arrays(self, rows: npt.NDArray[np.int64]) -> Arrays:
        """The model inputs of some pairs, with their labels."""
        return pair_batch(self.pairs, rows, pad_id=self.batching.pad_id)


class RowNumbers(torch.utils.data.Dataset[int]):
    """0, 1, ..., N - 1: a batch is made from the numbers of its rows, whose tokens lie in flat arrays."""

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, row: int) -> int:
        return row


class LanguageTrainer(SealedTrainer):
    """Trainer over rows of tokens.

    Args:
        rows: the training set.
        score: model -> scores of the validation set.
        means: these -> figures by name, `nll` among them.
        say: hears what each evaluation found.
        arguments: what Trainer takes.
    """

    def __init__(
        self,
        *,
        rows: TrainingRows,
        score: Callable[[Any], Scores],
        means: Callable[[Scores], Mapping[str, float]],
        say: Callable[[str], None],
        **arguments: Any,
    ) -> None:
        super().__init__(train_dataset=RowNumbers(len(rows.lengths)), **arguments)
        self.rows = rows
        self.score = score
        self.means = means
        self.say = say

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of one epoch; which and in which order depends on seed and epoch alone."""
        args, batching = self.args, self.rows.batching
        seed = args.data_seed if args.data_seed is not None else args.seed
        options: dict[str, Any] = {
            "collate_fn": self._collate,
            "num_workers": args.dataloader_num_workers,
            "pin_memory": args.dataloader_pin_memory,
        }
        if batching.max_tokens is not None:
            if args.world_size > 1:
                raise UserError(
                    "training.max_tokens_per_batch does not work with several processes",
                    fix="use training.per_device_train_batch_size",
                )
            options["batch_sampler"] = TokenBudgetBatches(
                self.rows.lengths, max_tokens=batching.max_tokens, seed=seed, padded=not batching.packed
            )
        else:
            options["batch_size"] = args.train_batch_size
            options["drop_last"] = args.dataloader_drop_last
            options["sampler"] = self._order(seed=seed)
        loader: DataLoader[Any] = self.accelerator.prepare(DataLoader(self.train_dataset, **options))  # type: ignore[arg-type]
        return loader

    def _order(self, *, seed: int) -> torch.utils.data.Sampler[int]:
        lengths = self.rows.lengths
        if self.rows.batching.packed:
            # nothing is padded, so lengths need not be alike and every order is as cheap
            return ShuffledEpochs(len(lengths), seed=seed)
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedEpochs(lengths.sum(axis=1).tolist(), batch_size=batch_size, seed=seed)

    def _collate(self, rows: list[int]) -> dict[str, torch.Tensor]:
        arrays = self.rows.arrays(np.asarray(rows, dtype=np.int64))
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Trainer's, but a loss that is not finite stops the run before its backward pass."""
        found = super().compute_loss(model, inputs, *args, **kwargs)
        loss = found[0] if isinstance(found, tuple) else found
        refuse_bad_loss(loss.detach(), step=self.state.global_step + 1, rows=f"{inputs['input_ids'].numel():,} tokens")
        return found

    def evaluate(
        self,
        eval_dataset: Any = None,  # noqa: ARG002
        ignore_keys: list[str] | None = None,  # noqa: ARG002
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Score the validation set: token log-likelihoods summed in eval mode, not a mean of batch means."""
        self.probe.score(self)
        with STOP.at_once(), self.accelerator.autocast():
            found = self.score(self.model)
        means = self.means(found)
        named = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        learnt = [line["loss"] for line in self.state.log_history if "loss" in line]
        best = str(self.args.metric_for_best_model).removeprefix("eval_")
        self.say(
            f"step {self.state.global_step:,}: validation loss {means['nll']:.4f}"
            + (f", {best} {means[best]:.4f}" if best != "nll" and best in means else "")
            + (f", training loss {learnt[-1]:.4f}" if learnt else "")
        )
        self.log(named)
        self.probe.record(self, found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, named)
        return named
