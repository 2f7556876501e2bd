"""Folds beside one another: no candidate is judged by a row that it learnt from, and the kept one learnt from all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftkit.encoders.fit import fit_head
from ftkit.encoders.heads import ArchitectureHead, Head, LinearHead, feature_statistics
from ftkit.encoders.plans import PRIOR_VARIANCES, auto_penalties
from ftkit.encoders.rows import FeatureRows
from ftkit.encoders.scores import HeadProbe, predict_logits
from ftkit.runs.run import Run
from ftkit.training.probes import ProbeRows
from tests.encoders.test_fit import CPU, blobs, spec

PENALTIES = (0.01, 0.5)


def in_folds() -> FeatureRows:
    train, _ = blobs()
    return replace(train, folds=np.arange(len(train)) % 3)


def fit(
    train: FeatureRows,
    *,
    penalties: tuple[float, ...] = PENALTIES,
    weights: torch.Tensor | None = None,
    **values: Any,
) -> tuple[Any, Any]:
    mean, scale = feature_statistics(part.vectors for part in train.blocks())
    head: Head = LinearHead(mean=mean, scale=scale, num_labels=4, penalties=penalties)
    if train.folds is not None:
        head = head.repeated(train.num_folds + 1)
    probed = ProbeRows.of(num_train=len(train), num_validation=len(train), seed=0)
    probe = HeadProbe(Run(Path("unwritten")), probed, train=train, test=None)
    settings = {"num_train_epochs": 4, "load_best_model_at_end": False} | values
    validation = None if train.folds is not None else train
    fit_head(
        head, train, validation, spec=spec(**settings), class_weights=weights, device=CPU, probe=probe,
        record=lambda line: None,
    )  # fmt: skip
    return head, probe.out_of_fold


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5, 1.0])])
def test_what_a_row_is_given_out_of_fold_owes_nothing_to_the_labels_of_its_fold(weights: torch.Tensor | None) -> None:
    train = in_folds()
    assert train.folds is not None
    _, before = fit(train, weights=weights, penalties=(0.01,))
    inside = train.folds == 1
    other = np.where(inside, (train.labels + 1) % 4, train.labels)
    _, after = fit(replace(train, labels=other), weights=weights, penalties=(0.01,))
    np.testing.assert_array_equal(before[inside], after[inside])
    assert np.abs(before[~inside] - after[~inside]).max() > 0.01


def test_the_head_that_is_kept_is_the_one_that_learnt_from_every_row() -> None:
    train = in_folds()
    kept, out_of_fold = fit(train)
    alone, _ = fit(replace(train, folds=None), penalties=(float(kept.penalties[0]),))
    torch.testing.assert_close(kept.weight, alone.weight, rtol=0, atol=1e-6)
    own = predict_logits(kept, train, device=CPU)[0].numpy()
    assert kept.weight.shape == (1, 4, 10)
    right = [(logits.argmax(axis=1) == train.labels).mean() for logits in (own, out_of_fold)]
    assert right[0] > right[1] > 0.3


class Tiny(torch.nn.Module):
    """What an architecture's head is: a model around an encoder that is replayed."""

    base_model_prefix = "encoder"

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Identity()
        self.classifier = torch.nn.Linear(10, 4)

    @property
    def base_model(self) -> torch.nn.Module:
        return self.encoder

    def forward(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        hidden = self._modules["encoder"](inputs_embeds=inputs_embeds).last_hidden_state
        return type("Output", (), {"logits": self.classifier(hidden[:, 0])})


def test_copies_of_an_architectures_head_learn_apart_and_the_kept_one_becomes_the_model() -> None:
    train, model = in_folds(), Tiny()
    head: Any = ArchitectureHead(model, trainable=["classifier.weight", "classifier.bias"])  # type: ignore[arg-type]
    before = model.classifier.weight.detach().clone()
    copies = head.repeated(train.num_folds + 1)
    fit_head(
        copies, train, None, spec=spec(num_train_epochs=4, weight_decay=0.0), class_weights=None, device=CPU,
        record=lambda line: None,
    )  # fmt: skip
    assert not torch.equal(model.classifier.weight, before)
    own = predict_logits(head, train, device=CPU)
    torch.testing.assert_close(own, predict_logits(copies, train, device=CPU))


def test_the_strengths_that_are_tried_weaken_with_the_rows_and_span_the_priors() -> None:
    few, many = auto_penalties(384, num_rows=100), auto_penalties(384, num_rows=10_000)
    assert len(few) == len(many) == len(PRIOR_VARIANCES)
    np.testing.assert_allclose(np.array(few) / np.array(many), 100, rtol=0.01)
