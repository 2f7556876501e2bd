"""A language model measured: base, best and last on every set, what it wrote before, and what it reproduces."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.decoding.continuing import sample_ids, stop_tokens
from ftkit.diagnosis.measurements import DomainGap, Forgetting, Model, Reproduction, Set
from ftkit.diagnosis.report import DocumentLoss
from ftkit.evaluation.kept_models import losses_on_record, other_weights
from ftkit.evaluation.reference_text import letters, letters_a_byte, reference_texts, tokens_a_word
from ftkit.evaluation.subject import REFERENCE_DOCUMENTS, TEST_ROWS, Gathered, Subject
from ftkit.inputs.batching import token_budget_batches
from ftkit.inputs.sequences import Sequences, evaluation_sequences
from ftkit.metrics.scores import Scores
from ftkit.models.causal import load_causal_lm, load_tokenizer_for_lm
from ftkit.models.saved_lm import load_saved_lm
from ftkit.models.scoring import TokenBatch, score_tokens
from ftkit.tasks.causal_lm.examples import example_length
from ftkit.training.language_probes import train_pieces
from ftkit.training.prepared import make_scorable, scoring_dtype
from ftkit.training.probes import validation_probe_rows
from ftkit.training.scores import TOKENS_A_BATCH, text_bytes
from ftkit.training.trainer import Batching

REFERENCE_TOKENS = 64
"""Tokens of each document that the base writes for its own reference."""
SURE = float(np.log(2))
"""A token of a smaller loss has more than half of the probability, so it is the one that greedy decoding writes."""
TAIL = 8
"""Targets, at least, of the second half of a document for it to count as reproduced."""

losses_alone: Mapping[str, object] = {"evaluation.metrics": ["loss"]}


def measure(subject: Subject) -> Gathered:
    """Measure a causal language model; each piece of a long document is an example of its own."""
    found = Gathered()
    tokenizer = load_tokenizer_for_lm(subject.checkpoint, trust_remote_code=subject.trust)
    sets = _sets(subject, found, tokenizer)
    base = _load_base(subject)
    reference = _reference(subject, found, base, tokenizer)
    if reference is not None:
        sets["reference"] = reference
    scored: dict[tuple[Model, Set], Scores] = _score(subject, "base", base, tokenizer, sets)
    del base
    gc.collect()
    scored |= _score_folder(subject, subject.kept, subject.model_dir, sets)
    other: Model = "final" if subject.kept == "best" else "best"
    reason = ""
    if subject.one_model:
        scored |= {(other, which): scored[subject.kept, which] for which in sets}
    else:
        with other_weights(subject) as folder:
            if isinstance(folder, Path):
                scored |= _score_folder(subject, other, folder, sets)
            else:
                reason = folder
    found.losses |= scored
    if reason:
        losses_on_record(subject, found, other, reason)
    _finish(subject, found, scored, sets, tokenizer)
    return found


def _sets(subject: Subject, found: Gathered, tokenizer: Any) -> dict[Set, Sequences]:
    splits, length = subject.splits, example_length(subject.recipe, subject.checkpoint)
    assert splits.prompting is not None, "the data room says how examples are written"
    sets: dict[Set, Sequences] = {}
    for split in splits.all():
        which: Set = split.name  # type: ignore[assignment]
        if which == "train":
            sets[which] = train_pieces(tokenizer, splits, max_length=length, seed=subject.seed)
            found.sizes[which] = max(len(split), len(sets[which]))
        else:
            whole = evaluation_sequences(tokenizer, split, splits.prompting, max_length=length).sequences
            limit = TEST_ROWS[subject.effort]
            drawn = np.sort(np.random.default_rng([subject.seed, 7]).permutation(len(whole))[:limit])
            chosen = validation_probe_rows(len(whole), seed=subject.seed) if which == "validation" else drawn
            sets[which], found.sizes[which] = whole.take(chosen), len(whole)
        found.row_numbers[which] = sets[which].rows
        found.texts[which] = [tokenizer.decode(ids) for ids in _ids(sets[which])]
        found.targets[which] = [
            tokenizer.decode(ids[learnt]) for ids, learnt in zip(_ids(sets[which]), _learnt(sets[which]), strict=True)
        ]
        found.bytes_of[which] = text_bytes(sets[which])
        # pieces of few documents are taken for independent, or nothing could be said of a single long text
        if 50 <= len(np.unique(sets[which].rows)) < len(sets[which]):
            found.groups[which] = sets[which].rows
    return sets


def _ids(sequences: Sequences) -> list[npt.NDArray[np.int32]]:
    return np.split(sequences.ids, sequences.offsets[1:-1])


def _learnt(sequences: Sequences) -> list[npt.NDArray[np.bool_]]:
    return np.split(sequences.learnt, sequences.offsets[1:-1])


def _load_base(subject: Subject) -> Any:
    dtype = scoring_dtype(subject.recipe, subject.device)
    base: Any = load_causal_lm(subject.checkpoint, dtype=dtype, trust_remote_code=subject.trust)
    return base.eval().to(subject.device)


def _score_folder(
    subject: Subject, name: Model, folder: Path, sets: dict[Set, Sequences]
) -> dict[tuple[Model, Set], Scores]:
    dtype = scoring_dtype(subject.recipe, subject.device)
    saved = load_saved_lm(folder, dtype=dtype, device=subject.device, trust_remote_code=subject.trust)
    found = _score(subject, name, saved.model, saved.tokenizer, sets)
    del saved
    gc.collect()
    return found


def _score(
    subject: Subject, name: Model, model: Any, tokenizer: Any, sets: dict[Set, Sequences]
) -> dict[tuple[Model, Set], Scores]:
    batching = make_scorable(model, tokenizer)
    return {
        (name, which): _score_set(subject, model, sequences, batching, what=f"the {name} model on {which}")
        for which, sequences in sets.items()
    }


def _score_set(subject: Subject, model: Any, sequences: Sequences, batching: Batching, *, what: str) -> Scores:
    budget = TOKENS_A_BATCH.get(subject.device.type, TOKENS_A_BATCH["cuda"])

    def batches() -> Any:
        for rows in token_budget_batches(sequences.lengths, max_tokens=budget):
            taken = sequences.take(rows)
            owners = np.repeat(rows, taken.lengths)
            yield TokenBatch(batching.arrays(sequences, rows), owners[taken.learnt], taken.special[taken.learnt])

    with subject.reporter.track(what, total=len(sequences)) as advance:
        return score_tokens(
            model, batches(), num_sequences=len(sequences), device=subject.device, per_token=True, advance=advance
        )


def _reference(subject: Subject, found: Gathered, base: Any, tokenizer: Any) -> Sequences | None:
    """The user's reference text, or what the base writes when nothing is asked of it."""
    length = example_length(subject.recipe, subject.checkpoint)
    if subject.named_reference() is not None:
        texts = reference_texts(subject)
        documents = [tokenizer(text)["input_ids"][:length] for text in texts]
        found.forgetting = Forgetting("reference", removable=_removable(subject))
    else:
        count = REFERENCE_DOCUMENTS[subject.effort]
        with subject.reporter.track("the base writes its own reference", total=count) as advance:
            start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
            documents = sample_ids(
                base,
                [int(start)],
                count=count,
                max_new_tokens=min(REFERENCE_TOKENS, length - 1),
                stop_ids=stop_tokens(base, tokenizer),
                pad_id=int(tokenizer.pad_token_id),
                seed=subject.seed,
                advance=advance,
            )
        found.forgetting = Forgetting("kl", removable=_removable(subject))
    documents = [ids for ids in documents if len(ids) > 2]
    if not documents:
        found.forgetting = Forgetting("unknown", "the reference has no document of more than two tokens")
        return None
    found.sizes["reference"] = len(documents)
    found.texts["reference"] = [tokenizer.decode(ids, skip_special_tokens=True) for ids in documents]
    return as_sequences(documents)


def _removable(subject: Subject) -> bool:
    return subject.recipe.method.trains == "prompt"


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


def _finish(
    subject: Subject,
    found: Gathered,
    scored: dict[tuple[Model, Set], Scores],
    sets: dict[Set, Sequences],
    tokenizer: Any,
) -> None:
    kept = subject.kept
    found.reproduction = Reproduction(
        _written_out(scored[kept, "train"], sets["train"]), _written_out(scored[kept, "validation"], sets["validation"])
    )
    if "reference" not in sets:
        found.absent["domain"] = "there is no reference to hold it against"
        return
    on_data, on_reference = scored["base", "validation"], scored["base", "reference"]

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    ratios = [tokens_a_word(found.texts[which][:300], encode) for which in ("validation", "reference")]
    ratio = ratios[0] / ratios[1] if ratios[0] and ratios[1] else None
    found.domain = DomainGap(
        on_data.nll,
        on_data.num_targets,
        on_reference.nll,
        on_reference.num_targets,
        ratio,
        validation_letters=float(found.bytes_of["validation"].sum()) * letters_a_byte(found.texts["validation"][:300]),
        reference_letters=float(sum(map(letters, found.texts["reference"]))),
    )
    _documents(found, scored["base", "reference"], scored[kept, "reference"], sets["reference"], tokenizer)


def _written_out(scored: Scores, sequences: Sequences) -> npt.NDArray[np.bool_]:
    """Whether greedy decoding from the first half of a document, or from a prompt, writes the rest word for word (N,).

    It does exactly when the right token is the likeliest at each place of the rest. Sequences whose rest is short, or
    which any model would write, count as not reproduced.
    """
    assert scored.token_nll is not None, "asked for"
    counts = scored.num_targets
    ends = np.cumsum(counts)
    found = np.zeros(len(sequences), dtype=np.bool_)
    for number, (end, count) in enumerate(zip(ends, counts, strict=True)):
        whole = scored.token_nll[end - count : end]
        # a prompt is the first half already
        asked = bool(count < sequences.lengths[number] - 1)
        rest = whole if asked else whole[count // 2 :]
        found[number] = len(rest) >= TAIL and bool((rest < SURE).all())
    return found


def _documents(found: Gathered, base: Scores, tuned: Scores, sequences: Sequences, tokenizer: Any) -> None:
    """The documents of the reference whose loss rose most, with the rise of each token of the worst."""
    assert base.token_nll is not None, "asked for"
    assert tuned.token_nll is not None, "asked for"
    counts = np.maximum(1, base.num_targets)
    rises = (tuned.nll - base.nll) / counts
    ends, ids = np.cumsum(base.num_targets), _ids(sequences)
    for place, number in enumerate(np.argsort(-rises)[:40]):
        pieces: list[tuple[str, float]] = []
        if place < 5:
            span = slice(ends[number] - base.num_targets[number], ends[number])
            rise = tuned.token_nll[span] - base.token_nll[span]
            words = [tokenizer.decode([index]) for index in ids[number][1:]]
            pieces = [(word, round(float(one), 4)) for word, one in zip(words, rise, strict=True)]
        found.documents.append(
            DocumentLoss(
                found.texts["reference"][number][:300],
                float(base.nll[number] / counts[number]),
                float(tuned.nll[number] / counts[number]),
                pieces,
            )
        )
