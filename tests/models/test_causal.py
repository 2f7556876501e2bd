"""Loading a language model for training: what is refused, and what is settled before the first step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ftkit.errors import UserError
from ftkit.models.builtin.builtin import resolve
from ftkit.models.causal import (
    load_causal_lm,
    load_tokenizer_for_lm,
    refuse_other_kinds,
    refuse_unknown_tokens,
)
from ftkit.models.checkpoint import Checkpoint

DECODERS = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")


def tiny(family: str) -> Checkpoint:
    return Checkpoint(f"builtin:tiny-{family}", Path(resolve(f"builtin:tiny-{family}")))


def copy_of(family: str, folder: Path) -> Checkpoint:
    shutil.copytree(tiny(family).folder, folder, dirs_exist_ok=True)
    return Checkpoint("a copy", folder)


@pytest.mark.parametrize("family", DECODERS)
def test_every_decoder_loads_whole_in_the_precision_asked_for_with_embeddings_for_every_token(family: str) -> None:
    checkpoint = tiny(family)
    tokenizer = load_tokenizer_for_lm(checkpoint)
    for dtype in (torch.float32, torch.bfloat16):
        model = load_causal_lm(checkpoint, dtype=dtype)
        assert {parameter.dtype for parameter in model.parameters()} == {dtype}
        assert model.config.use_cache is False
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    refuse_unknown_tokens(model, tokenizer)


def test_the_precision_does_not_follow_the_checkpoint(tmp_path: Path) -> None:
    load_causal_lm(tiny("llama"), dtype=torch.bfloat16).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    model = load_causal_lm(Checkpoint("half", tmp_path), dtype=torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("family", DECODERS)
def test_a_tokenizer_pads_on_the_right_with_a_token_that_was_there_and_ends_no_text(family: str) -> None:
    from transformers import AutoTokenizer

    before = AutoTokenizer.from_pretrained(tiny(family).folder)
    tokenizer = load_tokenizer_for_lm(tiny(family))
    assert len(tokenizer) == len(before)
    assert tokenizer.padding_side == "right"
    assert tokenizer.pad_token_id == (before.eos_token_id if before.pad_token_id is None else before.pad_token_id)
    assert tokenizer("a word").input_ids == before("a word").input_ids
    assert tokenizer("a word").input_ids[-1] != tokenizer.eos_token_id


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3"])
def test_a_tokenizer_that_ends_every_text_is_made_to_leave_them_open_and_keeps_its_begin_token(
    family: str, tmp_path: Path
) -> None:
    from tokenizers.processors import TemplateProcessing

    checkpoint = copy_of(family, tmp_path)
    tokenizer = load_tokenizer_for_lm(checkpoint)
    expected = tokenizer("a word").input_ids
    marks = [(token, tokenizer.convert_tokens_to_ids(token)) for token in (tokenizer.bos_token, tokenizer.eos_token)]
    begin = f"{tokenizer.bos_token} " if expected[0] == tokenizer.bos_token_id else ""
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{begin}$A {tokenizer.eos_token}", special_tokens=marks
    )
    tokenizer.save_pretrained(tmp_path)
    for _ in range(2):
        again = load_tokenizer_for_lm(checkpoint)
        assert again("a word").input_ids == expected
        again.save_pretrained(tmp_path)


def test_a_tokenizer_without_an_end_token_is_refused_with_the_reason(tmp_path: Path) -> None:
    checkpoint = copy_of("llama", tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del settings["eos_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="has no end token, so a model could not learn where to stop"):
        load_tokenizer_for_lm(checkpoint)


def test_a_folder_without_a_tokenizer_is_one_message(tmp_path: Path) -> None:
    shutil.copy(tiny("llama").folder / "config.json", tmp_path)
    with pytest.raises(UserError, match="the tokenizer of bare cannot be loaded"):
        load_tokenizer_for_lm(Checkpoint("bare", tmp_path))


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert", "modernbert", "electra", "deberta-v2"])
def test_an_encoder_is_refused_with_the_task_that_fits(family: str) -> None:
    with pytest.raises(UserError, match=r"is an encoder: .*set task: classification"):
        load_causal_lm(tiny(family), dtype=torch.float32)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_with_a_decoder_is_refused_by_name(family: str) -> None:
    with pytest.raises(UserError, match=rf"model_type {family}\) is an encoder with a decoder"):
        load_causal_lm(tiny(family), dtype=torch.float32)


def test_a_model_that_sees_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "vision_config": {"hidden_size": 1}}))
    with pytest.raises(UserError, match="reads images or sound beside text"):
        refuse_other_kinds(Checkpoint("seeing", tmp_path))


def test_an_encoder_made_a_decoder_is_none_of_those(tmp_path: Path) -> None:
    settings = {"model_type": "bert", "architectures": ["BertLMHeadModel"], "is_decoder": True}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    refuse_other_kinds(Checkpoint("decoder", tmp_path))


def test_missing_weights_are_refused_by_name_and_a_tied_head_is_not_missing(tmp_path: Path) -> None:
    checkpoint = copy_of("olmo2", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    lost = "model.layers.1.mlp.up_proj.weight"
    save_file({k: v for k, v in weights.items() if k not in ("lm_head.weight", lost)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=rf"lacks weights .*: lm_head.weight, {lost}; they would be random"):
        load_causal_lm(checkpoint, dtype=torch.float32)
    assert "lm_head.weight" not in load_file(tiny("llama").folder / "model.safetensors")


def test_a_tokenizer_of_another_model_is_refused_by_the_sizes() -> None:
    model = load_causal_lm(tiny("gpt2"), dtype=torch.float32)
    with pytest.raises(UserError, match="knows token 906, but the model has embeddings for 737 tokens"):
        refuse_unknown_tokens(model, load_tokenizer_for_lm(tiny("gemma3")))


def test_an_attention_that_is_not_installed_is_named_with_the_way_out() -> None:
    with pytest.raises(UserError, match=r"FlashAttention2 .*set model.attn_implementation: auto"):
        load_causal_lm(tiny("llama"), dtype=torch.bfloat16, attn_implementation="flash_attention_2")


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.6, "do_sample": False}, {"early_stopping": True, "num_beams": 1}]
)
def test_a_generation_config_that_contradicts_itself_does_not_stop_a_later_save(
    settings: dict[str, object], tmp_path: Path
) -> None:
    checkpoint = copy_of("llama", tmp_path / "base")
    (tmp_path / "base" / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [1, 2]}))
    model = load_causal_lm(checkpoint, dtype=torch.float32)
    model.generation_config.pad_token_id = 1
    model.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "generation_config.json").read_text())["eos_token_id"] == [1, 2]
