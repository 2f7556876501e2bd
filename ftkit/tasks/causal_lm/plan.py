"""What the training of a language model will cost, before a weight is read."""

from __future__ import annotations

from transformers import AutoModelForCausalLM

from ftkit.inputs.sequences import Sequences
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.reading.pretrained import sketch
from ftkit.tasks.causal_lm.recipe import CausalRecipe
from ftkit.training.plan import Plan, count_batches, layers_kept, make_plan, tokens_of_a_step
from ftkit.training.prepared import base_placement, precision_in_words


def plan_language_model(recipe: CausalRecipe, checkpoint: Checkpoint, train: Sequences, *, max_length: int) -> Plan:
    """Estimate a run from the checkpoint's configuration and the tokenized training set.

    Args:
        recipe: of task causal_lm.
        checkpoint: its base model.
        train: the training set.
        max_length: tokens of an example.
    """
    model = sketch(AutoModelForCausalLM, checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    placement = base_placement(recipe)
    return make_plan(
        recipe,
        recipe.method.sketch(model),
        tokens=tokens_of_a_step(recipe.training, train),
        depths=[layers_kept(recipe.training, model.config.num_hidden_layers)],
        num_batches=count_batches(recipe.training, train),
        dtype=placement.dtype,
        placement=precision_in_words(recipe, placement),
        max_length=max_length,
    )
