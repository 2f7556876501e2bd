"""What the training of an encoder-decoder will cost, before a weight is read."""

from __future__ import annotations

from transformers import AutoModelForSeq2SeqLM

from ftkit.inputs.pairs import Pairs
from ftkit.methods.prefix_tuning import decoder_shape
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.reading.pretrained import sketch
from ftkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from ftkit.training.plan import Plan, count_batches, layers_kept, make_plan, tokens_of_a_step
from ftkit.training.prepared import base_placement, precision_in_words


def plan_encoder_decoder(recipe: Seq2SeqRecipe, checkpoint: Checkpoint, train: Pairs, *, max_length: int) -> Plan:
    """Estimate a run from the checkpoint's configuration and the tokenized training set.

    Args:
        recipe: of task seq2seq.
        checkpoint: its base model.
        train: the training set.
        max_length: tokens of a source.
    """
    training = recipe.training
    model = sketch(AutoModelForSeq2SeqLM, checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    placement, config = base_placement(recipe), model.config
    encoder = layers_kept(training, config.num_hidden_layers)
    # a decoder's layer has two attentions, about half as much again
    decoder = 1.5 * layers_kept(training, decoder_shape(config).num_layers)
    return make_plan(
        recipe,
        recipe.method.sketch(model),
        tokens=tokens_of_a_step(training, train),
        depths=[encoder, decoder],
        num_batches=count_batches(training, train),
        dtype=placement.dtype,
        placement=precision_in_words(recipe, placement),
        max_length=max_length,
    )
