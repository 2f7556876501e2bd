"""An encoder-decoder measured: base, best and last on every set, copying the source, and filling holes as before."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Splits
from ftkit.data.duplicates import key_of
from ftkit.diagnosis.measurements import LEAST_REPRODUCED, DomainGap, Forgetting, Reproduction, Set
from ftkit.evaluation.holes import holes_in_texts
from ftkit.evaluation.kept_models import score_saved, score_sets
from ftkit.evaluation.reference_text import most_risen, reference_texts, tokens_for_one
from ftkit.evaluation.subject import Gathered, Subject, take
from ftkit.inputs.pairs import Pairs, tokenize_pairs
from ftkit.metrics.scores import Scores
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.seq2seq import load_seq2seq
from ftkit.progress import Reporter
from ftkit.tasks.seq2seq.examples import pair_lengths
from ftkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from ftkit.tasks.seq2seq.tokenizer import task_tokenizer
from ftkit.tasks.seq2seq.train import way_of
from ftkit.training.prepared import scoring_dtype
from ftkit.training.way import Kept

KNOWS = 0.85
"""Loss of a base that can fill holes at all, as a share of that of a guess among all tokens."""

losses_alone: Mapping[str, object] = {
    "evaluation.metrics": ["loss"],
    "evaluation.score_base": False,
    "generation.max_new_tokens": 1,
    "training.metric_for_best_model": "loss",
}


def measure(subject: Subject) -> Gathered:
    """Measure an encoder-decoder; losses are of targets, token by token, given the right tokens before."""
    found = Gathered()
    assert isinstance(subject.recipe, Seq2SeqRecipe), "a task is asked about its own recipes"
    tokenizer = task_tokenizer(subject.recipe.data, subject.splits, subject.checkpoint, trust_remote_code=subject.trust)
    sets = _sets(subject, found, tokenizer)
    base: Any = load_seq2seq(
        subject.checkpoint, dtype=scoring_dtype(subject.recipe, subject.device), trust_remote_code=subject.trust
    )
    base = base.eval().to(subject.device)
    reference = _reference(subject, found, base, tokenizer)
    if reference is not None:
        sets["reference"] = reference
    found.keep("base", score_sets(subject, "base", base, sets))
    if reference is not None:
        found.forgetting = _by_holes(subject, found.losses["base", "reference"].loss, int(base.config.vocab_size))
    del base
    gc.collect()
    score_saved(subject, found, sets)
    _finish(subject, found, tokenizer)
    return found


def _sets(subject: Subject, found: Gathered, tokenizer: Any) -> dict[Set, Pairs]:
    assert isinstance(subject.recipe, Seq2SeqRecipe), "a task is asked about its own recipes"
    lengths = pair_lengths(subject.recipe, subject.checkpoint)
    sets: dict[Set, Pairs] = {}
    for whole in subject.splits.all():
        which: Set = whole.name  # type: ignore[assignment]
        rows = subject.rows_of(which, len(whole))
        split = take(whole, rows)
        sources, targets = (split.table.column(name).to_pylist() for name in ("prompt", "completion"))
        keys = np.array([key_of(text) for text in sources], dtype=np.uint64)
        owners = np.unique(keys, return_inverse=True)[1]
        found.keep_set(which, rows, size=len(whole), texts=sources, targets=targets, groups=owners)
        tokens = tokenize_pairs(tokenizer, split, max_length=lengths.source, max_target_length=lengths.target)
        found.bytes_of[which], sets[which] = tokens.pairs.text_bytes, tokens.pairs
    return sets


def _reference(subject: Subject, found: Gathered, base: Any, tokenizer: Any) -> Pairs | None:
    """The reference with holes that the base was made to fill, where it can."""
    if subject.effort == "quick":
        found.forgetting = Forgetting("unknown", "not measured with --quick")
        return None
    texts = reference_texts(subject)
    pairs = holes_in_texts(texts, tokenizer, model_type=str(base.config.model_type), seed=subject.seed)
    if pairs is None:
        found.forgetting = Forgetting("unknown", "the tokenizer has no tokens for holes, so nothing can be left out")
        return None
    found.texts["reference"], found.sizes["reference"] = texts, len(texts)
    return pairs


def _by_holes(subject: Subject, loss: float, vocab_size: int) -> Forgetting:
    """What the base's loss of filling holes says of whether anything can be forgotten."""
    guess = float(np.log(vocab_size))
    if loss > KNOWS * guess:
        return Forgetting(
            "unknown",
            f"the base cannot fill holes (its loss is {loss:.2f} nats a token, a guess among all tokens {guess:.2f}), "
            "so there is nothing of it to forget that could be measured here",
        )
    return Forgetting("denoising", removable=subject.recipe.method.trains == "prompt")


def _finish(subject: Subject, found: Gathered, tokenizer: Any) -> None:
    kept = subject.kept
    reference = found.texts.get("reference") or reference_texts(subject)
    before, after = found.losses.get(("base", "reference")), found.losses.get((kept, "reference"))
    if before is not None and after is not None:
        found.documents = most_risen(before, after, reference)
    if not subject.splits.holds_out:
        found.absent["domain"] = "there is no validation set to hold it against"
        return
    found.reproduction = Reproduction(*(_word_for_word(found.losses[kept, which]) for which in ("train", "validation")))
    ratio = tokens_for_one(tokenizer, found.texts["validation"][:300], reference[:300])
    if ratio:
        found.domain = DomainGap.of_words(ratio)
    else:
        found.absent["domain"] = "no words to count tokens by"


def _word_for_word(losses: Scores) -> npt.NDArray[np.bool_]:
    """Targets of some length of which every token is the likeliest, so that greedy decoding writes them (N,)."""
    return np.asarray((losses.num_targets >= LEAST_REPRODUCED) & (losses.num_correct == losses.num_targets))


def score_on(
    folder: Path, recipe: Seq2SeqRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter
) -> Kept:
    """What a saved model gives the validation rows, and its base, where an adapter or a prompt can be lifted off."""
    return way_of(recipe, splits, checkpoint, reporter=reporter).score_kept(folder)
