"""task: seq2seq, from splits to a finished run: tokenize, train, save, and measure what was saved."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.data.dataset import Splits
from ftkit.decoding.continuing import stop_tokens
from ftkit.decoding.outputs import settings_of_the_model
from ftkit.metrics.scores import Scores
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.placement import choose_device
from ftkit.models.saved_folder import PROMPTING_FILE
from ftkit.models.saved_lm import load_saved_lm, save_language_model
from ftkit.models.seq2seq import (
    hash_of_frozen,
    load_tokenizer_for_seq2seq,
    refuse_decoders_and_encoders,
    refuse_float16,
)
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.run import Run
from ftkit.storage import write_json
from ftkit.tasks.seq2seq.examples import PairTokens, pair_lengths, say_pair_tokens, tokenize_pair_splits
from ftkit.tasks.seq2seq.outputs import decoding_of, grouped_sources
from ftkit.tasks.seq2seq.scores import Evaluation, best_model_score, measure, prediction_rows, rehearse_outputs
from ftkit.training.language_probes import pair_probe
from ftkit.training.outcome import Finished
from ftkit.training.pair_scoring import PairScorer
from ftkit.training.prepared import Prepared, make_scorable, make_trainer, scoring_dtype
from ftkit.training.running import run_trainer, say_failure
from ftkit.training.scores import mean_scores
from ftkit.training.seq2seq_model import prepare_seq2seq
from ftkit.training.trainer import LanguageTrainer, PairRows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def rehearse(recipe: Recipe, splits: Splits, checkpoint: Checkpoint) -> None:
    """Refuse a base that does not fit, and measure made-up outputs as the real ones will be measured.

    Raises:
        UserError: the base is no encoder-decoder, has no positions for examples of that length, or would be trained in
            a precision that breaks it; a metric that cannot be had or computed.
    """
    refuse_decoders_and_encoders(checkpoint)
    refuse_float16(checkpoint, fp16=recipe.training.fp16, dtype=recipe.model.dtype)
    pair_lengths(recipe, checkpoint)
    rehearse_outputs(recipe, splits.label_names)


@dataclass(frozen=True)
class _Data:
    """The data of a run, as texts and as tokens."""

    splits: Splits
    tokens: PairTokens


def finetune(
    recipe: Recipe,
    splits: Splits,
    run: Run,
    *,
    checkpoint: Checkpoint,
    reporter: Reporter,
    resumed: SealedCheckpoint | None = None,
) -> Finished:
    """Finetune an encoder-decoder and write model/, metrics.json and predictions/.

    Args:
        recipe: with task seq2seq.
        splits: sources and targets, or labelled texts read as such.
        run: an empty run, or one to go on with.
        checkpoint: the base model.
        reporter: hears what was chosen and cut.
        resumed: the checkpoint of this run to go on from, verified.

    Returns:
        The metrics by split, as in metrics.json, and facts of the training.
    """
    tokenizer = load_tokenizer_for_seq2seq(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    tokens = tokenize_pair_splits(tokenizer, splits, lengths=pair_lengths(recipe, checkpoint))
    say_pair_tokens(tokens, tokenizer, reporter=reporter)
    for line in grouped_sources(splits):
        reporter.say(line)
    data = _Data(splits, tokens)
    prepared = prepare_seq2seq(recipe, checkpoint, tokenizer, reporter=reporter)
    evaluation = make_evaluation(recipe, data.splits, tokens, tokenizer, prepared.model, reporter=reporter)

    base: dict[str, Scores] = {}
    if not recipe.method.keeps_base:
        # the only moment at which the untrained weights are there
        prepared.model.to(evaluation.scorer.device)
        base = _score(prepared.model, data, evaluation, whose="the base", generates=recipe.evaluation.score_base)
    untouched = hash_of_frozen(prepared.model)
    trainer = _fit(recipe, data, run, prepared=prepared, evaluation=evaluation, resumed=resumed)
    facts = _facts(trainer, prepared, tokens, evaluation)
    facts |= _compare_base(recipe, prepared, untouched, reporter=reporter)
    _save(recipe, prepared, evaluation, run, checkpoint=checkpoint, data=data)
    del trainer, prepared
    gc.collect()

    final, adapted_base = _score_saved(recipe, run, data, evaluation)
    base = base or adapted_base
    say_failure(final["validation"], base["validation"], fit=facts["fit"], reporter=reporter)
    metrics = _write_scores(recipe, splits, run, final=final, base=base)
    run.update_manifest(training=facts)
    return Finished(metrics, facts, {name: scores.losses for name, scores in final.items()})


def make_evaluation(
    recipe: Recipe,
    splits: Splits,
    tokens: PairTokens,
    tokenizer: PreTrainedTokenizerBase,
    model: Any,
    *,
    reporter: Reporter,
) -> Evaluation:
    """How every model of a run is measured; says the limit of outputs where the recipe does not."""
    decoding = decoding_of(recipe.generation, tokens.train, seed=recipe.training.seed)
    if recipe.generation.max_new_tokens is None:
        reporter.say(
            f"outputs have at most {decoding.max_new_tokens} tokens, as the longest training target "
            "(generation.max_new_tokens)"
        )
    label_ids = [tuple(tokenizer(text_target=name)["input_ids"]) for name in splits.label_names]
    assert isinstance(tokenizer.pad_token_id, int), "the tokenizer is loaded with a pad token"
    scorer = PairScorer(tokenizer.pad_token_id, choose_device(use_cpu=recipe.training.use_cpu), reporter)
    stop_ids = stop_tokens(model, tokenizer)
    return Evaluation(tokenizer, scorer, decoding, stop_ids, tuple(label_ids))


def _fit(
    recipe: Recipe,
    data: _Data,
    run: Run,
    *,
    prepared: Prepared,
    evaluation: Evaluation,
    resumed: SealedCheckpoint | None,
) -> LanguageTrainer:
    validation = data.splits.validation
    generates = recipe.training.metric_for_best_model != "loss"

    def score(model: Any) -> Scores:
        tokenized = data.tokens.evaluation["validation"]
        return evaluation.run(model, validation, tokenized, whose="the model", generates=generates)

    def means(found: Scores) -> dict[str, float]:
        chosen = best_model_score(recipe, validation, found, label_names=data.splits.label_names)
        return mean_scores(found) | chosen

    reporter = evaluation.scorer.reporter
    rows = PairRows(data.tokens.train.pairs, prepared.batching)
    probe = pair_probe(recipe, run, tokens=data.tokens, scorer=evaluation.scorer)
    trainer = make_trainer(
        recipe, run, model=prepared.model, rows=rows, score=score, means=means, probe=probe, say=reporter.say
    )
    run_trainer(trainer, reporter=reporter, resumed=resumed)
    return trainer


def _score(model: Any, data: _Data, evaluation: Evaluation, *, whose: str, generates: bool) -> dict[str, Scores]:
    return {
        split.name: evaluation.run(model, split, data.tokens.evaluation[split.name], whose=whose, generates=generates)
        for split in data.splits.all()[1:]
    }


def _score_saved(
    recipe: Recipe, run: Run, data: _Data, evaluation: Evaluation
) -> tuple[dict[str, Scores], dict[str, Scores]]:
    """Measure the model as it lies in the run, read back from the disk, and its base where that can be uncovered.

    So what is measured is what was saved.
    """
    device = evaluation.scorer.device
    dtype = scoring_dtype(recipe, device)
    evaluation.scorer.reporter.say(f"reading the saved model back in {str(dtype).removeprefix('torch.')}")
    saved = load_saved_lm(run.model_dir, dtype=dtype, device=device, trust_remote_code=recipe.model.trust_remote_code)
    make_scorable(saved.model, saved.tokenizer)
    final = _score(saved.model, data, evaluation, whose="the saved model", generates=True)
    if not recipe.method.keeps_base:
        return final, {}
    adapted: Any = saved.model
    with adapted.disable_adapter():
        # a tuned prompt is put before the input by the outer model, whatever is disabled
        untuned = adapted.get_base_model()
        return final, _score(untuned, data, evaluation, whose="the base", generates=recipe.evaluation.score_base)


def _write_scores(
    recipe: Recipe, splits: Splits, run: Run, *, final: dict[str, Scores], base: dict[str, Scores]
) -> dict[str, Any]:
    measured, names = splits.all()[1:], splits.label_names
    metrics = {split.name: measure(recipe, split, final[split.name], label_names=names) for split in measured}
    metrics |= {f"base_{split.name}": measure(recipe, split, base[split.name], label_names=names) for split in measured}
    for split in measured:
        rows = prediction_rows(split, final[split.name], base[split.name], label_names=names)
        run.write_jsonl(run.predictions_file(split.name), rows)
    write_json(run.metrics_file, metrics)
    return metrics


def _facts(trainer: LanguageTrainer, prepared: Prepared, tokens: PairTokens, evaluation: Evaluation) -> dict[str, Any]:
    state = trainer.state
    return {
        "max_length": tokens.lengths.source,
        "max_target_length": tokens.lengths.target,
        "max_new_tokens": evaluation.decoding.max_new_tokens,
        "placement": prepared.precision,
        "trained_parameters": prepared.parameters.trained,
        "tokens": tokens.facts(),
        "fit": {
            "num_steps": state.global_step,
            "warmup_steps": trainer.args.get_warmup_steps(max(1, state.max_steps)),
            "best_step": state.best_global_step,
            "best_score": state.best_metric,
        },
    }


def _compare_base(recipe: Recipe, prepared: Prepared, before: str, *, reporter: Reporter) -> dict[str, str]:
    """The hash of the base's weights, which training must have left as they were."""
    if not recipe.method.keeps_base:
        return {}
    after = hash_of_frozen(prepared.model)
    assert after == before, "the weights of the base changed although they are not trained"
    frozen = prepared.parameters.total - prepared.parameters.trained
    reporter.say(f"the base's {frozen:,} weights are bit for bit as they were (sha256 {after[:12]})")
    return {"base_sha256": after}


def _save(
    recipe: Recipe, prepared: Prepared, evaluation: Evaluation, run: Run, *, checkpoint: Checkpoint, data: _Data
) -> None:
    assert data.splits.prompting is not None, "the data room says how examples are written"
    decoding, tokenizer = evaluation.decoding, evaluation.tokenizer
    generation = decoding.generation_config(
        stop_ids=evaluation.stop_ids,
        pad_id=evaluation.scorer.pad_id,
        max_new_tokens=decoding.max_new_tokens,
        **settings_of_the_model(prepared.model),
    )
    staging = run.staging_dir()
    save_language_model(
        prepared.model,
        staging,
        base_name=checkpoint.base_name,
        revision=recipe.model.revision if checkpoint.from_hub else None,
        generation=generation,
    )
    # whoever loads the model cuts where it was cut in training
    tokenizer.model_max_length = data.tokens.lengths.source
    tokenizer.save_pretrained(staging)
    write_json(staging / PROMPTING_FILE, data.splits.prompting.to_dict())
    run.replace_model(staging)
