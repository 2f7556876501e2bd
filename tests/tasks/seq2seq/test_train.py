"""Encoder-decoders: what moves, what stays, that batches do not change what is learnt, and that others load it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ftkit.data.dataset import Split
from ftkit.errors import UserError
from ftkit.inputs.pairs import tokenize_pairs
from ftkit.models.builtin.builtin import resolve
from ftkit.models.checkpoint import Checkpoint
from ftkit.progress import Silent
from ftkit.tasks.table import read_recipe
from ftkit.training.outcome import TrainResult
from tests.fixtures.forge import Forge
from tests.fixtures.tiers import slow, slow_but

Train = Callable[..., TrainResult]

FAMILIES = ("t5", "bart")
METHODS = ("full", "lora", "prompt_tuning", "prefix_tuning")
WHOLE_SET = {
    "training__per_device_train_batch_size": 32,
    "training__max_steps": 2,
    "training__learning_rate": 0.5,
    "training__max_grad_norm": 0,
    # Adam would make whole steps of gradients that are rounding errors
    "training__optim": "sgd",
    "training__lr_scheduler_type": "constant",
    "generation__max_new_tokens": 1,
    "evaluation__score_base": "false",
}
"""Every step sees all rows, so that their order in it is all that batching can change."""

RELOAD = """
import json, sys
from pathlib import Path
import torch
from peft import AutoPeftModelForSeq2SeqLM
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig
for run in map(Path, sys.argv[1:]):
    folder = run / "model"
    whole = (folder / "config.json").exists()
    load = AutoModelForSeq2SeqLM if whole else AutoPeftModelForSeq2SeqLM
    model = load.from_pretrained(str(folder), dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not whole:
        model.get_base_model().generation_config = GenerationConfig.from_pretrained(folder)
    worst, outputs = 0.0, []
    for line in (run / "predictions" / "validation.jsonl").read_text().splitlines():
        row = json.loads(line)
        inputs = tokenizer(row["source"], return_tensors="pt")
        labels = tokenizer(text_target=row["references"][0], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            worst = max(worst, abs(model(**inputs, labels=labels).loss.item() - row["loss"]))
        output = model.generate(**inputs)
        outputs.append(tokenizer.decode(output[0], skip_special_tokens=True))
    print(json.dumps({"run": run.name, "worst": worst, "outputs": outputs}))
assert not [name for name in sys.modules if name.startswith("ftkit")]
"""


def predictions(result: TrainResult, split: str = "validation") -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.run.predictions_file(split).read_text().splitlines()]


def without_dropout(family: str, folder: Path) -> Path:
    shutil.copytree(resolve(f"builtin:tiny-{family}"), folder)
    config = json.loads((folder / "config.json").read_text())
    none = {"dropout_rate": 0.0} if family == "t5" else {"dropout": 0.0, "attention_dropout": 0.0}
    assert none.keys() <= config.keys()
    (folder / "config.json").write_text(json.dumps(config | none))
    return folder


@pytest.mark.parametrize(
    "chosen", [[("t5", "lora"), ("bart", "prefix_tuning")], slow(list(product(FAMILIES, METHODS)))], ids=["two", "all"]
)
def test_every_family_and_method_reloads_without_ftkit_in_a_fresh_process_with_its_outputs_and_losses(
    chosen: list[tuple[str, str]], pair_runs: Train, forge: Forge
) -> None:
    results = [pair_runs(family, method) for family, method in chosen]
    paths = [str(result.run.path) for result in results]
    answer = forge.run(*paths, code=RELOAD, level="libraries", apart=True)
    assert answer.code == 0, answer.errors()
    seen = [json.loads(line) for line in answer.output().splitlines()]
    assert [line["run"] for line in seen] == [Path(path).name for path in paths]
    assert {line["run"]: line["worst"] for line in seen if not line["worst"] <= 2e-5} == {}
    for line, result in zip(seen, results, strict=True):
        rows = predictions(result)
        assert line["outputs"] == [row["output"] for row in rows], line["run"]
        # else the base alone would pass
        assert any(row["output"] != row["base_output"] for row in rows), line["run"]
        assert any(abs(row["loss"] - row["base_loss"]) > 1e-2 for row in rows), line["run"]


@pytest.mark.parametrize("family", slow_but(["t5"], FAMILIES))
def test_lora_prompt_and_prefix_leave_the_base_bit_for_bit_as_its_file_has_it(family: str, pair_runs: Train) -> None:
    from ftkit.models.saved_lm import load_saved_lm
    from ftkit.models.seq2seq import hash_of_frozen

    file = load_file(Path(resolve(f"builtin:tiny-{family}")) / "model.safetensors")
    for method in METHODS[1:]:
        result = pair_runs(family, method)
        learnt = load_file(result.run.model_dir / "adapter_model.safetensors")
        saved = load_saved_lm(result.run.model_dir, dtype=torch.float32, device=torch.device("cpu"))
        outer = "base_model.model." if method == "lora" else "base_model."
        base = {}
        for name, parameter in saved.model.named_parameters():
            is_learnt = "lora_" in name or "prompt_encoder" in name
            parameter.requires_grad_(is_learnt)
            if not is_learnt:
                base[name.removeprefix(outer).replace(".base_layer", "")] = parameter
        assert base.keys() <= file.keys()
        assert all(torch.equal(parameter, file[name]) for name, parameter in base.items())
        # the hash of what lay under the adapter when the training was over
        assert result.run.manifest()["training"]["base_sha256"] == hash_of_frozen(saved.model)
        assert result.facts["trained_parameters"] == sum(tensor.numel() for tensor in learnt.values())


@pytest.mark.parametrize("family", slow_but(["t5"], FAMILIES))
def test_a_tuned_prompt_is_a_file_of_a_few_kilobytes_and_nothing_else(family: str, pair_runs: Train) -> None:
    run = pair_runs(family, "prompt_tuning").run
    weights = load_file(run.model_dir / "adapter_model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == {"prompt_embeddings": (4, 32)}
    assert (run.model_dir / "adapter_model.safetensors").stat().st_size < 4 * 32 * 4 + 200
    assert not (run.model_dir / "config.json").exists()


@pytest.mark.parametrize("family", slow_but(["t5"], FAMILIES))
def test_one_batch_of_all_eight_of_four_and_batches_counted_in_tokens_learn_the_same(
    family: str, train_pairs: Train, tmp_path: Path
) -> None:
    settings = WHOLE_SET | {"model__name_or_path": without_dropout(family, tmp_path / "base")}
    whole = load_file(train_pairs("whole", **settings).run.model_dir / "model.safetensors")
    base = load_file(tmp_path / "base" / "model.safetensors")
    assert max(float((whole[name] - base[name]).abs().max()) for name in base) > 1e-2
    others = {
        "parts": {"training__per_device_train_batch_size": 4, "training__gradient_accumulation_steps": 8},
        "tokens": {"training__max_tokens_per_batch": 100_000, "training__per_device_train_batch_size": None},
    }
    for name, changed in others.items():
        other = load_file(train_pairs(name, **(settings | changed)).run.model_dir / "model.safetensors")
        for key, weight in whole.items():
            torch.testing.assert_close(weight, other[key], rtol=0, atol=1e-5, msg=f"{name}: {key}")


@pytest.mark.parametrize(
    "settings",
    [
        slow({"family": "t5", "method__type": "full"}),
        slow({"family": "bart", "method__type": "full", "training__gradient_checkpointing": "true"}),
        slow({"family": "t5", "method__type": "lora", "method__lora_dropout": 0.1}),
        {"family": "t5", "method__type": "prompt_tuning", "training__load_best_model_at_end": "true"},
        slow({"family": "bart", "method__type": "prefix_tuning"}),
        {
            "family": "t5",
            "method__type": "lora",
            "training__max_tokens_per_batch": 400,
            "training__gradient_accumulation_steps": 2,
        },
    ],
    ids=lambda settings: " ".join(str(value) for value in settings.values()),
)
def test_a_run_resumed_in_a_later_epoch_ends_with_the_same_bytes(settings: dict[str, Any], train_pairs: Train) -> None:
    settings = {
        "training__max_steps": 6,
        "training__eval_steps": 3,
        "training__logging_steps": 3,
        "training__learning_rate": 1e-2,
        "generation__max_new_tokens": 2,
        "evaluation__score_base": "false",
    } | settings
    run = train_pairs(**settings).run
    weights = next(run.model_dir.glob("*model.safetensors"))
    whole, history, metrics = weights.read_bytes(), run.history_file.read_text(), run.metrics_file.read_text()
    assert json.loads(history.splitlines()[1])["epoch"] > 1, "the step that is gone on from lies in a later epoch"
    (run.checkpoints_dir / "checkpoint-6" / "optimizer.pt").write_bytes(b"cut short")
    run.update_manifest(state="failed")
    weights.unlink()
    resumed = train_pairs(resume=True, **settings).run
    assert weights.read_bytes() == whole
    assert resumed.history_file.read_text() == history
    assert resumed.metrics_file.read_text() == metrics


def test_a_loss_that_is_not_finite_stops_the_run_and_nothing_is_saved(train_pairs: Train, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(loss is (nan|inf)|gradient of .* is not finite).* at step [234]"):
        train_pairs(family="bart", training__learning_rate=1e30, training__eval_steps=4)
    assert not (tmp_path / "run" / "model").exists()
    assert list((tmp_path / "run" / "checkpoints").glob("*")) == []


@pytest.mark.parametrize(("method", "adapters"), [("prompt_tuning", 1), ("prefix_tuning", 1), ("lora", 32)])
def test_adapters_that_nothing_moves_stop_the_run_and_are_named(method: str, adapters: int, train_pairs: Train) -> None:
    # a rate below the smallest float32 is zero to the weights
    names = "lora_B" if method == "lora" else "prompt_encoder.embedding"
    with pytest.raises(UserError, match=f"after 2 steps {adapters} adapters are exactly where they began: .*{names}"):
        train_pairs(method__type=method, training__learning_rate=1e-60)


@pytest.mark.parametrize(
    ("family", "method"),
    slow_but([("t5", "lora"), ("bart", "full"), ("t5", "prompt_tuning")], product(FAMILIES, METHODS)),
)
def test_no_model_that_is_trained_computes_all_logits_and_a_base_under_a_prompt_has_no_dropout(
    family: str, method: str
) -> None:
    from ftkit.models.checkpoint import Checkpoint
    from ftkit.models.seq2seq import load_tokenizer_for_seq2seq
    from ftkit.tasks.seq2seq.train import Writing
    from ftkit.training.scores import Scorer

    text = f"task: seq2seq\nmodel: {{name_or_path: x}}\nmethod: {{type: {method}}}\ndata: {{train_file: x.jsonl}}\n"
    recipe = read_recipe(Path("r.yaml"), text=text, check_files=False).recipe
    base = Checkpoint(family, Path(resolve(f"builtin:tiny-{family}")))
    tokenizer = load_tokenizer_for_seq2seq(base)
    split = Split.of_rows("train", [{"prompt": "the rose", "completion": "a spade"}])
    train = tokenize_pairs(tokenizer, split, max_length=9, max_target_length=9).pairs
    data: Any = SimpleNamespace(processor=tokenizer, examples={"train": train})
    model = Writing(recipe, base, data, Scorer(torch.device("cpu"), Silent())).prepare()
    assert getattr(model, "computes_loss_in_chunks", False)
    ids = torch.arange(5, 25)[None]
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    assert model(**batch).get("logits") is None
    model.train()
    with torch.no_grad():
        first, second = (float(model(**batch).loss) for _ in range(2))
    assert (first == second) == (method in ("prompt_tuning", "prefix_tuning")), (
        "a base that is not trained has no dropout"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model__name_or_path": "builtin:tiny-gpt2"},
            "no encoder with a decoder.*this checkpoint fits task: causal_lm",
        ),
        ({"model__name_or_path": "builtin:tiny-bert"}, "no encoder with a decoder.*fits task: classification"),
        ({"training__fp16": "true"}, "training.fp16: float16 overflows.*write training.bf16: true"),
        ({"model__dtype": "float16", "method__type": "lora"}, "model.dtype: float16 overflows.*model.dtype: bfloat16"),
        ({"family": "bart", "data__max_length": 513}, "data.max_length is 513, .* has positions for 512 tokens"),
        ({"family": "bart", "data__max_target_length": 513}, "data.max_target_length is 513, .* at most 512"),
        (
            {
                "family": "bart",
                "data__max_length": 501,
                "method__type": "prompt_tuning",
                "method__num_virtual_tokens": 12,
            },
            "positions for 512 tokens, 12 of them for the prompt; set data.max_length to at most 500",
        ),
        (
            {
                "family": "bart",
                "data__max_target_length": 501,
                "method__type": "prefix_tuning",
                "method__num_virtual_tokens": 12,
            },
            "positions for 512 tokens, 12 of them for the prefix; set data.max_target_length to at most 500",
        ),
        ({"evaluation__metrics": "[bleu, 'evaluate:nowhere/at_all']"}, "nowhere/at_all"),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_what_cannot_be_trained_or_measured_is_one_message_before_a_run_is_made(
    settings: dict[str, Any], message: str, train_pairs: Train, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        train_pairs(**settings)
    assert not (tmp_path / "run").exists()


def test_an_encoder_decoder_is_refused_by_the_task_of_decoders(tmp_path: Path, questions: dict[str, Path]) -> None:
    import ftkit

    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"task: causal_lm\nmodel: {{name_or_path: 'builtin:tiny-t5'}}\ndata: {{train_file: {questions['train']}, "
        "validation_size: 0.25, prompt_column: source, completion_column: target}\n"
        f"training: {{output_dir: {tmp_path / 'run'}}}\n"
    )
    with pytest.raises(UserError, match="task: seq2seq"):
        ftkit.train(recipe)
    assert not (tmp_path / "run").exists()


def write_long(path: Path) -> Path:
    """Sources of some 700 tokens and targets of some 30; two of the targets have a letter that T5 does not know."""
    rows = [
        {"source": f"{row} " + "so it went on " * 150, "target": f"and {'本' if row < 2 else 'on'} " * 12}
        for row in range(4)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_is_cut_or_unknown_is_counted_and_t5_reads_beyond_512_tokens(train_pairs: Train, tmp_path: Path) -> None:
    long, reporter = write_long(tmp_path / "long.jsonl"), Silent()
    once = {
        "data__train_file": long,
        "data__validation_file": long,
        "training__max_steps": 1,
        "training__eval_steps": 1,
        "generation__max_new_tokens": None,
    }
    result = train_pairs(data__max_length=600, data__max_target_length=16, reporter=reporter, **once)
    said = "\n".join(reporter.messages)
    for name in ("train", "validation"):
        assert f"warning: 4 of 4 {name} sources (100.0%) are longer than 600 tokens and are cut, " in said
        assert f"warning: 4 of 4 {name} targets (100.0%) are longer than 16 tokens and are cut, " in said
    assert "2 of 4 training targets have characters that the tokenizer does not know" in said
    assert "they cannot be written" in said
    assert "outputs have at most 16 tokens, as the longest training target (generation.max_new_tokens)" in said
    assert result.facts["max_length"] == 600
    assert result.facts["max_new_tokens"] == 16
    assert result.facts["tokens"]["train"] == {
        "source_tokens": 4 * 600,
        "target_tokens": 4 * 16,
        "examples": 4,
        "sources_cut": 4,
        "targets_cut": 4,
    }
    assert json.loads((result.run.model_dir / "generation_config.json").read_text())["max_new_tokens"] == 16
    # whoever loads the model cuts where it was cut
    assert json.loads((result.run.model_dir / "tokenizer_config.json").read_text())["model_max_length"] == 600


@pytest.mark.parametrize("method", [slow("prompt_tuning"), "prefix_tuning"])
def test_a_prompt_takes_positions_from_sources_and_a_prefix_from_targets(
    method: str, train_pairs: Train, tmp_path: Path
) -> None:
    rows = [{"source": "so it went on " * 400, "target": "and on " * 400}] * 2
    long = tmp_path / "long.jsonl"
    long.write_text("".join(json.dumps(row) + "\n" for row in rows))
    facts = train_pairs(
        family="bart",
        method__type=method,
        method__num_virtual_tokens=12,
        data__train_file=long,
        data__validation_file=long,
        training__max_steps=1,
        training__eval_steps=1,
        evaluation__score_base="false",
    ).facts
    lengths = {"prompt_tuning": (500, 512), "prefix_tuning": (512, 500)}
    assert (facts["max_length"], facts["max_target_length"]) == lengths[method]


def test_a_second_stage_has_the_positions_of_the_base_whatever_length_the_first_one_cut_at(train_pairs: Train) -> None:
    once = {"training__max_steps": 1, "training__eval_steps": 1, "evaluation__score_base": "false"}
    first = train_pairs("first", family="bart", data__max_length=32, **once).run.model_dir
    saved = Checkpoint("first", first)
    assert (saved.position_limit, saved.trained_length) == (
        Checkpoint("bart", Path(resolve("builtin:tiny-bart"))).position_limit,
        32,
    )
    second = train_pairs("second", model__name_or_path=first, data__max_length=128, **once)
    assert second.facts["max_length"] == 128
    assert Checkpoint("second", second.run.model_dir).position_limit == saved.position_limit
