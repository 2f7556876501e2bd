"""IA3: the right layers of every family, nothing changed at first, and runs that resume, reload and merge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

from ftkit.commands.export import export
from ftkit.commands.train import train
from ftkit.errors import UserError
from ftkit.methods.ia3 import Ia3Method, scaled_layers
from ftkit.models.builtin.builtin import TINY_MODELS, resolve
from ftkit.models.classifier import load_classifier
from ftkit.models.saved_lm import load_saved_lm
from ftkit.training.outcome import TrainResult

STEPS, HALF = 4, 2
LEARNT = {
    "classification": (
        "tiny-gpt2",
        "text,label\n" + "".join(f"a {n} ship,{'no' if n % 2 else 'yes'}\n" for n in range(24)),
    ),
    "causal_lm": ("tiny-llama", "text\n" + "".join(f"the {n} ships lie at the pier\n" for n in range(24))),
    "seq2seq": ("tiny-t5", "source,target\n" + "".join(f"the {n} ships,lie at {n}\n" for n in range(24))),
}
"""Task -> a tiny base and rows to learn."""


@pytest.fixture(scope="session", params=list(LEARNT))
def adapted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, TrainResult]:
    """A task, the recipe of a run with a checkpoint halfway, and the run."""
    folder = tmp_path_factory.mktemp(request.param)
    base, rows = LEARNT[request.param]
    (folder / "rows.csv").write_text(rows)
    recipe = folder / "ia3.yaml"
    recipe.write_text(
        f"task: {request.param}\nmodel: {{name_or_path: 'builtin:{base}', dtype: float32}}\nmethod: {{type: ia3}}\n"
        f"data: {{train_file: rows.csv, max_length: 16}}\nevaluation: {{num_resamples: 100}}\n"
        f"training: {{output_dir: run, max_steps: {STEPS}, eval_strategy: steps, eval_steps: {HALF}, use_cpu: true,\n"
        "  per_device_train_batch_size: 4, learning_rate: 0.05, bf16: false, load_best_model_at_end: false}\n"
    )
    return request.param, recipe, train(recipe)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_factors_are_all_that_is_trained_and_each_has_moved(adapted: tuple[str, Path, TrainResult]) -> None:
    task, _, result = adapted
    factors = {name: value for name, value in weights(result.run.model_dir).items() if "ia3_l" in name}
    assert factors
    assert all(bool((value != 1).any()) for value in factors.values())
    others = weights(result.run.model_dir).keys() - factors.keys()
    assert all("score" in name for name in others) if task == "classification" else not others


def test_a_run_that_goes_on_from_halfway_ends_in_the_same_bits(adapted: tuple[str, Path, TrainResult]) -> None:
    _, recipe, result = adapted
    expected = weights(result.run.model_dir)
    copy = recipe.parent / "again"
    shutil.copytree(result.run.path, copy)
    again = train(recipe, ["training.output_dir=" + str(copy)], resume=copy / "checkpoints" / f"checkpoint-{HALF}")
    found = weights(again.run.model_dir)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_merged_it_is_one_plain_model_with_the_same_logits(adapted: tuple[str, Path, TrainResult]) -> None:
    task, recipe, result = adapted
    merged = export(result.run.path, recipe.parent / "merged", merge=True).folder
    assert not (merged / "adapter_config.json").exists()
    tokens, cpu = torch.arange(5, 17)[None], torch.device("cpu")
    if task == "classification":
        both = [load_classifier(folder, device=cpu).module.model for folder in (result.run.model_dir, merged)]
    else:
        both = [
            load_saved_lm(folder, dtype=torch.float32, device=cpu).model for folder in (result.run.model_dir, merged)
        ]
    inputs = {"input_ids": tokens} | ({"decoder_input_ids": tokens} if task == "seq2seq" else {})
    with torch.inference_mode():
        one, other = (model(**inputs).logits for model in both)
    assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("family", TINY_MODELS)
def test_keys_values_and_the_second_half_of_feed_forwards_are_found_in_every_family(family: str) -> None:
    config = AutoConfig.from_pretrained(resolve(f"builtin:tiny-{family}"))
    kinds = (AutoModelForSeq2SeqLM, AutoModelForCausalLM, AutoModelForSequenceClassification)
    kind = next(kind for kind in kinds if type(config) in kind._model_mapping)
    with torch.device("meta"):
        model = kind.from_config(config)
    chosen = scaled_layers(model, Ia3Method(type="ia3"), without=["lm_head", "classifier", "generator_predictions"])
    layers = config.num_hidden_layers + getattr(config, "num_decoder_layers", getattr(config, "decoder_layers", 0))
    layers = 1 if family == "albert" else layers
    assert len(chosen.feed_forward) == layers
    assert not any("attention.output" in name or "o_proj" in name for name in chosen.layers)
    assert len(chosen.layers) - len(chosen.feed_forward) >= layers


def test_names_that_fit_nothing_are_refused_with_those_that_there_are() -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(resolve("builtin:tiny-llama")))
    with pytest.raises(UserError, match="no q_prj"):
        scaled_layers(model, Ia3Method(type="ia3", target_modules=["q_prj"]), without=[])
    named = Ia3Method(type="ia3", target_modules=["v_proj", "down_proj"], feedforward_modules=["down_proj"])
    chosen = scaled_layers(model, named, without=[])
    assert {name.rpartition(".")[2] for name in chosen.feed_forward} == {"down_proj"}
    assert len(chosen.layers) == 2 * len(chosen.feed_forward)


def test_the_folder_says_what_it_is_the_same_way_in_every_process(adapted: tuple[str, Path, TrainResult]) -> None:
    settings = json.loads((adapted[2].run.model_dir / "adapter_config.json").read_text())
    assert settings["peft_type"] == "IA3"
    assert settings["target_modules"] == sorted(settings["target_modules"])
    assert set(settings["feedforward_modules"]) <= set(settings["target_modules"])


def test_a_card_whose_values_are_not_known_is_not_shortened_without_a_word(
    adapted: tuple[str, Path, TrainResult],
) -> None:
    task, recipe, result = adapted
    bare = recipe.parent / "bare"
    shutil.copytree(result.run.model_dir, bare)
    (bare / "card.json").unlink()
    said = export(bare, recipe.parent / "bare-merged", merge=True).notes
    assert any("has no card.json beside it" in note for note in said), task
