"""A model that writes, decoder or encoder-decoder, made ready to be trained; and read back to be scored."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ftkit.errors import UserError
from ftkit.methods.section import MethodSection
from ftkit.metrics.scores import Scores
from ftkit.models.causal import refuse_unknown_tokens
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.kernels.chunked_loss import compute_loss_in_chunks
from ftkit.models.kernels.fused import use_fused_operations
from ftkit.models.placement import DTYPES, Placement, choose_device, count_parameters, place
from ftkit.models.reading.adapter import go_on_with
from ftkit.models.saved_lm import load_saved_lm
from ftkit.models.untrained_rows import refuse_unlearnable_ends, untrained_rows
from ftkit.progress import Reporter
from ftkit.recipe.generative import GenerativeRecipe
from ftkit.recipe.schema import Recipe
from ftkit.training.arguments import mixes_bfloat16
from ftkit.training.plan import choose_weights
from ftkit.training.way import Kept

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Writes(Protocol):
    """A way to train a model that writes."""

    def held_out(self, model: Any, whose: str) -> dict[str, Scores]:
        """What a model gives the held-out splits, by name and row; `whose` it is, for the progress."""

    def score_base(self, model: Any) -> dict[str, Scores]:
        """The same of a base."""


def prepare_to_write(
    recipe: GenerativeRecipe,
    checkpoint: Checkpoint,
    tokenizer: PreTrainedTokenizerBase,
    load: Callable[..., Any],
    *,
    marks: Collection[int],
    aside: str = "",
    reporter: Reporter,
) -> Any:
    """Load the base, attach what is trained, and choose precision and how the loss is computed.

    Args:
        recipe: of a task that writes.
        checkpoint: its base.
        tokenizer: of the base.
        load: (checkpoint, dtype, attn_implementation, trust_remote_code) -> the base.
        marks: special tokens that it is to learn to write, such as the end of a turn.
        aside: said behind the precision.
        reporter: hears what was chosen.

    Raises:
        UserError: the checkpoint does not fit.
    """
    placement = base_placement(recipe)
    torch.manual_seed(recipe.training.seed)
    base = load(
        checkpoint,
        dtype=placement.dtype,
        attn_implementation=recipe.model.attn_implementation,
        trust_remote_code=recipe.model.trust_remote_code,
    )
    refuse_unknown_tokens(base, tokenizer)
    torch.manual_seed(recipe.training.seed)
    untrained = untrained_rows(base.get_output_embeddings().weight, marks)
    remedy = _how_to_train_the_head(base, recipe.method)
    method = recipe.method
    if any(checkpoint.new_tokens):
        method = method.with_embeddings(base)
        if whole := getattr(method, "modules_to_save", None):
            reporter.say(f"trained whole, for the tokens that are added: {', '.join(whole)}")
    if checkpoint.adapter is not None:
        model = go_on_with(base, checkpoint.adapter, base_name=checkpoint.name)
    else:
        model = method.attach(base, tokenizer)
    for line in choose_weights(recipe, model):
        reporter.say(line)
    refuse_still_tokens(model, checkpoint)
    refuse_unlearnable_ends(model, tokenizer, untrained, remedy=remedy)
    if not use_fused_operations(model):
        reporter.say(f"{checkpoint.name} gives other results with faster operations, and keeps its own: slower")
    smoothing = recipe.training.label_smoothing_factor
    if not compute_loss_in_chunks(model, label_smoothing=smoothing):
        if smoothing:
            raise UserError(
                f"training.label_smoothing_factor: {checkpoint.name} computes its own loss, in which labels are not "
                "smoothed: an architecture not known here",
                fix="remove it",
            )
        reporter.say(
            f"{checkpoint.name} computes its own loss, over all logits at once: an architecture not known here"
        )
    counted = count_parameters(model)
    reporter.say(f"{checkpoint.name}: {counted.trained:,} of {counted.total:,} parameters are trained")
    reporter.say(precision_in_words(recipe, placement) + aside)
    say_idle_accelerators(reporter)
    return model


def refuse_still_tokens(model: Any, checkpoint: Checkpoint) -> None:
    """Refuse tokens that are added to embeddings that stay as they are.

    Raises:
        UserError: they would be noise.
    """
    if any(checkpoint.new_tokens) and not model.get_input_embeddings().weight.requires_grad:
        raise UserError(
            "model.freeze: tokens are added (data.add_tokens), and the embeddings that they would get stay as they are",
            fix="leave embeddings out of model.freeze",
        )


def _how_to_train_the_head(base: Any, method: MethodSection) -> str:
    head, embeddings = base.get_output_embeddings(), base.get_input_embeddings()
    name = next((name for name, module in base.named_modules() if module is head), None)
    if name and "modules_to_save" in type(method).model_fields and head.weight is not embeddings.weight:
        return f"train it too: method.modules_to_save: [{name}]"
    return "set method.type: full, which trains it; or end what is learnt in a token that the base knows"


def say_idle_accelerators(reporter: Reporter) -> None:
    """Tell of accelerators that nothing is done with."""
    if (idle := torch.accelerator.device_count() - 1) > 0 and "LOCAL_RANK" not in os.environ:
        reporter.say(f"{idle} more accelerators stay idle: one process uses one")


def base_placement(recipe: Recipe) -> Placement:
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
    return base_placement(recipe).dtype


def precision_in_words(recipe: Recipe, placement: Placement) -> str:
    """Where and how precisely a language model is trained."""
    mixed = "bfloat16" if mixes_bfloat16(recipe) else "float16" if recipe.training.fp16 else ""
    device = placement.device.type
    if not recipe.method.keeps_base:
        return f"{device}, float32 weights" + (f", {mixed} products (training.bf16: auto)" if mixed else "")
    products = f", {mixed} products" if mixed else ""
    return f"base on {placement.reason}; what is trained is float32{products}"


def score_saved(recipe: GenerativeRecipe, folder: Path, way: Writes, *, reporter: Reporter) -> Kept:
    """Score a model as it lies in its folder, and its base where an adapter or a prompt can be lifted off.

    Args:
        recipe: of the run.
        folder: `model/` of the run.
        way: of the run.
        reporter: hears of it.
    """
    device = choose_device(use_cpu=recipe.training.use_cpu)
    dtype = scoring_dtype(recipe, device)
    reporter.say(f"reading the saved model back in {str(dtype).removeprefix('torch.')}")
    saved = load_saved_lm(
        folder,
        dtype=dtype,
        device=device,
        attn_implementation=recipe.model.attn_implementation,
        trust_remote_code=recipe.model.trust_remote_code,
    )
    make_scorable(saved.model)
    final = way.held_out(saved.model, "the saved model")
    if not recipe.method.keeps_base:
        return Kept(final, {})
    adapted: Any = saved.model
    with adapted.disable_adapter():
        # a tuned prompt is put before the input by the outer model, whatever is disabled
        return Kept(final, way.score_base(adapted.get_base_model()))


def make_scorable(model: Any) -> None:
    """Let a model that was read back score without holding its logits, and quickly."""
    use_fused_operations(model)
    compute_loss_in_chunks(model)
