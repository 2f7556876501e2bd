"""Memory that really runs out: the address space of a real process is limited."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from ftkit.runs.run import Run
from tests.faults.experiments import Ground
from tests.faults.outcomes import lines_of

ROWS = 256
LIMITS = [2**20 * megabytes for megabytes in (200, 150, 110)]
"""Tried in turn: the first that the whole batch does not fit into."""

RECIPE = f"""
task: causal_lm
model: {{name_or_path: builtin:tiny-llama, dtype: float32}}
data: {{train_file: long.jsonl, validation_file: texts-new.jsonl, text_column: text, max_length: 96}}
method: {{type: lora, r: 4, lora_dropout: 0.0}}
training: {{per_device_train_batch_size: {ROWS}, max_steps: 2, learning_rate: 1.0e-2, seed: 3, bf16: false}}
"""


@pytest.fixture(scope="module")
def recipe(ground: Ground) -> str:
    words = ("the lamp opens the river and the garden moves the planet while the teapot breaks the letter " * 6).split()
    rows = [{"text": " ".join(words[number % 17 : number % 17 + 70])} for number in range(ROWS)]
    (ground.forge.folder / "long.jsonl").write_text(lines_of(rows), encoding="utf-8")
    (ground.forge.folder / "long.yaml").write_text(RECIPE, encoding="utf-8")
    return "long"


@pytest.fixture(scope="module")
def too_little(ground: Ground, recipe: str) -> tuple[int, str, int]:
    """The first limit that the whole batch does not fit into, what was said then, and the exit code."""
    for limit in LIMITS:
        child = ground.start(recipe, ground.new_run(), env={"FORGE_ADDRESS_SPACE": str(limit)})
        code = child.wait()
        if "memory ran out in step" in child.output():
            return limit, child.output(), code
    raise AssertionError(f"no limit was low enough:\n{child.output()}")


def test_memory_that_runs_out_in_a_step_names_the_key_and_a_value_that_keeps_the_step(
    too_little: tuple[int, str, int],
):
    _, said, code = too_little
    assert code == 3
    assert "Traceback" not in said
    assert re.search(rf"memory ran out in step \d \({ROWS} rows, [\d,]+ tokens\): \d", said), said
    value = int(said.partition("training.per_device_train_batch_size: ")[2].split()[0])
    accumulation = int(said.partition("training.gradient_accumulation_steps: ")[2].split(",")[0])
    assert value < ROWS
    assert value * accumulation == ROWS


def test_a_batch_size_that_is_found_learns_what_the_whole_batch_would_have(
    ground: Ground, recipe: str, too_little: tuple[int, str, int]
):
    whole = ground.new_run()
    assert ground.start(recipe, whole).wait() == 0
    found, limit = ground.new_run(), too_little[0]
    child = ground.start(recipe, found, "training.auto_find_batch_size=true", env={"FORGE_ADDRESS_SPACE": str(limit)})
    assert child.wait() == 0, child.output()
    said = child.output()
    assert "which is the same step" in said
    one, two = (load_file(run / "model" / "adapter_model.safetensors") for run in (whole, found))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=2e-5)
    steps = [json.loads(line)["step"] for line in Run(found).history_file.read_text().splitlines()]
    assert steps == sorted(steps)
