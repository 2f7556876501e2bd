"""Pooling, batches and stored features of a frozen encoder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ftkit.encoders.rows import FeatureRows, row_vectors
from ftkit.encoders.store import Chunk, FeatureKey, encode, stored
from ftkit.errors import RunError, UserError
from ftkit.inputs.batching import exact_length_batches
from ftkit.inputs.text import Padding, TokenizedTexts
from ftkit.models.checkpoint import Checkpoint, Pooling, resolve_pooling
from ftkit.models.pooled import pool

KEY = FeatureKey("w", "t", "x", 8, "mean", False, "float32", "cpu", "v")


class Lookup(nn.Module):
    """Stands for an encoder: each token's vector is a row of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))
        self.calls = 0

    def forward(self, input_ids: torch.Tensor, **_inputs: torch.Tensor) -> object:
        self.calls += 1

        class Output:
            last_hidden_state = self.table(input_ids)

        return Output()


def tokens_of(texts: list[np.ndarray]) -> TokenizedTexts:
    columns = {"input_ids": [ids.tolist() for ids in texts]}
    return TokenizedTexts(columns, np.array([len(ids) for ids in texts]), 0, np.arange(len(texts)), Padding())


@pytest.mark.parametrize("tokens", ["first", "mean", "max"])
def test_padding_does_not_change_what_is_pooled(tokens: str) -> None:
    hidden = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    padded = torch.cat([hidden, torch.full((3, 2, 4), 1e3)], dim=1)
    mask = torch.tensor([[1] * 5 + [0] * 2] * 3)
    plain = pool(hidden, tokens=tokens, normalize=False)  # type: ignore[arg-type]
    torch.testing.assert_close(pool(padded, tokens=tokens, normalize=False, mask=mask), plain)  # type: ignore[arg-type]
    assert pool(hidden, tokens=tokens, normalize=True).norm(dim=1).tolist() == pytest.approx([1.0] * 3)  # type: ignore[arg-type]


def test_every_row_is_in_one_batch_and_no_batch_mixes_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 9, size=200)
    batches = list(exact_length_batches(lengths, max_tokens=24))
    assert sorted(np.concatenate(batches).tolist()) == list(range(200))
    for batch in batches:
        assert len(set(lengths[batch].tolist())) == 1
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= 24


def test_features_lie_in_the_order_of_the_rows_and_are_read_back_without_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path))
    generator = np.random.default_rng(0)
    texts = [generator.integers(0, 50, size=length) for length in (3, 5, 3, 1, 5)]
    encoder = Lookup()
    assert stored(KEY) is None
    made = encode(
        encoder,
        [Chunk(tokens_of(texts[:3]), 1), Chunk(tokens_of(texts[3:]), 0)],
        key=KEY,
        pooling=Pooling("mean"),
        width=4,
        device=torch.device("cpu"),
    )
    expected = np.stack([encoder.table(torch.from_numpy(ids)).mean(dim=0).numpy() for ids in texts])
    np.testing.assert_allclose(made.vectors, expected, atol=1e-6)
    assert (made.lengths.tolist(), made.num_truncated, made.reused) == ([3, 5, 3, 1, 5], 1, False)
    again = stored(KEY)
    assert again is not None
    assert again.reused
    np.testing.assert_array_equal(again.vectors, made.vectors)
    assert isinstance(again.vectors, np.memmap)
    rows = FeatureRows(again.vectors, np.zeros(len(texts), dtype=np.int64))
    assert len(next(rows.blocks()).labels) == len(texts)
    shutil.rmtree(again.folder)
    with pytest.raises(RunError, match="removed while they were in use"):
        next(rows.blocks())


def test_windows_are_stored_with_how_many_each_row_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path))
    encoder, told, key = Lookup(), list[int](), replace(KEY, long_texts="windows that share 1 tokens")
    texts = [np.full(length, length) for length in (3, 5, 4, 1, 2)]
    chunks = [
        Chunk(replace(tokens_of(texts[:3]), rows=np.array([0, 1, 1])), 1),
        Chunk(replace(tokens_of(texts[3:]), rows=np.array([0, 0])), 1),
    ]
    encode(encoder, chunks, key=key, pooling=Pooling("mean"), width=4, device=torch.device("cpu"), advance=told.append)
    again = stored(key)
    assert again is not None
    assert again.offsets is not None
    assert (again.offsets.tolist(), again.num_truncated, sum(told)) == ([0, 1, 3, 5], 2, 3)
    np.testing.assert_allclose(again.vectors, encoder.table.weight[[3, 5, 4, 1, 2]].numpy(), atol=1e-6)
    expected = [again.vectors[0], again.vectors[1:3].mean(axis=0), again.vectors[3:5].mean(axis=0)]
    np.testing.assert_allclose(row_vectors(again), np.stack(expected), atol=1e-6)
    assert key.name != KEY.name
    assert "long_texts" not in KEY.to_dict(), "features that were stored before there were windows are found"


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "w2"},
        {"processor": "t2"},
        {"inputs": "x2"},
        {"max_length": 9},
        {"tokens": "max"},
        {"normalize": True},
        {"dtype": "bfloat16"},
    ],
)
def test_whatever_features_depend_on_changes_where_they_lie(change: dict[str, object]) -> None:
    assert replace(KEY, **change).name != KEY.name  # type: ignore[arg-type]


def test_an_encoder_that_fails_leaves_no_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path))

    def chunks() -> object:
        yield Chunk(tokens_of([np.array([1])]), 0)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        encode(
            Lookup(),
            chunks(),  # type: ignore[arg-type]
            key=KEY,
            pooling=Pooling("mean"),
            width=4,
            device=torch.device("cpu"),
        )
    assert stored(KEY) is None
    assert not [path for path in (tmp_path / "features").iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}', "first_token"),
        ('{"pooling_mode_mean_tokens": true}', "mean"),
        ('{"pooling_mode": "max"}', "max"),
    ],
)
def test_auto_follows_sentence_transformers_files(config: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "1_Pooling" / "config.json").write_text(config)
    modules = '[{"type": "sentence_transformers.models.Transformer", "path": ""},'
    (tmp_path / "modules.json").write_text(
        modules + '{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]'
    )
    assert resolve_pooling(Checkpoint("own", tmp_path), "auto") == Pooling(expected)  # type: ignore[arg-type]
    assert resolve_pooling(Checkpoint("own", tmp_path), "cls") == Pooling("cls")


def test_auto_without_sentence_transformers_files_is_the_architectures_own_head(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert resolve_pooling(Checkpoint("plain", tmp_path), "auto") == Pooling("cls")


def test_an_encoder_with_a_decoder_is_refused_whatever_the_pooling(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"is_encoder_decoder": true}')
    for asked in ("auto", "mean"):
        with pytest.raises(UserError, match="reads the decoder"):
            resolve_pooling(Checkpoint("t5", tmp_path), asked)


def test_a_key_is_spelt_as_when_the_first_features_were_stored() -> None:
    assert KEY.name == "features/f88dc66365ecfdcc916d577cf8b03351"
