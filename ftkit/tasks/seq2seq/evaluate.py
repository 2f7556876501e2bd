"""An encoder-decoder measured: base, best and last on every set, copying the source, and filling holes as before."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.duplicates import key_of
from ftkit.diagnosis.measurements import DomainGap, Forgetting, Model, Reproduction, Set
from ftkit.diagnosis.report import DocumentLoss
from ftkit.evaluation.holes import holes_in_texts
from ftkit.evaluation.kept_models import losses_on_record, other_weights
from ftkit.evaluation.reference_text import reference_texts, tokens_a_word
from ftkit.evaluation.subject import TEST_ROWS, Gathered, Subject, take
from ftkit.inputs.pairs import TokenizedPairs, tokenize_pairs
from ftkit.metrics.scores import Scores
from ftkit.models.saved_lm import load_saved_lm
from ftkit.models.seq2seq import load_seq2seq, load_tokenizer_for_seq2seq
from ftkit.tasks.seq2seq.examples import PairLengths, pair_lengths
from ftkit.training.pair_scoring import PairScorer
from ftkit.training.prepared import make_scorable, scoring_dtype
from ftkit.training.probes import probe_rows, validation_probe_rows

TAIL = 8
"""Tokens, at least, of a target for it to count as reproduced."""
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
    tokenizer = load_tokenizer_for_seq2seq(subject.checkpoint, trust_remote_code=subject.trust)
    lengths = pair_lengths(subject.recipe, subject.checkpoint)
    sets = _sets(subject, found, tokenizer, lengths)
    base: Any = load_seq2seq(subject.checkpoint, dtype=_dtype(subject), trust_remote_code=subject.trust)
    base = base.eval().to(subject.device)
    reference = _reference(subject, found, base, tokenizer)
    _score(subject, found, "base", base, tokenizer, sets)
    if reference is not None:
        sets["reference"] = reference
        _keep_base_reference(subject, found, base, tokenizer, reference)
    del base
    gc.collect()
    _score_folder(subject, found, subject.kept, subject.model_dir, sets)
    other: Model = "final" if subject.kept == "best" else "best"
    if subject.one_model:
        found.losses |= {(other, which): found.losses[subject.kept, which] for which in sets}
    else:
        with other_weights(subject) as folder:
            if isinstance(folder, Path):
                _score_folder(subject, found, other, folder, sets)
            else:
                losses_on_record(subject, found, other, folder)
    _finish(subject, found, tokenizer)
    return found


def _dtype(subject: Subject) -> Any:
    return scoring_dtype(subject.recipe, subject.device)


def _sets(subject: Subject, found: Gathered, tokenizer: Any, lengths: PairLengths) -> dict[Set, TokenizedPairs]:
    rows: dict[Set, npt.NDArray[np.int64]] = {
        "train": probe_rows(len(subject.splits.train), seed=subject.seed),
        "validation": validation_probe_rows(len(subject.splits.validation), seed=subject.seed),
    }
    if subject.splits.test is not None:
        everything = np.arange(len(subject.splits.test))
        rows["test"] = np.sort(
            np.random.default_rng([subject.seed, 7]).permutation(everything)[: TEST_ROWS[subject.effort]]
        )
    by_name = {split.name: split for split in subject.splits.all()}
    sets: dict[Set, TokenizedPairs] = {}
    for which, numbers in rows.items():
        split = take(by_name[which], numbers)
        sets[which] = tokenize_pairs(tokenizer, split, max_length=lengths.source, max_target_length=lengths.target)
        found.sizes[which], found.row_numbers[which] = len(by_name[which]), numbers
        found.texts[which] = split.table.column("prompt").to_pylist()
        found.targets[which] = split.table.column("completion").to_pylist()
        found.bytes_of[which] = sets[which].pairs.text_bytes
        keys = np.array([key_of(text) for text in found.texts[which]], dtype=np.uint64)
        _, owners = np.unique(keys, return_inverse=True)
        if 50 <= owners.max(initial=-1) + 1 < len(owners):
            found.groups[which] = owners.astype(np.int64)
    return sets


def _score_folder(
    subject: Subject, found: Gathered, name: Model, folder: Path, sets: dict[Set, TokenizedPairs]
) -> None:
    saved = load_saved_lm(folder, dtype=_dtype(subject), device=subject.device, trust_remote_code=subject.trust)
    _score(subject, found, name, saved.model, saved.tokenizer, sets)
    del saved
    gc.collect()


def _score(
    subject: Subject, found: Gathered, name: Model, model: Any, tokenizer: Any, sets: dict[Set, TokenizedPairs]
) -> None:
    batching = make_scorable(model, tokenizer)
    scorer = PairScorer(batching.pad_id, subject.device, subject.reporter)
    for which, tokenized in sets.items():
        found.losses[name, which] = scorer.targets(model, tokenized, what=f"the {name} model on {which}")


def _reference(subject: Subject, found: Gathered, base: Any, tokenizer: Any) -> TokenizedPairs | None:
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


def _keep_base_reference(
    subject: Subject, found: Gathered, base: Any, tokenizer: Any, reference: TokenizedPairs
) -> None:
    _score(subject, found, "base", base, tokenizer, {"reference": reference})
    guess = float(np.log(base.config.vocab_size))
    loss = found.losses["base", "reference"].loss
    removable = subject.recipe.method.trains == "prompt"
    if loss > KNOWS * guess:
        found.forgetting = Forgetting(
            "unknown",
            f"the base cannot fill holes (its loss is {loss:.2f} nats a token, a guess among all tokens {guess:.2f}), "
            "so there is nothing of it to forget that could be measured here",
        )
    else:
        found.forgetting = Forgetting("denoising", removable=removable)


def _finish(subject: Subject, found: Gathered, tokenizer: Any) -> None:
    kept = subject.kept
    train, validation = found.losses[kept, "train"], found.losses[kept, "validation"]
    found.reproduction = Reproduction(_word_for_word(train), _word_for_word(validation))

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    nothing = np.zeros(0)
    reference = found.texts.get("reference") or reference_texts(subject)
    ratios = [tokens_a_word(texts[:300], encode) for texts in (found.texts["validation"], reference)]
    if ratios[0] and ratios[1]:
        empty = nothing.astype(np.int64)
        found.domain = DomainGap(nothing, empty, nothing, empty, ratios[0] / ratios[1])
    else:
        found.absent["domain"] = "no words to count tokens by"
    before, after = found.losses.get(("base", "reference")), found.losses.get((kept, "reference"))
    if before is None or after is None:
        return
    counts = np.maximum(1, before.num_targets)
    rises = (after.nll - before.nll) / counts
    for number in np.argsort(-rises)[:40]:
        found.documents.append(
            DocumentLoss(
                reference[number][:300],
                float(before.nll[number] / counts[number]),
                float(after.nll[number] / counts[number]),
            )
        )


def _word_for_word(losses: Scores) -> npt.NDArray[np.bool_]:
    """Targets of some length of which every token is the likeliest, so that greedy decoding writes them (N,)."""
    return np.asarray((losses.num_targets >= TAIL) & (losses.num_correct == losses.num_targets))
