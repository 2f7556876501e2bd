"""A language model made ready to be trained, and the Trainer that does it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ftkit.errors import UserError
from ftkit.methods.start import unmoved_adapters
from ftkit.metrics.scores import Scores
from ftkit.models.causal import load_causal_lm, refuse_unknown_tokens
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.kernels.chunked_loss import compute_loss_in_chunks
from ftkit.models.kernels.document_attention import DOCUMENTS, packing_is_exact, register_document_attention
from ftkit.models.kernels.fused import use_fused_operations
from ftkit.models.parameters import ParameterCount, count_parameters
from ftkit.models.placement import DTYPES, Placement, place
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.runs.run import Run
from ftkit.training.arguments import mixes_bfloat16, training_arguments
from ftkit.training.trainer import Batching, LanguageTrainer, TrainingRows
from ftkit.training.training_probe import TrainingProbe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Prepared:
    """A language model ready to be trained.

    Attributes:
        model: a transformers model, or a peft model around one, on the CPU still.
        batching: how sequences become batches.
        precision: in which it computes, in words.
        parameters: how many there are, and how many are trained.
    """

    model: Any
    batching: Batching
    precision: str
    parameters: ParameterCount


def prepare_model(
    recipe: Recipe, checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, *, reporter: Reporter
) -> Prepared:
    """Load the base, attach what is trained, and choose precision, attention and layout of batches.

    Raises:
        UserError: the checkpoint does not fit, or packing was asked of a model that it would change.
    """
    placement = language_placement(recipe)
    torch.manual_seed(recipe.training.seed)
    model = load_causal_lm(
        checkpoint,
        dtype=placement.dtype,
        attn_implementation=_attention(recipe),
        trust_remote_code=recipe.model.trust_remote_code,
    )
    refuse_unknown_tokens(model, tokenizer)
    trainable = _attach(model, recipe, tokenizer)
    use_fused_operations(trainable)
    if not compute_loss_in_chunks(trainable):
        reporter.say(
            f"{checkpoint.name} computes its own loss, over all logits at once: an architecture not known here"
        )
    packed = _packed(recipe, trainable, name=checkpoint.name, reporter=reporter)
    assert isinstance(tokenizer.pad_token_id, int), "the tokenizer is loaded with a pad token"
    batching = Batching(packed=packed, pad_id=tokenizer.pad_token_id, max_tokens=recipe.training.max_tokens_per_batch)
    counted = count_parameters(trainable)
    precision = precision_in_words(recipe, placement)
    reporter.say(f"{checkpoint.name}: {counted.trained:,} of {counted.total:,} parameters are trained")
    reporter.say(precision)
    say_idle_accelerators(reporter)
    reporter.say(
        "documents lie end to end, attention within each" if packed else "examples are padded, like lengths together"
    )
    return Prepared(trainable, batching, precision, counted)


def say_idle_accelerators(reporter: Reporter) -> None:
    """Tell of accelerators that nothing is done with."""
    if (idle := torch.accelerator.device_count() - 1) > 0 and "LOCAL_RANK" not in os.environ:
        reporter.say(f"{idle} more accelerators stay idle: one process uses one")


def language_placement(recipe: Recipe) -> Placement:
    """Device and precision of the base: what is trained whole is kept in float32."""
    method, asked = recipe.method, recipe.model.dtype
    if method.wants_float32 and asked == "auto":
        placement = place("float32", use_cpu=recipe.training.use_cpu)
        return placement._replace(reason=f"{placement.device.type}, float32 ({method.wants_float32})")
    return place(asked if method.keeps_base else "float32", use_cpu=recipe.training.use_cpu)


def scoring_dtype(recipe: Recipe, device: torch.device) -> torch.dtype:
    """Precision in which a saved model is measured.

    float32, in which others will compute its figures anew; on an accelerator what it was trained in, for a base that
    just fitted in 16 bits would not fit in 32.
    """
    if recipe.model.dtype in DTYPES or device.type == "cpu":
        return DTYPES.get(recipe.model.dtype, torch.float32)
    return language_placement(recipe).dtype


def precision_in_words(recipe: Recipe, placement: Placement) -> str:
    """Where and how precisely a language model is trained."""
    mixed = "bfloat16" if mixes_bfloat16(recipe) else "float16" if recipe.training.fp16 else ""
    device = placement.device.type
    if not recipe.method.keeps_base:
        return f"{device}, float32 weights" + (f", {mixed} products (training.bf16: auto)" if mixed else "")
    products = f", {mixed} products" if mixed else ""
    return f"base on {placement.reason}; what is trained is float32{products}"


def _attention(recipe: Recipe) -> str:
    asked = recipe.model.attn_implementation
    if asked != "auto":
        return asked
    if not may_pack(recipe):
        return "sdpa"
    register_document_attention()
    return DOCUMENTS


def may_pack(recipe: Recipe) -> bool:
    """Whether a recipe lets examples lie end to end, if the model does not mind."""
    return recipe.data.packing is not False and not recipe.method.input_tokens


def _packed(recipe: Recipe, model: Any, *, name: str, reporter: Reporter) -> bool:
    if not may_pack(recipe):
        return False
    if packing_is_exact(model, vocab_size=int(model.get_input_embeddings().weight.shape[0])):
        return True
    if recipe.data.packing is True:
        raise UserError(
            f"data.packing: {name} sees across documents that lie end to end, so packing would change what it learns",
            fix="set data.packing: auto or false",
        )
    reporter.say(f"{name} sees across documents that lie end to end: examples are padded instead")
    return False


def _attach(model: Any, recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Any:
    torch.manual_seed(recipe.training.seed)
    return recipe.method.attach(model, tokenizer)


def make_scorable(model: Any, tokenizer: PreTrainedTokenizerBase) -> Batching:
    """Let a model that was read back score without holding its logits, and quickly; examples are padded."""
    use_fused_operations(model)
    compute_loss_in_chunks(model)
    assert isinstance(tokenizer.pad_token_id, int), "a saved tokenizer has a pad token"
    return Batching(packed=False, pad_id=tokenizer.pad_token_id)


def make_trainer(
    recipe: Recipe,
    run: Run,
    *,
    model: Any,
    rows: TrainingRows,
    score: Callable[[Any], Scores],
    means: Callable[[Scores], Mapping[str, float]],
    probe: TrainingProbe,
    say: Callable[[str], None],
) -> LanguageTrainer:
    """HF Trainer with the callbacks of a language model's training."""
    from transformers import EarlyStoppingCallback

    from ftkit.training.callbacks import AdaptersMove, HistoryCallback, StopOnNonFinite

    args = training_arguments(recipe, run)
    # several accelerators in one process would tear a row of documents apart; each wants a process of its own
    args._n_gpu = min(1, args.n_gpu)
    callbacks: list[Any] = [HistoryCallback(run, probe.history), StopOnNonFinite()]
    if recipe.method.keeps_base:
        callbacks.append(AdaptersMove(unmoved_adapters))
    if recipe.training.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=recipe.training.early_stopping_patience))
    return LanguageTrainer(
        checkpoints=run.checkpoints(limit=recipe.training.save_total_limit),
        probe=probe,
        finds_batch_size=recipe.training.auto_find_batch_size,
        counts_rows=recipe.training.max_tokens_per_batch is None,
        model=model,
        args=args,
        rows=rows,
        score=score,
        means=means,
        say=say,
        eval_dataset=[],
        callbacks=callbacks,
        optimizers=(recipe.method.optimizer(model, args), None),
    )
