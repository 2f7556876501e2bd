"""Examples of like length together, in an order that a resumed run finds again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_pt_utils import get_length_grouped_indices


class LengthGroupedEpochs(torch.utils.data.Sampler[int]):
    """Row numbers, shuffled anew each epoch with rows of like length near one another.

    The order depends on seed and epoch alone. Trainer's own sampler draws from the global random state, which by a
    second epoch has gone through every dropout mask before, so a run resumed there would see other batches.

    Args:
        lengths: tokens of each row.
        batch_size: rows of a step.
        seed: of every order.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; the data loader calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        # two halves of one word: no two (seed, epoch) share a state
        generator = torch.Generator().manual_seed((self.epoch << 32) | self.seed)
        order: list[int] = get_length_grouped_indices(  # type: ignore[no-untyped-call]
            self.lengths, self.batch_size, generator=generator
        )
        return iter(order)


class ResumableTrainer(Trainer):
    """HF Trainer whose group_by_length is the same before and after a resume."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset: Any = train_dataset if train_dataset is not None else self.train_dataset
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(dataset)
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedEpochs([len(row["input_ids"]) for row in dataset], batch_size=batch_size, seed=seed)
