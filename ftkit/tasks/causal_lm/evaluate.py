"""A language model measured: base, best and last on every set, what it wrote before, and what it reproduces."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Splits
from ftkit.decoding.continuing import sample_ids, stop_tokens
from ftkit.diagnosis.measurements import LEAST_REPRODUCED, DomainGap, Forgetting, Reproduction, Set
from ftkit.evaluation.kept_models import score_saved, score_sets
from ftkit.evaluation.reference_text import letters, letters_a_byte, most_risen, reference_texts, tokens_for_one
from ftkit.evaluation.subject import REFERENCE_DOCUMENTS, Gathered, Subject
from ftkit.inputs.documents import evaluation_sequences
from ftkit.inputs.mixed import of_each_source
from ftkit.inputs.sequences import Sequences
from ftkit.inputs.written import decode_written
from ftkit.metrics.scores import Scores
from ftkit.models.causal import load_causal_lm, load_tokenizer_for_lm
from ftkit.models.checkpoint import Checkpoint
from ftkit.progress import Reporter
from ftkit.tasks.causal_lm.examples import evaluation_stride, example_length, train_pieces
from ftkit.tasks.causal_lm.recipe import CausalRecipe
from ftkit.tasks.causal_lm.train import way_of
from ftkit.training.prepared import scoring_dtype
from ftkit.training.way import Kept

REFERENCE_TOKENS = 64
"""Tokens of each document that the base writes for its own reference."""
SURE = float(np.log(2))
"""A token of a smaller loss has more than half of the probability, so it is the one that greedy decoding writes."""

losses_alone: Mapping[str, object] = {"evaluation.metrics": ["loss"]}


def measure(subject: Subject) -> Gathered:
    """Measure a causal language model; each piece of a long document is an example of its own."""
    found = Gathered()
    tokenizer = load_tokenizer_for_lm(subject.checkpoint, trust_remote_code=subject.trust)
    sets = _sets(subject, found, tokenizer)
    base: Any = load_causal_lm(
        subject.checkpoint, dtype=scoring_dtype(subject.recipe, subject.device), trust_remote_code=subject.trust
    )
    base = base.eval().to(subject.device)
    reference = _reference(subject, found, base, tokenizer)
    if reference is not None:
        sets["reference"] = reference
    found.keep("base", score_sets(subject, "base", base, sets, per_token=True))
    del base
    gc.collect()
    score_saved(subject, found, sets, per_token=True)
    if subject.splits.holds_out:
        _reproduction(subject, found, sets)
    if reference is None or not subject.splits.holds_out:
        missing = "no reference" if reference is None else "no validation set"
        found.absent["domain"] = f"there is {missing} to hold it against"
    else:
        _hold_against(subject, found, reference, tokenizer)
    return found


def _sets(subject: Subject, found: Gathered, tokenizer: Any) -> dict[Set, Sequences]:
    splits, length = subject.splits, example_length(subject.recipe, subject.checkpoint)
    stride = evaluation_stride(subject.recipe, splits, max_length=length)
    to_score = partial(evaluation_sequences, tokenizer, max_length=length, stride=stride)
    sets: dict[Set, Sequences] = {}
    for split in splits.all():
        which: Set = split.name  # type: ignore[assignment]
        if which == "train":
            chosen = train_pieces(tokenizer, splits, max_length=length, seed=subject.seed, stride=stride)
            size = max(len(split), len(chosen))
        else:
            whole = of_each_source(split, splits, to_score).sequences
            chosen, size = whole.take(subject.rows_of(which, len(whole))), len(whole)
        ids, learnt = _documents(chosen, chosen.ids), _documents(chosen, chosen.learnt)
        targets = [decode_written(tokenizer, some[of_them].tolist()) for some, of_them in zip(ids, learnt, strict=True)]
        texts = [decode_written(tokenizer, some.tolist()) for some in ids]
        found.keep_set(which, chosen.rows, size=size, texts=texts, targets=targets, groups=chosen.rows)
        found.bytes_of[which], sets[which] = chosen.text_bytes, chosen
    return sets


def _documents(sequences: Sequences, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Values of all tokens (T,), by sequence."""
    return np.split(values, sequences.offsets[1:-1])


def _reference(subject: Subject, found: Gathered, base: Any, tokenizer: Any) -> Sequences | None:
    """The user's reference text, or what the base writes when nothing is asked of it."""
    length = example_length(subject.recipe, subject.checkpoint)
    named = subject.named_reference() is not None
    if named:
        documents = [tokenizer(text)["input_ids"][:length] for text in reference_texts(subject)]
    else:
        documents = _written_by(base, tokenizer, subject, num_tokens=min(REFERENCE_TOKENS, length - 1))
    documents = [ids for ids in documents if len(ids) > 2]
    if not documents:
        found.forgetting = Forgetting("unknown", "the reference has no document of more than two tokens")
        return None
    found.forgetting = Forgetting("reference" if named else "kl", removable=subject.recipe.method.trains == "prompt")
    found.sizes["reference"] = len(documents)
    found.texts["reference"] = [tokenizer.decode(ids, skip_special_tokens=True) for ids in documents]
    return as_sequences(documents)


def _written_by(base: Any, tokenizer: Any, subject: Subject, *, num_tokens: int) -> list[list[int]]:
    """Documents that a model writes after nothing but the mark of a beginning."""
    count = REFERENCE_DOCUMENTS[subject.effort]
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    with subject.reporter.track("the base writes its own reference", total=count) as advance:
        return sample_ids(
            base,
            [int(start)],
            count=count,
            max_new_tokens=num_tokens,
            stop_ids=stop_tokens(base, tokenizer),
            pad_id=int(tokenizer.pad_token_id),
            seed=subject.seed,
            advance=advance,
        )


def as_sequences(documents: Sequence[Sequence[int]]) -> Sequences:
    """Token ids, each a document by itself, of which all but the first are scored."""
    lengths = np.array([len(ids) for ids in documents])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    total = int(offsets[-1])
    learnt, begins = np.ones(total, dtype=np.bool_), np.zeros(total, dtype=np.bool_)
    learnt[offsets[:-1]], begins[offsets[:-1]] = False, True
    ids = np.concatenate([np.asarray(one, dtype=np.int32) for one in documents])
    nothing = np.zeros(total, dtype=np.int32)
    return Sequences(ids, learnt, begins, nothing, nothing.astype(np.bool_), offsets, np.arange(len(documents)))


def _reproduction(subject: Subject, found: Gathered, sets: Mapping[Set, Sequences]) -> None:
    found.reproduction = Reproduction(
        *(_written_out(found.losses[subject.kept, which], sets[which]) for which in ("train", "validation"))
    )


def _written_out(scores: Scores, sequences: Sequences) -> npt.NDArray[np.bool_]:
    """Whether greedy decoding from the first half of a document, or from a prompt, writes the rest word for word (N,).

    It does exactly when the right token is the likeliest at each place of the rest. Sequences whose rest is short, or
    which any model would write, count as not reproduced.
    """
    found = np.zeros(len(sequences), dtype=np.bool_)
    for number, whole in enumerate(_by_document(scores)):
        # a prompt is the first half already
        asked = len(whole) < sequences.lengths[number] - 1
        rest = whole if asked else whole[len(whole) // 2 :]
        found[number] = len(rest) >= LEAST_REPRODUCED and bool((rest < SURE).all())
    return found


def _by_document(scores: Scores) -> list[npt.NDArray[np.float32]]:
    assert scores.token_nll is not None, "asked for"
    return np.split(scores.token_nll, np.cumsum(scores.num_targets)[:-1])


def _hold_against(subject: Subject, found: Gathered, reference: Sequences, tokenizer: Any) -> None:
    """How far the data lie from the reference, and what the base knew of it that is gone."""
    on_data, on_reference = found.losses["base", "validation"], found.losses["base", "reference"]
    texts = found.texts["validation"][:300]
    found.domain = DomainGap(
        on_data.nll,
        on_data.num_targets,
        on_reference.nll,
        on_reference.num_targets,
        tokens_for_one(tokenizer, texts, found.texts["reference"][:300]),
        validation_letters=float(found.bytes_of["validation"].sum()) * letters_a_byte(texts),
        reference_letters=float(sum(map(letters, found.texts["reference"]))),
    )
    after = found.losses[subject.kept, "reference"]
    ids, before_each, after_each = _documents(reference, reference.ids), _by_document(on_reference), _by_document(after)

    def pieces(number: int) -> list[tuple[str, float]]:
        rise = after_each[number] - before_each[number]
        words = [_piece(tokenizer, int(index)) for index in ids[number][1:]]
        return [(word, round(float(one), 4)) for word, one in zip(words, rise, strict=True)]

    found.documents = most_risen(on_reference, after, found.texts["reference"], pieces=pieces)


def _piece(tokenizer: Any, index: int) -> str:
    """What a token adds to a text; by itself some tokenizers decode it without the space that it begins with."""
    text: str = tokenizer.decode([index], skip_special_tokens=True)
    opens = str(tokenizer.convert_ids_to_tokens(index)).startswith("\u2581")
    return f" {text}" if opens and not text.startswith(" ") else text


def score_on(folder: Path, recipe: CausalRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter) -> Kept:
    """What a saved model gives the validation rows, and its base, where an adapter or a prompt can be lifted off."""
    return way_of(recipe, splits, checkpoint, reporter=reporter).score_kept(folder)
