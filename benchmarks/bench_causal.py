"""LoRA on GPT-2's shape: HF Trainer with peft and trl's SFTTrainer, each in two settings or more, against ftkit.

    python benchmarks/bench_causal.py                # about half an hour on 2 cores

Every arm of every round is a process of its own, and rounds go through the arms in turn; figures are medians. The trl
arms need `pip install trl` and are left out, with a word, where it is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_classify import Measured
from causal_data import Material, write_material
from measuring import Timed, median, num_processors, python, quietness, run_fresh, surroundings, write_result

PACKAGES = ("torch", "transformers", "accelerate", "peft", "numpy", "tokenizers")
SEED = 42
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0}


@dataclass(frozen=True)
class Arm:
    """One way to finetune.

    Attributes:
        name: as in the result file.
        says: as in the table.
        settings: what causal_arms.py gets on top of what all arms share.
    """

    name: str
    says: str
    settings: dict[str, Any]

    @property
    def is_trl(self) -> bool:
        """Whether trl trains."""
        return bool(self.settings["kind"] == "trl")


def run_clm_arm(name: str, says: str, *, bf16: bool) -> Arm:
    return Arm(name, says, {"kind": "run_clm", "bf16": bf16})


def trl_arm(name: str, says: str, **options: Any) -> Arm:
    return Arm(name, says, {"kind": "trl", "trl": options})


def ftkit_arm(name: str, says: str, *overrides: str) -> Arm:
    return Arm(name, says, {"kind": "ftkit", "overrides": list(overrides)})


ARMS = (
    run_clm_arm("run_clm_fp32", "(a) run_clm and peft, float32", bf16=False),
    run_clm_arm("run_clm_bf16", "(b) the same, bf16: true", bf16=True),
    trl_arm("trl_padded", "(c) trl sft, its defaults, padded"),
    trl_arm("trl_packed", "(d) trl sft, packed", packing=True, per_device_train_batch_size=1),
    trl_arm("trl_padded_fast", "(c') as (c), no checkpointing", gradient_checkpointing=False),
    trl_arm(
        "trl_packed_fast",
        "(d') as (d), no checkpointing",
        packing=True,
        per_device_train_batch_size=1,
        gradient_checkpointing=False,
    ),
    ftkit_arm("ftkit", "(e) ftkit, its defaults"),
    # as many tokens a step as (a) has, so that the memory of a step can be compared
    ftkit_arm("ftkit_1024", "(f) ftkit, 1,024 tokens a step", "training.max_tokens_per_batch=1024"),
    ftkit_arm(
        "ftkit_1024_checkpointing",
        "(g) as (f), checkpointing",
        "training.max_tokens_per_batch=1024",
        "training.gradient_checkpointing=true",
    ),
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=96, help="training examples; 8 of them are a step")
    parser.add_argument("--held-out", type=int, default=24, help="examples of which the loss is taken")
    parser.add_argument("--dropout", type=float, default=0.1, help="of the model; 0.1 is GPT-2's")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=num_processors())
    parser.add_argument("--arms", nargs="+", default=[arm.name for arm in ARMS], metavar="NAME")
    parser.add_argument("--output", default="causal", help="name of the result file")
    return parser.parse_args()


def write_recipe(folder: Path, material: Material, *, learning_rate: float) -> Path:
    """What a user would write: model, data and LoRA's rank. The rest is left to ftkit."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"task: causal_lm\nmodel:\n  name_or_path: {json.dumps(str(material.model))}\n"
        f"method:\n  type: lora\n  r: {LORA['r']}\n  lora_alpha: {LORA['lora_alpha']}\n"
        f"data:\n  train_file: {json.dumps(str(material.train))}\n"
        f"  validation_file: {json.dumps(str(material.validation))}\n"
        '  template: "{prompt}<learn>{completion}"\n'
        f"training:\n  seed: {SEED}\n  num_train_epochs: 1\n  learning_rate: {learning_rate}\n  use_cpu: true\n",
        encoding="utf-8",
    )
    return recipe


class Bench:
    """The work folder and the settings that all arms share."""

    def __init__(self, folder: Path, shared: dict[str, Any], *, threads: int) -> None:
        self.folder = folder
        self.shared = shared
        self.threads = threads
        self.num_runs = 0

    def run(self, settings: dict[str, Any]) -> tuple[dict[str, Any], Timed]:
        """One fresh process of causal_arms.py."""
        self.num_runs += 1
        output = self.folder / f"output-{self.num_runs}"
        settings = self.shared | {"output_dir": str(output)} | settings
        settings["overrides"] = [*settings.get("overrides", ()), f"training.output_dir={output}"]
        question, answer = (self.folder / f"{kind}-{self.num_runs}.json" for kind in ("settings", "result"))
        question.write_text(json.dumps(settings), encoding="utf-8")
        threads = str(self.threads)
        timed = run_fresh(
            python(str(Path(__file__).with_name("causal_arms.py")), str(question), str(answer)),
            env={
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "FTKIT_CACHE": str(self.folder / "cache"),
                "HF_HOME": str(self.folder / "hub"),
                "OMP_NUM_THREADS": threads,
                "MKL_NUM_THREADS": threads,
                "HF_HUB_OFFLINE": "1",
            },
            cwd=self.folder,
        )
        return json.loads(answer.read_text(encoding="utf-8")), timed


def measure(bench: Bench, arms: list[Arm], *, rounds: int) -> tuple[dict[str, Measured], Measured]:
    """All rounds: figures by arm, and the rates of matrix products taken in between."""
    measured, products = {arm.name: Measured() for arm in arms}, Measured()
    for round_number in range(1, rounds + 1):
        products.add(*bench.run({"kind": "products", "seconds": 3}))
        for arm in arms:
            result, timed = bench.run(arm.settings)
            measured[arm.name].add(result, timed)
            print(
                f"round {round_number}: {arm.says}: {result['tokens_per_second']:.0f} tokens/s, "
                f"{result['peak_mib']:.0f} MiB, loss {result['final_loss']:.3f}, others {timed.others:.1%}",
                flush=True,
            )
    return measured, products


def chosen_arms(names: list[str]) -> list[Arm]:
    """Those that were asked for and can run here."""
    arms = [arm for arm in ARMS if arm.name in names]
    if importlib.util.find_spec("trl") is None and any(arm.is_trl for arm in arms):
        print("trl is not installed, so its arms are left out: pip install trl")
        arms = [arm for arm in arms if not arm.is_trl]
    return arms


def main() -> None:
    from causal_report import print_profile, report

    options = parse_arguments()
    arms = chosen_arms(options.arms)
    with tempfile.TemporaryDirectory(prefix="bench-causal-") as name:
        folder = Path(name)
        material = write_material(
            folder,
            num_train=options.examples,
            num_validation=options.held_out,
            dropout=options.dropout,
            seed=SEED,
        )
        recipe = write_recipe(folder, material, learning_rate=options.learning_rate)
        shared = {
            "model": str(material.model),
            "train": str(material.train),
            "validation": str(material.validation),
            "recipe": str(recipe),
            "lora": LORA,
            # as ftkit's recipe has it by default
            "learning": {
                "learning_rate": options.learning_rate,
                "num_train_epochs": 1,
                "lr_scheduler_type": "cosine",
                "warmup_steps": 0.03,
                "weight_decay": 0.0,
                "max_grad_norm": 1.0,
            },
            "seed": SEED,
        }
        bench = Bench(folder, shared, threads=options.threads)
        measured, products = measure(bench, arms, rounds=options.rounds)
        profiled = {"kind": "ftkit", "profile": True, "overrides": ["training.max_steps=5"]}
        profile = bench.run(profiled)[0] if any(arm.name == "ftkit" for arm in arms) else None
    result = report(arms, measured, products=products, facts=material.facts)
    packages = (*PACKAGES, "trl") if any(arm.is_trl for arm in arms) else PACKAGES
    if profile is not None:
        result["profile"] = print_profile(profile["shares"])
    result = {"options": vars(options), "surroundings": surroundings(packages)} | result
    shares = [timed.others for one in [*measured.values(), products] for timed in one.times]
    print(quietness(shares))
    result["others"] = {"median": median(shares), "largest": max(shares)}
    print(f"written to {write_result(options.output, result)}")


if __name__ == "__main__":
    main()
