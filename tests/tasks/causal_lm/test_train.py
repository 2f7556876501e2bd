"""Language models: what moves, what stays, that batches do not change what is learnt, and that figures are true."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ftkit.errors import UserError
from ftkit.models.builtin.builtin import resolve
from ftkit.progress import Silent
from ftkit.training.outcome import TrainResult
from tests.fixtures.forge import Forge
from tests.fixtures.tiers import slow, slow_but

DECODERS = ["gpt2", "olmo2", "llama", "gemma3", "qwen3", "smollm3"]
SHORT = {
    "training__max_steps": 4,
    "training__learning_rate": 5e-3,
    "training__eval_strategy": "steps",
    "training__eval_steps": 2,
    "training__load_best_model_at_end": "false",
}
WHOLE_SET = {
    "training__per_device_train_batch_size": 64,
    "training__max_steps": 2,
    "training__eval_strategy": "steps",
    "training__eval_steps": 2,
    "training__warmup_steps": 0,
    "training__learning_rate": 0.1,
    # Adam would make whole steps of gradients that are rounding errors
    "training__optim": "sgd",
    "method__type": "full",
}
"""Every step sees all rows, so that their order in it is all that batching can change."""

RELOAD = """
import json, math, sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
for run in map(Path, sys.argv[1:]):
    model = AutoModelForCausalLM.from_pretrained(run / "model", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    worst = 0.0
    for line in (run / "predictions" / "validation.jsonl").read_text().splitlines():
        row = json.loads(line)
        prompt = tokenizer(row["prompt"])["input_ids"]
        whole = tokenizer(row["prompt"] + row["completion"])["input_ids"]
        whole = whole + [tokenizer.eos_token_id]
        labels = [-100] * len(prompt) + whole[len(prompt):]
        with torch.no_grad():
            loss = model(torch.tensor([whole]), labels=torch.tensor([labels])).loss.item()
        worst = max(worst, abs(loss - row["loss"]))
    prompt = tokenizer(row["prompt"], return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=4, do_sample=False)
    print(json.dumps({"run": str(run), "worst": worst, "written": written.shape[1] - prompt["input_ids"].shape[1]}))
"""


@pytest.mark.parametrize(
    ("full", "lora"),
    [(["gemma3"], ["gpt2", "llama"]), slow(DECODERS[::2], DECODERS[1::2]), slow(DECODERS[1::2], DECODERS[::2])],
    ids=["few", "some", "others"],
)
def test_every_family_reloads_by_transformers_alone_in_a_fresh_process_with_the_losses_that_were_written(
    full: list[str], lora: list[str], lm_runs: Callable[..., TrainResult], forge: Forge
) -> None:
    chosen = [*((family, "full") for family in full), *((family, "lora") for family in lora)]
    runs = [
        lm_runs(model__name_or_path=f"builtin:tiny-{family}", method__type=method, **SHORT).run
        for family, method in chosen
    ]
    answer = forge.run(*(str(run.path) for run in runs), code=RELOAD, level="libraries", apart=True)
    assert answer.code == 0, answer.errors()
    seen = [json.loads(line) for line in answer.output().splitlines()]
    assert [Path(line["run"]).name for line in seen] == [run.path.name for run in runs]
    assert {line["run"]: line["worst"] for line in seen if line["worst"] > 2e-5} == {}
    assert all(line["written"] >= 1 for line in seen)


@pytest.mark.parametrize("family", ["gpt2", slow("gemma3")])
def test_prompt_tuning_trains_the_prompt_alone_and_lowers_the_loss(
    family: str, train_lm: Callable[..., TrainResult]
) -> None:
    settings = SHORT | {"training__max_steps": 30, "training__eval_steps": 15, "training__learning_rate": 0.1}
    result = train_lm(
        model__name_or_path=f"builtin:tiny-{family}",
        method__type="prompt_tuning",
        method__num_virtual_tokens=4,
        **settings,
    )
    saved = load_file(result.run.model_dir / "adapter_model.safetensors")
    assert sum(tensor.numel() for tensor in saved.values()) == 4 * 32
    assert result.facts["trained_parameters"] == 4 * 32
    assert result.metrics["validation"]["loss"]["value"] < result.metrics["base_validation"]["loss"]["value"]


def test_lora_leaves_the_base_bit_for_bit_as_it_was_and_moves_every_adapter(
    train_lm: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftkit.tasks.causal_lm import train as causal_lm

    trained = {}
    save = causal_lm.save_language_model

    def keep(model: torch.nn.Module, *args: object, **kwargs: object) -> None:
        trained.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
        save(model, *args, **kwargs)

    monkeypatch.setattr(causal_lm, "save_language_model", keep)
    train_lm(model__name_or_path="builtin:tiny-gpt2", **SHORT)
    base = load_file(Path(resolve("builtin:tiny-gpt2")) / "model.safetensors")
    kept = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): tensor for name, tensor in trained.items()
    }
    assert all(torch.equal(kept[name], tensor) for name, tensor in base.items())
    adapters = {name: tensor for name, tensor in trained.items() if "lora_B" in name}
    # attention and its projection, and the two layers of the feed-forward part, in two blocks
    assert len(adapters) == 2 * 4
    assert all(bool((tensor != 0).any()) for tensor in adapters.values())


@pytest.mark.parametrize("family", ["llama", slow("olmo2")])
def test_one_batch_of_eight_gives_the_weights_of_eight_batches_of_one(
    family: str, train_lm: Callable[..., TrainResult]
) -> None:
    settings = WHOLE_SET | {"model__name_or_path": f"builtin:tiny-{family}", "data__max_train_samples": 8}
    one = train_lm("one", **settings).run
    parts = {"training__per_device_train_batch_size": 1, "training__gradient_accumulation_steps": 8}
    eight = train_lm("eight", **(settings | parts)).run
    first, second = (load_file(run.model_dir / "model.safetensors") for run in (one, eight))
    for name, weight in first.items():
        torch.testing.assert_close(weight, second[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "family",
    # the one with windows and soft caps every time, the others in the slow tier
    slow_but(["gemma3"], ["llama", "gemma3", "olmo2", "qwen3", "smollm3"]),
)
def test_packing_padding_and_batches_counted_in_tokens_learn_the_same(
    family: str, train_lm: Callable[..., TrainResult]
) -> None:
    settings = WHOLE_SET | {"model__name_or_path": f"builtin:tiny-{family}"}
    packed = train_lm("packed", **settings, data__packing="true").run
    base = load_file(Path(resolve(f"builtin:tiny-{family}")) / "model.safetensors")
    weights = load_file(packed.model_dir / "model.safetensors")
    assert any(not torch.allclose(base[name], weights[name]) for name in weights if name in base)
    by_tokens = {"training__max_tokens_per_batch": 100_000, "training__per_device_train_batch_size": 8}
    others = {
        "padded": settings | {"data__packing": "false"},
        "eager": settings | {"model__attn_implementation": "eager"},
        "tokens": settings | by_tokens,
    }
    for name, changed in others.items():
        other = load_file(train_lm(name, **changed).run.model_dir / "model.safetensors")
        for key, weight in weights.items():
            torch.testing.assert_close(weight, other[key], rtol=0, atol=2e-5, msg=f"{name}: {key}")


@pytest.mark.parametrize("data", ["plain", "texts"])
def test_the_perplexity_and_the_bits_per_byte_are_those_of_a_few_independent_lines(
    data: str, train_lm: Callable[..., TrainResult], texts: dict[str, Path]
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    result = train_lm(data=data, data__validation_file=texts[data], data__max_length=128, method__type="full", **SHORT)
    folder = result.run.model_dir
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    content = texts[data].read_text()
    documents = [content] if data == "plain" else [json.loads(line)["text"] for line in content.splitlines()]
    total = text_total = tokens = size = 0.0
    for document in documents:
        ids = [*tokenizer(document)["input_ids"], tokenizer.eos_token_id]
        for start in range(0, len(ids) - 1, 127):
            piece = torch.tensor(ids[start : start + 128])
            with torch.no_grad():
                losses = model(piece[None]).logits[0, :-1].log_softmax(-1).gather(1, piece[1:, None])[:, 0].neg()
            total += losses.sum().item()
            tokens += len(losses)
            text_total += losses[piece[1:] != tokenizer.eos_token_id].sum().item()
        size += len(document.encode())
    measured = result.metrics["validation"]
    assert measured["perplexity"]["value"] == pytest.approx(math.exp(total / tokens), rel=1e-4)
    assert measured["bits_per_byte"]["value"] == pytest.approx(text_total / math.log(2) / size, rel=1e-4)


def test_the_perplexity_of_windows_that_advance_by_a_stride_is_that_of_the_usual_loop_over_them(
    train_lm: Callable[..., TrainResult], texts: dict[str, Path]
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with pytest.raises(UserError, match=r"evaluation\.stride is for texts"):
        train_lm(data="pairs", evaluation__stride=5, **SHORT)
    max_length, stride = 16, 5
    windows = {"data__max_length": max_length, "evaluation__stride": stride}
    result = train_lm(data="plain", data__validation_file=texts["plain"], method__type="full", **windows, **SHORT)
    model = AutoModelForCausalLM.from_pretrained(result.run.model_dir, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(result.run.model_dir)
    ids = torch.tensor([[*tokenizer(texts["plain"].read_text())["input_ids"], tokenizer.eos_token_id]])
    nll, num_targets, scored = 0.0, 0, 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + max_length, ids.shape[1])
        labels = ids[:, begin:end].clone()
        labels[:, : scored - end] = -100
        counted = int((labels[:, 1:] != -100).sum())
        with torch.no_grad():
            nll += model(ids[:, begin:end], labels=labels).loss.item() * counted
        num_targets, scored = num_targets + counted, end
        if end == ids.shape[1]:
            break
    measured = result.metrics["validation"]
    assert num_targets == ids.shape[1] - 1
    assert measured["loss"]["value"] == pytest.approx(nll / num_targets, abs=1e-5)
    assert measured["perplexity"]["value"] == pytest.approx(math.exp(nll / num_targets), rel=1e-5)
    assert "in windows of 16 tokens that advance by 5" in (result.run.model_dir / "README.md").read_text()


@pytest.mark.parametrize(
    "settings",
    [
        slow({"method__type": "full"}),
        slow({"method__type": "lora", "method__lora_dropout": 0.1}),
        slow({"method__type": "lora", "method__lora_plus_ratio": 8}),
        slow({"method__type": "prompt_tuning"}),
        {
            "method__type": "lora",
            "method__lora_dropout": 0.1,
            "training__max_tokens_per_batch": 200,
            "training__gradient_accumulation_steps": 2,
        },
        {"method__type": "full", "training__gradient_checkpointing": "true", "data__packing": "false"},
    ],
    ids=lambda settings: " ".join(str(value) for value in settings.values()),
)
def test_a_run_resumed_in_a_later_epoch_ends_with_the_same_bytes(
    settings: dict[str, object], train_lm: Callable[..., TrainResult]
) -> None:
    settings = SHORT | {"training__max_steps": 12, "training__eval_steps": 4, "training__logging_steps": 4} | settings
    run = train_lm(**settings).run
    weights = next(run.model_dir.glob("*model.safetensors"))
    whole, history = weights.read_bytes(), run.history_file.read_text()
    (run.checkpoints_dir / "checkpoint-12" / "optimizer.pt").write_bytes(b"cut short")
    run.update_manifest(state="failed")
    weights.unlink()
    resumed = train_lm(resume=True, **settings).run
    assert weights.read_bytes() == whole
    assert resumed.history_file.read_text() == history


def test_a_loss_that_is_not_finite_stops_the_run_and_nothing_is_saved(
    train_lm: Callable[..., TrainResult], tmp_path: Path
) -> None:
    wild = SHORT | {"training__learning_rate": 1e30, "training__warmup_steps": 0, "training__eval_steps": 4}
    with pytest.raises(UserError, match=r"(loss is (nan|inf)|gradient of .* is not finite).* at step [234]"):
        train_lm(method__type="full", **wild)
    assert not (tmp_path / "run" / "model").exists()
    assert list((tmp_path / "run" / "checkpoints").glob("*")) == []


def test_adapters_that_nothing_moves_stop_the_run_and_are_named(train_lm: Callable[..., TrainResult]) -> None:
    # a rate below the smallest float32 is zero to the weights
    with pytest.raises(UserError, match=r"after 2 steps 14 adapters are exactly where they began: .*lora_B"):
        train_lm(**(SHORT | {"training__learning_rate": 1e-60}))


def test_a_completion_that_is_cut_off_is_counted_and_none_left_is_refused(train_lm: Callable[..., TrainResult]) -> None:
    reporter = Silent()
    train_lm(data__max_length=24, reporter=reporter, **SHORT)
    said = "\n".join(reporter.messages)
    assert "were cut; data.max_length: " in said
    with pytest.raises(UserError, match="is left to learn"):
        train_lm("none", data__max_length=8, **SHORT)


def test_a_prompt_takes_its_positions_from_the_examples(train_lm: Callable[..., TrainResult]) -> None:
    tuned = {
        "method__type": "prompt_tuning",
        "method__num_virtual_tokens": 24,
        "model__name_or_path": "builtin:tiny-gpt2",
    }
    # this model has 1,024 positions, each with an embedding of its own
    assert train_lm(**tuned, **SHORT).facts["max_length"] == 1024 - 24
    with pytest.raises(UserError, match="at most 1000"):
        train_lm("more", **tuned, **SHORT, data__max_length=1001)


@pytest.mark.parametrize("start", [slow("gaussian"), slow("orthogonal"), "pissa"])
def test_adapters_of_every_start_train_and_reload_with_the_losses_that_were_measured(
    start: str, train_lm: Callable[..., TrainResult]
) -> None:
    reporter = Silent()
    result = train_lm(method__init_lora_weights=start, model__dtype="auto", reporter=reporter, **SHORT)
    # what was measured is what was read back; the last validation of the training itself must say the same
    history = [json.loads(line) for line in result.run.history_file.read_text().splitlines()]
    last = [line["validation_loss"] for line in history if "validation_loss" in line][-1]
    assert result.metrics["validation"]["loss"]["value"] == pytest.approx(
        last, rel=2e-3 if start == "gaussian" else 1e-5
    )


def test_chats_train_and_the_template_is_kept_beside_the_model(train_lm: Callable[..., TrainResult]) -> None:
    run = train_lm(data="chats", data__chat_template="plain", **SHORT).run
    assert json.loads((run.model_dir / "prompting.json").read_text())["kind"] == "chat"
    from transformers import AutoTokenizer

    text = AutoTokenizer.from_pretrained(run.model_dir).apply_chat_template(
        [{"role": "user", "content": "What of the ship?"}], tokenize=False, add_generation_prompt=True
    )
    assert "What of the ship?" in text


@pytest.mark.parametrize("method", ["full", "lora", slow("prompt_tuning")])
def test_a_finetuned_chat_model_stops_at_the_end_of_a_turn_for_whoever_loads_it(
    method: str, train_lm: Callable[..., TrainResult], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, GenerationConfig

    # a base whose own documents end in another token than turns do
    base = Path(shutil.copytree(resolve("builtin:tiny-qwen3"), tmp_path / "base"))
    for name, key, value in (
        ("tokenizer_config", "eos_token", "<|endoftext|>"),
        ("generation_config", "eos_token_id", 0),
    ):
        file = base / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    run = train_lm(data="chats", model__name_or_path=base, method__type=method, **SHORT).run
    tokenizer = AutoTokenizer.from_pretrained(run.model_dir)
    ends = GenerationConfig.from_pretrained(run.model_dir).eos_token_id
    assert ends == tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])


UNTRAINED: dict[str, Callable[[Any], Any]] = {
    "it is next to zero": lambda head: head[2] * 1e-6,
    "token 7 has the same one": lambda head: head[7],
    "it is the mean of all rows": lambda head: head.mean(dim=0),
}


@pytest.mark.parametrize(
    ("how", "method", "family", "remedy"),
    [
        *((how, "lora", "qwen3", "method.type: full") for how in UNTRAINED),
        ("it is next to zero", "lora", "olmo2", r"modules_to_save: \[lm_head\]"),
        ("it is next to zero", "prompt_tuning", "qwen3", "method.type: full"),
        ("it is next to zero", "ia3", "olmo2", "method.type: full"),
    ],
)
def test_an_end_that_the_base_never_learnt_is_refused_where_its_row_is_not_trained(
    how: str, method: str, family: str, remedy: str, train_lm: Callable[..., TrainResult], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = Path(shutil.copytree(resolve(f"builtin:tiny-{family}"), tmp_path / "base"))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    end = 2 if family == "qwen3" else tokenizer.eos_token_id
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head[end] = UNTRAINED[how](head)
    model.save_pretrained(base)
    said = rf"{re.escape(tokenizer.decode(end))} is to be learnt, .* never trained \({how}\).*{remedy}"
    data = "chats" if family == "qwen3" else "pairs"
    with pytest.raises(UserError, match=said):
        train_lm(data=data, model__name_or_path=base, method__type=method, **SHORT)
    if method == "lora" and family == "olmo2":
        settings = SHORT | {"method__modules_to_save": "[lm_head]", "training__output_dir": tmp_path / "whole"}
        assert train_lm(data=data, model__name_or_path=base, method__type=method, **settings).run.model_dir.is_dir()


@pytest.mark.slow
def test_a_model_learns_to_stop_although_it_pads_with_its_end_token(train_lm: Callable[..., TrainResult]) -> None:
    settings = SHORT | {"training__max_steps": 120, "training__eval_steps": 60, "training__learning_rate": 1e-2}
    run = train_lm(method__type="full", data__packing="false", model__name_or_path="builtin:tiny-gpt2", **settings).run
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(run.model_dir, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(run.model_dir)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    prompt = tokenizer("What of the ship?\n", return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=100, do_sample=False)[0]
    assert len(written) < 100
    assert written[-1] == tokenizer.eos_token_id


def test_a_length_that_the_model_cannot_take_is_never_advised(
    train_lm: Callable[..., TrainResult], tmp_path: Path
) -> None:
    long = tmp_path / "long.jsonl"
    rows = [{"prompt": f"{row} " + "so it went on " * 500, "completion": "and on " * 100} for row in range(4)]
    long.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reporter = Silent()
    with pytest.raises(UserError, match="is left to learn"):
        train_lm(data__train_file=long, model__name_or_path="builtin:tiny-gpt2", reporter=reporter, **SHORT)
    rows = [row | {"prompt": f"{row['prompt'][:40]}"} for row in rows]
    long.write_text("".join(json.dumps(row | {"completion": "and on " * 800}) + "\n" for row in rows))
    train_lm("cut", data__train_file=long, model__name_or_path="builtin:tiny-gpt2", reporter=reporter, **SHORT)
    assert "and the model has positions for 1024" in "\n".join(reporter.messages)


def test_weights_that_are_cut_short_are_one_message_before_anything_is_made(
    train_lm: Callable[..., TrainResult], tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(resolve("builtin:tiny-llama"), base)
    with (base / "model.safetensors").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(UserError, match="the weights are damaged"):
        train_lm(model__name_or_path=base, **SHORT)
    assert not (tmp_path / "run").exists()


def test_a_base_that_does_not_fit_costs_no_run(train_lm: Callable[..., TrainResult], tmp_path: Path) -> None:
    kept = train_lm(**SHORT).run.model_dir / "adapter_model.safetensors"
    for wrong in ({"model__name_or_path": "builtin:tiny-bert"}, {"data__max_length": 5000}):
        with pytest.raises(UserError, match=r"is an encoder|has positions for"):
            train_lm(overwrite=True, **SHORT, **wrong)
    assert kept.is_file()


def test_every_evaluation_says_the_losses_and_a_run_that_harms_is_called_so(
    train_lm: Callable[..., TrainResult],
) -> None:
    reporter = Silent()
    wild = SHORT | {"training__learning_rate": 10, "training__warmup_steps": 0, "training__logging_steps": 1}
    train_lm(method__type="full", reporter=reporter, **wild)
    said = "\n".join(reporter.messages)
    assert "step 2: validation loss " in said
    assert ", training loss " in said
    assert "no better than the base's: lower training.learning_rate" in said


def test_a_run_that_is_all_warm_up_is_called_so(train_lm: Callable[..., TrainResult]) -> None:
    reporter = Silent()
    train_lm(reporter=reporter, **(SHORT | {"training__max_steps": 2, "training__warmup_steps": 2}))
    assert "all 2 steps were warm-up" in "\n".join(reporter.messages)
