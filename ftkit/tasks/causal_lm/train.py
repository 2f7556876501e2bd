"""task: causal_lm, from splits to a finished run: tokenize, train, save, and measure what was saved."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

from ftkit.data.chat import end_of_turn
from ftkit.data.dataset import Splits
from ftkit.data.prompting import Prompting
from ftkit.decoding.continuing import stop_tokens
from ftkit.metrics.language import evaluate_language
from ftkit.metrics.scores import Scores, made_up_scores
from ftkit.models.causal import load_tokenizer_for_lm, refuse_other_kinds
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.placement import choose_device
from ftkit.models.saved_folder import PROMPTING_FILE
from ftkit.models.saved_lm import load_saved_lm, save_language_model
from ftkit.progress import Reporter
from ftkit.recipe.schema import Recipe
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.run import Run
from ftkit.storage import write_json
from ftkit.tasks.causal_lm.examples import TokenizedSplits, example_length, say_tokens, tokenize_splits
from ftkit.tasks.causal_lm.scores import prediction_rows
from ftkit.training.language_probes import document_probe
from ftkit.training.outcome import Finished
from ftkit.training.prepared import Prepared, make_scorable, make_trainer, prepare_model, scoring_dtype
from ftkit.training.running import run_trainer, say_failure
from ftkit.training.scores import Scorer, mean_scores
from ftkit.training.trainer import LanguageTrainer, SequenceRows
from ftkit.training.training_probe import TrainingProbe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def rehearse(recipe: Recipe, splits: Splits, checkpoint: Checkpoint) -> None:
    """Refuse a base that does not fit, and score made-up documents as the real ones will be scored.

    Raises:
        UserError: the base is no causal language model, or has no positions for examples of that length.
    """
    refuse_other_kinds(checkpoint)
    example_length(recipe, checkpoint)
    assert splits.prompting is not None, "the data room says how examples are written"
    _measure(recipe, made_up_scores(2))


def finetune(
    recipe: Recipe,
    splits: Splits,
    run: Run,
    *,
    checkpoint: Checkpoint,
    reporter: Reporter,
    resumed: SealedCheckpoint | None = None,
) -> Finished:
    """Finetune a language model and write model/, metrics.json and predictions/.

    Args:
        recipe: with task causal_lm.
        splits: texts, prompts with completions, or chats.
        run: an empty run, or one to go on with.
        checkpoint: the base model.
        reporter: hears what was chosen, cut and left out.
        resumed: the checkpoint of this run to go on from, verified.

    Returns:
        The metrics by split, as in metrics.json, and facts of the training.
    """
    prompting = splits.prompting
    assert prompting is not None, "the data room says how examples are written"
    tokenizer = load_tokenizer_for_lm(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    max_length = example_length(recipe, checkpoint)
    prepared = prepare_model(recipe, checkpoint, tokenizer, reporter=reporter)
    limit = checkpoint.max_length(None, longest=sys.maxsize)
    tokens = tokenize_splits(tokenizer, splits, max_length=max_length, packed=prepared.batching.packed, limit=limit)
    say_tokens(tokens, splits, limit=limit, reporter=reporter)

    scorer = Scorer(prepared.batching, choose_device(use_cpu=recipe.training.use_cpu), reporter)
    base: dict[str, Scores] = {}
    if not recipe.method.keeps_base:
        # the only moment at which the untrained weights are there
        prepared.model.to(scorer.device)
        base = _score(prepared.model, tokens, splits, scorer=scorer, what="scoring the base on")
    probe = document_probe(recipe, splits, run, tokenizer=tokenizer, tokens=tokens, scorer=scorer)
    trainer = _fit(recipe, run, prepared=prepared, tokens=tokens, scorer=scorer, probe=probe, resumed=resumed)
    facts = _facts(trainer, prepared, tokens, max_length=max_length)
    _save(prepared.model, tokenizer, prompting, run, checkpoint=checkpoint, revision=recipe.model.revision)
    del trainer, prepared
    gc.collect()

    final, adapted_base = _score_saved(recipe, run, tokens, splits, reporter=reporter)
    base = base or adapted_base
    metrics = {name: _measure(recipe, scores) for name, scores in final.items()}
    say_failure(final["validation"], base["validation"], fit=facts["fit"], reporter=reporter)
    metrics |= {f"base_{name}": _measure(recipe, scores) for name, scores in base.items()}
    for split in splits.all()[1:]:
        run.write_jsonl(run.predictions_file(split.name), prediction_rows(split, final[split.name], base[split.name]))
    write_json(run.metrics_file, metrics)
    run.update_manifest(training=facts)
    return Finished(metrics, facts, {name: scores.losses for name, scores in final.items()})


def _fit(
    recipe: Recipe,
    run: Run,
    *,
    prepared: Prepared,
    tokens: TokenizedSplits,
    scorer: Scorer,
    probe: TrainingProbe,
    resumed: SealedCheckpoint | None,
) -> LanguageTrainer:
    def score(model: Any) -> Scores:
        return scorer.pieces(model, tokens.evaluation["validation"].sequences, what="scoring validation")

    rows = SequenceRows(tokens.train.sequences, prepared.batching)
    reporter = scorer.reporter
    trainer = make_trainer(
        recipe, run, model=prepared.model, rows=rows, score=score, means=mean_scores, probe=probe, say=reporter.say
    )
    run_trainer(trainer, reporter=reporter, resumed=resumed)
    return trainer


def _score(model: Any, tokens: TokenizedSplits, splits: Splits, *, scorer: Scorer, what: str) -> dict[str, Scores]:
    return {
        split.name: scorer.split(model, split, tokens.evaluation[split.name], what=what) for split in splits.all()[1:]
    }


def _score_saved(
    recipe: Recipe, run: Run, tokens: TokenizedSplits, splits: Splits, *, reporter: Reporter
) -> tuple[dict[str, Scores], dict[str, Scores]]:
    """Score the model as it lies in the run, read back from the disk, and its base where an adapter can be lifted off.

    So what is measured is what was saved.
    """
    device = choose_device(use_cpu=recipe.training.use_cpu)
    dtype = scoring_dtype(recipe, device)
    reporter.say(f"reading the saved model back in {str(dtype).removeprefix('torch.')}")
    saved = load_saved_lm(run.model_dir, dtype=dtype, device=device, trust_remote_code=recipe.model.trust_remote_code)
    scorer = Scorer(make_scorable(saved.model, saved.tokenizer), device, reporter)
    final = _score(saved.model, tokens, splits, scorer=scorer, what="scoring the saved model on")
    if not recipe.method.keeps_base:
        return final, {}
    adapted: Any = saved.model
    with adapted.disable_adapter():
        return final, _score(saved.model, tokens, splits, scorer=scorer, what="scoring the base on")


def _measure(recipe: Recipe, scores: Scores) -> dict[str, dict[str, object]]:
    return evaluate_language(
        scores,
        metrics=recipe.evaluation.metrics,
        num_resamples=recipe.evaluation.num_resamples,
        seed=recipe.training.seed,
    )


def _facts(trainer: LanguageTrainer, prepared: Prepared, tokens: TokenizedSplits, *, max_length: int) -> dict[str, Any]:
    state = trainer.state
    return {
        "max_length": max_length,
        "placement": prepared.precision,
        "packing": prepared.batching.packed,
        "trained_parameters": prepared.parameters.trained,
        "tokens": tokens.facts(),
        "fit": {
            "num_steps": state.global_step,
            "warmup_steps": trainer.args.get_warmup_steps(max(1, state.max_steps)),
            "best_step": state.best_global_step,
            "best_score": state.best_metric,
        },
    }


def _save(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompting: Prompting,
    run: Run,
    *,
    checkpoint: Checkpoint,
    revision: str | None,
) -> None:
    if prompting.chat_template is not None:
        # whoever loads the model writes chats as it was taught them
        tokenizer.chat_template = prompting.chat_template
    ends = [end_of_turn(tokenizer, prompting)] if prompting.kind == "chat" else []
    staging = run.staging_dir()
    save_language_model(
        model,
        staging,
        base_name=checkpoint.base_name,
        revision=revision if checkpoint.from_hub else None,
        stop_ids=stop_tokens(model, tokenizer, *ends),
    )
    tokenizer.save_pretrained(staging)
    write_json(staging / PROMPTING_FILE, prompting.to_dict())
    run.replace_model(staging)
