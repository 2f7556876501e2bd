from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from ftkit.cache import CACHE_SEAL
from ftkit.data.builtin.commands import COMMAND_WORDS
from ftkit.models.builtin.builtin import remake, resolve
from ftkit.models.builtin.tiny import fill_weights
from ftkit.models.builtin.untrained import POSITION_DEVIATION, build_untrained, initial_bound

TEXTS = (
    "first swing left twice, then lift the crate",
    "Zwei junge weiße Männer überqueren die Straße – fröhlich!",
    "Une élève façonne des pièces à 12,50 € (même ici).",
    "def f(x: int) -> dict[str, list]: return {'a_b': [x ** 2]}  # 100 %",
    "名前 is 🙂, Ωμέγα too",
)


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(resolve("builtin:untrained-t5"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def test_it_is_built_to_the_same_bytes_every_time(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    build_untrained(tmp_path)
    names = sorted(path.name for path in folder.iterdir() if path.name != CACHE_SEAL)
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= set(names)
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_building_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build_untrained(tmp_path)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_comes_back_from_its_tokens(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_words_of_the_commands_are_one_token_each(tokenizer: Any) -> None:
    words = [word for language in COMMAND_WORDS.values() for word in language.split()]
    lengths = {word: len(tokenizer(word, add_special_tokens=False)["input_ids"]) for word in words}
    assert lengths == dict.fromkeys(words, 1)


def test_it_has_the_parameters_that_its_configuration_asks_for(folder: Path) -> None:
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    config = model.config
    attention = 4 * config.d_model * config.num_heads * config.d_kv
    block = attention + 2 * config.d_model * config.d_ff
    per_layer = (block + 2 * config.d_model) + (block + attention + 3 * config.d_model)
    expected = (
        config.vocab_size * config.d_model
        + config.num_layers * per_layer
        + 2 * config.d_model
        + 2 * config.relative_attention_num_buckets * config.num_heads
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_its_numbers_have_the_spread_that_t5_starts_with_but_for_its_positions(folder: Path) -> None:
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    config, attention = model.config, model.encoder.block[0].layer[0].SelfAttention
    for weight, variance in (
        (model.shared.weight, 1.0),
        (attention.k.weight, 1 / config.d_model),
        (attention.q.weight, 1 / (config.d_model * config.d_kv)),
        (model.encoder.block[0].layer[1].DenseReluDense.wo.weight, 1 / config.d_ff),
    ):
        assert float(weight.detach().var()) == pytest.approx(variance, rel=0.05)
    # two tables of 128 numbers: their variance is that of a sample
    for stack in (model.encoder, model.decoder):
        positions = stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        assert float(positions.detach().std()) == pytest.approx(POSITION_DEVIATION, rel=0.2)
    before = model.shared.weight.detach().clone()
    fill_weights(model, name="untrained", bound=initial_bound)
    assert torch.equal(model.shared.weight, before)


def test_an_adapter_finds_it_again_where_another_cache_held_it(folder: Path) -> None:
    assert remake(Path("/elsewhere/builtin") / folder.name) == folder
    assert remake(Path("/elsewhere/builtin/untrained-t5-v0-1-2")) is None
