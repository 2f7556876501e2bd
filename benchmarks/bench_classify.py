"""A head on a frozen encoder: HF Trainer in three settings against ftkit, cold and with stored features.

    python benchmarks/bench_classify.py              # Trainer's slow arms run a few steps and are extrapolated
    python benchmarks/bench_classify.py --full       # every step of every arm: about 20 minutes a round on 2 cores

Every arm of every round is a process of its own, and rounds go through the arms in turn; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from classify_data import Files, write_rows
from measuring import Timed, median, num_processors, python, quietness, run_fresh, surroundings, write_result

PACKAGES = ("torch", "transformers", "accelerate", "numpy", "tokenizers")
EPOCHS, SEED = 5, 42
# what each kind of arm cannot do without; the rest of its imports is timed with its work
TORCH = ("torch",)
TRANSFORMERS = ("torch", "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert")


@dataclass(frozen=True)
class Arm:
    """One way to get the head.

    Attributes:
        name: as in the result file.
        says: as in the table.
        settings: what classify_arms.py gets on top of what all arms share.
        stored: it reads the features that the arm of that name stored earlier in the round.
    """

    name: str
    says: str
    settings: dict[str, Any]
    stored: str | None = None

    @property
    def is_trainer(self) -> bool:
        """Whether HF Trainer trains."""
        return bool(self.settings["kind"] == "trainer")


def trainer_arm(name: str, says: str, *, pad: bool = False, group: bool = False, bf16: bool = False) -> Arm:
    return Arm(name, says, {"kind": "trainer", "pad_to_max_length": pad, "group_by_length": group, "bf16": bf16})


def ftkit_arm(
    name: str, says: str, *, recipe: str, stored: str | None = None, imports: Sequence[str] = TRANSFORMERS
) -> Arm:
    return Arm(name, says, {"kind": "ftkit", "recipe": recipe, "imports": imports}, stored)


ARMS = (
    trainer_arm("trainer_max_length", "(a) Trainer, padded to max length", pad=True),
    trainer_arm("trainer_dynamic", "(b) Trainer, dynamic padding"),
    trainer_arm("trainer_grouped_bf16", "(c) Trainer, length-grouped, bf16", group=True, bf16=True),
    ftkit_arm("ftkit_cold", "(d) ftkit, cold, same head", recipe="same_head"),
    ftkit_arm("ftkit_stored", "(e) ftkit, stored features, same head", recipe="same_head", stored="ftkit_cold"),
    ftkit_arm("ftkit_mean_cold", "(d') ftkit, cold, its own defaults", recipe="defaults"),
    ftkit_arm(
        "ftkit_mean_stored",
        "(e') ftkit, stored, its own defaults",
        recipe="defaults",
        stored="ftkit_mean_cold",
        imports=TORCH,
    ),
)


@dataclass
class Measured:
    """What the rounds of one arm gave."""

    results: list[dict[str, Any]] = field(default_factory=list)
    times: list[Timed] = field(default_factory=list)

    def add(self, result: dict[str, Any], timed: Timed) -> None:
        """One more round."""
        self.results.append(result)
        self.times.append(timed)

    def median(self, key: str) -> float:
        """Median over rounds of a number that the arm reported."""
        return median([result[key] for result in self.results])

    def last(self, key: str) -> Any:
        """The latest round's value of something that not every round has."""
        return next((result[key] for result in reversed(self.results) if key in result), None)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin:minilm", help="folder or builtin:NAME")
    parser.add_argument("--rows", type=int, default=4000, help="training rows")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--learning-rate", type=float, default=2e-2, help="of (a) to (e); the defaults arms have their own"
    )
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="steps of a Trainer arm that is extrapolated")
    parser.add_argument("--full", action="store_true", help="run every step of every Trainer arm in every round")
    parser.add_argument("--no-accuracy", action="store_true", help="do not run (c) in full once, for its accuracy")
    parser.add_argument("--threads", type=int, default=num_processors())
    parser.add_argument("--arms", nargs="+", default=[arm.name for arm in ARMS], metavar="NAME")
    parser.add_argument("--output", default="classify", help="name of the result file")
    return parser.parse_args()


def shared_settings(options: argparse.Namespace, files: Files) -> dict[str, Any]:
    from ftkit.models.builtin.builtin import resolve

    return {
        "model": str(resolve(options.model)),
        "train": str(files.train),
        "validation": str(files.validation),
        "max_length": options.max_length,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "epochs": EPOCHS,
        "seed": SEED,
    }


def write_recipes(folder: Path, shared: dict[str, Any]) -> None:
    """same_head.yaml does what the Trainer arms do; defaults.yaml leaves to ftkit what a recipe may leave."""
    common = (
        f"task: classification\nmodel:\n  name_or_path: {json.dumps(shared['model'])}\n"
        f"data:\n  train_file: train.csv\n  validation_file: validation.csv\n  max_length: {shared['max_length']}\n"
        "evaluation:\n  metrics: [accuracy]\n"
    )
    same = (
        f"method:\n  type: frozen\n  pooling: cls\ntraining:\n  seed: {SEED}\n  num_train_epochs: {EPOCHS}\n"
        f"  learning_rate: {shared['learning_rate']}\n  per_device_train_batch_size: {shared['batch_size']}\n"
        "  lr_scheduler_type: linear\n"
    )
    (folder / "same_head.yaml").write_text(common + same, encoding="utf-8")
    own = f"method:\n  type: frozen\n  pooling: mean\ntraining:\n  seed: {SEED}\n"
    (folder / "defaults.yaml").write_text(common + own, encoding="utf-8")


class Bench:
    """The work folder and the settings that all arms share."""

    def __init__(self, folder: Path, shared: dict[str, Any], *, threads: int) -> None:
        self.folder = folder
        self.shared = shared
        self.threads = threads
        self.num_runs = 0

    def run(self, settings: dict[str, Any], *, cache: str) -> tuple[dict[str, Any], Timed]:
        """One fresh process of classify_arms.py."""
        self.num_runs += 1
        output = self.folder / f"output-{self.num_runs}"
        settings = self.shared | {"output_dir": str(output), "overrides": [f"training.output_dir={output}"]} | settings
        if "recipe" in settings:
            settings["recipe"] = str(self.folder / f"{settings['recipe']}.yaml")
        question, answer = (self.folder / f"{kind}-{self.num_runs}.json" for kind in ("settings", "result"))
        question.write_text(json.dumps(settings), encoding="utf-8")
        script = str(Path(__file__).with_name("classify_arms.py"))
        threads = str(self.threads)
        timed = run_fresh(
            python(script, str(question), str(answer)),
            env={
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "FTKIT_CACHE": str(self.folder / cache),
                "OMP_NUM_THREADS": threads,
                "MKL_NUM_THREADS": threads,
                "TOKENIZERS_PARALLELISM": "true",
                "HF_HUB_OFFLINE": "1",
            },
            cwd=self.folder,
        )
        return json.loads(answer.read_text(encoding="utf-8")), timed

    def run_arm(self, arm: Arm, *, round_number: int, max_steps: int) -> tuple[dict[str, Any], Timed]:
        """A cold arm gets an empty cache, a stored one that of the cold arm of its round."""
        cache = f"cache-{round_number}-{arm.stored or arm.name}"
        result, timed = self.run(arm.settings | {"max_steps": max_steps}, cache=cache)
        if not arm.is_trainer and result["features_reused"] != (arm.stored is not None):
            raise SystemExit(f"{arm.name}: features_reused is {result['features_reused']}; its figures would mislead")
        return result, timed


def measure(bench: Bench, arms: list[Arm], options: argparse.Namespace) -> tuple[dict[str, Measured], Measured]:
    """All rounds: figures by arm, and the rates of matrix products taken in between."""
    measured, products = {arm.name: Measured() for arm in arms}, Measured()
    for round_number in range(1, options.rounds + 1):
        products.add(*bench.run({"kind": "products", "seconds": 3}, cache="none"))
        for arm in arms:
            max_steps = options.steps if arm.is_trainer and not options.full else -1
            result, timed = bench.run_arm(arm, round_number=round_number, max_steps=max_steps)
            measured[arm.name].add(result, timed)
            print(f"round {round_number}: {arm.says}: {result['seconds']:.1f} s, others {timed.others:.1%}", flush=True)
    return measured, products


def accuracy_run(bench: Bench, arms: list[Arm], options: argparse.Namespace) -> dict[str, Any] | None:
    """All steps of (c) once: its accuracy, and a check of how (c) was extrapolated."""
    grouped = [arm for arm in arms if arm.name == "trainer_grouped_bf16"]
    if options.full or options.no_accuracy or not grouped:
        return None
    result, timed = bench.run_arm(grouped[0], round_number=0, max_steps=-1)
    return result | {"others": timed.others}


def main() -> None:
    from classify_report import report

    options = parse_arguments()
    arms = [arm for arm in ARMS if arm.name in options.arms]
    with tempfile.TemporaryDirectory(prefix="bench-classify-") as name:
        folder = Path(name)
        files = write_rows(folder, num_train=options.rows, num_validation=max(50, options.rows // 8))
        shared = shared_settings(options, files)
        write_recipes(folder, shared)
        bench = Bench(folder, shared, threads=options.threads)
        tokens, _ = bench.run({"kind": "tokens"}, cache="none")
        measured, products = measure(bench, arms, options)
        complete = accuracy_run(bench, arms, options)
    result = report(arms, measured, products=products, tokens=tokens, complete=complete, num_labels=files.num_labels)
    result = {"options": vars(options), "surroundings": surroundings(PACKAGES)} | result
    shares = [timed.others for one in [*measured.values(), products] for timed in one.times]
    print(quietness(shares))
    result["others"] = {"median": median(shares), "largest": max(shares)}
    print(f"written to {write_result(options.output, result)}")


if __name__ == "__main__":
    main()
