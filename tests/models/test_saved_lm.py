"""What is saved is what was trained: read back by ftkit, peft, transformers, a new process, and merged."""

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
from ftkit.models.merging import largest_difference, merge_saved_lm, probe_tokens
from ftkit.models.saved_lm import SavedLM, load_saved_lm
from tests.fixtures.forge import Forge
from tests.fixtures.tiers import slow_but
from tests.fixtures.tiny_models import logits_of

Saved = Callable[..., tuple[Path, Any]]

DECODERS = ("gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3")
KINDS = ("full", "lora", "prompt_tuning")
TOKENS = probe_tokens(700)
CPU = torch.device("cpu")
PATTERNS: dict[str, Any] = {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 6}, "alpha_pattern": {"q_proj": 5}}
VARIANTS: list[dict[str, Any]] = [{"use_dora": True}, {"init_lora_weights": "pissa"}, {"use_rslora": True}]

RELOAD = """
import sys
from pathlib import Path
import torch
from ftkit.models.merging import answer, probe_tokens
from ftkit.models.saved_lm import load_saved_lm
for folder in map(Path, sys.argv[1:]):
    saved = load_saved_lm(folder, dtype=torch.float32, device=torch.device("cpu"))
    found = answer(saved.model, {"input_ids": probe_tokens(700), "use_cache": False})
    print(folder, saved.method, float((found - torch.load(f"{folder}.pt")).abs().max()))
"""


def load(folder: Path) -> SavedLM:
    return load_saved_lm(folder, dtype=torch.float32, device=CPU)


def prompted(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Logits of the tokens themselves, whatever virtual tokens stand before them."""
    return logits_of(model, tokens)[:, -tokens.shape[1] :]


@pytest.mark.slow
def test_every_family_by_every_method_has_the_same_logits_in_a_fresh_process(saved: Saved, forge: Forge) -> None:
    folders = []
    for family, kind in product(DECODERS, KINDS):
        folder, model = saved(family, kind)
        torch.save(logits_of(model, TOKENS), f"{folder}.pt")
        folders.append(str(folder))
    done = forge.run(*folders, code=RELOAD, apart=True)
    assert done.code == 0, done.errors()
    lines = [line.split() for line in done.output().splitlines()]
    assert [(line[0], line[1]) for line in lines] == [(folder, Path(folder).name.split("-")[1]) for folder in folders]
    assert {line[0]: line[2] for line in lines if not float(line[2]) <= 1e-6} == {}


@pytest.mark.parametrize(
    ("family", "kind"),
    slow_but(
        [*product(["gpt2", "gemma3", "olmo2"], ["lora"]), ("llama", "prompt_tuning")],
        product(DECODERS, ["lora", "prompt_tuning"]),
    ),
)
def test_peft_alone_and_transformers_alone_load_an_adapter_with_the_logits_that_were_trained(
    family: str, kind: str, saved: Saved
) -> None:
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    folder, model = saved(family, kind)
    expected = prompted(model, TOKENS)
    theirs = AutoPeftModelForCausalLM.from_pretrained(str(folder)).eval()
    assert largest_difference(prompted(theirs, TOKENS), expected) <= 1e-6
    if kind == "lora":  # transformers injects layers, and a prompt is none
        assert (
            largest_difference(logits_of(AutoModelForCausalLM.from_pretrained(folder).eval(), TOKENS), expected) <= 1e-6
        )


@pytest.mark.parametrize("family", DECODERS)
def test_a_full_model_is_loaded_by_transformers_alone_and_its_cache_is_on(family: str, saved: Saved) -> None:
    from transformers import AutoModelForCausalLM

    folder, model = saved(family, "full")
    assert model.config.use_cache is False
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder)
    assert largest_difference(logits_of(theirs.eval(), TOKENS), logits_of(model, TOKENS)) <= 1e-6
    assert theirs.config.use_cache is True


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        *product(["gpt2", "olmo2"], [{"init_lora_weights": "pissa"}]),
        *product(["gpt2", "olmo2"], [{"init_lora_weights": "pissa", "use_rslora": True}]),
        ("olmo2", {"init_lora_weights": "olora"} | PATTERNS),
        ("olmo2", {"init_lora_weights": "pissa"} | PATTERNS),
    ],
)
def test_an_adapter_that_was_taken_out_of_the_base_is_a_plain_one_of_the_original_base(
    family: str, settings: dict[str, Any], saved: Saved
) -> None:
    from peft import AutoPeftModelForCausalLM

    whole = {"gpt2": "ln_f", "olmo2": "lm_head"}[family]
    folder, model = saved(family, "lora", r=4, modules_to_save=[whole], **settings)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["init_lora_weights"]) == (8, True)
    theirs = AutoPeftModelForCausalLM.from_pretrained(str(folder)).eval()
    assert largest_difference(logits_of(theirs, TOKENS), logits_of(model, TOKENS)) <= 2e-5
    assert any("modules_to_save" in name or whole in name for name in load_file(folder / "adapter_model.safetensors"))


def test_an_adapter_folder_holds_no_embeddings_no_configuration_and_the_place_of_its_base(saved: Saved) -> None:
    folder, model = saved("olmo2", "lora")
    assert not (folder / "config.json").exists()
    assert not [name for name in load_file(folder / "adapter_model.safetensors") if "lora_" not in name]
    config = json.loads((folder / "adapter_config.json").read_text())
    assert Path(config["base_model_name_or_path"]).is_absolute()
    assert Path(config["base_model_name_or_path"]).is_dir()
    assert config["target_modules"] == sorted(config["target_modules"])
    assert model.peft_config["default"].base_model_name_or_path == config["base_model_name_or_path"]


def test_what_is_loaded_is_ready_to_generate(saved: Saved) -> None:
    folder, _ = saved("llama", "lora")
    (folder / "prompting.json").write_text('{"kind": "text"}')
    found = load(folder)
    assert found.model.training is False
    assert found.model.config.use_cache is True
    assert found.prompting == {"kind": "text"}
    assert found.tokenizer.padding_side == "right"
    assert (found.method, found.base.config["model_type"]) == ("lora", "llama")


def test_an_adapter_without_a_tokenizer_of_its_own_takes_that_of_its_base(saved: Saved) -> None:
    folder, _ = saved("gemma3", "lora")
    for file in folder.glob("*token*"):
        file.unlink()
    assert load(folder).tokenizer("a").input_ids == [2, 327]


def test_a_base_that_has_moved_is_one_message_with_the_line_to_change(saved: Saved) -> None:
    folder, _ = saved("llama", "lora")
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "/somewhere/else"
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError) as caught:
        load(folder)
    assert "is gone: there is no folder /somewhere/else; put it back, or write where it is now" in str(caught.value)
    settings["base_model_name_or_path"] = "nobody/no-such-model"
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="the base model of this adapter: nobody/no-such-model is neither a folder nor"):
        load(folder)


def test_a_built_in_base_is_made_again_where_the_cache_is_now(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = saved("qwen3", "lora")
    settings = json.loads((folder / "adapter_config.json").read_text())
    name = Path(settings["base_model_name_or_path"]).name
    settings["base_model_name_or_path"] = f"/elsewhere/ftkit/builtin/{name}"
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    found = load(folder)
    assert found.base.folder == tmp_path / "cache" / "builtin" / name
    assert largest_difference(logits_of(found.model, TOKENS), logits_of(model, TOKENS)) == 0
    settings["base_model_name_or_path"] = f"/elsewhere/ftkit/builtin/{name.replace('-v2-', '-v1-')}"
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="is gone: there is no folder /elsewhere"):
        load(folder)


def test_another_base_of_other_layers_is_refused(saved: Saved) -> None:
    folder, _ = saved("llama", "lora", target_modules=["up_proj"])
    other, _ = saved("gpt2", "full")
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = str(other)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(
        UserError, match=r"the adapter does not fit its base model .*name the base that it was trained on"
    ):
        load(folder)


def test_an_adapter_that_lacks_weights_is_refused_instead_of_filled_up_at_random(saved: Saved) -> None:
    folder, _ = saved("llama", "lora")
    weights = load_file(folder / "adapter_model.safetensors")
    lost = next(name for name in weights if "layers.1.mlp.up_proj.lora_A" in name)
    save_file({k: v for k, v in weights.items() if k != lost}, folder / "adapter_model.safetensors")
    with pytest.raises(UserError, match=f"the adapter lacks weights: {lost}"):
        load(folder)


def test_folders_that_are_no_language_model_are_refused_by_what_they_are(saved: Saved, tmp_path: Path) -> None:
    folder, _ = saved("gpt2", "full")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"architectures": ["GPT2ForSequenceClassification"]}))
    with pytest.raises(UserError, match=r"holds a classifier, which writes no text; ask it with .ftkit predict."):
        load(folder)
    with pytest.raises(UserError, match=r"holds no model: it has no config.json"):
        load(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "task_type": "TOKEN_CLS"}))
    with pytest.raises(UserError, match="is LORA for TOKEN_CLS, not LoRA, a prompt or a prefix of a language model"):
        load(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(UserError, match=r"adapter_config.json cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("family", "settings"),
    slow_but(
        [("gemma3", {}), *product(["gpt2"], VARIANTS)],
        product(DECODERS, [{}, *VARIANTS]),
    ),
)
def test_a_merged_model_is_one_plain_folder_with_the_logits_of_base_and_adapter(
    family: str, settings: dict[str, Any], saved: Saved, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    folder, model = saved(family, "lora", **settings)
    merged = merge_saved_lm(folder, tmp_path / "merged", dtype=torch.float32)
    assert merged.difference <= 1e-4
    assert merged.rounding == 0
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert largest_difference(logits_of(theirs.eval(), TOKENS), logits_of(model, TOKENS)) <= 1e-4
    names = set(load_file(tmp_path / "merged" / "model.safetensors"))
    assert not [name for name in names if "lora" in name or "base_layer" in name]


def test_a_module_that_was_trained_whole_is_merged_too(saved: Saved, tmp_path: Path) -> None:
    folder, model = saved("olmo2", "lora", modules_to_save=["lm_head"])
    assert merge_saved_lm(folder, tmp_path / "merged", dtype=torch.float32).difference <= 1e-4
    head = load_file(tmp_path / "merged" / "model.safetensors")["lm_head.weight"]
    assert torch.equal(head, model.base_model.model.lm_head.modules_to_save["default"].weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_is_measured_apart_from_merging(dtype: torch.dtype, saved: Saved, tmp_path: Path) -> None:
    folder, model = saved("llama", "lora")
    merged = merge_saved_lm(folder, tmp_path / "merged", dtype=dtype)
    assert merged.difference <= 1e-4 < merged.rounding < 0.5
    assert {tensor.dtype for tensor in load_file(tmp_path / "merged" / "model.safetensors").values()} == {dtype}
    again = load_saved_lm(copy_tokenizer(folder, tmp_path / "merged"), dtype=torch.float32, device=CPU)
    tokens = probe_tokens(len(again.tokenizer))
    moved = largest_difference(logits_of(again.model, tokens), logits_of(model, tokens))
    assert moved == pytest.approx(merged.rounding, rel=1e-2)


def copy_tokenizer(source: Path, target: Path) -> Path:
    for file in source.glob("*token*"):
        shutil.copy(file, target)
    return target


def test_a_whole_model_is_written_as_it_is(saved: Saved, tmp_path: Path) -> None:
    folder, _ = saved("smollm3", "full")
    assert merge_saved_lm(folder, tmp_path / "copied", dtype=torch.float32).difference == 0
    weights, copied = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "copied"))
    assert set(copied) == set(weights)
    assert all(torch.equal(copied[name], weights[name]) for name in weights)


def test_a_tuned_prompt_cannot_be_merged_and_the_reason_is_told(saved: Saved, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a tuned prompt cannot be merged: it is vectors before the input"):
        merge_saved_lm(saved("llama", "prompt_tuning")[0], tmp_path / "merged", dtype=torch.float32)


def test_a_merge_that_goes_wrong_is_refused(saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft.tuners.lora.layer import Linear

    folder, _ = saved("llama", "lora")
    right = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda layer, adapter: 1.01 * right(layer, adapter))
    with pytest.raises(UserError, match="the merged model is not the model that was trained: its logits differ by"):
        merge_saved_lm(folder, tmp_path / "merged", dtype=torch.float32)
