"""T5's shape, finetuned whole and by a prompt, and its outputs generated: HF Seq2SeqTrainer against ftkit.

    python benchmarks/bench_seq2seq.py               # about half an hour on 2 cores

Every arm of every round is a process of its own, and rounds go through the arms in turn; figures are medians. Arms in
bfloat16 run only where the processor computes in it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_classify import Measured
from measuring import Timed, median, num_processors, python, quietness, run_fresh, surroundings, write_result
from rich.console import Console
from rich.table import Table
from seq2seq_data import Material, read_rows, write_material

PACKAGES = ("torch", "transformers", "accelerate", "peft", "numpy", "tokenizers")
SEED = 42
BATCH = 8
METHODS = {"full": 1e-3, "prompt_tuning": 0.3}
"""Method -> learning rate."""
GOALS = {
    ("full", "ftkit", "trainer"): (3.0, None),
    ("full", "ftkit", "trainer_expert"): (1.3, None),
    ("prompt_tuning", "ftkit", "trainer"): (2.5, None),
    ("prompt_tuning", "ftkit", "trainer_expert"): (1.3, None),
    ("greedy", "ftkit", "trainer"): (4.0, 2.0),
}
"""(group, arm, peer) -> how many times as fast: goal, and floor where there is one."""


@dataclass(frozen=True)
class Arm:
    """One way to do the work of a group.

    Attributes:
        group: full, prompt_tuning, greedy or beams: arms of a group are held against one another.
        name: trainer, trainer_expert, ftkit or ftkit_tokens.
        says: as in the table.
        settings: what seq2seq_arms.py gets on top of what all arms share.
    """

    group: str
    name: str
    says: str
    settings: dict[str, Any]


def arms_of(method: str, *, bf16: bool, tokens: int) -> list[Arm]:
    """The training arms of a method."""
    plain = {"kind": "trainer", "method": method, "grouped": False, "bf16": False, "batch_size": BATCH}
    ours = {"kind": "ftkit", "method": method}
    overrides = [f"method.type={method}", f"training.learning_rate={METHODS[method]}"]
    budget = [*overrides, f"training.max_tokens_per_batch={tokens}"]
    pairs = [*overrides, f"training.per_device_train_batch_size={BATCH}"]
    expert = f"Trainer, grouped by length{', bf16' if bf16 else ''}"
    return [
        Arm(method, "trainer", "Trainer as run_summarization.py, float32", plain),
        Arm(method, "trainer_expert", expert, plain | {"grouped": True, "bf16": bf16}),
        Arm(method, "ftkit", "ftkit, its defaults, 8 pairs a step", ours | {"overrides": pairs}),
        Arm(method, "ftkit_tokens", f"ftkit, {tokens:,} tokens a step", ours | {"overrides": budget}),
    ]


def generating_arms(*, max_new_tokens: int) -> list[Arm]:
    """The arms that write outputs."""
    arms = []
    for group, num_beams in (("greedy", 1), ("beams", 4)):
        shared = {"method": "full", "num_beams": num_beams, "max_new_tokens": max_new_tokens}
        how = "greedy" if num_beams == 1 else f"{num_beams} beams"
        arms += [
            Arm(group, "trainer", f"predict_with_generate, {how}", shared | {"kind": "trainer_generates"}),
            Arm(group, "ftkit", f"ftkit, {how}", shared | {"kind": "ftkit_generates"}),
        ]
    return arms


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=96, help="training pairs; 8 of them are a step")
    parser.add_argument("--held-out", type=int, default=24, help="pairs of which the loss is taken")
    parser.add_argument("--generated", type=int, default=48, help="sources for which outputs are written")
    parser.add_argument("--max-new-tokens", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=2_048, help="of a step of the arm that counts them")
    parser.add_argument("--dropout", type=float, default=0.1, help="of the model; 0.1 is T5's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=num_processors())
    parser.add_argument("--groups", nargs="+", default=["full", "prompt_tuning", "greedy", "beams"])
    parser.add_argument("--output", default="seq2seq", help="name of the result file")
    return parser.parse_args()


def write_recipe(folder: Path, material: Material) -> Path:
    """What a user would write: model, data and epochs. The rest is left to ftkit."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"task: seq2seq\nmodel:\n  name_or_path: {json.dumps(str(material.model))}\n"
        f"data:\n  train_file: {json.dumps(str(material.train))}\n"
        f"  validation_file: {json.dumps(str(material.validation))}\n  max_target_length: 512\n"
        f"training:\n  seed: {SEED}\n  num_train_epochs: 1\n"
        "  lr_scheduler_type: constant\n  warmup_steps: 0\n  weight_decay: 0.0\n  use_cpu: true\n"
        "evaluation:\n  metrics: [perplexity]\n  score_base: false\ngeneration:\n  max_new_tokens: 1\n",
        encoding="utf-8",
    )
    return recipe


class Bench:
    """The work folder and the settings that all arms share."""

    def __init__(self, folder: Path, shared: dict[str, Any], *, threads: int) -> None:
        self.folder, self.shared, self.threads, self.num_runs = folder, shared, threads, 0

    def run(self, arm: Arm) -> tuple[dict[str, Any], Timed]:
        """One fresh process of seq2seq_arms.py."""
        self.num_runs += 1
        output = self.folder / f"output-{self.num_runs}"
        learning = self.shared["learning"] | {"learning_rate": METHODS.get(arm.group, 1e-3)}
        settings = self.shared | {"output_dir": str(output), "learning": learning} | arm.settings
        settings["overrides"] = [*settings.get("overrides", ()), f"training.output_dir={output}"]
        question, answer = (self.folder / f"{kind}-{self.num_runs}.json" for kind in ("settings", "result"))
        question.write_text(json.dumps(settings), encoding="utf-8")
        timed = run_fresh(
            python(str(Path(__file__).with_name("seq2seq_arms.py")), str(question), str(answer)),
            env={
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "FTKIT_CACHE": str(self.folder / "cache"),
                "HF_HOME": str(self.folder / "hub"),
                "OMP_NUM_THREADS": str(self.threads),
                "MKL_NUM_THREADS": str(self.threads),
                "HF_HUB_OFFLINE": "1",
            },
            cwd=self.folder,
        )
        return json.loads(answer.read_text(encoding="utf-8")), timed


def measure(bench: Bench, arms: list[Arm], *, rounds: int) -> list[Measured]:
    """All rounds: figures by arm."""
    measured = [Measured() for _ in arms]
    for round_number in range(1, rounds + 1):
        for arm, one in zip(arms, measured, strict=True):
            result, timed = bench.run(arm)
            one.add(result, timed)
            rate = result.get("tokens_per_second")
            figure = f"{rate:.0f} tokens/s" if rate is not None else f"{result['seconds']:.1f} s"
            print(f"round {round_number}: {arm.group}: {arm.says}: {figure}, others {timed.others:.1%}", flush=True)
    return measured


def row_of(arm: Arm, one: Measured) -> dict[str, Any]:
    """Medians over the rounds of an arm, and every round's speed."""
    row: dict[str, Any] = {"group": arm.group, "name": arm.name, "says": arm.says}
    row["others"] = max(timed.others for timed in one.times)
    row["seconds_by_round"] = [result["seconds"] for result in one.results]
    row["seconds"] = one.median("seconds")
    if "tokens_per_second" in one.results[0]:
        for name in ("tokens_per_second", "peak_mib", "initial_loss", "final_loss"):
            row[name] = one.median(name)
        row |= {key: one.results[-1][key] for key in ("steps", "tokens", "trained_parameters", "placement")
                if key in one.results[-1]}  # fmt: skip
    return row


def compare(rows: list[dict[str, Any]], measured: list[Measured]) -> None:
    """Add to each row how many times as fast as its group's Trainer arms it is, and which outputs are the same."""
    for row, one in zip(rows, measured, strict=True):
        row["ratio"] = {}
        for peer, other in zip(rows, measured, strict=True):
            if peer["group"] != row["group"] or not peer["name"].startswith("trainer"):
                continue
            if "tokens_per_second" in row:
                row["ratio"][peer["name"]] = row["tokens_per_second"] / peer["tokens_per_second"]
            else:
                row["ratio"][peer["name"]] = peer["seconds"] / row["seconds"]
                pairs = zip(one.results[-1]["outputs"], other.results[-1]["outputs"], strict=True)
                row["equal_outputs"] = sum(ours == theirs for ours, theirs in pairs)
                row["outputs"] = len(one.results[-1]["outputs"])


def goals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each goal with what was reached, as far as its arms ran."""
    by_place = {(row["group"], row["name"]): row for row in rows}
    return [
        {"what": f"{group}: {name} over {peer}", "reached": by_place[group, name]["ratio"][peer], "goal": goal}
        | ({"floor": floor} if floor is not None else {})
        for (group, name, peer), (goal, floor) in GOALS.items()
        if (group, name) in by_place and peer in by_place[group, name]["ratio"]
    ]


def as_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for heading in ("tokens/s", "seconds", "x Trainer", "x expert", "peak MiB", "held-out loss", "same outputs"):
        table.add_column(heading, justify="right")
    for row in rows:
        trains = "tokens_per_second" in row
        table.add_row(
            f"{row['group']}: {row['says']}",
            f"{row['tokens_per_second']:.0f}" if trains else "",
            f"{row['seconds']:.1f}",
            *(f"{row['ratio'][peer]:.2f}" if peer in row["ratio"] else "" for peer in ("trainer", "trainer_expert")),
            f"{row['peak_mib']:.0f}" if trains else "",
            f"{row['initial_loss']:.3f} -> {row['final_loss']:.3f}" if trains else "",
            "" if trains else f"{row['equal_outputs']} of {row['outputs']}",
        )
    return table


def main() -> None:
    import torch

    from ftkit.models.placement import computes_in_bfloat16

    options = parse_arguments()
    bf16 = computes_in_bfloat16(torch.device("cpu"))
    if not bf16:
        print("this processor does not compute in bfloat16, so every arm is float32")
    arms = [arm for method in METHODS for arm in arms_of(method, bf16=bf16, tokens=options.tokens)]
    arms += generating_arms(max_new_tokens=options.max_new_tokens)
    arms = [arm for arm in arms if arm.group in options.groups]
    with tempfile.TemporaryDirectory(prefix="bench-seq2seq-") as name:
        folder = Path(name)
        material = write_material(
            folder, num_train=options.examples, num_validation=options.held_out, dropout=options.dropout, seed=SEED
        )
        generated = folder / "generated.jsonl"
        rows_to_write = read_rows(material.train)[: options.generated]
        generated.write_text("".join(json.dumps(row) + "\n" for row in rows_to_write), encoding="utf-8")
        learning = {"num_train_epochs": 1, "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 1.0}
        shared = {
            "model": str(material.model),
            "train": str(material.train),
            "validation": str(material.validation),
            "generated": str(generated),
            "recipe": str(write_recipe(folder, material)),
            "learning": learning,
            "seed": SEED,
        }
        measured = measure(Bench(folder, shared, threads=options.threads), arms, rounds=options.rounds)
    rows = [row_of(arm, one) for arm, one in zip(arms, measured, strict=True)]
    compare(rows, measured)
    console = Console(width=170, highlight=False)
    console.print(as_table(rows))
    reached = goals(rows)
    for goal in reached:
        floor = f", floor {goal['floor']} x" if "floor" in goal else ""
        console.print(f"{goal['what']}: {goal['reached']:.2f} x, goal {goal['goal']} x{floor}")
    shares = [timed.others for one in measured for timed in one.times]
    print(quietness(shares))
    result = {
        "options": vars(options),
        "surroundings": surroundings(PACKAGES),
        "bfloat16": bf16,
        "data": material.facts,
        "arms": rows,
        "goals": reached,
        "others": {"median": median(shares), "largest": max(shares)},
    }
    print(f"written to {write_result(options.output, result)}")


if __name__ == "__main__":
    main()
