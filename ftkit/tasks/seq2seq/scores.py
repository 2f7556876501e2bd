"""What an encoder-decoder gave each row: how it is measured, and written into predictions/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ftkit.data.dataset import Split
from ftkit.diagnosis.measurements import Unit
from ftkit.evaluation.own_metrics import AnswerKeys
from ftkit.inputs.batching import pair_budget_batches
from ftkit.inputs.pairs import Pairs, pair_tokens, tokenize_pairs
from ftkit.metrics.classification import evaluate_classification
from ftkit.metrics.generated_labels import evaluate_generated_labels, match_labels
from ftkit.metrics.language import evaluate_language
from ftkit.metrics.names import CLASSIFICATION_METRICS, GENERATED_LABEL_METRICS, LANGUAGE_METRICS, ROW_SCORES
from ftkit.metrics.predictions import Entry, describe_prediction
from ftkit.metrics.scores import Outputs, Scores, made_up_scores
from ftkit.metrics.texts import evaluate_texts, score_rows
from ftkit.models.saved_lm import base_under
from ftkit.models.scoring import score_candidates
from ftkit.models.seq2seq import is_seq2seq
from ftkit.progress import Silent
from ftkit.runs.folder import is_run
from ftkit.runs.run import Run
from ftkit.tasks.seq2seq.outputs import texts_of_rows
from ftkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from ftkit.tasks.task import ReadBack
from ftkit.training.scores import Scorer

in_pieces = False
unit: Unit = "token"
answer_keys: AnswerKeys | None = AnswerKeys("output", ("references", "expected"), ("source",))


def score_labels(
    model: Any, pairs: Pairs, label_ids: Sequence[Sequence[int]], *, scorer: Scorer, what: str
) -> npt.NDArray[np.float64]:
    """Log-likelihood of every label as a target of every source, (N, K) in nats.

    Args:
        model: an encoder-decoder; scored in eval mode.
        pairs: N of them, of which the targets are not looked at.
        label_ids: tokens of each of K labels, special tokens included.
        scorer: where the model lies.
        what: is done, for the progress.
    """
    longest = np.full(len(pairs), max(map(len, label_ids)))

    def batches() -> Iterator[tuple[npt.NDArray[np.int64], Mapping[str, npt.NDArray[np.int64]]]]:
        max_tokens = pair_tokens(scorer.device.type)
        for rows in pair_budget_batches(pairs.source_lengths, longest, max_tokens=max_tokens):
            inputs = pairs.arrays(rows)
            del inputs["labels"]
            yield rows, inputs

    with scorer.reporter.track(what, total=len(pairs)) as advance:
        return score_candidates(model, batches(), label_ids, num_rows=len(pairs), device=scorer.device, advance=advance)


def metrics_of(recipe: Seq2SeqRecipe, split: Split, scores: Scores, label_names: Sequence[str]) -> dict[str, Entry]:
    """Metrics by name, each with its interval, in the order of the recipe; the loss first.

    Args:
        recipe: of task seq2seq; names the metrics.
        split: N rows.
        scores: what a model gave it; without outputs only its losses are measured.
        label_names: K names, where labels are the targets.

    Raises:
        UserError: a metric of `evaluate` that cannot be had or computed; a positive label that does not exist.
    """
    resampling: dict[str, Any] = {"num_resamples": recipe.evaluation.num_resamples, "seed": recipe.training.seed}
    names = list(dict.fromkeys(recipe.evaluation.metrics))
    found = evaluate_language(scores, metrics=_of(names, LANGUAGE_METRICS), **resampling)
    if scores.outputs is None:
        return found
    others = [name for name in names if name not in LANGUAGE_METRICS]
    if label_names:
        found |= _measure_labels(recipe, split, scores, others, label_names, resampling)
    elif others:
        outputs = scores.outputs
        found |= evaluate_texts(
            outputs.texts,
            outputs.references,
            at_limit=outputs.at_limit,
            metrics=others,
            **recipe.evaluation.of_texts(),
            **resampling,
        )
    return {name: found[name] for name in dict.fromkeys(["loss", *names])}


def _measure_labels(
    recipe: Seq2SeqRecipe,
    split: Split,
    scores: Scores,
    names: Sequence[str],
    label_names: Sequence[str],
    resampling: Mapping[str, Any],
) -> dict[str, Entry]:
    assert scores.outputs is not None, "labels are measured where there are outputs"
    positive = recipe.evaluation.positive_label
    found = evaluate_classification(
        split.labels,
        scores.probabilities,
        label_names=label_names,
        metrics=[name for name in names if name not in GENERATED_LABEL_METRICS],
        positive_label=None if positive is None else str(positive),
        **resampling,
    )
    # its loss is about labels; the one that is shown is about tokens, as in every task on texts
    del found["loss"]
    return found | evaluate_generated_labels(
        match_labels(texts_of_rows(scores.outputs, split), label_names),
        split.labels,
        label_names=label_names,
        metrics=_of(names, GENERATED_LABEL_METRICS),
        **resampling,
    )


def rehearse_outputs(recipe: Seq2SeqRecipe, label_names: Sequence[str]) -> None:
    """Measure made-up outputs as the real ones will be measured, so that nothing is trained in vain.

    Raises:
        UserError: a metric that cannot be had or computed, or a label that does not exist.
    """
    texts = list(label_names) or ["one text", "another"]
    num_rows = len(texts)
    columns = {"prompt": texts, "completion": texts, "label": pa.array(range(num_rows), pa.int32())}
    one = np.ones(num_rows, dtype=np.int64)
    outputs = Outputs(np.arange(num_rows), [[text] for text in texts], texts, one, one < 1)
    scores = made_up_scores(num_rows, outputs=outputs, num_labels=num_rows)
    metrics_of(recipe, Split("validation", pa.table(columns), "made up"), scores, label_names)


def best_model_score(
    recipe: Seq2SeqRecipe, split: Split, scores: Scores, *, label_names: Sequence[str]
) -> dict[str, float]:
    """The metric that chooses the best model by its name, where the loss does not choose; NaN where it has no value."""
    name = recipe.training.metric_for_best_model
    if scores.outputs is None:
        return {}
    bare: dict[str, Any] = {"metrics": [name], "num_resamples": 1, "seed": 0}
    if name in CLASSIFICATION_METRICS:
        found = evaluate_classification(
            split.labels, scores.probabilities, label_names=label_names, positive_label=None, **bare
        )
    else:
        outputs = scores.outputs
        bare |= recipe.evaluation.of_texts()
        found = evaluate_texts(outputs.texts, outputs.references, at_limit=outputs.at_limit, **bare)
    value = found[name]["value"]
    return {name: float(value) if isinstance(value, int | float) else float("nan")}


def prediction_rows(
    recipe: Seq2SeqRecipe, split: Split, scores: Scores, base: Scores | None, label_names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """One JSON object for each distinct source (with labels: for each row), with what the base wrote beside it."""
    assert base is not None, "a base has losses too"
    rows = _label_rows(split, scores, tuple(label_names)) if label_names else _text_rows(recipe, split, scores)
    losses, before = scores.losses, base.losses
    texts = texts_of_rows(base.outputs, split) if base.outputs is not None else None
    for row, values in rows:
        measured = {"loss": round(float(losses[row]), 6), "base_loss": round(float(before[row]), 6)}
        yield values | measured | ({"base_output": texts[row]} if texts is not None else {})


def _text_rows(recipe: Seq2SeqRecipe, split: Split, scores: Scores) -> Iterator[tuple[int, dict[str, Any]]]:
    outputs = scores.outputs
    assert outputs is not None, "the model that was kept is always let write"
    language = recipe.evaluation.rouge_language
    by_name = score_rows(outputs.texts, outputs.references, ROW_SCORES, rouge_language=language)
    for number, row in enumerate(outputs.first_rows.tolist()):
        yield (
            row,
            {
                "source": split.table["prompt"][row].as_py(),
                "references": outputs.references[number],
                "output": outputs.texts[number],
                "new_tokens": int(outputs.num_tokens[number]),
                "stopped": not outputs.at_limit[number],
                **{name: round(float(values[number]), 6) for name, values in by_name.items()},
            },
        )


def _label_rows(split: Split, scores: Scores, label_names: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    assert scores.outputs is not None, "the model that was kept is always let write"
    texts, probabilities = texts_of_rows(scores.outputs, split), scores.probabilities
    for row, label in enumerate(split.labels):
        known = {
            "source": split.table["prompt"][row].as_py(),
            "expected": label_names[label],
            "output": texts[row],
        }
        yield row, known | describe_prediction(probabilities[row], label_names=label_names)


def _of(names: Sequence[str], known: Sequence[str]) -> list[str]:
    return [name for name in names if name in known]


def is_of(folder: Path) -> bool:
    """Whether the model in a folder is an encoder with a decoder."""
    return is_seq2seq(base_under(folder))


def read_back(path: Path, rows: Sequence[Mapping[str, str]], *, max_length: int) -> ReadBack:
    """Load a finetuned encoder-decoder, score targets, and let it write for the first row's source."""
    from ftkit.decoding.writer import first_words, load_with_form
    from ftkit.training.prepared import make_scorable

    saved = load_with_form(path)
    written = first_words(saved, rows[0])
    longest = Run(path).manifest()["training"]["max_target_length"] if is_run(path) else max_length
    split = Split.of_rows("validation", rows)
    pairs = tokenize_pairs(saved.tokenizer, split, max_length=max_length, max_target_length=longest).pairs
    make_scorable(saved.model)
    return ReadBack(Scorer(saved.device, Silent()).examples(saved.model, pairs, what="scoring").losses, [written], [])
