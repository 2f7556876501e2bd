"""A classifier whose weights are trained, whole or through adapters, by HF Trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers.trainer_pt_utils import LengthGroupedSampler

from ftkit.data.dataset import Splits
from ftkit.data.mixture.shares import label_counts
from ftkit.encoders.base_head import base_head
from ftkit.encoders.loading import go_on_with_classifier, load_for_classification
from ftkit.encoders.optimization import class_weight_vector
from ftkit.encoders.scores import score
from ftkit.inputs.text import TokenizedTexts
from ftkit.metrics.scores import Scores
from ftkit.models.checkpoint import Checkpoint, cut_as_trained
from ftkit.models.classifier import SequenceLogits, load_classifier, save_classifier
from ftkit.models.placement import choose_device, count_parameters
from ftkit.models.saved_folder import note_long_texts
from ftkit.models.scoring import score_logits
from ftkit.models.trial import padding_matters, refuse_what_cannot_run
from ftkit.progress import Reporter
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.run import Run
from ftkit.tasks.classification.examples import make_examples
from ftkit.tasks.classification.recipe import ClassificationRecipe
from ftkit.tasks.classification.scores import scored
from ftkit.training.arguments import training_precision
from ftkit.training.fitting import fit_facts, make_trainer, progress_told
from ftkit.training.plan import choose_weights
from ftkit.training.prepared import refuse_still_tokens
from ftkit.training.scores import first_arrays, inputs_of, mean_by_row, row_logits_of
from ftkit.training.validating.watched import watch
from ftkit.training.way import Data, Kept


def tokens_way(recipe: ClassificationRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter) -> Weights:
    """Train the weights on the tokens of the data."""
    if (head := base_head(checkpoint, splits.label_names)) is not None:
        reporter.say(head.note)
    data = make_examples(recipe, splits, checkpoint, reporter=reporter)
    return Weights(recipe, checkpoint, data, reporter, choose_device(use_cpu=recipe.training.use_cpu))


@dataclass
class Weights:
    """How a classifier is trained and scored: by the logits of its labels.

    Attributes:
        recipe: what was asked.
        checkpoint: the base.
        data: of the run.
        reporter: hears what was chosen.
        device: where models are scored.
        padding_matters: whether an answer changes with the padding; known when a model is there.
    """

    recipe: ClassificationRecipe
    checkpoint: Checkpoint
    data: Data[TokenizedTexts]
    reporter: Reporter
    device: torch.device
    padding_matters: bool = False

    def prepare(self) -> Any:
        """Load the base with a head for the labels, in float32, and attach what is trained.

        Raises:
            UserError: transformers has no classification head for the architecture, or cannot read the checkpoint.
        """
        recipe, checkpoint = self.recipe, self.checkpoint
        loaded = load_for_classification(
            checkpoint,
            label_names=self.data.splits.label_names,
            seed=recipe.training.seed,
            trust_remote_code=recipe.model.trust_remote_code,
        )
        config = loaded.model.config
        config.pad_token_id = config.get_text_config().pad_token_id = self.data.processor.pad_token_id
        torch.manual_seed(recipe.training.seed)
        if checkpoint.adapter is not None:
            model = go_on_with_classifier(loaded, checkpoint)
        else:
            model = recipe.method.attach_to_classifier(loaded.model, new_parameters=loaded.new_parameters)
        for line in choose_weights(recipe, model):
            self.reporter.say(line)
        refuse_still_tokens(model, checkpoint)
        refuse_what_cannot_run(model, first_arrays(self.data.examples["train"]), name=checkpoint.name, writes=False)
        examples = self.data.examples["train"]
        shortest, longest = examples.lengths.argmin(), examples.lengths.argmax()
        pair = (examples.arrays(np.array(rows)) for rows in ([shortest, longest], [shortest]))
        self.padding_matters = padding_matters(model, *pair)
        if self.padding_matters:
            self.reporter.say(
                f"{checkpoint.name}: the answer to a text changes with the padding behind it, as its architecture has "
                "it; scores are of texts without padding"
            )
        counted = count_parameters(model)
        self.reporter.say(f"{checkpoint.name}: {counted.trained:,} of {counted.total:,} parameters are trained")
        return model

    def score_base(self, model: Any) -> dict[str, Scores]:  # noqa: ARG002
        """Nothing: a head that is new gives no answer."""
        return {}

    def probe(self, model: nn.Module, examples: TokenizedTexts, name: str) -> Scores:  # noqa: ARG002
        """What a model gives each of some texts."""
        # Trainer sets the mode before each of its steps
        return self._score(SequenceLogits(model).eval(), examples)

    def _score(self, module: nn.Module, examples: TokenizedTexts) -> Scores:
        device = next(module.parameters()).device
        assert examples.labels is not None, "examples of a classifier have labels"
        logits = row_logits_of(module, examples, num_labels=self._num_labels, device=device)
        return scored(logits, examples.labels[examples.firsts])

    def validation(self, model: nn.Module) -> Scores:
        """What a model gives the validation set while it trains, in batches of the size that the recipe names."""
        examples, order = self.data.examples["validation"], self._order()
        numbers: Any = range(len(order))
        # a loader of torch's own draws a seed from the global generator whenever it begins
        loader: Any = torch.utils.data.DataLoader(numbers, batch_size=self._batch_size)
        batches = [order[batch.numpy()] for batch in loader]
        logits = score_logits(
            SequenceLogits(model).eval(),
            ((rows, inputs_of(examples, rows)) for rows in batches),
            num_rows=len(examples),
            num_labels=self._num_labels,
            device=next(model.parameters()).device,
        )
        return scored(mean_by_row(logits, examples.rows), self.data.splits.validation.labels)

    def means(self, scores: Scores) -> dict[str, float]:
        """The figures of an evaluation, summed in the order in which it went."""
        assert scores.logits is not None, "a classifier gives logits"
        _, first = np.unique(self.data.examples["validation"].rows[self._order()], return_index=True)
        # of a row that is read in windows its first one has its place
        order = np.argsort(first)
        labels = self.data.splits.validation.labels[order]
        weights = _class_weights(self.recipe, self.data.splits)
        metric = self.recipe.training.metric_for_best_model
        found = score(torch.from_numpy(scores.logits[order]), labels, class_weights=weights, metric=metric)
        return {"nll" if name == "loss" else name: value for name, value in found.items()}

    @property
    def _num_labels(self) -> int:
        return len(self.data.splits.label_names)

    @property
    def _batch_size(self) -> int:
        return self.recipe.training.per_device_eval_batch_size

    def _order(self) -> npt.NDArray[np.int64]:
        """Validation examples with like lengths near one another, the same at every evaluation."""
        lengths = self.data.examples["validation"].lengths.tolist()
        generator = torch.Generator().manual_seed(self.recipe.training.seed)
        sampler: Any = LengthGroupedSampler
        return np.array(list(sampler(self._batch_size, lengths=lengths, generator=generator)), dtype=np.int64)

    def fit(
        self, model: Any, run: Run, *, resumed: SealedCheckpoint | None, until: float | None = None
    ) -> dict[str, Any]:
        """Train with HF Trainer, with class weights and label smoothing in the loss."""
        recipe, train = self.recipe, self.data.examples["train"]
        data = replace(self.data, examples={**self.data.examples, "train": train.counting_windows()})
        loss = _loss(
            _class_weights(recipe, data.splits),
            smoothing=recipe.training.label_smoothing_factor,
            windows_a_row=len(train) / len(data.splits.train),
        )
        way, watched = watch(self, model, say=self.reporter.say)
        trainer = make_trainer(
            recipe, run, model, data, way, loss=loss, processor=data.processor, until=until, watched=watched
        )
        with progress_told(trainer, resumed, reporter=self.reporter):
            trainer.go_on(resumed, say=self.reporter.say)
        placement = f"{self.device.type}, {training_precision(recipe)}"
        found = fit_facts(trainer)
        del found["warmup_steps"]
        if self.padding_matters:
            # the loss of validation texts in padded batches; the model that is kept is scored without padding
            del found["validation_loss"]
        return data.facts(placement=placement, trained=count_parameters(model).trained) | {"fit": found}

    def save(self, model: Any, folder: Path) -> None:
        """Save the model with its tokenizer."""
        save_classifier(model, folder, base_name=self.checkpoint.base_name)
        tokenizer = self.data.processor
        cut_as_trained(tokenizer, self.data.limits["max_length"])
        tokenizer.save_pretrained(folder)
        note_long_texts(folder, self.recipe.data.reads_long_texts(self.data.limits["max_length"]))

    def score_kept(self, folder: Path) -> Kept:
        """Score the saved model, in float32."""
        saved = load_classifier(folder, device=self.device, trust_remote_code=self.recipe.model.trust_remote_code)
        held_out = self.data.splits.all()[1:]
        return Kept({split.name: self._score(saved.module, self.data.examples[split.name]) for split in held_out}, {})


def _class_weights(recipe: ClassificationRecipe, splits: Splits) -> torch.Tensor | None:
    weights, names = recipe.training.class_weights, splits.label_names
    return class_weight_vector(weights, label_names=names, counts=label_counts(splits))


def _loss(weights: torch.Tensor | None, *, smoothing: float, windows_a_row: float) -> Callable[..., torch.Tensor]:
    """Cross-entropy of labels (B,); or of (B, 2), with the number of windows that the row has.

    The windows of a row weigh as much as a row: each 1 over their number, times the mean number of all rows, so that
    the weights of an epoch have the mean 1 and the learning rate its meaning.
    """

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None) -> torch.Tensor:
        # a sum over the number of examples of the whole step, so accumulation does not change the gradient
        weight = None if weights is None else weights.to(labels.device)
        whole_rows = labels.ndim == 1
        targets = labels if whole_rows else labels[:, 0]
        losses = nn.functional.cross_entropy(
            outputs.logits.float(),
            targets,
            weight=weight,
            label_smoothing=smoothing,
            reduction="sum" if whole_rows else "none",
        )
        total = losses if whole_rows else (losses * (windows_a_row / labels[:, 1])).sum()
        if num_items_in_batch is None:
            return total / len(labels)
        # Trainer counts every number beside a label
        return total / (num_items_in_batch if whole_rows else num_items_in_batch / labels.shape[1])

    return loss
