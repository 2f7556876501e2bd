"""A classifier measured: base, best and last on every set, its baselines, its labels, and what its encoder lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ftkit.data.dataset import Split, Splits
from ftkit.data.labels import rows_of_head, shortened
from ftkit.diagnosis.measurements import Classes, DomainGap, Forgetting, Model, Set
from ftkit.encoders.features import Encoder, split_features, text_chunks
from ftkit.encoders.plans import load_encoder
from ftkit.encoders.rows import row_vectors
from ftkit.errors import UserError
from ftkit.evaluation.baselines import fitted_by_folds, linear_probe, majority_baseline, tfidf_baseline
from ftkit.evaluation.encoder_memory import measure_encoder
from ftkit.evaluation.integrity import unchanged_share
from ftkit.evaluation.kept_models import score_trained
from ftkit.evaluation.label_noise import find_label_noise
from ftkit.evaluation.reference_text import reference_texts, tokens_for_one
from ftkit.evaluation.subject import TEST_ROWS, Gathered, Subject, some_rows, take
from ftkit.metrics.scores import Scores
from ftkit.models.causal import open_tokenizer
from ftkit.models.checkpoint import Checkpoint, Pooling, resolve_pooling
from ftkit.models.classifier import Classifier, load_classifier
from ftkit.models.placement import choose_device, place
from ftkit.progress import Reporter
from ftkit.tasks.classification.recipe import ClassificationRecipe
from ftkit.tasks.classification.scores import scored
from ftkit.training.probes import read_out_of_fold
from ftkit.training.scores import row_logits_of
from ftkit.training.way import Kept

NOISE_ROWS = 3_000
"""Training rows whose labels are looked at, and that the linear probe learns from."""

losses_alone: Mapping[str, object] = {"evaluation.metrics": ["accuracy"]}


def measure(subject: Subject) -> Gathered:
    """Measure a classifier; every set is scored in eval mode, in float32, whatever it was trained in."""
    found = Gathered()
    sets = _sets(subject, found)
    _score_models(subject, found, sets)
    _baselines(subject, found, sets)
    _forgetting(subject, found)
    return found


def _sets(subject: Subject, found: Gathered) -> dict[Set, Split]:
    """The train probe, validation and test, as they are scored."""
    sets: dict[Set, Split] = {}
    for whole in subject.splits.all():
        which: Set = whole.name  # type: ignore[assignment]
        if which == "test":
            rows = some_rows(len(whole), TEST_ROWS[subject.effort], seed=subject.seed)
        else:
            rows = subject.rows_of(which, len(whole))
        sets[which] = split = take(whole, rows)
        targets = [subject.splits.label_names[label] for label in split.labels]
        found.keep_set(which, rows, size=len(whole), texts=split.joined_texts, targets=targets)
    return sets


def _score_models(subject: Subject, found: Gathered, sets: Mapping[Set, Split]) -> None:
    score_trained(subject, found, lambda name, folder: _score_folder(subject, name, folder, sets))
    if "validation" not in sets:
        return
    names, validation = subject.splits.label_names, sets["validation"]
    kept = found.losses[subject.kept, "validation"]
    counts = np.bincount(subject.splits.train.labels, minlength=len(names))
    found.classes = Classes(names, validation.labels, kept.probabilities, counts)
    assert kept.logits is not None, "scored before"
    found.answers = [names[label] for label in kept.logits.argmax(axis=1)]


def _score_folder(subject: Subject, name: Model, folder: Path, sets: Mapping[Set, Split]) -> dict[Set, Scores]:
    classifier = load_classifier(folder, device=subject.device, trust_remote_code=subject.trust)
    if classifier.answers != "one label":
        raise UserError(f"{folder} answers with {classifier.answers}, and one label a text is what is measured here")
    if (note := label_note(classifier.label_names, subject.splits.label_names, where=str(folder))) is not None:
        subject.reporter.say(note)
    whose = "the kept model" if name == subject.kept else f"the {name} checkpoint"
    return {
        which: _out_of_fold(subject, split)
        if subject.splits.is_out_of_fold(which)
        else _score(classifier, split, device=subject.device, reporter=subject.reporter, what=f"{whose} on {which}")
        for which, split in sets.items()
    }


def _out_of_fold(subject: Subject, split: Split) -> Scores:
    """What rows of the training set were given by heads that did not learn from them; the kept one did."""
    assert subject.run is not None, "folds are a run's"
    rows = subject.rows_of("validation", len(subject.splits.train))
    return scored(read_out_of_fold(subject.run)[rows], split.labels)


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


def _score(classifier: Classifier, split: Split, *, device: torch.device, reporter: Reporter, what: str) -> Scores:
    """What a loaded classifier gives the rows of a split, whose labels are its own in its order."""
    chunks = text_chunks(
        classifier.tokenizer, split, max_length=classifier.max_length, long_texts=classifier.long_texts
    )
    num_labels = len(classifier.label_names)
    with reporter.track(what, total=len(split)) as advance:
        parts = [
            row_logits_of(classifier.module, examples, num_labels=num_labels, device=device, advance=advance)
            for examples, _ in chunks
        ]
    return scored(np.concatenate(parts), split.labels)


def _baselines(subject: Subject, found: Gathered, sets: Mapping[Set, Split]) -> None:
    names, train, seed = subject.splits.label_names, subject.splits.train, subject.seed
    counts = np.bincount(train.labels, minlength=len(names))
    found.keep("base", {which: majority_baseline(counts, split.labels) for which, split in sets.items()})
    found.notes.append(
        "a classifier has no base to compare with: its row in the table is the answer that knows the label "
        "frequencies alone"
    )

    def fitted(fit: Any, inputs: npt.NDArray[Any], rows: npt.NDArray[np.int64], of: Mapping[Set, Any]) -> Any:
        labelled = {which: (of[which], split.labels) for which, split in sets.items()}
        folds, own = subject.splits.folds, subject.rows_of("validation", len(subject.splits.validation))
        return fitted_by_folds(
            partial(fit, num_labels=len(names), seed=seed),
            inputs,
            train.labels[rows],
            labelled,
            folds=None if folds is None else folds[rows],
            folds_of={} if folds is None else {"validation": folds[own]},
        )

    with subject.reporter.track("a classifier of words, TF-IDF", total=1) as advance:
        texts = {which: _array(split.joined_texts) for which, split in sets.items()}
        found.baselines["tfidf"] = fitted(tfidf_baseline, _array(train.joined_texts), np.arange(len(train)), texts)
        advance(1)
    if subject.effort == "quick":
        found.absent["noise"] = "not looked at with --quick"
        return
    rows = some_rows(len(train), NOISE_ROWS, seed=seed)
    features = _features(subject, {"sample": take(train, rows), **sets})
    if features is not None:
        found.baselines["linear_probe"] = fitted(linear_probe, features["sample"], rows, features)
    with subject.reporter.track("labels held against cross-validated classifiers", total=1) as advance:
        found.noise = find_label_noise(
            train.joined_texts, train.labels, features=_rows_of(subject, train), num_labels=len(names), seed=seed
        )
        advance(1)


def _array(texts: Sequence[str]) -> npt.NDArray[Any]:
    """Texts (N,), to be taken by their numbers."""
    return np.array(texts, dtype=object)


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
        name: row_vectors(split_features(encoder, split, reporter=subject.reporter)) for name, split in splits.items()
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
        long_texts=recipe.data.reads_long_texts(limit),
        placement=placement,
        load=lambda: load_encoder(checkpoint, placement, trust_remote_code=subject.trust),
        trust_remote_code=subject.trust,
    )


def _forgetting(subject: Subject, found: Gathered) -> None:
    texts = reference_texts(subject)
    tokenizer = open_tokenizer(subject.checkpoint, trust_remote_code=subject.trust)
    held_out = found.texts.get("validation", [])
    if held_out and (ratio := tokens_for_one(tokenizer, held_out, texts)):
        found.domain = DomainGap.of_words(ratio)
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


def score_on(
    folder: Path, recipe: ClassificationRecipe, splits: Splits, checkpoint: Checkpoint, *, reporter: Reporter
) -> Kept:
    """What a saved classifier gives the validation rows; without its head a base gives no answer.

    Raises:
        UserError: it gives several labels or numbers, or other labels than the rows have.
    """
    device = choose_device(use_cpu=recipe.training.use_cpu)
    classifier = load_classifier(folder, device=device, trust_remote_code=recipe.model.trust_remote_code)
    if classifier.answers != "one label":
        raise UserError(f"{checkpoint.name} gives {classifier.answers}, not one label a row", fix="ask it by predict")
    if rows_of_head(splits.label_names, classifier.label_names) != tuple(range(len(classifier.label_names))):
        raise UserError(
            f"the rows have the labels {shortened(splits.label_names)}, and {checkpoint.name} gives "
            f"{shortened(classifier.label_names)}",
            fix="name the rows' labels in data.label_names, in the order of the model's",
        )
    scores = _score(classifier, splits.validation, device=device, reporter=reporter, what="asking the model")
    return Kept({"validation": scores}, {})
