"""task: seq2seq, what is special of its training: what is written may choose the best model, and the base stays."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ftkit.data.dataset import Splits
from ftkit.decoding.continuing import stop_tokens
from ftkit.decoding.outputs import settings_of_the_model
from ftkit.inputs.pairs import Pairs
from ftkit.methods.section import MethodSection
from ftkit.metrics.names import HUB_PREFIX
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.placement import choose_device, count_parameters
from ftkit.models.saved_folder import PROMPTING_FILE
from ftkit.models.saved_lm import save_language_model
from ftkit.models.seq2seq import hash_of_frozen, load_seq2seq, refuse_decoders_and_encoders, refuse_float16
from ftkit.progress import Reporter
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.run import Run
from ftkit.storage import write_json
from ftkit.tasks.seq2seq.examples import pair_lengths
from ftkit.tasks.seq2seq.outputs import decoding_of
from ftkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from ftkit.tasks.seq2seq.scores import PairScoring, rehearse_outputs
from ftkit.training.prepared import prepare_to_write, score_saved
from ftkit.training.scores import Scorer
from ftkit.training.trainer import fit_facts, make_trainer, progress_told, writers_callbacks
from ftkit.training.way import Data, Kept, Prepared, Way


def way_of(method: MethodSection) -> Way:  # noqa: ARG001
    """Every method trains the model that writes."""
    from ftkit.tasks.seq2seq import train

    return train


def rehearse(recipe: Seq2SeqRecipe, splits: Splits, checkpoint: Checkpoint) -> None:
    """Refuse a base that does not fit; and measure made-up outputs where a metric may not be had or computed.

    Raises:
        UserError: the base is no encoder-decoder, has no positions for examples of that length, or would be trained in
            a precision that breaks it; a metric that cannot be had or computed.
    """
    refuse_decoders_and_encoders(checkpoint)
    refuse_float16(checkpoint, fp16=recipe.training.fp16, dtype=recipe.model.dtype)
    pair_lengths(recipe, checkpoint)
    asked = recipe.evaluation
    if asked.positive_label is not None or any(name.startswith(HUB_PREFIX) for name in asked.metrics):
        rehearse_outputs(recipe, splits.label_names)


def prepare(recipe: Seq2SeqRecipe, checkpoint: Checkpoint, data: Data[Pairs], *, reporter: Reporter) -> Prepared[Pairs]:
    """Load the base and attach what is trained.

    A base under a tuned prompt or prefix is not trained and nothing of it can overfit, so its dropout is off: what
    would be noise in the gradients of a few vectors.

    Raises:
        UserError: the checkpoint does not fit.
    """
    learns_prompt = recipe.method.trains == "prompt"
    aside = "; the base's dropout is off, since it is not trained" if learns_prompt else ""
    load = partial(load_seq2seq, dropout=not learns_prompt)
    return prepare_to_write(recipe, checkpoint, data, load, aside=aside, reporter=reporter)


def scoring(recipe: Seq2SeqRecipe, prepared: Prepared[Pairs], *, reporter: Reporter) -> PairScoring:
    """How every model of the run is scored; says the limit of outputs where the recipe does not."""
    data = prepared.data
    decoding = decoding_of(recipe.generation, data.examples["train"], seed=recipe.training.seed)
    if recipe.generation.max_new_tokens is None:
        reporter.say(
            f"outputs have at most {decoding.max_new_tokens} tokens, as the longest training target "
            "(generation.max_new_tokens)"
        )
    label_ids = [tuple(data.processor(text_target=name)["input_ids"]) for name in data.splits.label_names]
    scorer = Scorer(choose_device(use_cpu=recipe.training.use_cpu), reporter)
    stop_ids = stop_tokens(prepared.model, data.processor)
    return PairScoring(recipe, data, scorer, decoding, stop_ids, tuple(label_ids))


def fit(
    recipe: Seq2SeqRecipe,
    run: Run,
    prepared: Prepared[Pairs],
    scoring: PairScoring,
    *,
    resumed: SealedCheckpoint | None,
    reporter: Reporter,
) -> dict[str, Any]:
    """Train with HF Trainer, and see that a base which is not trained is what it was."""
    untouched = hash_of_frozen(prepared.model) if recipe.method.keeps_base else ""
    callbacks = writers_callbacks(recipe.method, reporter=reporter)
    trainer = make_trainer(recipe, run, prepared, scoring, callbacks=callbacks)
    with progress_told(trainer, resumed, reporter=reporter):
        trainer.go_on(resumed, say=reporter.say)
    facts = prepared.facts() | {"fit": fit_facts(trainer)}
    return facts | (_compare_base(prepared, untouched, reporter=reporter) if untouched else {})


def _compare_base(prepared: Prepared[Pairs], before: str, *, reporter: Reporter) -> dict[str, str]:
    """The hash of the base's weights, which training must have left as they were."""
    after = hash_of_frozen(prepared.model)
    assert after == before, "the weights of the base changed although they are not trained"
    counted = count_parameters(prepared.model)
    frozen = counted.total - counted.trained
    reporter.say(f"the base's {frozen:,} weights are bit for bit as they were (sha256 {after[:12]})")
    return {"base_sha256": after}


def save(
    recipe: Seq2SeqRecipe, checkpoint: Checkpoint, prepared: Prepared[Pairs], scoring: PairScoring, folder: Path
) -> None:
    """Save the model with its tokenizer, how it generates, and how its sources are written."""
    data, tokenizer = prepared.data, prepared.data.processor
    assert data.splits.prompting is not None, "the data room says how examples are written"
    generation = scoring.decoding.generation_config(
        stop_ids=scoring.stop_ids,
        pad_id=tokenizer.pad_token_id,
        max_new_tokens=scoring.decoding.max_new_tokens,
        **settings_of_the_model(prepared.model),
    )
    save_language_model(
        prepared.model,
        folder,
        base_name=checkpoint.base_name,
        revision=recipe.model.revision if checkpoint.from_hub else None,
        generation=generation,
    )
    # whoever loads the model cuts where it was cut in training
    tokenizer.model_max_length = data.limits["max_length"]
    tokenizer.save_pretrained(folder)
    write_json(folder / PROMPTING_FILE, data.splits.prompting.to_dict())


def score_kept(recipe: Seq2SeqRecipe, folder: Path, scoring: PairScoring, *, reporter: Reporter) -> Kept:
    """Score the saved model and its base."""
    return score_saved(recipe, folder, scoring, reporter=reporter)
