"""One arm of the classification benchmark, in a process of its own: `classify_arms.py settings.json result.json`.

The Trainer arms are what a user of transformers writes: AutoModelForSequenceClassification, the encoder's parameters
frozen, Trainer. The ftkit arms are `ftkit train` as a function. Both say how long their imports took apart from the
rest.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

Settings = dict[str, Any]
Result = dict[str, Any]

WARM_UP_STEPS = 2
"""Steps before the clock starts: the first ones also allocate memory and prepare kernels."""


def trainer(settings: Settings) -> Result:
    """HF Trainer with the encoder frozen; times the steps only: no loading, no tokenizing, no evaluation."""
    start = time.perf_counter()
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer

    imports = time.perf_counter() - start
    from classify_data import read_rows

    start = time.perf_counter()
    torch.manual_seed(settings["seed"])
    texts, labels = read_rows(Path(settings["train"]))
    names = sorted(set(labels))
    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    model, info = AutoModelForSequenceClassification.from_pretrained(
        settings["model"], num_labels=len(names), dtype=torch.float32, output_loading_info=True
    )
    freeze_what_was_loaded(model, set(info["missing_keys"]))
    train = tokenized(tokenizer, texts, [names.index(label) for label in labels], settings)
    texts, labels = read_rows(Path(settings["validation"]))
    validation = tokenized(tokenizer, texts, [names.index(label) for label in labels], settings)
    clock = make_clock()
    sizes: list[int] = []
    collate = counting(DataCollatorWithPadding(tokenizer), sizes)
    fitting = Trainer(
        model=model,
        args=training_arguments(settings),
        train_dataset=train,
        processing_class=tokenizer,
        data_collator=collate,
        callbacks=[clock],
    )
    prepare = time.perf_counter() - start
    for _ in range(settings["epochs"]):
        for _ in fitting.get_train_dataloader():
            pass
    planned = sizes.copy()
    sizes.clear()
    fitting.train()
    complete = settings["max_steps"] < 0
    result = whole_time(clock.marks, sizes, planned) | {"imports": imports, "prepare": prepare, "complete": complete}
    if complete:
        output: Any = fitting.predict(cast("Any", validation))
        result["accuracy"] = float((output.predictions.argmax(axis=1) == output.label_ids).mean())
    return result | {"trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad)}


def freeze_what_was_loaded(model: Any, missing: set[str]) -> None:
    """Train what the checkpoint does not bring, as ftkit's frozen method does: the classifier, perhaps a pooler."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in missing)


def tokenized(tokenizer: Any, texts: list[str], labels: list[int], settings: Settings) -> list[dict[str, Any]]:
    """Rows of token ids, padded to max_length in the arm that does that, else by the collator."""
    encoded = tokenizer(
        texts,
        truncation=True,
        max_length=settings["max_length"],
        padding="max_length" if settings["pad_to_max_length"] else False,
    )
    return [
        {"labels": label} | {key: values[row] for key, values in encoded.items()} for row, label in enumerate(labels)
    ]


def training_arguments(settings: Settings) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=settings["output_dir"],
        num_train_epochs=settings["epochs"],
        max_steps=settings["max_steps"],
        per_device_train_batch_size=settings["batch_size"],
        per_device_eval_batch_size=64,
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length" if settings["group_by_length"] else "random",
        bf16=settings["bf16"],
        use_cpu=True,
        seed=settings["seed"],
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def make_clock() -> Any:
    """A callback that notes the time after every step, `marks`, beginning with the start of training."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.marks: list[float] = []

        def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
            self.marks.append(time.perf_counter())

        def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
            self.marks.append(time.perf_counter())

    return Clock()


def counting(collate: Callable[[Any], Any], sizes: list[int]) -> Callable[[Any], Any]:
    """A collator that appends each batch's number of tokens, padding included, to `sizes`."""

    def collate_and_count(rows: Any) -> Any:
        batch = collate(rows)
        sizes.append(batch["input_ids"].numel())
        return batch

    return collate_and_count


def whole_time(marks: list[float], run: list[int], planned: list[int]) -> Result:
    """Seconds of all steps, measured when all were run, else in proportion to padded tokens.

    Args:
        marks: the start of training, then the end of each step.
        run: padded tokens of the batches that were made for those steps, in order.
        planned: padded tokens of every batch of all epochs, from the same sampler and collator.
    """
    steps = [after - before for before, after in pairwise(marks)]
    if len(steps) >= len(planned):
        seconds = marks[-1] - marks[0]
    else:
        rate = sum(steps[WARM_UP_STEPS:]) / sum(run[WARM_UP_STEPS : len(steps)])
        seconds = rate * sum(planned)
    return {
        "seconds": seconds,
        "steps_run": len(steps),
        "steps": len(planned),
        "padded_tokens": sum(planned),
        "padded_tokens_run": sum(run[: len(steps)]),
    }


def ftkit(settings: Settings) -> Result:
    """`ftkit train`, all of it: reading, tokenizing, encoding, fitting, scoring with intervals, saving."""
    start = time.perf_counter()
    for module in settings["imports"]:
        __import__(module)
    from ftkit.commands.train import train

    imports = time.perf_counter() - start
    start = time.perf_counter()
    result = train(Path(settings["recipe"]), settings["overrides"])
    seconds = time.perf_counter() - start
    facts = result.run.manifest()["training"]
    return {
        "seconds": seconds,
        "imports": imports,
        "complete": True,
        "accuracy": result.metrics["validation"]["accuracy"]["value"],
        "accuracy_interval": [result.metrics["validation"]["accuracy"][bound] for bound in ("low", "high")],
        "features_reused": all(found["reused"] for found in facts["features"].values()),
        "trained_parameters": facts["trained_parameters"],
        "placement": facts["placement"],
    }


def products(settings: Settings) -> Result:
    """The rate of matrix products, GFLOP/s by type: median of some seconds of 2048 x 2048 x 2048."""
    import torch

    size, rates = 2048, {}
    for name in ("float32", "bfloat16"):
        left, right = (torch.randn(size, size).to(getattr(torch, name)) for _ in range(2))
        seconds: list[float] = []
        while sum(seconds) < settings["seconds"]:
            start = time.perf_counter()
            left @ right
            seconds.append(time.perf_counter() - start)
        rates[name] = 2 * size**3 / statistics.median(seconds[1:]) / 1e9
    return rates


def tokens(settings: Settings) -> Result:
    """Real tokens of both splits, and the weights that each of them is multiplied with."""
    from classify_data import read_rows
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    counts, rows = {}, {}
    for split in ("train", "validation"):
        texts, _ = read_rows(Path(settings[split]))
        ids = tokenizer(texts, truncation=True, max_length=settings["max_length"])["input_ids"]
        counts[split], rows[split] = sum(map(len, ids)), len(ids)
    import torch

    model = AutoModel.from_pretrained(settings["model"])
    # a pooler sees one vector a text: left out
    linear = [m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "pooler" not in name]
    return {"tokens": counts, "rows": rows, "matrix_weights": sum(layer.weight.numel() for layer in linear)}


KINDS: dict[str, Callable[[Settings], Result]] = {
    "trainer": trainer, "ftkit": ftkit, "products": products, "tokens": tokens,
}  # fmt: skip


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    result = KINDS[settings["kind"]](settings)
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
