"""Rows that are read in windows: a row counts once, with the mean of its windows' logits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ftkit.encoders import rows as feature_rows
from ftkit.encoders.heads import LinearHead
from ftkit.encoders.rows import FeatureRows, row_logits
from ftkit.encoders.scores import predict_logits

COUNTS = np.array([1, 4, 2, 1, 3, 1, 7, 2])
CPU = torch.device("cpu")


@pytest.fixture
def rows() -> FeatureRows:
    """Eight rows of one to seven windows, each with its number as its label."""
    vectors = np.random.default_rng(0).normal(size=(COUNTS.sum(), 5)).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(COUNTS)])
    return FeatureRows(vectors, np.arange(len(COUNTS)), folds=np.arange(len(COUNTS)) % 2, offsets=offsets)


@pytest.fixture
def head() -> LinearHead:
    torch.manual_seed(0)
    head = LinearHead(mean=torch.randn(5), scale=torch.tensor(2.0), num_labels=3, penalties=(0.1, 0.2))
    torch.nn.init.normal_(head.weight)
    torch.nn.init.normal_(head.bias)
    return head


def test_a_row_has_the_mean_of_its_windows_logits_which_is_a_linear_heads_answer_to_their_mean_vector(
    rows: FeatureRows, head: LinearHead
) -> None:
    with torch.no_grad():
        windows = head(torch.from_numpy(rows.vectors))
    expected = torch.stack([part.mean(dim=1) for part in windows.split(COUNTS.tolist(), dim=1)], dim=1)
    for averages in (True, False):
        read = replace(rows, averages=averages)
        torch.testing.assert_close(predict_logits(head, read, device=CPU), expected)
        some = read.take(np.array([6, 0, 4]))
        torch.testing.assert_close(predict_logits(head, some, device=CPU), expected[:, [6, 0, 4]])


@pytest.mark.parametrize("averages", [True, False])
@pytest.mark.parametrize("in_blocks", [True, False])
def test_shuffled_batches_hold_each_row_once_with_all_its_windows(
    averages: bool, in_blocks: bool, rows: FeatureRows, head: LinearHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_blocks:
        monkeypatch.setattr(feature_rows, "ROWS_IN_MEMORY_BYTES", 0)
        monkeypatch.setattr(feature_rows, "BLOCK_ROWS", 8)
    read = replace(rows, averages=averages)
    expected = predict_logits(head, read, device=CPU)
    batches = list(read.batches(3, np.random.default_rng(1)))
    assert sorted(torch.cat([part.labels for part in batches]).tolist()) == list(range(8))
    for part in batches:
        assert part.folds.tolist() == (part.labels % 2).tolist()
        with torch.no_grad():
            torch.testing.assert_close(row_logits(head, part, device=CPU), expected[:, part.labels])
