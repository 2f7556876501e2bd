"""task: causal_lm, what is special of its training: packing, chat templates, and what a base has to be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ftkit.data.chat.marking import end_of_turn
from ftkit.data.dataset import Splits
from ftkit.decoding.continuing import stop_tokens
from ftkit.errors import UserError
from ftkit.inputs.sequences import Sequences
from ftkit.metrics.scores import Scores
from ftkit.models.causal import AUTO, load_causal_lm, refuse_other_kinds
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.kernels.document_attention import packing_is_exact, use_document_attention
from ftkit.models.placement import choose_device, count_parameters
from ftkit.models.saved_folder import PROMPTING_FILE
from ftkit.models.saved_lm import save_language_model
from ftkit.models.trial import refuse_what_cannot_run
from ftkit.progress import Reporter
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.run import Run
from ftkit.storage import write_json
from ftkit.tasks.causal_lm.examples import evaluation_stride, example_length, make_examples, training_promptings
from ftkit.tasks.causal_lm.recipe import CausalRecipe
from ftkit.training.fitting import fit_facts, make_trainer, progress_told, writers_callbacks
from ftkit.training.prepared import base_placement, precision_in_words, prepare_to_write, score_saved
from ftkit.training.scores import Scorer, first_arrays, mean_scores
from ftkit.training.validating.watched import watch
from ftkit.training.way import Data, Kept


def rehearse(recipe: CausalRecipe, splits: Splits, checkpoint: Checkpoint) -> None:
    """Refuse a base that does not fit; its metrics are ftkit's own, which can be had and computed.

    Raises:
        UserError: the base is no causal language model, or has no positions for examples of that length; or windows
            of that length cannot advance as asked.
    """
    refuse_other_kinds(checkpoint)
    evaluation_stride(recipe, splits, max_length=example_length(recipe, checkpoint))


def settled(recipe: CausalRecipe, checkpoint: Checkpoint) -> dict[str, object]:
    """Tokens of an example."""
    return {"data.max_length": example_length(recipe, checkpoint)}


def way_of(recipe: CausalRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter) -> Continuing:
    """Every method trains the model that writes."""
    scorer = Scorer(choose_device(use_cpu=recipe.training.use_cpu), reporter)
    return Continuing(recipe, checkpoint, make_examples(recipe, splits, checkpoint, reporter=reporter), scorer)


@dataclass
class Continuing:
    """How a language model is trained and scored: by its losses on the tokens that are learnt.

    Attributes:
        recipe: what was asked.
        checkpoint: the base.
        data: of the run; padded where the model turns out to see across documents that lie end to end.
        scorer: of tokens.
    """

    recipe: CausalRecipe
    checkpoint: Checkpoint
    data: Data[Sequences]
    scorer: Scorer

    def prepare(self) -> Any:
        """Load the base, attach what is trained, and see whether examples may lie end to end.

        Raises:
            UserError: the checkpoint does not fit, or packing was asked of a model that it would change.
        """
        say, train = self.scorer.reporter.say, self.data.examples["train"]
        model = prepare_to_write(
            self.recipe,
            self.checkpoint,
            self.data.processor,
            load_causal_lm,
            marks=np.unique(train.ids[train.learnt & train.special]).tolist(),
            reporter=self.scorer.reporter,
        )
        if self._packed:
            if self.recipe.model.attn_implementation == AUTO:
                use_document_attention(model)
            if not packing_is_exact(model):
                self._pad()
        refuse_what_cannot_run(model, first_arrays(self.data.examples["train"]), name=self.checkpoint.name, writes=True)
        say(
            "documents lie end to end, attention within each"
            if self._packed
            else "examples are padded, like lengths together"
        )
        return model

    @property
    def _packed(self) -> bool:
        return self.data.examples["train"].packed

    def _pad(self) -> None:
        name, spec, reporter = self.checkpoint.name, self.recipe.data, self.scorer.reporter
        if spec.packing is True:
            raise UserError(
                f"data.packing: {name} sees across documents that lie end to end, so packing would change what it "
                "learns",
                fix="set data.packing: auto or false",
            )
        reporter.say(f"{name} sees across documents that lie end to end: examples are padded instead")
        padded = self.recipe.model_copy(update={"data": spec.model_copy(update={"packing": False})})
        self.data = make_examples(padded, self.data.splits, self.checkpoint, reporter=reporter)

    def score_base(self, model: Any) -> dict[str, Scores]:
        """What a model gives the held-out splits before it is trained; it is put where models are scored."""
        return self.held_out(model.to(self.scorer.device), "the base")

    def held_out(self, model: Any, whose: str) -> dict[str, Scores]:
        """What a model gives the held-out splits, by row."""
        return {
            split.name: self.scorer.rows(
                model, self.data.examples[split.name], num_rows=len(split), what=f"scoring {whose} on {split.name}"
            )
            for split in self.data.splits.all()[1:]
        }

    def probe(self, model: Any, examples: Sequences, name: str) -> Scores:
        """What a model gives each of some pieces."""
        return self.scorer.examples(model, examples, what=f"scoring {name}")

    def validation(self, model: Any) -> Scores:
        """What a model gives each piece of the validation set, while it trains."""
        return self.probe(model, self.data.examples["validation"], "validation")

    def means(self, scores: Scores) -> dict[str, float]:
        """The figures of an evaluation."""
        return mean_scores(scores)

    def fit(
        self, model: Any, run: Run, *, resumed: SealedCheckpoint | None, until: float | None = None
    ) -> dict[str, Any]:
        """Train with HF Trainer."""
        recipe, reporter = self.recipe, self.scorer.reporter
        callbacks = writers_callbacks(recipe, until=until, reporter=reporter)
        way, watched = watch(self, model, say=reporter.say)
        trainer = make_trainer(recipe, run, model, self.data, way, callbacks=callbacks, until=until, watched=watched)
        with progress_told(trainer, resumed, reporter=reporter):
            trainer.go_on(resumed, say=reporter.say)
        facts = self.data.facts(
            placement=precision_in_words(recipe, base_placement(recipe)),
            packing=self._packed,
            trained=count_parameters(model).trained,
        )
        return facts | {"fit": fit_facts(trainer)}

    def save(self, model: Any, folder: Path) -> None:
        """Save the model with its tokenizer, and how its texts are written."""
        splits, tokenizer = self.data.splits, self.data.processor
        chats = [one for one in training_promptings(splits) if one.kind == "chat"]
        if chats and chats[0].chat_template is not None:
            # whoever loads the model writes chats as it was taught them
            tokenizer.chat_template = chats[0].chat_template
        ends = [end_of_turn(tokenizer, chats[0])] if chats else []
        save_language_model(
            model,
            folder,
            base_name=self.checkpoint.base_name,
            revision=self.recipe.model.revision if self.checkpoint.from_hub else None,
            stop_ids=stop_tokens(model, tokenizer, *ends),
        )
        tokenizer.save_pretrained(folder)
        write_json(folder / PROMPTING_FILE, splits.prompting_of(0).to_dict())

    def score_kept(self, folder: Path) -> Kept:
        """Score the saved model and its base; documents are padded, as whoever loads it will have them."""
        padded = {name: replace(found, packed=False) for name, found in self.data.examples.items()}
        way = replace(self, data=replace(self.data, examples=padded))
        return score_saved(self.recipe, folder, way, reporter=self.scorer.reporter)
