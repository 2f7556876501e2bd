"""Heads in folds beside scikit-learn: the same stored vectors, ten label questions, test rows that neither has seen.

    python benchmarks/folds_against_sklearn.py                      # what comes with scikit-learn and ftkit
    python benchmarks/folds_against_sklearn.py --data FOLDER ...    # and folders of a train.csv with text and label

For each set: the accuracy of a frozen head as it comes, of one whose validation rows are split off, and of
LogisticRegressionCV (ten strengths, five folds) on all rows; and the head's out-of-fold accuracy with its interval.
Texts are pooled by builtin:minilm, once: ftkit keeps the vectors.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn import datasets
from sklearn.linear_model import LogisticRegressionCV

from ftkit.data.dataset import Split
from ftkit.data.folds import FOLDS, folds_of
from ftkit.data.split import split_off
from ftkit.encoders.features import Encoder, split_features
from ftkit.encoders.fit import fit_head
from ftkit.encoders.heads import Head, LinearHead, feature_statistics
from ftkit.encoders.plans import auto_penalties, load_encoder
from ftkit.encoders.rows import FeatureRows
from ftkit.encoders.scores import HeadProbe, predict_logits
from ftkit.models.builtin.installed import minilm_folder
from ftkit.models.checkpoint import Checkpoint, resolve_pooling
from ftkit.models.placement import place
from ftkit.progress import Silent
from ftkit.recipe.training_section import TrainingSpec
from ftkit.runs.run import Run
from ftkit.tasks.classification.recipe import CLASSIFICATION
from ftkit.training.probes import ProbeRows

MOST_ROWS, TEST_SHARE, SEED = 3_000, 1 / 3, 7
CPU = torch.device("cpu")


class Question(NamedTuple):
    """Vectors (N, D) with labels (N,), and which rows are kept for the test."""

    name: str
    vectors: np.ndarray
    labels: np.ndarray
    test: np.ndarray


def question(name: str, vectors: np.ndarray, labels: Any) -> Question:
    """A question of at most 3,000 rows of labels that at least five rows have, a third of them for the test."""
    names, numbers, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    rows = np.flatnonzero((counts >= FOLDS)[numbers])
    rows = np.random.default_rng(SEED).permutation(rows)[:MOST_ROWS]
    _, numbers = np.unique(numbers[rows], return_inverse=True)
    test = np.random.default_rng(SEED + 1).random(len(rows)) < TEST_SHARE
    return Question(f"{name} ({len(names)})", np.asarray(vectors[rows], dtype=np.float32), numbers, test)


def vectors_of(texts: list[str]) -> np.ndarray:
    """What builtin:minilm makes of texts, by ftkit's own store."""
    checkpoint = Checkpoint("builtin:minilm", minilm_folder())
    placement, pooling = place("auto", use_cpu=True), resolve_pooling(checkpoint, "mean")
    encoder = Encoder(
        checkpoint=checkpoint,
        pooling=pooling,
        max_length=checkpoint.max_length(128, pooling=pooling),
        placement=placement,
        load=lambda: load_encoder(checkpoint, placement, trust_remote_code=False),
    )
    split = Split.of_rows("train", [{"text": text} for text in texts])
    return np.asarray(split_features(encoder, split, reporter=Silent()).vectors, dtype=np.float32)


def questions(folders: list[Path], stored: list[Path]) -> Iterator[Question]:
    """Those of scikit-learn, of ftkit's own data and of the folders named."""
    for name in ("digits", "wine", "breast_cancer"):
        vectors, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
        yield question(name, (vectors - vectors.mean(axis=0)) / np.maximum(vectors.std(axis=0), 1e-9), labels)
    for file in stored:
        arrays = np.load(file)
        yield question(file.stem, *(np.concatenate([arrays[f"{key}"], arrays[f"{key}t"]]) for key in "Xy"))
    for folder in folders:
        with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        drawn = np.random.default_rng(SEED).permutation(len(rows))[: MOST_ROWS + 500]
        texts, labels = ([rows[row][key] for row in drawn] for key in ("text", "label"))
        yield question(folder.name, vectors_of(texts), labels)


def fitted(train: FeatureRows, validation: FeatureRows | None, *, num_labels: int) -> tuple[Head, np.ndarray | None]:
    """A head by the defaults of method frozen; and what its training rows were given out of fold."""
    defaults = CLASSIFICATION.defaults_of("frozen", lambda _key: False)
    training = {key.partition(".")[2]: value for key, value in defaults.items() if key.startswith("training.")}
    mean, scale = feature_statistics(part.vectors for part in train.blocks())
    penalties = auto_penalties(len(mean), num_rows=len(train))
    head: Head = LinearHead(mean=mean, scale=scale, num_labels=num_labels, penalties=penalties)
    if train.folds is not None:
        head = head.repeated(train.num_folds + 1)
    judged = train if validation is None else validation
    probed = ProbeRows.of(num_train=len(train), num_validation=len(judged), seed=SEED)
    probe = HeadProbe(Run(Path("unwritten")), probed, train=train.take(probed.train), test=None)
    fit_head(
        head, train, validation, spec=TrainingSpec(**training), class_weights=None, device=CPU, probe=probe,
        record=lambda _line: None,
    )  # fmt: skip
    return head, probe.out_of_fold


def accuracy(head: Head, rows: FeatureRows) -> float:
    return float((predict_logits(head, rows, device=CPU)[0].numpy().argmax(axis=1) == rows.labels).mean())


def measure(asked: Question) -> dict[str, Any]:
    """All figures of one question."""
    known, labels, unseen = asked.vectors[~asked.test], asked.labels[~asked.test], asked.test
    test, num_labels = FeatureRows(asked.vectors[unseen], asked.labels[unseen]), int(asked.labels.max()) + 1
    keys = np.arange(len(labels), dtype=np.uint64)
    began = time.perf_counter()
    folds = folds_of(keys, labels, num_folds=FOLDS, seed=SEED)
    head, out_of_fold = fitted(FeatureRows(known, labels, folds), None, num_labels=num_labels)
    seconds = time.perf_counter() - began
    assert out_of_fold is not None, "there are folds"
    right = out_of_fold.argmax(axis=1) == labels
    aside = split_off(keys, labels, size=0.1, seed=SEED).validation
    parts = [FeatureRows(known[rows], labels[rows]) for rows in (~aside, aside)]
    split, _ = fitted(parts[0], parts[1], num_labels=num_labels)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = LogisticRegressionCV(Cs=10, cv=FOLDS, max_iter=1_000).fit(known, labels)
    peer_seconds = time.perf_counter() - began
    folded = accuracy(head, test)
    # of the difference of two means of rows that have nothing in common
    spread = 1.96 * float(np.sqrt(right.var() / len(right) + folded * (1 - folded) / len(test)))
    return {
        "set": asked.name,
        "rows": len(labels),
        "test_rows": len(test),
        "folds": folded,
        "split": accuracy(split, test),
        "LogisticRegressionCV": float(peer.score(test.vectors, test.labels)),
        "out_of_fold": float(right.mean()),
        "optimism": float(right.mean()) - folded,
        "interval": spread,
        "seconds": round(seconds, 1),
        "peer_seconds": round(peer_seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders of a train.csv with text and label")
    parser.add_argument("--vectors", type=Path, nargs="*", default=[], help=".npz of X, y, Xt and yt, encoded before")
    parser.add_argument("--out", type=Path, help="JSON of the figures")
    asked = parser.parse_args()
    found = []
    print(
        f"{'set (labels)':28}{'rows':>6}{'folds':>8}{'split':>8}{'LR CV':>8}{'points':>8}{'out of fold':>13}  optimism"
    )
    for one in questions(asked.data, asked.vectors):
        row = measure(one)
        found.append(row)
        print(
            f"{row['set']:28}{row['rows']:6,}{row['folds']:8.3f}{row['split']:8.3f}{row['LogisticRegressionCV']:8.3f}"
            f"{100 * (row['folds'] - row['LogisticRegressionCV']):+8.1f}{row['out_of_fold']:13.3f}"
            f"{row['optimism']:+10.3f} (within {row['interval']:.3f})  {row['seconds']} s, {row['peer_seconds']} s",
            flush=True,
        )
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
