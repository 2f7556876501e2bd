"""One arm of the language-model benchmark, in a process of its own: `causal_arms.py settings.json result.json`.

The Trainer arms are what a user of transformers and peft writes after `run_clm.py`; the trl arms are what `trl sft`
does with the same options; the ftkit arms are `ftkit train` as a function. All finetune the same checkpoint on the same
examples, count tokens of text and never padding, and are scored on the same held-out examples by the same few lines.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from causal_data import read_rows, tokenized

Settings = dict[str, Any]
Result = dict[str, Any]

WARM_UP_STEPS = 2
"""Steps before the clock starts: the first ones also allocate memory and prepare kernels."""
BLOCK = 1024


def run_clm(settings: Settings) -> Result:
    """HF Trainer and peft over documents joined and cut into blocks of 1,024 tokens, as `run_clm.py` has it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, default_data_collator

    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    model = AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32)
    torch.manual_seed(settings["seed"])
    lora = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", **settings["lora"])
    model = get_peft_model(model, lora)
    ids, labels = [], []
    for row in read_rows(Path(settings["train"])):
        more_ids, more_labels = tokenized(tokenizer, row)
        ids += more_ids
        labels += more_labels
    starts = range(0, len(ids) - BLOCK + 1, BLOCK)
    blocks = [{"input_ids": ids[at : at + BLOCK], "labels": labels[at : at + BLOCK]} for at in starts]
    clock = make_clock(settings)
    trainer = Trainer(
        model=model,
        args=training_arguments(settings, batch_size=1),
        train_dataset=blocks,
        data_collator=clock.counting(default_data_collator),
        callbacks=[clock],
    )
    trainer.train()
    return clock.result()


def training_arguments(settings: Settings, *, batch_size: int) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        per_device_train_batch_size=batch_size, bf16=settings["bf16"], **shared_arguments(settings)
    )


def shared_arguments(settings: Settings) -> dict[str, Any]:
    """What all Trainers are told: learning as ftkit's recipe has it by default, no reports."""
    return settings["learning"] | {
        "output_dir": settings["output_dir"],
        "seed": settings["seed"],
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def trl(settings: Settings) -> Result:
    """SFTTrainer put together as `trl sft` does it: its own defaults, but for LoRA's options and the learning."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config

    options = ModelConfig(
        model_name_or_path=settings["model"],
        use_peft=True,
        lora_r=settings["lora"]["r"],
        lora_alpha=settings["lora"]["lora_alpha"],
        lora_dropout=settings["lora"]["lora_dropout"],
        lora_target_modules=["all-linear"],
    )
    arguments = SFTConfig(
        model_init_kwargs={"dtype": options.dtype, "attn_implementation": options.attn_implementation},
        **settings["trl"],
        **shared_arguments(settings),
    )
    clock = make_clock(settings)
    trainer = SFTTrainer(
        model=options.model_name_or_path,
        args=arguments,
        train_dataset=Dataset.from_list(read_rows(Path(settings["train"]))),
        # a prompt may end inside what would be one token of the whole text; trl warns of each such example
        processing_class=AutoTokenizer.from_pretrained(settings["model"]),
        peft_config=get_peft_config(options),
        callbacks=[clock],
    )
    trainer.data_collator = clock.counting(trainer.data_collator)
    trainer.train()
    return clock.result()


def ftkit(settings: Settings) -> Result:
    """`ftkit train`, with a clock added to its Trainer, or a profiler."""
    from causal_profile import make_profiler

    from ftkit.commands.train import train
    from ftkit.tasks.causal_lm import train as causal_lm

    clock = make_clock(settings)
    profiler = make_profiler() if settings.get("profile") else None
    make_trainer = causal_lm.make_trainer

    def make_trainer_with_clock(*arguments: Any, **options: Any) -> Any:
        trainer = make_trainer(*arguments, **options)
        trainer._collate = clock.counting(trainer._collate)
        trainer.add_callback(clock if profiler is None else profiler)
        return trainer

    causal_lm.make_trainer = make_trainer_with_clock
    trained = train(Path(settings["recipe"]), settings["overrides"])
    if profiler is not None:
        return {"shares": profiler.shares}
    facts = trained.run.manifest()["training"]
    return clock.result() | {"placement": facts["placement"], "packing": facts["packing"]}


def tokens_of_text(batch: Any) -> int:
    """Tokens of a batch without its padding."""
    mask = batch.get("attention_mask")
    return int(batch["input_ids"].numel() if mask is None else mask.sum())


def make_clock(
    settings: Settings,
    *,
    count: Callable[[Any], int] = tokens_of_text,
    score: Callable[[Any, Settings], float] | None = None,
) -> Any:
    """A callback that times steps, counts their tokens, watches the memory and scores what was learnt."""
    from transformers import TrainerCallback

    score = score or held_out_loss

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.marks: list[float] = []
            self.tokens: list[int] = []
            self.facts: Result = {}

        def counting(self, collate: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def collate_and_count(rows: Any) -> Any:
                batch = collate(rows)
                self.tokens.append(count(batch))
                return batch

            return collate_and_count

        def on_train_begin(self, *_arguments: Any, model: Any = None, **_options: Any) -> None:
            self.facts["initial_loss"] = score(model, settings)
            self.facts["trained_parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
            self.facts["memory_before_mib"] = start_watching_memory()
            self.marks.append(time.perf_counter())

        def on_step_end(self, *_arguments: Any, **_options: Any) -> None:
            self.marks.append(time.perf_counter())
            self.facts["peak_mib"] = memory_mib("VmHWM") - self.facts["memory_before_mib"]

        def on_train_end(self, *_arguments: Any, model: Any = None, **_options: Any) -> None:
            self.facts["final_loss"] = score(model, settings)

        def result(self) -> Result:
            steps = [after - before for before, after in pairwise(self.marks)][WARM_UP_STEPS:]
            tokens = self.tokens[WARM_UP_STEPS : WARM_UP_STEPS + len(steps)]
            return self.facts | {
                "tokens_per_second": sum(tokens) / sum(steps),
                "steps": len(self.marks) - 1,
                "tokens": sum(self.tokens),
                "largest_step": max(self.tokens),
                "seconds": self.marks[-1] - self.marks[0],
            }

    return Clock()


def held_out_loss(model: Any, settings: Settings) -> float:
    """Nats a learnt token of the held-out examples, one example at a time, from all logits in float32."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(settings["model"])
    was_training, total, num_targets = model.training, 0.0, 0
    model.eval()
    with torch.no_grad():
        for row in read_rows(Path(settings["validation"])):
            ids, labels = (torch.tensor([values]) for values in tokenized(tokenizer, row))
            logits = model(input_ids=ids).logits[0, :-1].float()
            total += torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum").item()
            num_targets += int((labels[0, 1:] != -100).sum())
    model.train(was_training)
    return total / num_targets


def start_watching_memory() -> float:
    """Give back what loading left behind, forget the peak so far; returns the resident memory in MiB."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    return memory_mib("VmRSS")


def memory_mib(key: str) -> float:
    """A line of /proc/self/status in MiB; not a number where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:")), float("nan"))


def products(settings: Settings) -> Result:
    """The rate of matrix products, as the classification benchmark measures it."""
    from classify_arms import products as measure

    return measure(settings)


KINDS: dict[str, Callable[[Settings], Result]] = {
    "run_clm": run_clm, "trl": trl, "ftkit": ftkit, "products": products,
}  # fmt: skip


def main() -> None:
    warnings.simplefilter("ignore")
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    result = KINDS[settings["kind"]](settings)
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
