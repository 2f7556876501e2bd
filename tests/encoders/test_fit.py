"""Fitting a head: convergence, candidates, the best checkpoint, and rows that do not fit in memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression

from ftkit.data.mixture.shares import Mixing
from ftkit.encoders import rows as feature_rows
from ftkit.encoders.fit import FitResult, fit_head
from ftkit.encoders.heads import LinearHead, feature_statistics
from ftkit.encoders.optimization import class_weight_vector, clip_candidates, losses_of_candidates
from ftkit.encoders.rows import FeatureRows
from ftkit.encoders.scores import predict_logits, score
from ftkit.errors import UserError
from ftkit.metrics.names import CLASSIFICATION_METRICS
from ftkit.recipe.rules import CHOICES
from ftkit.recipe.training_section import TrainingSpec

CPU = torch.device("cpu")


def blobs(*, num_rows: int = 400, seed: int = 0, spread: float = 6.0) -> tuple[FeatureRows, FeatureRows]:
    vectors, labels = make_blobs(num_rows, n_features=10, centers=4, cluster_std=spread, random_state=seed)
    vectors = vectors.astype(np.float32)
    return FeatureRows(vectors[:300], labels[:300].astype(np.int64)), FeatureRows(vectors[300:], labels[300:])


def spec(**values: Any) -> TrainingSpec:
    defaults: dict[str, Any] = {
        "num_train_epochs": 60,
        "learning_rate": 3e-2,
        "per_device_train_batch_size": 32,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0,
        "weight_decay": "auto",
        "bf16": False,
    }
    return TrainingSpec(**(defaults | values))


def fit(train: FeatureRows, validation: FeatureRows, *, penalties: tuple[float, ...] = (0.0,), **values: Any) -> Any:
    mean, scale = feature_statistics(part.vectors for part in train.blocks())
    head = LinearHead(mean=mean, scale=scale, num_labels=4, penalties=penalties)
    history: list[Any] = []
    result = fit_head(
        head, train, validation, spec=spec(**values), class_weights=None, device=CPU, record=history.append
    )
    return head, result, history


def test_an_epoch_of_mixed_rows_has_each_as_often_as_its_source_asks():
    sources = np.repeat([0, 1], [12, 4])
    rows = FeatureRows(np.zeros((16, 2), dtype=np.float32), sources, mixing=Mixing(("a", "b"), sources, (1.0, 3.0)))
    generator = np.random.default_rng(0)
    labels = [part.labels for part in rows.batches(5, generator, rows.times(seed=0, epoch=2))]
    assert torch.bincount(torch.cat(labels)).tolist() == [4, 12]


def test_a_fit_under_a_penalty_reaches_the_optimum_of_the_same_logistic_regression() -> None:
    train, validation = blobs()
    penalty = 0.1
    # whole batches: the noise of small ones keeps the weights moving around the optimum
    settings: dict[str, Any] = {"per_device_train_batch_size": 300, "num_train_epochs": 500}
    head, _result, _history = fit(train, validation, penalties=(penalty,), load_best_model_at_end=False, **settings)
    mean, scale = head.mean.numpy(), float(head.scale)
    scaled = (train.vectors - mean) / scale
    # sklearn minimises C * sum of losses + |W|^2 / 2, ours the mean loss + penalty * |W|^2 / 2
    reference = LogisticRegression(C=1 / (penalty * len(train)), max_iter=5000, tol=1e-8).fit(scaled, train.labels)
    np.testing.assert_allclose(head.weight[0].detach().numpy(), reference.coef_, atol=1e-3)


def test_candidates_fitted_side_by_side_end_where_each_would_have_ended_alone() -> None:
    train, validation = blobs(num_rows=400, seed=1)
    settings: dict[str, Any] = {"num_train_epochs": 4, "load_best_model_at_end": False, "max_grad_norm": 0.05}
    alone = [fit(train, validation, penalties=(penalty,), **settings)[0] for penalty in (0.0, 0.5)]
    mean, scale = feature_statistics(part.vectors for part in train.blocks())
    together = LinearHead(mean=mean, scale=scale, num_labels=4, penalties=(0.0, 0.5))
    together.keep = lambda candidate: None  # type: ignore[method-assign, assignment]
    fit_head(
        together, train, validation, spec=spec(**settings), class_weights=None, device=CPU, record=lambda line: None
    )
    for index, head in enumerate(alone):
        torch.testing.assert_close(together.weight[index], head.weight[0], rtol=0, atol=1e-6)


def test_the_candidate_and_the_step_with_the_lowest_validation_loss_are_kept() -> None:
    train, validation = blobs(seed=2, spread=9.0)
    head, result, history = fit(train, validation, penalties=(0.0, 1e-2, 1.0))
    lowest = min(history, key=lambda line: line["validation_loss"])
    assert (result.best_step, result.weight_decay) == (lowest["step"], pytest.approx(lowest["weight_decay"]))
    kept = score(predict_logits(head, validation, device=CPU)[0], validation.labels)
    assert kept["loss"] == pytest.approx(lowest["validation_loss"], abs=1e-6)


def test_every_metric_of_labels_that_may_choose_does_choose_the_highest() -> None:
    train, validation = blobs()
    choices = [name for name in CHOICES if name in CLASSIFICATION_METRICS]
    assert len(choices) == 7
    for metric in choices:
        _head, result, history = fit(
            train, validation, penalties=(0.0, 30.0), num_train_epochs=4, metric_for_best_model=metric
        )
        found = [line[f"validation_{metric}"] for line in history]
        assert history[found.index(max(found))]["step"] == result.best_step
        assert len(set(found)) > 1


def test_a_folded_head_gives_the_same_logits_on_raw_features() -> None:
    train, validation = blobs()
    head, _result, _history = fit(train, validation, num_train_epochs=3)
    weight, bias = head.folded()
    raw = torch.from_numpy(validation.vectors) @ weight.T + bias
    torch.testing.assert_close(raw, predict_logits(head, validation, device=CPU)[0], rtol=1e-4, atol=1e-4)


def test_early_stopping_ends_after_patience_evaluations_without_gain() -> None:
    train, validation = blobs(spread=9.0)
    _head, result, history = fit(
        train, validation, num_train_epochs=500, early_stopping_patience=3, lr_scheduler_type="constant"
    )
    assert isinstance(result, FitResult)
    assert result.stopped_early
    assert [line["best"] for line in history[-4:]] == [True, False, False, False]
    assert result.best_step == history[-4]["step"]


def test_max_steps_and_eval_steps_are_kept_to() -> None:
    train, validation = blobs()
    _head, result, history = fit(train, validation, max_steps=7, eval_strategy="steps", eval_steps=3)
    assert result.num_steps == 7
    assert [line["step"] for line in history] == [3, 6, 7]


def test_rows_read_in_blocks_come_once_each_in_a_new_order_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_rows, "ROWS_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(feature_rows, "BLOCK_ROWS", 16)
    rows = FeatureRows(np.arange(150, dtype=np.float32)[:, None], np.arange(150))
    generator = np.random.default_rng(0)
    orders = []
    for _epoch in range(2):
        batches = list(rows.batches(7, generator))
        assert all(torch.equal(part.vectors[:, 0].long(), part.labels) for part in batches)
        orders.append(torch.cat([part.labels for part in batches]).tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(150))
    assert orders[0] != orders[1]


def test_a_loss_that_is_not_finite_stops_before_the_update() -> None:
    train, validation = blobs()
    vectors = train.vectors.copy()
    vectors[0, 0] = math.nan
    head = LinearHead(mean=torch.zeros(10), scale=torch.ones(()), num_labels=4)
    with pytest.raises(UserError, match="not finite"):
        fit_head(
            head,
            FeatureRows(vectors, train.labels),
            validation,
            spec=spec(per_device_train_batch_size=300),
            class_weights=None,
            device=CPU,
            record=lambda line: None,
        )
    assert bool((head.weight == 0).all())


def test_class_weights_balance_what_the_loss_sees() -> None:
    counts = np.array([90, 10])
    weights = class_weight_vector("balanced", label_names=("a", "b"), counts=counts)
    assert weights is not None
    assert weights.tolist() == pytest.approx([100 / 180, 100 / 20])
    named = class_weight_vector({"b": 2.0, "a": 1.0}, label_names=("a", "b"), counts=counts)
    assert named is not None
    assert named.tolist() == [1.0, 2.0]
    assert class_weight_vector("none", label_names=("a", "b"), counts=counts) is None
    with pytest.raises(UserError, match="labels are a, b"):
        class_weight_vector({"a": 1.0, "c": 2.0}, label_names=("a", "b"), counts=counts)


def test_the_weighted_loss_is_torchs_own_weighted_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(1, 9, 3, generator=generator), torch.tensor([0, 1, 2] * 3)
    weights = torch.tensor([0.5, 2.0, 1.0])
    ours = losses_of_candidates(logits, labels, class_weights=weights, label_smoothing=0.0)
    torch.testing.assert_close(ours[0], torch.nn.functional.cross_entropy(logits[0], labels, weight=weights))


def test_smoothed_labels_keep_the_training_loss_above_their_entropy_and_the_measured_loss_is_plain() -> None:
    train, validation = blobs(spread=0.1)
    _head, _result, history = fit(train, validation, label_smoothing_factor=0.4)
    target = torch.tensor([0.7, 0.1, 0.1, 0.1])
    entropy = float(torch.special.entr(target).sum())
    assert history[-1]["train_loss"] == pytest.approx(entropy, abs=0.02)
    assert history[-1]["validation_loss"] == pytest.approx(-math.log(0.7), abs=0.02), "no class is surer than its share"


def test_clipping_scales_each_candidate_on_its_own() -> None:
    weight = torch.nn.Parameter(torch.zeros(2, 3))
    weight.grad = torch.tensor([[3.0, 4.0, 0.0], [0.3, 0.4, 0.0]])
    norms = clip_candidates([weight], num_candidates=2, max_norm=1.0)
    assert norms.tolist() == pytest.approx([5.0, 0.5])
    assert weight.grad.norm(dim=1).tolist() == pytest.approx([1.0, 0.5], abs=1e-5)


def test_the_loss_that_classes_weigh_in_chooses_the_penalty_and_the_step() -> None:
    """Of 40 rows in 1,000 the plain loss hardly speaks: scikit-learn's balanced regression is the judge."""
    vectors, labels = make_blobs([960, 40], n_features=8, centers=None, cluster_std=5.0, random_state=3)
    vectors, labels = vectors.astype(np.float32), labels.astype(np.int64)
    train, validation = (FeatureRows(vectors[part::2], labels[part::2]) for part in (0, 1))
    mean, scale = feature_statistics(part.vectors for part in train.blocks())
    head = LinearHead(mean=mean, scale=scale, num_labels=2, penalties=(0.0, 1e-2, 1.0))
    weights = class_weight_vector("balanced", label_names=("a", "b"), counts=np.bincount(train.labels))
    history: list[Any] = []
    result = fit_head(head, train, validation, spec=spec(), class_weights=weights, device=CPU, record=history.append)
    lines = [line for line in history if "best" in line]
    best = min(lines, key=lambda line: line["validation_weighted_loss"])
    assert (best["step"], result.best_score) == (result.best_step, best["validation_weighted_loss"])
    logits = predict_logits(head, validation, device=CPU)[0]
    assert score(logits, validation.labels, class_weights=weights)["weighted_loss"] == pytest.approx(result.best_score)


def test_weights_under_which_no_row_counts_leave_the_plain_loss() -> None:
    found = score(torch.eye(2), np.array([0, 0]), class_weights=torch.tensor([0.0, 1.0]))
    assert found["weighted_loss"] == found["loss"]
