"""HF Trainer over examples of any task: batches made of flat arrays, validation scored as everything else is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader

from ftkit.data.mixture.shares import Mixing
from ftkit.errors import UserError
from ftkit.inputs.examples import Examples
from ftkit.interruption import STOP
from ftkit.methods.layer_rates import set_rates
from ftkit.metrics.scores import NO_SCORES, Scores
from ftkit.recipe.trainer.schedules import SCHEDULES, arguments_in_steps
from ftkit.training.callbacks import (
    refuse_bad_loss,
)
from ftkit.training.sampling import LengthGroupedEpochs, MixedEpochs, ShuffledEpochs, TokenBudgetBatches
from ftkit.training.sealed_trainer import SealedTrainer
from ftkit.training.validating.watched import Watched


class ScoresWhileTraining(Protocol):
    """How a model is scored while it trains."""

    def probe(self, model: Any, examples: Any, name: str) -> Scores:
        """Plain losses of each of some examples, in eval mode; `name` is theirs, for the progress."""

    def validation(self, model: Any) -> Scores:
        """What it gives each validation example."""

    def means(self, scores: Scores) -> Mapping[str, float]:
        """Figures of these by name, `nll` among them."""


class ExamplesTrainer(SealedTrainer):
    """Trainer over examples.

    Args:
        examples: the training set.
        scoring: of the validation set.
        max_tokens: of a batch; None for a number of rows.
        mixing: of the sources of the training set; None where every example is learnt once an epoch.
        rates: id of a parameter -> its share of the learning rate; None where all learn at one.
        watched: the validation rows that are scored; None for all.
        arguments: what Trainer takes.
    """

    def __init__(
        self,
        *,
        examples: Examples,
        scoring: ScoresWhileTraining,
        max_tokens: int | None,
        mixing: Mixing | None = None,
        rates: Mapping[int, float] | None = None,
        watched: Watched | None = None,
        **arguments: Any,
    ) -> None:
        # a batch is made from the numbers of its rows
        rows: Any = range(len(examples))
        super().__init__(train_dataset=rows, eval_dataset=[], counts_rows=max_tokens is None, **arguments)
        self.examples = examples
        self.scoring = scoring
        self.max_tokens = max_tokens
        self.mixing = mixing
        self.rates = rates
        self.watched = watched
        self.order_seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Trainer's, with rates by depth where they are asked for."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new and self.rates is not None:
            set_rates(optimizer, self.rates)
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """Trainer's; a schedule that follows scores is told which way they go, shares of the steps are counted.

        Raises:
            UserError: the schedule is longer than the training.
        """
        args: Any = self.args
        name, given = args.lr_scheduler_type.value, args.lr_scheduler_kwargs
        warmup_steps = args.get_warmup_steps(num_training_steps)
        try:
            found = arguments_in_steps(name, given or {}, num_steps=num_training_steps, warmup_steps=warmup_steps)
        except ValueError as error:
            raise UserError(str(error), fix="write a share of the steps, below 1, or train longer") from error
        if SCHEDULES[name].follows_scores:
            found["mode"] = "max" if args.greater_is_better else "min"
        args.lr_scheduler_kwargs = found
        try:
            return super().create_scheduler(num_training_steps, optimizer)
        finally:
            args.lr_scheduler_kwargs = given

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of one epoch; which and in which order depends on seed and epoch alone."""
        args = self.args
        options: dict[str, Any] = {
            "collate_fn": self._collate,
            "num_workers": args.dataloader_num_workers,
            "pin_memory": args.dataloader_pin_memory,
        }
        if self.max_tokens is not None:
            if args.world_size > 1:
                raise UserError(
                    "training.max_tokens_per_batch does not work with several processes",
                    fix="use training.per_device_train_batch_size",
                )
            options["batch_sampler"] = TokenBudgetBatches(
                self.examples.lengths, max_tokens=self.max_tokens, seed=self.order_seed, padded=not self.examples.packed
            )
        else:
            options["batch_size"] = args.train_batch_size
            options["drop_last"] = args.dataloader_drop_last
            options["sampler"] = self._get_train_sampler(self.train_dataset)
        loader: DataLoader[Any] = self.accelerator.prepare(DataLoader(self.train_dataset, **options))  # type: ignore[arg-type]
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        by_length = self.args.train_sampling_strategy == "group_by_length"
        if not by_length and self.mixing is None:
            return super()._get_train_sampler(train_dataset)
        num_rows = len(self.examples)
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        lengths = self.examples.lengths.reshape(num_rows, -1).sum(axis=1)
        # where nothing is padded lengths need not be alike, and every order is as cheap
        by_length = by_length and not self.examples.packed
        if self.mixing is not None:
            return MixedEpochs(self.mixing, lengths if by_length else None, batch_size=batch_size, seed=self.order_seed)
        if not by_length:
            return ShuffledEpochs(num_rows, seed=self.order_seed)
        return LengthGroupedEpochs(lengths.tolist(), batch_size=batch_size, seed=self.order_seed)

    def _collate(self, rows: list[int]) -> dict[str, torch.Tensor]:
        arrays = self.examples.arrays(np.asarray(rows, dtype=np.int64))
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Trainer's, but a model's own loss that is not finite stops the run before its backward pass."""
        found = super().compute_loss(model, inputs, *args, **kwargs)
        if self.compute_loss_func is None:
            loss = found[0] if isinstance(found, tuple) else found
            trained: Any = self.model
            rows = f"{inputs[trained.main_input_name].numel():,} tokens"
            refuse_bad_loss(loss.detach(), step=self.state.global_step + 1, rows=rows)
        return found

    def evaluate(
        self,
        eval_dataset: Any = None,  # noqa: ARG002
        ignore_keys: list[str] | None = None,  # noqa: ARG002
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Score the train probe and the validation set: log-likelihoods in eval mode, not a mean of batch means."""
        self.probe.score(self)
        if self.probe.validation is None:
            return self._told({f"{metric_key_prefix}_{name}": value for name, value in self.probe.history().items()})
        with STOP.at_once(), self.accelerator.autocast():
            found = self.scoring.validation(self.model)
        if self.watched is not None:
            self.watched.look(found)
        named = {f"{metric_key_prefix}_{name}": value for name, value in self.scoring.means(found).items()}
        return self._told(named, found)

    def _told(self, named: dict[str, Any], found: Scores = NO_SCORES) -> dict[str, Any]:
        """Log and record an evaluation, and tell of it."""
        self.log(named)
        self.probe.record(self, found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, named)
        return named
