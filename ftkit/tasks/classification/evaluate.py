"""A classifier measured: base, best and last on every set, its baselines, its labels, and what its encoder lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import Split
from ftkit.data.labels import shortened
from ftkit.diagnosis.measurements import Classes, DomainGap, Forgetting, Set
from ftkit.encoders.features import Encoder, load_tokenizer, split_features, token_chunks
from ftkit.errors import UserError
from ftkit.evaluation.baselines import linear_probe, majority_baseline, tfidf_baseline
from ftkit.evaluation.encoder_memory import measure_encoder
from ftkit.evaluation.integrity import unchanged_share
from ftkit.evaluation.kept_models import losses_on_record, other_weights
from ftkit.evaluation.label_noise import find_label_noise
from ftkit.evaluation.reference_text import reference_texts, tokens_a_word
from ftkit.evaluation.subject import TEST_ROWS, Gathered, Subject, some, take
from ftkit.metrics.scores import scores_of_logits, softmax
from ftkit.models.checkpoint import Pooling, resolve_pooling
from ftkit.models.classifier import Classifier, load_classifier
from ftkit.models.placement import place
from ftkit.models.scoring import score_logits
from ftkit.training.probes import probe_rows, validation_probe_rows

NOISE_ROWS = 3_000
"""Training rows whose labels are looked at, and that the linear probe learns from."""

losses_alone: Mapping[str, object] = {"evaluation.metrics": ["accuracy"]}


def measure(subject: Subject) -> Gathered:
    """Measure a classifier; every set is scored in eval mode, in float32, whatever it was trained in."""
    found, sets = Gathered(), _sets(subject)
    for which, (split, rows) in sets.items():
        found.sizes[which] = len(_whole(subject, which))
        found.row_numbers[which] = rows
        found.texts[which] = joined_texts(split)
        found.targets[which] = [subject.splits.label_names[label] for label in split.labels]
    _score_models(subject, found, {which: split for which, (split, _) in sets.items()})
    _baselines(subject, found, {which: split for which, (split, _) in sets.items()})
    _forgetting(subject, found)
    return found


def _whole(subject: Subject, which: Set) -> Split:
    wanted = {split.name: split for split in subject.splits.all()}
    return wanted[which]


def _sets(subject: Subject) -> dict[Set, tuple[Split, npt.NDArray[np.int64]]]:
    """The train probe, validation and test, as they are scored."""
    splits, seed = subject.splits, subject.seed
    rows: dict[Set, npt.NDArray[np.int64]] = {
        "train": probe_rows(len(splits.train), seed=seed),
        "validation": validation_probe_rows(len(splits.validation), seed=seed),
    }
    if splits.test is not None:
        kept = some(Split("test", splits.test.table.select([]).append_column("row", _numbers(splits.test)), ""),
                    TEST_ROWS[subject.effort], seed=seed)  # fmt: skip
        rows["test"] = np.asarray(kept.table.column("row").to_numpy(), dtype=np.int64)
    return {which: (take(_whole(subject, which), numbers), numbers) for which, numbers in rows.items()}


def _numbers(split: Split) -> Any:
    import pyarrow as pa

    return pa.array(np.arange(len(split)))


def joined_texts(split: Split) -> list[str]:
    """The text of each row, the two of a pair on lines of their own."""
    pairs = split.pairs
    return split.texts if pairs is None else [f"{a}\n{b}" for a, b in zip(split.texts, pairs, strict=True)]


def _score_models(subject: Subject, found: Gathered, sets: dict[Set, Split]) -> None:
    kept, other = subject.kept, "final" if subject.kept == "best" else "best"
    logits = _score_folder(subject, subject.model_dir, sets, what="the kept model")
    for which, split in sets.items():
        found.losses[kept, which] = scores_of_logits(logits[which], split.labels)
    _keep_classes(subject, found, sets["validation"], logits["validation"])
    if subject.one_model:
        for which in sets:
            found.losses[other, which] = found.losses[kept, which]  # type: ignore[index]
        return
    with other_weights(subject) as folder:
        if isinstance(folder, Path):
            more = _score_folder(subject, folder, sets, what=f"the {other} checkpoint")
            for which, split in sets.items():
                found.losses[other, which] = scores_of_logits(more[which], split.labels)  # type: ignore[index]
            return
    losses_on_record(subject, found, other, str(folder))  # type: ignore[arg-type]


def _score_folder(
    subject: Subject, folder: Path, sets: dict[Set, Split], *, what: str
) -> dict[Set, npt.NDArray[np.float32]]:
    classifier = load_classifier(folder, device=subject.device, trust_remote_code=subject.trust)
    if (note := label_note(classifier.label_names, subject.splits.label_names, where=str(folder))) is not None:
        subject.reporter.say(note)
    return {which: _logits(subject, classifier, split, what=f"{what} on {which}") for which, split in sets.items()}


def label_note(own: Sequence[str], given: Sequence[str], *, where: str) -> str | None:
    """What to say of a model that calls its labels otherwise than the data; None where they are the same.

    Raises:
        UserError: it has another number of labels, or the same in another order.
    """
    if tuple(own) == tuple(given):
        return None
    if len(own) != len(given):
        raise UserError(
            f"the model tells {len(own)} labels apart and the data have {len(given)}: {shortened(list(given))}",
            where=where,
            fix="name the recipe of the data that the model was trained for",
        )
    if set(own) == set(given):
        fix = f"write data.label_names: [{', '.join(own)}]"
        raise UserError("the model has the labels of the data in another order", where=where, fix=fix)
    return (
        f"the model calls its labels {shortened(list(own))}; they are taken for {shortened(list(given))}, in that order"
    )


def _logits(subject: Subject, classifier: Classifier, split: Split, *, what: str) -> npt.NDArray[np.float32]:
    chunks = token_chunks(classifier.tokenizer, split, max_length=classifier.max_length, device=subject.device)
    with subject.reporter.track(what, total=len(split)) as advance:
        return score_logits(
            classifier.module,
            (batch for chunk in chunks for batch in chunk.batches),
            num_rows=len(split),
            num_labels=len(classifier.label_names),
            device=subject.device,
            advance=advance,
        )


def _keep_classes(subject: Subject, found: Gathered, split: Split, logits: npt.NDArray[np.float32]) -> None:
    names = subject.splits.label_names
    counts = np.bincount(subject.splits.train.labels, minlength=len(names))
    found.classes = Classes(names, split.labels, softmax(logits), counts)
    found.answers = [names[label] for label in logits.argmax(axis=1)]


def _baselines(subject: Subject, found: Gathered, sets: dict[Set, Split]) -> None:
    names, train, seed = subject.splits.label_names, subject.splits.train, subject.seed
    counts = np.bincount(train.labels, minlength=len(names))
    base = {which: majority_baseline(counts, split.labels) for which, split in sets.items()}
    found.losses |= {("base", which): losses for which, losses in base.items()}
    found.notes.append(
        "a classifier has no base to compare with: its row in the table is the answer that knows the label "
        "frequencies alone"
    )
    with subject.reporter.track("a classifier of words, TF-IDF", total=1) as advance:
        labelled = {which: (joined_texts(split), split.labels) for which, split in sets.items()}
        found.baselines["tfidf"] = tfidf_baseline(
            joined_texts(train), train.labels, labelled, num_labels=len(names), seed=seed
        )
        advance(1)
    if subject.effort == "quick":
        found.absent["noise"] = "not looked at with --quick"
        return
    sample = some(train, NOISE_ROWS, seed=seed)
    features = _features(subject, {"sample": sample, **sets})
    if features is not None:
        known = {which: (features[which], split.labels) for which, split in sets.items()}
        found.baselines["linear_probe"] = linear_probe(
            features["sample"], sample.labels, known, num_labels=len(names), seed=seed
        )
    with subject.reporter.track("labels held against cross-validated classifiers", total=1) as advance:
        found.noise = find_label_noise(
            joined_texts(train), train.labels, features=_rows_of(subject, train), num_labels=len(names), seed=seed
        )
        advance(1)


def _rows_of(subject: Subject, train: Split) -> npt.NDArray[np.float32] | None:
    """Features of all training rows, where they were stored by the run or are few."""
    if len(train) > NOISE_ROWS and subject.recipe.method.trains != "head":
        return None
    found = _features(subject, {"train": train})
    return None if found is None else found["train"]


def _features(subject: Subject, splits: dict[Any, Split]) -> dict[Any, npt.NDArray[np.float32]] | None:
    """The base encoder's pooled outputs; those of a frozen run are stored already."""
    encoder = _encoder(subject)
    if encoder is None:
        return None
    return {
        name: np.asarray(split_features(encoder, split, reporter=subject.reporter).vectors, dtype=np.float32)
        for name, split in splits.items()
    }


def _encoder(subject: Subject) -> Encoder | None:
    checkpoint, recipe = subject.checkpoint, subject.recipe
    if checkpoint.config.get("is_encoder_decoder"):
        return None
    asked = getattr(recipe.method, "pooling", "mean")
    pooling: Pooling = resolve_pooling(checkpoint, asked)
    placement = place(recipe.model.dtype, use_cpu=recipe.training.use_cpu)
    limit = checkpoint.max_length(recipe.data.max_length, pooling=pooling if pooling.kind != "cls" else None)
    return Encoder(
        checkpoint=checkpoint,
        pooling=pooling,
        max_length=limit,
        placement=placement,
        load=lambda: _load(checkpoint.folder, placement, trust=subject.trust),
        trust_remote_code=subject.trust,
    )


def _load(folder: Path, placement: Any, *, trust: bool) -> Any:
    from transformers import AutoModel

    encoder: Any = AutoModel.from_pretrained(folder, dtype=placement.dtype, trust_remote_code=trust)
    return encoder.eval().to(placement.device)


def _forgetting(subject: Subject, found: Gathered) -> None:
    texts = reference_texts(subject)
    tokenizer = load_tokenizer(subject.checkpoint, trust_remote_code=subject.trust)
    ratios = [
        tokens_a_word(some_texts, lambda text: tokenizer(text, add_special_tokens=False)["input_ids"])
        for some_texts in (found.texts["validation"], texts)
    ]
    nothing: npt.NDArray[Any] = np.zeros(0)
    if ratios[0] and ratios[1]:
        ratio = ratios[0] / ratios[1]
        found.domain = DomainGap(nothing, nothing.astype(np.int64), nothing, nothing.astype(np.int64), ratio)
    if subject.recipe.method.trains == "head":
        same, total = unchanged_share(subject.checkpoint.folder, subject.model_dir)
        found.forgetting = Forgetting(
            "none",
            f"the encoder is frozen: {same} of its {total} weight tensors are bit for bit those of the base, so what "
            "it knew is untouched",
        )
        found.absent["base/reference"] = "a frozen encoder forgets nothing"
        return
    if subject.effort == "quick":
        found.forgetting = Forgetting("unknown", "not measured with --quick")
        return
    measure_encoder(subject, found, texts, tokenizer)
