"""task: seq2seq, what is special of its training: what is written may choose the best model, and the base stays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ftkit.data.dataset import Split, Splits
from ftkit.decoding.continuing import stop_tokens
from ftkit.decoding.outputs import settings_of_the_model
from ftkit.inputs.pairs import Pairs
from ftkit.metrics.names import HUB_PREFIX
from ftkit.metrics.scores import Scores
from ftkit.models.checkpoint import Checkpoint, cut_as_trained
from ftkit.models.placement import choose_device, count_parameters
from ftkit.models.saved_folder import PROMPTING_FILE
from ftkit.models.saved_lm import save_language_model
from ftkit.models.seq2seq import hash_of_frozen, load_seq2seq
from ftkit.models.trial import refuse_what_cannot_run
from ftkit.progress import Reporter
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.run import Run
from ftkit.storage import write_json
from ftkit.tasks.seq2seq.examples import make_examples, pair_lengths, refuse_base
from ftkit.tasks.seq2seq.outputs import decoding_of, write_split
from ftkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from ftkit.tasks.seq2seq.scores import best_model_score, rehearse_outputs, score_labels
from ftkit.tasks.seq2seq.tokenizer import task_tokenizer
from ftkit.training.fitting import fit_facts, make_trainer, progress_told, writers_callbacks
from ftkit.training.prepared import base_placement, precision_in_words, prepare_to_write, score_saved
from ftkit.training.scores import Scorer, first_arrays, mean_scores
from ftkit.training.validating.watched import watch
from ftkit.training.way import Data, Kept


def rehearse(recipe: Seq2SeqRecipe, splits: Splits, checkpoint: Checkpoint) -> None:
    """Refuse a base that does not fit; and measure made-up outputs where a metric may not be had or computed.

    Raises:
        UserError: the base is no encoder-decoder, has no positions for examples of that length, would be trained in a
            precision that breaks it, or does not know the languages of the data; a metric that cannot be had or
            computed.
    """
    refuse_base(recipe, checkpoint)
    pair_lengths(recipe, checkpoint)
    task_tokenizer(recipe.data, splits, checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    asked = recipe.evaluation
    if asked.positive_label is not None or any(name.startswith(HUB_PREFIX) for name in asked.metrics):
        rehearse_outputs(recipe, splits.label_names)


def settled(recipe: Seq2SeqRecipe, checkpoint: Checkpoint) -> dict[str, object]:
    """Tokens of a source and of a target."""
    lengths = pair_lengths(recipe, checkpoint)
    return {"data.max_length": lengths.source, "data.max_target_length": lengths.target}


def way_of(recipe: Seq2SeqRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter) -> Writing:
    """Every method trains the model that writes."""
    scorer = Scorer(choose_device(use_cpu=recipe.training.use_cpu), reporter)
    return Writing(recipe, checkpoint, make_examples(recipe, splits, checkpoint, reporter=reporter), scorer)


@dataclass
class Writing:
    """How an encoder-decoder is trained and scored: by losses of targets, by what it writes, by labels it prefers.

    Attributes:
        recipe: what was asked.
        checkpoint: the base.
        data: of the run.
        scorer: of targets.
        stop_ids: tokens that end an output; known when a model is there.
    """

    recipe: Seq2SeqRecipe
    checkpoint: Checkpoint
    data: Data[Pairs]
    scorer: Scorer
    stop_ids: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        recipe, train = self.recipe, self.data.examples["train"]
        self.decoding = decoding_of(recipe.generation, train, seed=recipe.training.seed)

    def prepare(self) -> Any:
        """Load the base and attach what is trained; says the limit of outputs where the recipe does not.

        A base under a tuned prompt or prefix is not trained and nothing of it can overfit, so its dropout is off: what
        would be noise in the gradients of a few vectors.

        Raises:
            UserError: the checkpoint does not fit.
        """
        learns_prompt, reporter = self.recipe.method.trains == "prompt", self.scorer.reporter
        model = prepare_to_write(
            self.recipe,
            self.checkpoint,
            self.data.processor,
            partial(load_seq2seq, dropout=not learns_prompt),
            marks=[self.data.processor.eos_token_id],
            aside="; the base's dropout is off, since it is not trained" if learns_prompt else "",
            reporter=reporter,
        )
        refuse_what_cannot_run(model, first_arrays(self.data.examples["train"]), name=self.checkpoint.name, writes=True)
        if self.recipe.generation.max_new_tokens is None:
            reporter.say(
                f"outputs have at most {self.decoding.max_new_tokens} tokens, as the longest training target "
                "(generation.max_new_tokens)"
            )
        self.stop_ids = stop_tokens(model, self.data.processor)
        return model

    def score_base(self, model: Any) -> dict[str, Scores]:
        """What a model gives the held-out splits before it is trained; it is put where models are scored."""
        return self.held_out(model.to(self.scorer.device), "the base", generates=self.recipe.evaluation.score_base)

    def held_out(self, model: Any, whose: str, *, generates: bool = True) -> dict[str, Scores]:
        """What a model gives the held-out splits, by row."""
        held_out = self.data.splits.all()[1:]
        return {split.name: self._split(model, split, whose, generates=generates) for split in held_out}

    def probe(self, model: Any, examples: Pairs, name: str) -> Scores:
        """What a model gives the targets of some pairs."""
        return self.scorer.examples(model, examples, what=f"scoring the model on {name}")

    def validation(self, model: Any) -> Scores:
        """What a model gives the validation set while it trains; it writes where that chooses the best one."""
        generates = self.recipe.training.metric_for_best_model != "loss"
        return self._split(model, self.data.splits.validation, "the model", generates=generates)

    def means(self, scores: Scores) -> dict[str, float]:
        """The figures of an evaluation."""
        splits = self.data.splits
        chosen = best_model_score(self.recipe, splits.validation, scores, label_names=splits.label_names)
        return mean_scores(scores) | chosen

    def _split(self, model: Any, split: Split, whose: str, *, generates: bool) -> Scores:
        pairs = self.data.examples[split.name]
        targets = self.scorer.examples(model, pairs, what=f"scoring {whose} on {split.name}")
        if not generates:
            return targets
        labels = None
        if self.data.splits.label_names:
            what = f"{whose} chooses labels of {split.name}"
            labels = score_labels(model, pairs, self._label_ids, scorer=self.scorer, what=what)
        outputs = write_split(
            model,
            self.data.processor,
            split,
            pairs,
            self.decoding,
            stop_ids=self.stop_ids,
            reporter=self.scorer.reporter,
            what=f"{whose} writes for {split.name}",
        )
        return replace(targets, logits=labels, outputs=outputs)

    @cached_property
    def _label_ids(self) -> list[list[int]]:
        """Tokens of each label, special tokens included."""
        return [list(self.data.processor(text_target=name)["input_ids"]) for name in self.data.splits.label_names]

    def fit(
        self, model: Any, run: Run, *, resumed: SealedCheckpoint | None, until: float | None = None
    ) -> dict[str, Any]:
        """Train with HF Trainer, and see that a base which is not trained is what it was."""
        recipe, reporter = self.recipe, self.scorer.reporter
        untouched = hash_of_frozen(model) if recipe.method.keeps_base else ""
        callbacks = writers_callbacks(recipe, until=until, reporter=reporter)
        way, watched = watch(self, model, say=reporter.say)
        trainer = make_trainer(recipe, run, model, self.data, way, callbacks=callbacks, until=until, watched=watched)
        with progress_told(trainer, resumed, reporter=reporter):
            trainer.go_on(resumed, say=reporter.say)
        facts = self.data.facts(
            placement=precision_in_words(recipe, base_placement(recipe)), trained=count_parameters(model).trained
        )
        facts["fit"] = fit_facts(trainer)
        return facts | ({"base_sha256": self._compare_base(model, untouched)} if untouched else {})

    def _compare_base(self, model: Any, before: str) -> str:
        """The hash of the base's weights, which training must have left as they were."""
        after = hash_of_frozen(model)
        assert after == before, "the weights of the base changed although they are not trained"
        counted = count_parameters(model)
        frozen = counted.total - counted.trained
        self.scorer.reporter.say(f"the base's {frozen:,} weights are bit for bit as they were (sha256 {after[:12]})")
        return after

    def save(self, model: Any, folder: Path) -> None:
        """Save the model with its tokenizer, how it generates, and how its sources are written."""
        prompting, tokenizer = self.data.splits.prompting, self.data.processor
        assert prompting is not None, "the data room says how examples are written"
        generation = self.decoding.generation_config(
            stop_ids=self.stop_ids,
            pad_id=tokenizer.pad_token_id,
            max_new_tokens=self.decoding.max_new_tokens,
            **settings_of_the_model(model, tokenizer),
        )
        save_language_model(
            model,
            folder,
            base_name=self.checkpoint.base_name,
            revision=self.recipe.model.revision if self.checkpoint.from_hub else None,
            generation=generation,
        )
        cut_as_trained(tokenizer, self.data.limits["max_length"])
        tokenizer.save_pretrained(folder)
        write_json(folder / PROMPTING_FILE, prompting.to_dict())

    def score_kept(self, folder: Path) -> Kept:
        """Score the saved model and its base."""
        return score_saved(self.recipe, folder, self, reporter=self.scorer.reporter)
