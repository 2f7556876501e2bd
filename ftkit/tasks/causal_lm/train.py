"""task: causal_lm, what is special of its training: packing, chat templates, and what a base has to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ftkit.data.chat import end_of_turn
from ftkit.data.dataset import Splits
from ftkit.decoding.continuing import stop_tokens
from ftkit.errors import UserError
from ftkit.inputs.sequences import Sequences
from ftkit.methods.section import MethodSection
from ftkit.models.causal import load_causal_lm, refuse_other_kinds
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.kernels.document_attention import DOCUMENTS, packing_is_exact, register_document_attention
from ftkit.models.placement import choose_device
from ftkit.models.saved_folder import PROMPTING_FILE
from ftkit.models.saved_lm import save_language_model
from ftkit.progress import Reporter
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.run import Run
from ftkit.storage import write_json
from ftkit.tasks.causal_lm.examples import example_length, make_examples
from ftkit.tasks.causal_lm.recipe import CausalRecipe
from ftkit.tasks.causal_lm.scores import DocumentScoring
from ftkit.training.prepared import SDPA, prepare_to_write, score_saved
from ftkit.training.scores import Scorer
from ftkit.training.trainer import fit_facts, make_trainer, progress_told, writers_callbacks
from ftkit.training.way import Data, Kept, Prepared, Way


def way_of(method: MethodSection) -> Way:  # noqa: ARG001
    """Every method trains the model that writes."""
    from ftkit.tasks.causal_lm import train

    return train


def rehearse(recipe: CausalRecipe, splits: Splits, checkpoint: Checkpoint) -> None:  # noqa: ARG001
    """Refuse a base that does not fit; its metrics are ftkit's own, which can be had and computed.

    Raises:
        UserError: the base is no causal language model, or has no positions for examples of that length.
    """
    refuse_other_kinds(checkpoint)
    example_length(recipe, checkpoint)


def prepare(
    recipe: CausalRecipe, checkpoint: Checkpoint, data: Data[Sequences], *, reporter: Reporter
) -> Prepared[Sequences]:
    """Load the base, attach what is trained, and see whether examples may lie end to end.

    Raises:
        UserError: the checkpoint does not fit, or packing was asked of a model that it would change.
    """
    packed = data.examples["train"].packed
    if packed:
        register_document_attention()
    attention = DOCUMENTS if packed else SDPA
    prepared = prepare_to_write(recipe, checkpoint, data, load_causal_lm, attention=attention, reporter=reporter)
    model = prepared.model
    if packed and not packing_is_exact(model, vocab_size=int(model.get_input_embeddings().weight.shape[0])):
        if recipe.data.packing is True:
            raise UserError(
                f"data.packing: {checkpoint.name} sees across documents that lie end to end, so packing would change "
                "what it learns",
                fix="set data.packing: auto or false",
            )
        reporter.say(f"{checkpoint.name} sees across documents that lie end to end: examples are padded instead")
        padded = recipe.model_copy(update={"data": recipe.data.model_copy(update={"packing": False})})
        prepared = replace(prepared, data=make_examples(padded, data.splits, checkpoint, reporter=reporter))
        packed = False
    reporter.say(
        "documents lie end to end, attention within each" if packed else "examples are padded, like lengths together"
    )
    return prepared


def scoring(recipe: CausalRecipe, prepared: Prepared[Sequences], *, reporter: Reporter) -> DocumentScoring:
    """How every model of the run is scored: by its losses on the tokens that are learnt."""
    data = prepared.data
    return DocumentScoring(data.splits, data.examples, Scorer(choose_device(use_cpu=recipe.training.use_cpu), reporter))


def fit(
    recipe: CausalRecipe,
    run: Run,
    prepared: Prepared[Sequences],
    scoring: DocumentScoring,
    *,
    resumed: SealedCheckpoint | None,
    reporter: Reporter,
) -> dict[str, Any]:
    """Train with HF Trainer."""
    callbacks = writers_callbacks(recipe.method, reporter=reporter)
    trainer = make_trainer(recipe, run, prepared, scoring, callbacks=callbacks)
    with progress_told(trainer, resumed, reporter=reporter):
        trainer.go_on(resumed, say=reporter.say)
    return prepared.facts(packing=prepared.data.examples["train"].packed) | {"fit": fit_facts(trainer)}


def save(
    recipe: CausalRecipe,
    checkpoint: Checkpoint,
    prepared: Prepared[Sequences],
    scoring: DocumentScoring,  # noqa: ARG001
    folder: Path,
) -> None:
    """Save the model with its tokenizer, and how its texts are written."""
    prompting, tokenizer, model = prepared.data.splits.prompting, prepared.data.processor, prepared.model
    assert prompting is not None, "the data room says how examples are written"
    if prompting.chat_template is not None:
        # whoever loads the model writes chats as it was taught them
        tokenizer.chat_template = prompting.chat_template
    ends = [end_of_turn(tokenizer, prompting)] if prompting.kind == "chat" else []
    save_language_model(
        model,
        folder,
        base_name=checkpoint.base_name,
        revision=recipe.model.revision if checkpoint.from_hub else None,
        stop_ids=stop_tokens(model, tokenizer, *ends),
    )
    tokenizer.save_pretrained(folder)
    write_json(folder / PROMPTING_FILE, prompting.to_dict())


def score_kept(recipe: CausalRecipe, folder: Path, scoring: DocumentScoring, *, reporter: Reporter) -> Kept:
    """Score the saved model and its base; documents are padded, as whoever loads it will have them."""
    return score_saved(recipe, folder, scoring.padded(), reporter=reporter)
