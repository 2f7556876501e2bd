"""Full finetuning and LoRA: what moves, what stays, and that what is saved is what was trained."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ftkit.metrics.margin import WIDEST_SHARE, margin_of_error
from ftkit.models.builtin.builtin import resolve
from ftkit.training import probes
from ftkit.training.outcome import TrainResult
from ftkit.training.probes import read_probe_rows, read_probes, validation_probe_rows
from tests.fixtures.forge import Forge
from tests.fixtures.tiers import slow

SHORT = {
    "training__max_steps": 4,
    "training__learning_rate": 5e-3,
    "training__eval_strategy": "steps",
    "training__eval_steps": 2,
    "training__load_best_model_at_end": "false",
}

RELOAD = """
import json, sys
from pathlib import Path
from ftkit.models.classifier import open_classifier
from ftkit.tasks.classification.scores import TextRow, predict_rows
for run in sys.argv[1:]:
    rows = [json.loads(line) for line in (Path(run) / "predictions" / "validation.jsonl").read_text().splitlines()]
    again = predict_rows(open_classifier(Path(run)), [TextRow(row["text"], None, {}) for row in rows])
    pairs = [(new["scores"][name], row["scores"][name]) for new, row in zip(again, rows) for name in row["scores"]]
    print(json.dumps({"run": run, "worst": max(abs(new - old) for new, old in pairs)}))
"""


@pytest.mark.parametrize(
    ("full", "lora"),
    [
        (["albert"], ["bert", "modernbert"]),
        slow(["bert", "deberta-v2", "roberta", "distilbert"], ["roberta", "distilbert"]),
        slow(["electra", "modernbert"], ["albert", "electra", "deberta-v2"]),
    ],
    ids=["some", "others", "rest"],
)
def test_every_family_reloads_in_a_fresh_process_with_the_scores_it_was_trained_to(
    full: list[str], lora: list[str], classifier_runs: Callable[..., TrainResult], forge: Forge
) -> None:
    chosen = [*((family, "full") for family in full), *((family, "lora") for family in lora)]
    runs = [
        classifier_runs(model__name_or_path=f"builtin:tiny-{family}", method__type=method, **SHORT).run
        for family, method in chosen
    ]
    answer = forge.run(*(str(run.path) for run in runs), code=RELOAD, level="ftkit", apart=True)
    assert answer.code == 0, answer.errors()
    seen = [json.loads(line) for line in answer.output().splitlines()]
    assert [Path(line["run"]).name for line in seen] == [run.path.name for run in runs]
    assert {line["run"]: line["worst"] for line in seen if line["worst"] > 2e-6} == {}


def test_lora_leaves_the_base_as_it_was_and_trains_the_parameters_of_the_formula(
    train: Callable[..., TrainResult],
) -> None:
    result = train(method__type="lora", method__r=4, **SHORT)
    adapter = load_file(result.run.model_dir / "adapter_model.safetensors")
    hidden, intermediate, layers, rank, labels = 32, 64, 2, 4, 3
    attention = 4 * rank * (hidden + hidden)
    feed_forward = 2 * rank * (hidden + intermediate)
    pooler = rank * (hidden + hidden)
    head = hidden * labels + labels
    expected = layers * (attention + feed_forward) + pooler + head
    assert sum(tensor.numel() for tensor in adapter.values()) == expected
    assert result.run.manifest()["training"]["trained_parameters"] == expected
    moved = [name for name, tensor in adapter.items() if "lora_B" in name and bool((tensor != 0).any())]
    assert len(moved) == sum("lora_B" in name for name in adapter) > 0
    assert not [name for name in adapter if "lora_" not in name and "classifier" not in name]


@pytest.mark.parametrize("loader", ["peft", "transformers"])
def test_peft_or_transformers_alone_loads_an_adapter_and_gives_the_scores_that_ftkit_wrote(
    loader: str, classifier_runs: Callable[..., TrainResult]
) -> None:
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = classifier_runs(model__name_or_path="builtin:tiny-bert", method__type="lora", **SHORT).run.model_dir
    names = json.loads((folder / "label_names.json").read_text())["id2label"]
    loaders = {"peft": AutoPeftModelForSequenceClassification, "transformers": AutoModelForSequenceClassification}
    model = loaders[loader].from_pretrained(str(folder), id2label={int(index): name for index, name in names.items()})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [json.loads(line) for line in (folder.parent / "predictions" / "validation.jsonl").open()]
    inputs = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
    with torch.inference_mode():
        scores = model.eval()(**inputs).logits.softmax(dim=1)
    expected = torch.tensor([list(row["scores"].values()) for row in rows])
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
    assert list(rows[0]["scores"]) == [model.config.id2label[index] for index in range(3)]


def test_full_finetuning_moves_the_encoder_and_a_pipeline_loads_it(
    classifier_runs: Callable[..., TrainResult],
) -> None:
    from transformers import pipeline

    run = classifier_runs(model__name_or_path="builtin:tiny-bert", method__type="full", **SHORT).run
    before = load_file(Path(resolve("builtin:tiny-bert")) / "model.safetensors")
    after = load_file(run.model_dir / "model.safetensors")
    shared = [name for name in after if name in before]
    assert sum(not torch.equal(before[name], after[name]) for name in shared) > 0.8 * len(shared)
    row = json.loads(run.predictions_file("validation").open().readline())
    assert pipeline("text-classification", model=str(run.model_dir))(row["text"])[0]["label"] == row["label"]


def test_frozen_parts_stay_to_the_bit_and_the_rest_learns_at_the_rate_of_its_depth(
    train: Callable[..., TrainResult],
) -> None:
    settings = {"training__max_steps": 2, "training__logging_steps": 1, "training__lr_scheduler_type": "constant"}
    run = train(
        **settings, method__type="full", model__freeze="[embeddings, layers.0]", training__layer_lr_decay=0.5
    ).run
    base, now = (
        load_file(folder / "model.safetensors") for folder in (Path(resolve("builtin:tiny-bert")), run.model_dir)
    )
    names = [name.removeprefix("bert.") for name in now]
    frozen = [name for name in names if name.startswith(("embeddings.", "encoder.layer.0."))]
    moved = [name for name in names if name.startswith("encoder.layer.1.")]
    theirs = {name.removeprefix("bert."): weight for name, weight in base.items()}
    ours = {name.removeprefix("bert."): weight for name, weight in now.items()}
    assert len(frozen) > 10
    assert all(torch.equal(ours[name], theirs[name]) for name in frozen)
    assert not any(torch.equal(ours[name], theirs[name]) for name in moved if name.endswith("dense.weight"))
    history = [json.loads(line) for line in run.history_file.read_text().splitlines()]
    rates = [line["learning_rate"] for line in history if "learning_rate" in line]
    assert set(rates) == {2e-5}, "the peak is logged, not the rate of a layer"
    assert "but embeddings, layers.0" in (run.model_dir / "README.md").read_text()


def test_so_many_rows_are_scored_while_training_as_the_interval_takes_and_all_at_the_end(
    train: Callable[..., TrainResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "WHOLE_VALIDATION", 8)
    monkeypatch.setattr(probes, "PROBE_ROWS", 8)
    margin = margin_of_error(WIDEST_SHARE, 20) * 1.001
    settings = SHORT | {"training__metric_for_best_model": "accuracy", "training__load_best_model_at_end": "true"}
    run = train(**settings, method__type="lora", training__eval_margin_of_error=margin).run
    fit = run.manifest()["training"]["fit"]
    assert fit["validation_rows_watched"] == 20
    assert run.metrics()["validation"]["accuracy"]["n"] == 32
    shares = {
        line["validation_accuracy"] * 20
        for line in map(json.loads, run.history_file.read_text().splitlines())
        if "validation_accuracy" in line
    }
    assert all(share == pytest.approx(round(share)) for share in shares), "right answers among 20"
    # the losses that are kept are of the same rows as without it: what ftkit eval asks for
    kept = read_probe_rows(run)
    assert kept is not None
    assert kept.validation.tolist() == validation_probe_rows(32, seed=42).tolist()
    told = [json.loads(line) for line in run.predictions_file("validation").read_text().splitlines()]
    losses = np.array([-math.log(row["scores"][row["expected"]]) for row in told])
    step = next(point for point in read_probes(run) if point.step == fit["best_step"])
    np.testing.assert_allclose(step.validation.nll, losses[kept.validation], atol=1e-4)


DEPTH = {"model__freeze": "[embeddings]", "training__layer_lr_decay": 0.7, "training__eval_margin_of_error": 0.01}


@pytest.mark.parametrize("method", [slow("full"), "lora"])
def test_a_run_resumed_in_its_second_epoch_ends_with_the_same_bytes(
    method: str, train: Callable[..., TrainResult]
) -> None:
    # 96 rows are 6 steps an epoch, so step 8 is in the middle of the second one
    settings = SHORT | {"training__max_steps": 12, "training__eval_steps": 4, "method__type": method}
    settings |= DEPTH if method == "full" else {}
    # Trainer's logged loss is a mean since the last log, and begins again at a resume: let the two meet
    settings |= {"training__logging_steps": 4}
    run = train(**settings).run
    weights = run.model_dir / ("model.safetensors" if method == "full" else "adapter_model.safetensors")
    whole, history = weights.read_bytes(), run.history_file.read_text()
    (run.checkpoints_dir / "checkpoint-12" / "optimizer.pt").write_bytes(b"cut short")
    run.update_manifest(state="failed")
    weights.unlink()
    resumed = train(resume=True, **settings).run
    assert weights.read_bytes() == whole
    assert resumed.history_file.read_text() == history


def test_one_batch_of_eight_gives_the_gradients_of_eight_batches_of_one(
    train: Callable[..., TrainResult], tmp_path: Path
) -> None:
    settings = SHORT | {
        "training__max_steps": 1,
        "training__eval_steps": 1,
        "training__optim": "sgd",
        "training__warmup_steps": 0,
        "training__extra": "{train_sampling_strategy: sequential}",
        # dropout draws other masks for other batches
        "model__name_or_path": without_dropout(tmp_path / "base"),
    }
    one = train("one", method__type="full", training__per_device_train_batch_size=8, **settings).run
    eight = train(
        "eight",
        method__type="full",
        training__per_device_train_batch_size=1,
        training__gradient_accumulation_steps=8,
        **settings,
    ).run
    first, second = (load_file(run.model_dir / "model.safetensors") for run in (one, eight))
    for name, weight in first.items():
        torch.testing.assert_close(weight, second[name], rtol=0, atol=1e-6)
    base = load_file(Path(resolve("builtin:tiny-bert")) / "model.safetensors")
    assert any(not torch.equal(base[name], first[name]) for name in base if name in first)


def test_early_stopping_ends_a_run_that_gets_no_better(train: Callable[..., TrainResult]) -> None:
    settings = {
        "training__num_train_epochs": 20,
        "training__early_stopping_patience": 1,
        # a rate that leaves the weights where they are cannot improve twice
        "training__learning_rate": 1e-12,
        "training__warmup_steps": 0,
        "training__max_grad_norm": 0,
    }
    run = train(method__type="full", **settings).run
    assert run.manifest()["training"]["fit"]["num_steps"] < 20 * 6


def test_a_rate_that_blows_up_ends_with_one_error_and_no_model(
    train: Callable[..., TrainResult], tmp_path: Path
) -> None:
    from ftkit.errors import UserError

    settings = SHORT | {"training__learning_rate": 1e30, "training__max_grad_norm": 0, "training__warmup_steps": 0}
    with pytest.raises(UserError, match="not finite at step"):
        train("bad", method__type="full", **settings)
    assert not (tmp_path / "bad" / "model").exists()
    assert json.loads((tmp_path / "bad" / "manifest.json").read_text())["state"] == "failed"


def without_dropout(folder: Path) -> Path:
    """A tiny BERT whose configuration has no dropout."""
    shutil.copytree(resolve("builtin:tiny-bert"), folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_float16_is_refused_where_it_would_be_ignored(train: Callable[..., TrainResult]) -> None:
    from ftkit.errors import UserError

    if torch.accelerator.is_available():
        assert train(method__type="full", training__fp16="true", **SHORT).run.model_dir.is_dir()
    else:
        with pytest.raises(UserError, match="fp16 needs a GPU"):
            train(method__type="full", training__fp16="true", **SHORT)


def test_with_class_weights_the_weighted_loss_chooses_the_checkpoint(
    classifier_runs: Callable[..., TrainResult],
) -> None:
    settings = {"method__type": "full", **SHORT, "training__load_best_model_at_end": "true"}
    run = classifier_runs(**settings, training__class_weights="balanced").run
    lines = [json.loads(line) for line in run.history_file.read_text().splitlines()]
    scored = [line for line in lines if "validation_weighted_loss" in line]
    best = min(scored, key=lambda line: line["validation_weighted_loss"])
    fit = run.manifest()["training"]["fit"]
    assert (fit["best_step"], fit["best_score"]) == (best["step"], pytest.approx(best["validation_weighted_loss"]))
