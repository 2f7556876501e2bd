"""An encoder-decoder made ready to be trained: precision, what is trained, and how its loss is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ftkit.models.causal import refuse_unknown_tokens
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.kernels.chunked_loss import compute_loss_in_chunks
from ftkit.models.kernels.fused import use_fused_operations
from ftkit.models.parameters import count_parameters
from ftkit.models.seq2seq import load_seq2seq
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.training.prepared import Prepared, language_placement, precision_in_words, say_idle_accelerators
from ftkit.training.trainer import Batching

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prepare_seq2seq(
    recipe: Recipe, checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, *, reporter: Reporter
) -> Prepared:
    """Load the base, attach what is trained, and choose the precision.

    A base under a tuned prompt or prefix is not trained and nothing of it can overfit, so its dropout is off: what
    would be noise in the gradients of a few vectors.

    Raises:
        UserError: the checkpoint does not fit.
    """
    placement = language_placement(recipe)
    learns_prompt = recipe.method.trains == "prompt"
    torch.manual_seed(recipe.training.seed)
    model = load_seq2seq(
        checkpoint,
        dtype=placement.dtype,
        attn_implementation=attention_of(recipe),
        dropout=not learns_prompt,
        trust_remote_code=recipe.model.trust_remote_code,
    )
    refuse_unknown_tokens(model, tokenizer)
    trainable = attach_to_seq2seq(model, recipe, tokenizer)
    use_fused_operations(trainable)
    if not compute_loss_in_chunks(trainable):
        reporter.say(
            f"{checkpoint.name} computes its own loss, over all logits at once: an architecture not known here"
        )
    assert isinstance(tokenizer.pad_token_id, int), "the tokenizer is loaded with a pad token"
    batching = Batching(packed=False, pad_id=tokenizer.pad_token_id, max_tokens=recipe.training.max_tokens_per_batch)
    counted = count_parameters(trainable)
    precision = precision_in_words(recipe, placement)
    reporter.say(f"{checkpoint.name}: {counted.trained:,} of {counted.total:,} parameters are trained")
    reporter.say(precision + ("; the base's dropout is off, since it is not trained" if learns_prompt else ""))
    say_idle_accelerators(reporter)
    return Prepared(trainable, batching, precision, counted)


def attention_of(recipe: Recipe) -> str:
    """The name under which transformers knows the attention asked for."""
    asked = recipe.model.attn_implementation
    return "sdpa" if asked == "auto" else asked


def attach_to_seq2seq(model: Any, recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Any:
    """Attach what the recipe's method trains; `full` trains the model itself. Seeds torch."""
    torch.manual_seed(recipe.training.seed)
    return recipe.method.attach(model, tokenizer)
