"""Encoder-decoders are loaded whole or refused by what they are, and what is saved is what was trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ftkit.errors import UserError
from ftkit.models.builtin.builtin import resolve
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.kernels.chunked_loss import compute_loss_in_chunks
from ftkit.models.merging import answer, largest_difference, merge_saved_lm, probe_tokens
from ftkit.models.saved_lm import load_base, load_saved_lm, save_language_model
from ftkit.models.seq2seq import (
    hash_of_frozen,
    is_seq2seq,
    load_seq2seq,
    load_tokenizer_for_seq2seq,
    refuse_decoders_and_encoders,
    refuse_float16,
)
from tests.fixtures.architectures import make_checkpoint
from tests.fixtures.tiers import slow, slow_but

Saved = Callable[..., tuple[Path, Any]]

FAMILIES = ("t5", "bart")
KINDS = ("full", "lora", "prompt_tuning", "prefix_tuning")
FEW = (("t5", "full"), ("bart", "lora"), ("t5", "prompt_tuning"), ("bart", "prefix_tuning"))
TOKENS = probe_tokens(700)
CPU = torch.device("cpu")


def tiny(family: str) -> Checkpoint:
    return Checkpoint(f"builtin:tiny-{family}", Path(resolve(f"builtin:tiny-{family}")))


def copy_of(family: str, folder: Path, file: str = "config.json", **changed: Any) -> Checkpoint:
    """A tiny checkpoint with some entries of a file changed, or taken out where they are None."""
    shutil.copytree(tiny(family).folder, folder, dirs_exist_ok=True)
    settings = json.loads((folder / file).read_text()) | changed
    (folder / file).write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))
    return Checkpoint("a copy", folder)


def logits(model: Any) -> torch.Tensor:
    inputs = {"input_ids": TOKENS, "attention_mask": torch.ones_like(TOKENS), "decoder_input_ids": TOKENS.flip(0)}
    return answer(model, inputs | {"use_cache": False})


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_decoder_loads_whole_in_the_precision_asked_for_without_a_cache(family: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = load_seq2seq(tiny(family), dtype=dtype)
        assert {parameter.dtype for parameter in model.parameters()} == {dtype}
        assert model.config.use_cache is False
    weights = load_file(tiny(family).folder / "model.safetensors")
    assert set(weights) <= set(model.state_dict())


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_is_the_checkpoints_or_none_at_all(family: str) -> None:
    ids = torch.arange(5, 45)[None]
    for dropout in (True, False):
        model: Any = load_seq2seq(tiny(family), dtype=torch.float32, dropout=dropout).train()
        with torch.no_grad():
            first, second = (float(model(input_ids=ids, labels=ids).loss) for _ in range(2))
        assert (first == second) == (not dropout)


@pytest.mark.parametrize(
    ("family", "task"),
    [("gpt2", "causal_lm"), ("llama", "causal_lm"), ("gemma3", "causal_lm"), ("bert", "classification")],
)
def test_a_decoder_or_an_encoder_alone_is_refused_with_the_task_that_fits(family: str, task: str) -> None:
    with pytest.raises(UserError, match=f"is no encoder with a decoder.*this checkpoint fits task: {task}"):
        load_seq2seq(tiny(family), dtype=torch.float32)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # google-t5/t5-small and facebook/bart-base as they lie on the hub say it by one of these
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, True),
        ({"model_type": "bart", "encoder_layers": 6, "decoder_layers": 6, "architectures": ["BartModel"]}, True),
        ({"model_type": "marian", "is_encoder_decoder": True}, True),
        # a BART that was saved as a decoder alone
        ({"model_type": "bart", "encoder_layers": 6, "decoder_layers": 6, "architectures": ["BartForCausalLM"]}, False),
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, False),
        ({"model_type": "t5", "vision_config": {}}, True),
    ],
)
def test_what_is_an_encoder_decoder_is_told_from_its_configuration(
    config: dict[str, Any], expected: bool, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert is_seq2seq(Checkpoint("some", tmp_path)) is expected


@pytest.mark.parametrize("part", ["vision_config", "audio_config"])
def test_a_model_that_sees_or_hears_is_refused(part: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"is_encoder_decoder": True, part: {"hidden_size": 1}}))
    with pytest.raises(UserError, match="reads images or sound, which ftkit does not train"):
        refuse_decoders_and_encoders(Checkpoint("seeing", tmp_path))


def test_float16_is_refused_for_t5_and_left_to_bart() -> None:
    refuse_float16(tiny("bart"), fp16=True, dtype="float16")
    refuse_float16(tiny("t5"), fp16=False, dtype="bfloat16")
    with pytest.raises(UserError, match=r"training.fp16: .*write training.bf16: true"):
        refuse_float16(tiny("t5"), fp16=True, dtype="auto")
    with pytest.raises(UserError, match=r"model.dtype: .*write model.dtype: bfloat16"):
        refuse_float16(tiny("t5"), fp16=False, dtype="float16")


@pytest.mark.parametrize("name", ["eos_token", "pad_token"])
def test_a_tokenizer_without_an_end_or_a_pad_token_is_refused(name: str, tmp_path: Path) -> None:
    # T5's own class would set them by itself
    changed = {name: None, "tokenizer_class": "PreTrainedTokenizerFast"}
    checkpoint = copy_of("t5", tmp_path, "tokenizer_config.json", **changed)
    with pytest.raises(UserError, match=f"has no {name}, which an encoder-decoder needs"):
        load_tokenizer_for_seq2seq(checkpoint)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokenizer_whose_vocabulary_is_missing_is_refused_instead_of_made_up(family: str, tmp_path: Path) -> None:
    (tmp_path / "special_tokens_map.json").write_text("{}")
    for file in ("config.json", "tokenizer_config.json"):
        shutil.copy(tiny(family).folder / file, tmp_path)
        with pytest.raises(UserError, match="bare has no vocabulary"):
            load_tokenizer_for_seq2seq(Checkpoint("bare", tmp_path))


def test_a_tokenizer_of_bytes_has_no_vocabulary_and_needs_none(tmp_path: Path) -> None:
    shutil.copy(tiny("t5").folder / "config.json", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    tokenizer = load_tokenizer_for_seq2seq(Checkpoint("bytes", tmp_path))
    assert tokenizer("ab").input_ids == [ord("a") + 3, ord("b") + 3, 1]


def test_a_checkpoint_that_lacks_weights_is_refused_instead_of_filled_up_at_random(tmp_path: Path) -> None:
    checkpoint = copy_of("t5", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    lost = "decoder.block.1.layer.1.EncDecAttention.q.weight"
    save_file(
        {k: v for k, v in weights.items() if k != lost}, tmp_path / "model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(UserError, match=f"lacks weights of an encoder-decoder: {lost}"):
        load_seq2seq(checkpoint, dtype=torch.float32)


def test_generation_settings_that_contradict_one_another_are_mended_so_that_they_can_be_saved(tmp_path: Path) -> None:
    checkpoint = copy_of("bart", tmp_path / "base", "generation_config.json", temperature=0.5, do_sample=False)
    model = load_seq2seq(checkpoint, dtype=torch.float32)
    model.generation_config.max_new_tokens = 7
    model.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "generation_config.json").read_text())["max_new_tokens"] == 7


def test_the_hash_of_what_is_frozen_sees_one_bit_of_it_and_nothing_of_what_is_trained(saved: Saved) -> None:
    _, model = saved("t5", "lora")
    before = hash_of_frozen(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(1)
    assert hash_of_frozen(model) == before
    weight = model.get_base_model().decoder.final_layer_norm.weight
    with torch.no_grad():
        weight[3] = torch.nextafter(weight[3], torch.tensor(2.0))
    assert hash_of_frozen(model) != before


@pytest.mark.parametrize(("family", "kind"), slow_but(FEW, product(FAMILIES, KINDS)))
def test_what_was_trained_is_read_back_and_its_base_is_uncovered(family: str, kind: str, saved: Saved) -> None:
    folder, model = saved(family, kind)
    (folder / "prompting.json").write_text('{"kind": "completion"}')
    found = load_saved_lm(folder, dtype=torch.float32, device=CPU)
    assert (found.method, found.prompting) == (kind, {"kind": "completion"})
    assert found.model.training is False
    assert found.model.config.use_cache is True
    assert largest_difference(logits(found.model), logits(model)) <= 1e-6
    base = logits(load_seq2seq(tiny(family), dtype=torch.float32).eval())
    assert largest_difference(logits(model), base) > 1e-3
    assert compute_loss_in_chunks(found.model)
    if kind == "full":
        with pytest.raises(UserError, match="every weight was trained, so its base is not in it"):
            load_saved_lm(folder, dtype=torch.float32, device=CPU, with_adapter=False)
        return
    alone = load_saved_lm(folder, dtype=torch.float32, device=CPU, with_adapter=False)
    assert largest_difference(logits(alone.model), base) == 0
    names = set(load_file(folder / "adapter_model.safetensors"))
    assert not (folder / "config.json").exists()
    assert all("lora_" in name for name in names) if kind == "lora" else names == {"prompt_embeddings"}


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_generation_lie_beside_whatever_was_trained(kind: str, attach: Any, tmp_path: Path) -> None:
    from transformers import GenerationConfig

    model = attach("bart", kind)
    settings = GenerationConfig(max_new_tokens=9, num_beams=3, decoder_start_token_id=2, eos_token_id=[2])
    save_language_model(model, tmp_path, base_name=str(tiny("bart").folder), generation=settings)
    again = GenerationConfig.from_pretrained(tmp_path)
    assert (again.max_new_tokens, again.num_beams, again.forced_eos_token_id) == (9, 3, None)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        slow("t5", {}),
        slow("bart", {}),
        ("t5", {"init_lora_weights": "pissa"}),
        ("bart", {"use_dora": True}),
    ],
)
def test_a_merged_model_is_one_plain_checkpoint_with_the_logits_of_base_and_adapter(
    family: str, settings: dict[str, Any], saved: Saved, tmp_path: Path
) -> None:
    folder, model = saved(family, "lora", **settings)
    merged = merge_saved_lm(folder, tmp_path / "merged", dtype=torch.float32)
    assert merged.difference <= 1e-4
    theirs: Any = load_base(Checkpoint("merged", tmp_path / "merged"), dtype=torch.float32)
    assert largest_difference(logits(theirs.eval()), logits(model)) <= 1e-4
    names = set(load_file(tmp_path / "merged" / "model.safetensors"))
    assert names == set(load_file(tiny(family).folder / "model.safetensors"))


@pytest.mark.parametrize(("kind", "what"), [("prompt_tuning", "a tuned prompt"), ("prefix_tuning", "a tuned prefix")])
def test_a_prompt_and_a_prefix_cannot_be_merged(kind: str, what: str, saved: Saved, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{what} cannot be merged"):
        merge_saved_lm(saved("t5", kind)[0], tmp_path / "merged", dtype=torch.float32)


def test_an_adapter_of_one_encoder_decoder_does_not_fit_another(saved: Saved) -> None:
    folder, _ = saved("t5", "lora")
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = str(tiny("bart").folder)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="the adapter does not fit its base model"):
        load_saved_lm(folder, dtype=torch.float32, device=CPU)


def test_auto_takes_the_attention_that_an_architecture_has(tmp_path):
    assert make_checkpoint("seq2seq", "led", tmp_path)
    checkpoint = Checkpoint(str(tmp_path), tmp_path)
    assert load_seq2seq(checkpoint, dtype=torch.float32).config._attn_implementation == "eager"
    assert load_seq2seq(tiny("bart"), dtype=torch.float32).config._attn_implementation == "sdpa"
    with pytest.raises(UserError, match=r" has no sdpa attention: LED.*; set model.attn_implementation: auto"):
        load_seq2seq(checkpoint, dtype=torch.float32, attn_implementation="sdpa")


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_what_was_trained_with_an_attention_of_its_own_is_read_back(kind, tmp_path, adapt, take_steps):
    base = tmp_path / "base"
    assert make_checkpoint("seq2seq", "led", base)
    model = adapt(load_seq2seq(Checkpoint(str(base), base), dtype=torch.float32), "bart", kind)
    take_steps(model)
    save_language_model(model, tmp_path / "model", base_name=str(base))
    load_tokenizer_for_seq2seq(Checkpoint(str(base), base)).save_pretrained(tmp_path / "model")
    saved = load_saved_lm(tmp_path / "model", dtype=torch.float32, device=CPU)
    tokens = TOKENS[:, :8].contiguous()
    inputs = {"input_ids": tokens, "labels": tokens, "use_cache": False}
    assert largest_difference(answer(model, inputs), answer(saved.model, inputs)) <= 1e-5
