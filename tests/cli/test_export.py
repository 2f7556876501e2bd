"""`ftkit export` as it is typed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.forge import Forge
from tests.fixtures.tiers import slow

Runs = Callable[..., Path]

CARD = ("README.md", "card.json")
"""What names the folder that a model lies in."""

WITHOUT_PEFT = """
import sys
sys.modules["peft"] = None
from transformers import pipeline
generate = pipeline("text-generation", model=sys.argv[1])
print(generate(sys.argv[2], max_new_tokens=6, do_sample=False, return_full_text=False)[0]["generated_text"], end="")
assert not [name for name in sys.modules if name.startswith("ftkit")]
"""


def test_a_merged_run_is_a_folder_that_a_pipeline_loads_without_peft_and_ftkit(
    ftkit: Any, language_runs: Runs, workplace: Path, forge: Forge
) -> None:
    run = language_runs("completion")
    outcome = ftkit("export", run, "plain", "--merge")
    assert outcome.code == 0, outcome
    assert outcome.out == f"model: {workplace / 'plain'}\n"
    assert "its logits differ from those of base and adapter by" in outcome.err
    files = {path.name for path in (workplace / "plain").iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "prompting.json", "README.md"} <= files
    assert not [name for name in files if "adapter" in name]
    said = ftkit("generate", run, "--prompt", "How far?", "--max-new-tokens", 6).out
    again = ftkit("generate", "plain", "--prompt", "How far?", "--max-new-tokens", 6).out
    assert said == again
    done = forge.run(str(workplace / "plain"), "How far?\n", code=WITHOUT_PEFT, level="transformers", apart=True)
    assert done.code == 0, done.errors()
    assert done.output() + "\n" == said


def test_without_an_out_the_folder_lies_beside_the_run(ftkit: Any, language_runs: Runs, workplace: Path) -> None:
    shutil.copytree(language_runs("text"), workplace / "tune")
    assert ftkit("export", "tune", "--merge").out == f"model: {workplace / 'tune-merged'}\n"
    assert ftkit("export", "tune").out == f"model: {workplace / 'tune-exported'}\n"
    assert {path.name for path in workplace.iterdir()} >= {"tune", "tune-merged", "tune-exported"}
    assert not [path for path in workplace.iterdir() if path.name.startswith(".")]


def test_an_adapter_is_exported_with_its_base_named_and_the_way_to_serve_it(
    ftkit: Any, language_runs: Runs, workplace: Path
) -> None:
    run = language_runs("chat")
    outcome = ftkit("export", run, "adapter")
    base = json.loads((run / "model" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert f"peft loads it with its base, {base}" in outcome.err
    out = workplace / "adapter"
    served = f"--enable-lora --generation-config {out} --chat-template {out}/chat_template.jinja"
    assert f"served: vllm serve {base} {served}" in outcome.err
    assert 'from_pretrained("adapter")' in (out / "README.md").read_text()
    assert {path.name for path in (workplace / "adapter").iterdir()} == {p.name for p in (run / "model").iterdir()}


def test_rounding_is_measured_and_said(ftkit: Any, language_runs: Runs, workplace: Path) -> None:
    from safetensors.torch import load_file

    for run, words in ((language_runs("text"), ("--merge",)), (language_runs("text", "full"), ())):
        outcome = ftkit("export", run, "half", "--dtype", "bfloat16", "--overwrite", *words)
        assert outcome.code == 0, outcome
        assert "rounding to bfloat16 moved the logits by" in outcome.err
        kinds = {str(tensor.dtype) for tensor in load_file(workplace / "half" / "model.safetensors").values()}
        assert kinds == {"torch.bfloat16"}


def test_a_whole_model_is_copied_and_merge_is_said_to_be_idle(ftkit: Any, language_runs: Runs, workplace: Path) -> None:
    run = language_runs("text", "full")
    outcome = ftkit("export", run, "whole", "--merge")
    assert "every weight was trained, so there is nothing to merge" in outcome.err
    for path in (run / "model").iterdir():
        assert path.name in CARD or (workplace / "whole" / path.name).read_bytes() == path.read_bytes()
    card, of_the_run = ((folder / "README.md").read_text() for folder in (workplace / "whole", run / "model"))
    assert card == of_the_run.replace('model="model"', 'model="whole"').replace("serve model", "serve whole")


def test_a_classifier_is_exported_too_its_adapter_merged_with_its_labels(
    ftkit: Any, finished_run: Path, workplace: Path
) -> None:
    for method in ("lora", "full"):
        words = (f"method.type={method}", f"training.output_dir={method}", "training.max_steps=2")
        assert ftkit("train", "recipe.yaml", *words).code == 0
    assert ftkit("export", "lora", "plain", "--merge").code == 0
    said, again = (json.loads(ftkit("predict", name, "--text", "win a prize").out) for name in ("lora", "plain"))
    assert said["scores"] == pytest.approx(again["scores"], abs=1e-5)
    assert not (workplace / "plain" / "adapter_config.json").exists()
    for run, out in ((finished_run, "frozen-out"), ("full", "full-out"), ("lora", "lora-out")):
        assert ftkit("export", run, out).code == 0
        said, again = (json.loads(ftkit("predict", name, "--text", "win a prize").out) for name in (run, out))
        assert said == again


def test_files_get_the_permissions_that_the_umask_asks_for(ftkit: Any, language_runs: Runs, workplace: Path) -> None:
    before = os.umask(0o022)
    try:
        ftkit("export", language_runs("text"), "plain", "--merge")
    finally:
        os.umask(before)
    assert {oct(path.stat().st_mode & 0o777) for path in (workplace / "plain").iterdir()} == {"0o644"}


def test_an_adapter_without_a_tokenizer_is_merged_with_that_of_its_base(
    ftkit: Any, language_runs: Runs, workplace: Path
) -> None:
    shutil.copytree(language_runs("text") / "model", workplace / "bare")
    for file in (workplace / "bare").glob("tokenizer*"):
        file.unlink()
    assert ftkit("export", "bare", "plain", "--merge").code == 0
    words = ("--prompt", "the", "--max-new-tokens", 4)
    assert ftkit("generate", "plain", *words).out == ftkit("generate", language_runs("text"), *words).out


def test_the_end_of_a_turn_ends_what_every_library_writes(ftkit: Any, language_runs: Runs, workplace: Path) -> None:
    shutil.copytree(language_runs("chat"), workplace / "tune")
    file = workplace / "tune" / "model" / "prompting.json"
    template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<|begin_of_text|>\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": template}))
    ftkit("export", "tune", "plain", "--merge")
    assert json.loads((workplace / "plain" / "generation_config.json").read_text())["eos_token_id"] == [0, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "there is neither a run nor a model folder at nowhere"),
        (("{run}", "recipe.yaml", "--merge"), "recipe.yaml is a file; name a new folder"),
        (("{run}", "notes", "--merge", "--overwrite"), "notes is not empty and holds no model, so it is left alone"),
        (("{run}", "taken", "--merge"), "taken exists already; name a new folder, or add --overwrite"),
        (("{run}", "{run}", "--merge", "--overwrite"), "holds what is exported or another run"),
        (("{run}/model", "{run}/model", "--overwrite"), "holds what is exported or another run"),
        (("{run}", "out", "--dtype", "bfloat16"), "--dtype is about a model that is written whole; add --merge"),
        (("{classifier}", "out", "--dtype", "bfloat16"), "--dtype rounds language models and merged ones"),
        (("{prompt}", "out", "--merge"), "a tuned prompt cannot be merged: it is vectors before the input"),
        (("{run}", "out", "--merge", "--dtype", "int8"), "Invalid value"),
    ],
)
def test_what_cannot_be_exported_is_one_message_and_leaves_nothing(
    words: tuple[str, ...], message: str, refused: Any, language_runs: Runs, finished_run: Path, workplace: Path
) -> None:
    (workplace / "notes").mkdir()
    (workplace / "notes" / "mine.txt").write_text("x")
    (workplace / "taken").mkdir()
    (workplace / "taken" / "config.json").write_text("{}")
    before = sorted(path.name for path in workplace.iterdir())
    places = {"run": str(language_runs("text")), "classifier": str(finished_run)}
    if "{prompt}" in words:
        places["prompt"] = str(language_runs("text", "prompt_tuning"))
    assert message in refused("export", *(word.format(**places) for word in words))
    assert sorted(path.name for path in workplace.iterdir()) == before


def test_a_merge_that_goes_wrong_leaves_nothing(
    refused: Any, language_runs: Runs, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.lora.layer import Linear

    right = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda layer, adapter: right(layer, adapter) + 0.1)
    before = sorted(path.name for path in workplace.iterdir())
    message = refused("export", language_runs("text"), "plain", "--merge")
    assert "the merged model is not the model that was trained" in message
    assert sorted(path.name for path in workplace.iterdir()) == before


def test_a_tuned_prompt_is_exported_for_peft(ftkit: Any, language_runs: Runs, workplace: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    outcome = ftkit("export", language_runs("text", "prompt_tuning"), "prompt")
    assert "vllm serves no tuned prompts: peft loads it" in outcome.err
    assert AutoPeftModelForCausalLM.from_pretrained(str(workplace / "prompt")) is not None


@pytest.mark.parametrize("family", [slow("gpt2"), slow("olmo2"), "gemma3", slow("qwen3"), slow("smollm3")])
def test_every_family_is_merged(family: str, ftkit: Any, language_runs: Runs, workplace: Path) -> None:
    run = language_runs("completion", "lora", family)
    assert ftkit("export", run, "plain", "--merge").code == 0
    words = ("--prompt", "How far?", "--max-new-tokens", 5)
    assert ftkit("generate", "plain", *words).out == ftkit("generate", run, *words).out


@pytest.mark.parametrize("family", ["t5", slow("bart")])
def test_a_merged_encoder_decoder_writes_the_same_with_the_settings_of_the_run(
    family: str, ftkit: Any, pair_runs: Runs, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pair_runs("lora", family)
    outcome = ftkit("export", run, "plain", "--merge")
    assert outcome.code == 0, outcome
    assert "its logits differ from those of base and adapter by" in outcome.err
    files = {path.name for path in (workplace / "plain").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "prompting.json", "README.md"} <= files
    assert not [name for name in files if "adapter" in name]
    settings = "generation_config.json"
    assert (workplace / "plain" / settings).read_bytes() == (run / "model" / settings).read_bytes()
    words = ("--file", run.parent / "rows.jsonl")
    said, again = (ftkit("generate", place, *words) for place in (run, "plain"))
    assert said.out == again.out
    assert said.err.splitlines()[0] == again.err.splitlines()[0]
    assert said.out != ftkit("generate", run, "--no-adapter", *words).out

    # the card's lines, which know nothing of peft
    card = (workplace / "plain" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    assert "peft" not in code
    monkeypatch.setitem(sys.modules, "peft", None)
    asked = code.split("tokenizer(")[1].split(", return_tensors")[0]
    written = {row["source"]: row["output"] for row in map(json.loads, predictions_of(run))}
    source = next(iter(written))
    code = code.replace(asked, json.dumps(source))
    lines: list[str] = []
    exec(compile(code, "card", "exec"), {"print": lines.append})
    assert lines == [written[source]]


def predictions_of(run: Path) -> list[str]:
    return (run / "predictions" / "validation.jsonl").read_text().splitlines()


@pytest.mark.slow
def test_what_was_learnt_beside_an_encoder_decoder_is_exported_for_peft_and_never_merged_if_it_is_a_prompt(
    ftkit: Any, refused: Any, pair_runs: Runs, workplace: Path
) -> None:
    for method, family in (("lora", "bart"), ("prompt_tuning", "t5"), ("prefix_tuning", "bart")):
        run = pair_runs(method, family)
        outcome = ftkit("export", run, method)
        assert "an adapter: peft loads it with its base" in outcome.err
        assert "vllm" not in outcome.err, "vLLM serves no encoder-decoders"
        for path in (run / "model").iterdir():
            assert path.name in CARD or (workplace / method / path.name).read_bytes() == path.read_bytes()
        words = ("--prompt", "How far is pier 3?")
        assert ftkit("generate", method, *words).out == ftkit("generate", run, *words).out
    before = sorted(path.name for path in workplace.iterdir())
    assert "a tuned prompt cannot be merged" in refused("export", pair_runs("prompt_tuning", "t5"), "out", "--merge")
    assert "a tuned prefix cannot be merged" in refused("export", pair_runs("prefix_tuning", "bart"), "out", "--merge")
    assert sorted(path.name for path in workplace.iterdir()) == before


def test_a_whole_encoder_decoder_is_rounded_and_keeps_its_settings(
    ftkit: Any, pair_runs: Runs, workplace: Path
) -> None:
    from safetensors.torch import load_file

    run = pair_runs("full", "t5")
    outcome = ftkit("export", run, "half", "--dtype", "bfloat16")
    assert "rounding to bfloat16 moved the logits by" in outcome.err
    kinds = {str(tensor.dtype) for tensor in load_file(workplace / "half" / "model.safetensors").values()}
    assert kinds == {"torch.bfloat16"}
    assert json.loads((workplace / "half" / "generation_config.json").read_text())["max_new_tokens"] == 7
    assert ftkit("generate", "half", "--prompt", "How far is pier 3?").code == 0
