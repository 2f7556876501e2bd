"""Full finetuning and LoRA of a classifier: HF Trainer, composed with callbacks and functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ftkit.data.dataset import Split, Splits
from ftkit.encoders.features import TOKENS_A_BATCH, load_tokenizer, token_chunks
from ftkit.encoders.fit import score
from ftkit.encoders.heads import LoadedClassifier, load_for_classification
from ftkit.encoders.optimization import class_weight_vector
from ftkit.inputs.batching import exact_length_batches
from ftkit.inputs.text import TokenizedTexts, tokenize_texts
from ftkit.metrics.scores import Scores, scores_of_logits
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.classifier import SequenceLogits
from ftkit.models.parameters import count_parameters
from ftkit.models.saved_classifier import save_classifier
from ftkit.models.scoring import score_logits
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.run import Run
from ftkit.training.arguments import training_arguments, training_precision
from ftkit.training.outcome import Trained
from ftkit.training.probes import ProbeLog, ProbeRows
from ftkit.training.running import run_trainer

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftkit.training.classifier_trainer import ClassifierTrainer
    from ftkit.training.training_probe import TrainingProbe


class TokenDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """Tokenized examples with their labels, as HF Trainer reads them."""

    def __init__(self, tokens: TokenizedTexts, labels: npt.NDArray[np.int64]) -> None:
        self.tokens = tokens
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        inputs: dict[str, Any] = {name: values[row] for name, values in self.tokens.columns.items()}
        return inputs | {"labels": int(self.labels[row])}


def finetune_weights(
    recipe: Recipe,
    splits: Splits,
    run: Run,
    *,
    checkpoint: Checkpoint,
    reporter: Reporter,
    resumed: SealedCheckpoint | None = None,
) -> Trained:
    """Finetune a classifier whole or by LoRA.

    Args:
        recipe: with method.type full or lora.
        splits: train, validation and perhaps test.
        run: gets history.jsonl, checkpoints/ and model/.
        checkpoint: the base model.
        reporter: hears what was chosen.
        resumed: the checkpoint of this run to go on from, verified.

    Returns:
        Logits of validation and test, and facts for the manifest and the model card.
    """
    loaded = load_for_classification(
        checkpoint,
        label_names=splits.label_names,
        seed=recipe.training.seed,
        trust_remote_code=recipe.model.trust_remote_code,
    )
    tokenizer = load_tokenizer(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    _give_pad_token(loaded, tokenizer)
    max_length = checkpoint.max_length(recipe.data.max_length)
    model = _trainable(loaded, recipe)
    counted = count_parameters(model)
    reporter.say(f"{checkpoint.name}: {counted.trained:,} of {counted.total:,} parameters are trained")

    tokens = {split.name: _tokenize(tokenizer, split, max_length=max_length) for split in splits.all()}
    _say_truncation(tokens, max_length=max_length, reporter=reporter)
    trainer = _make_trainer(recipe, splits, run, model=model, tokenizer=tokenizer, tokens=tokens)
    run_trainer(trainer, reporter=reporter, resumed=resumed)

    logits = _score(model, splits, tokenizer, max_length=max_length, device=trainer.args.device)
    _save(model, tokenizer, run, checkpoint=checkpoint, max_length=max_length)
    state = trainer.state
    facts = {
        "max_length": max_length,
        "placement": f"{trainer.args.device.type}, {training_precision(recipe)}",
        "trained_parameters": counted.trained,
        "truncated": {name: found.num_truncated for name, found in tokens.items()},
        "fit": {
            "num_steps": state.global_step,
            "best_step": state.best_global_step,
            "best_score": state.best_metric,
        },
    }
    return Trained(logits=logits, facts=facts)


def _score(
    model: PreTrainedModel | PeftModel,
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    device: torch.device,
) -> dict[str, npt.NDArray[np.float32]]:
    module = SequenceLogits(model).eval().to(device)
    logits = {}
    for split in splits.all()[1:]:
        chunks = token_chunks(tokenizer, split, max_length=max_length, device=device)
        batches = (batch for chunk in chunks for batch in chunk.batches)
        logits[split.name] = score_logits(
            module, batches, num_rows=len(split), num_labels=len(splits.label_names), device=device
        )
    module.to(torch.device("cpu"))
    return logits


def _save(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    run: Run,
    *,
    checkpoint: Checkpoint,
    max_length: int,
) -> None:
    staging = run.staging_dir()
    save_classifier(model, staging, base_name=checkpoint.base_name)
    # whoever loads the model cuts where it was cut in training
    tokenizer.model_max_length = max_length
    tokenizer.save_pretrained(staging)
    run.replace_model(staging)


def _trainable(loaded: LoadedClassifier, recipe: Recipe) -> PreTrainedModel | PeftModel:
    torch.manual_seed(recipe.training.seed)
    found: PreTrainedModel | PeftModel = recipe.method.attach_to_classifier(
        loaded.model, new_parameters=loaded.new_parameters
    )
    return found


def _give_pad_token(loaded: LoadedClassifier, tokenizer: PreTrainedTokenizerBase) -> None:
    # decoders such as GPT-2 come without one; the last real token is then found by it, so it must be set
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    loaded.model.config.pad_token_id = tokenizer.pad_token_id


def _tokenize(tokenizer: PreTrainedTokenizerBase, split: Split, *, max_length: int) -> TokenizedTexts:
    return tokenize_texts(tokenizer, split.texts, split.pairs, max_length=max_length)


def _say_truncation(tokens: dict[str, TokenizedTexts], *, max_length: int, reporter: Reporter) -> None:
    for name, found in tokens.items():
        if found.num_truncated:
            reporter.say(
                f"{found.num_truncated} of {len(found.lengths)} {name} texts are longer than {max_length} tokens "
                "and were cut (data.max_length)"
            )


def _probe(recipe: Recipe, splits: Splits, run: Run, *, tokens: dict[str, TokenizedTexts]) -> TrainingProbe:
    from ftkit.training.training_probe import TrainingProbe

    num_train, num_validation = len(splits.train), len(splits.validation)
    rows = ProbeRows.of(num_train=num_train, num_validation=num_validation, seed=recipe.training.seed)

    def losses(model: Any, split: Split, rows: npt.NDArray[np.int64]) -> Scores:
        device, found = next(model.parameters()).device, tokens[split.name]
        lengths, max_tokens = found.lengths[rows], TOKENS_A_BATCH.get(device.type, 4_096)
        batches = ((batch, found.stack(rows[batch])) for batch in exact_length_batches(lengths, max_tokens=max_tokens))
        # Trainer sets the mode before each of its steps
        module = SequenceLogits(model).eval()
        num_labels = len(splits.label_names)
        logits = score_logits(module, batches, num_rows=len(rows), num_labels=num_labels, device=device)
        return scores_of_logits(logits, split.labels[rows])

    return TrainingProbe(
        ProbeLog(run),
        rows,
        train=lambda model: losses(model, splits.train, rows.train),
        validation=lambda model: losses(model, splits.validation, np.arange(num_validation)),
    )


def _make_trainer(
    recipe: Recipe,
    splits: Splits,
    run: Run,
    *,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    tokens: dict[str, TokenizedTexts],
) -> ClassifierTrainer:
    from transformers import DataCollatorWithPadding, EarlyStoppingCallback

    from ftkit.training.callbacks import HistoryCallback, StopOnNonFinite
    from ftkit.training.classifier_trainer import ClassifierTrainer

    counts = np.bincount(splits.train.labels, minlength=len(splits.label_names))
    weights = class_weight_vector(recipe.training.class_weights, label_names=splits.label_names, counts=counts)
    smoothing = recipe.training.label_smoothing_factor

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None) -> torch.Tensor:
        # a sum over the number of examples of the whole step, so accumulation does not change the gradient
        weight = None if weights is None else weights.to(labels.device)
        total = nn.functional.cross_entropy(
            outputs.logits.float(), labels, weight=weight, label_smoothing=smoothing, reduction="sum"
        )
        return total / (num_items_in_batch if num_items_in_batch is not None else len(labels))

    def scores(prediction: Any) -> dict[str, float]:
        found = score(torch.from_numpy(prediction.predictions).float(), prediction.label_ids)
        return {"nll" if name == "loss" else name: value for name, value in found.items()}

    probe = _probe(recipe, splits, run, tokens=tokens)
    callbacks: list[Any] = [HistoryCallback(run, probe.history), StopOnNonFinite()]
    if recipe.training.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=recipe.training.early_stopping_patience))
    return ClassifierTrainer(
        checkpoints=run.checkpoints(limit=recipe.training.save_total_limit),
        probe=probe,
        finds_batch_size=recipe.training.auto_find_batch_size,
        model=model,
        args=training_arguments(recipe, run),
        train_dataset=TokenDataset(tokens["train"], splits.train.labels),
        eval_dataset=TokenDataset(tokens["validation"], splits.validation.labels),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_loss_func=loss,
        compute_metrics=scores,
        # encoder-decoders give their hidden states along, which would be kept for the whole validation set
        preprocess_logits_for_metrics=lambda logits, _labels: logits[0] if isinstance(logits, tuple) else logits,
        callbacks=callbacks,
    )
