"""HF Trainer whose saves are sealed, which stops where it is asked to, and which goes on exactly where it was."""

from __future__ import annotations

import functools
import gc
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, Trainer
from transformers.trainer_utils import IntervalStrategy

from ftkit.errors import RunError, UserError
from ftkit.interruption import STOP, Interrupted
from ftkit.models.placement import is_out_of_memory
from ftkit.runs.checkpoints import Checkpoints, Progress, SealedCheckpoint
from ftkit.runs.disk import failing_writes_are_told
from ftkit.storage import held_folder
from ftkit.training.memory import Batch, advice, bytes_asked_for, free_bytes, what_happened
from ftkit.training.resume import refuse_other_weights
from ftkit.training.sampling import random_state, restore
from ftkit.training.validating.training_probe import TrainingProbe


class SealedTrainer(Trainer):
    """Trainer with checkpoints that are whole or do not count.

    What HF Trainer does not do by itself and a resume needs to end in the same weights: a batch order that depends on
    seed and epoch alone; an evaluation that was due when a signal came; and no step after the last one, which Trainer
    makes when it goes on from a checkpoint at which max_steps or early stopping had ended the training.

    Args:
        checkpoints: where they lie and how many are kept.
        probe: is scored before the first step, and by whoever evaluates beside the validation set.
        saves_with_evaluations: whether each evaluation is followed by a checkpoint, the best one or not.
        finds_batch_size: whether batches are made smaller when memory runs out, with as much more accumulation.
        counts_rows: whether batches are counted in rows, not in tokens.
        arguments: what Trainer takes.
    """

    def __init__(
        self,
        *,
        checkpoints: Checkpoints,
        probe: TrainingProbe,
        saves_with_evaluations: bool = True,
        finds_batch_size: bool = False,
        counts_rows: bool = True,
        **arguments: Any,
    ) -> None:
        checkpoints.folder.mkdir(exist_ok=True)
        args, named = arguments["args"], arguments["args"].output_dir
        with held_folder(checkpoints.folder) as held:
            # Trainer makes the folder, and the run above it, where it is gone meanwhile
            args.output_dir = str(held)
            super().__init__(**arguments)
        args.output_dir = named
        self.add_callback(probe)
        self.checkpoints = checkpoints
        self.probe = probe
        self.saves_with_evaluations = saves_with_evaluations
        self.finds_batch_size = finds_batch_size
        self.counts_rows = counts_rows
        self._batch: Batch | None = None
        self.resumed: SealedCheckpoint | None = None
        self._saved_step = self._scored_step = -1
        self._staging: Path | None = None

    def go_on(self, resumed: SealedCheckpoint | None, *, say: Callable[[str], None]) -> None:
        """Train to the end, from a checkpoint or from the start.

        Args:
            resumed: the checkpoint.
            say: hears when the batch is made smaller (`training.auto_find_batch_size`).

        Raises:
            Interrupted: the process was asked to stop; what was learnt is sealed.
            RunError: a save failed, or memory ran out; older checkpoints are as they were.
        """
        with STOP.waiting():
            while True:
                self.resumed = resumed
                try:
                    self.train(resume_from_checkpoint=str(resumed.path) if resumed else None)
                    break
                except pickle.UnpicklingError as error:
                    where = None if resumed is None else str(resumed.path)
                    raise UserError(
                        "a file of the checkpoint asks for code to be run, which is refused: "
                        f"{str(error).splitlines()[0]}",
                        where=where,
                        fix="remove the checkpoint; --resume then takes an older one",
                    ) from None
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    resumed = self._with_less(error, say=say)
        STOP.obey()

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Trainer's, with a note of what is in the batch, for a message when memory runs out."""
        trained: Any = self.model
        tokens = inputs["input_ids"].numel()
        if trained.config.is_encoder_decoder:
            tokens += inputs["labels"].numel()
        # documents that lie end to end are one row for the model
        rows = self.args.per_device_train_batch_size if self.counts_rows else None
        self._batch = Batch(rows, tokens, self.args.gradient_accumulation_steps)
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._batch = None
        return loss

    def _with_less(self, error: BaseException, *, say: Callable[[str], None]) -> SealedCheckpoint:
        """Seal what was learnt before a batch that did not fit, and make the batches smaller.

        Raises:
            RunError: that was not asked for, or a batch has one row already.
        """
        if (batch := self._batch) is None:
            raise error
        asked, free = bytes_asked_for(error), free_bytes(self.args.device)
        step = self.state.global_step
        happened = what_happened(batch, asked=asked, free=free, step=step + 1)
        if not self.finds_batch_size or batch.rows is None or batch.rows == 1:
            newest = self.checkpoints.newest_name
            safe = f"; {newest} is safe" if newest else ""
            checkpointing = bool(self.args.activation_checkpointing)
            fix = advice(batch, asked=asked, free=free, checkpointing=checkpointing)
            raise RunError(f"{happened}{safe}", fix=fix) from None
        # the exception holds the frames, and they the tensors, of the step
        error.__traceback__ = None
        trained: Any = self.model
        trained.zero_grad(set_to_none=True)
        gc.collect()
        if self.args.device.type == "cuda":
            torch.cuda.empty_cache()
        self._save_sealed(self.model, None, evaluation_due=False)
        smaller = next(rows for rows in range(batch.rows // 2, 0, -1) if batch.rows % rows == 0)
        self.args.per_device_train_batch_size = smaller
        self.args.gradient_accumulation_steps *= batch.rows // smaller
        self._train_batch_size = self.args.train_batch_size
        say(
            f"{happened}; going on with training.per_device_train_batch_size: {smaller} and "
            f"gradient_accumulation_steps: {self.args.gradient_accumulation_steps}, which is the same step"
        )
        return self.checkpoints.open(self.checkpoints.path(step))

    def _init_training_state(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._init_training_state(*args, **kwargs)
        # the state holds a path; a run may have been moved since it was written
        self._know_best()
        return found

    def _run_epoch(self, model: Any, epoch: int, *args: Any, **kwargs: Any) -> None:
        self._catch_up(model)
        if self.state.global_step == 0:
            self.probe.begin(self)
        decided = self.resumed is not None and self.resumed.progress.stopped_early
        if decided or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        if not self.control.should_training_stop:
            super()._run_epoch(model, epoch, *args, **kwargs)  # type: ignore[no-untyped-call]

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        self._catch_up(self.model_wrapped)
        return super()._finalize_training(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _catch_up(self, model: Any) -> None:
        """Do the evaluation that was due when the run was stopped, in the random state that it would have had."""
        if self.resumed is None or not self.resumed.progress.evaluation_due:
            return
        self._load_rng_state(str(self.resumed.path))
        if self.is_world_process_zero():
            self.probe.log.run.drop_evaluation(step=self.state.global_step)
        self.control.should_evaluate = self.control.should_save = True
        epoch = float(self.state.epoch or 0.0)
        self._maybe_log_save_evaluate(self._tr_loss, None, model, None, epoch, None, 0.0)
        self.control.should_evaluate = self.control.should_save = False
        done = replace(self.resumed.progress, evaluation_due=False, stopped_early=self._stops_early())
        self.resumed = SealedCheckpoint(self.resumed.path, done)

    def _maybe_log_save_evaluate(
        self, tr_loss: Any, grad_norm: Any, model: Any, trial: Any, *args: Any, **kwargs: Any
    ) -> None:
        due = bool(self.control.should_evaluate)
        wanted = bool(self.control.should_save) or (due and self.saves_with_evaluations)
        ends_next = self._epoch_ends_next()
        if ends_next and not due:
            # a checkpoint of this step says whether its evaluation is done
            self.control.should_save = wanted = False
        if STOP.requested and not ends_next:
            # no time to score or to save twice
            self.control.should_evaluate = self.control.should_save = wanted = False
        before = random_state()
        try:
            super()._maybe_log_save_evaluate(tr_loss, grad_norm, model, trial, *args, **kwargs)
            if wanted and self._saved_step != self.state.global_step:
                self._save_checkpoint(model, trial)
                self.control = self.callback_handler.on_save(self.args, self.state, self.control)
        except Interrupted:
            assert due, "only the scoring of the validation set may be left in the middle"
            # a data loader draws a seed when it begins; the scoring will begin again
            restore(before)
        if not STOP.requested or self._epoch_ends_next():
            return
        step = self.state.global_step
        unscored = due and self._scored_step != step
        if self._saved_step != step or unscored:
            self._save_sealed(model, trial, evaluation_due=unscored)
        STOP.obey()

    def _epoch_ends_next(self) -> bool:
        """Whether this step is the last of its epoch, whose end, with its evaluation, is told apart from the step."""
        if self.args.eval_strategy != IntervalStrategy.EPOCH or self.control.should_evaluate:
            return False
        return float(self.state.epoch or 0.0).is_integer() or self.control.should_training_stop

    def _evaluate(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._evaluate(*args, **kwargs)
        self._scored_step = self.state.global_step
        return found

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        is_best = super()._determine_best_metric(metrics, trial)
        if is_best:
            self.state.best_global_step = self.state.global_step
        return is_best

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging) if self._staging is not None else super()._get_output_dir(trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._save_sealed(model, trial, evaluation_due=False)

    def _save_sealed(self, model: Any, trial: Any, *, evaluation_due: bool) -> None:
        progress = Progress(
            step=self.state.global_step,
            best_step=(self.state.best_global_step or None) if self._keeps_best() else None,
            evaluation_due=evaluation_due,
            stopped_early=self._stops_early(),
        )
        with failing_writes_are_told(self.checkpoints, f"the checkpoint of step {progress.step}"):
            if self.args.should_save:
                self.checkpoints.begin()
            self.accelerator.wait_for_everyone()
            self._know_best()
            with held_folder(self.checkpoints.staging) as staging:
                self._staging = staging
                try:
                    super()._save_checkpoint(model, trial)
                finally:
                    self._staging = None
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                # pickled, and read by nobody
                (self.checkpoints.staging / f"checkpoint-{progress.step}" / "training_args.bin").unlink(missing_ok=True)
                self.checkpoints.finish(progress)
            self._know_best()
        self._saved_step = progress.step

    def _save(self, *args: Any, **kwargs: Any) -> None:
        """Trainer's, with weights under the names that they have in memory, by which Trainer reads them back.

        A published checkpoint may have others (of each expert, where the model holds all of a layer in one tensor);
        Trainer would pass over them in silence.
        """
        model: Any = self.model
        if isinstance(model, PreTrainedModel):
            vars(model)["save_pretrained"] = functools.partial(model.save_pretrained, save_original_format=False)
        try:
            super()._save(*args, **kwargs)
        finally:
            vars(model).pop("save_pretrained", None)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Trainer would only warn of weights that a checkpoint lacks, and train on with those that are there."""
        refuse_other_weights(self.model, load_result)

    def _stops_early(self) -> bool:
        return self.control.should_training_stop and self.state.global_step < self.state.max_steps

    def _keeps_best(self) -> bool:
        """Whether the checkpoint of the best step is there."""
        return self.saves_with_evaluations or bool(self.args.load_best_model_at_end)

    def _know_best(self) -> None:
        if self.state.best_global_step:
            self.state.best_model_checkpoint = str(self.checkpoints.path(self.state.best_global_step))
