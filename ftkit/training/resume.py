"""Going on with a run that was stopped: is it still the same run, and which of its checkpoints is whole?"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ftkit.errors import UserError
from ftkit.progress import Reporter
from ftkit.runs import Run, find_run


def reopen(path: Path, hashes: Mapping[str, Any]) -> Run:
    """The run at `path`, provided that it was made of the same things.

    Args:
        path: the run directory.
        hashes: of recipe, data, base weights and tokenizer, as in the manifest.

    Raises:
        UserError: something it is made of has changed.
    """
    run = find_run(path)
    before = run.manifest()["hashes"]
    if changed := sorted(name for name in hashes if hashes[name] != before.get(name)):
        raise UserError(
            f"the run {path} cannot be resumed: {', '.join(changed).replace('_', ' ')} changed since it was started",
            fix=f"compare with {run.recipe_file}, or start a new run with another training.output_dir",
        )
    return run


def newest_checkpoint(run: Run, *, reporter: Reporter) -> Path | None:
    """The newest whole checkpoint of HF Trainer in a run; None when there is none. Skipped ones are named."""
    found = [path for path in run.checkpoints_dir.glob("checkpoint-*") if path.name.rsplit("-", 1)[1].isdigit()]
    for path in sorted(found, key=step_of, reverse=True):
        if (damage := damage_of(path)) is None:
            reporter.say(f"going on from {path.name}")
            return path
        reporter.say(f"{path.name} is skipped: {damage}")
    return None


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint's name says.

    Example:
        >>> step_of(Path("checkpoint-120"))
        120
    """
    return int(checkpoint.name.rsplit("-", 1)[1])


def damage_of(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint folder of HF Trainer, None for a whole one.

    Trainer itself goes on silently with fresh optimizer or random state when those files are missing, so their
    presence is asked for here. Bytes flipped without a change of length are not noticed.
    """
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"trainer_state.json: {error}"
    if state.get("global_step") != step_of(checkpoint):
        return "trainer_state.json is of another step"
    weights = sorted(checkpoint.glob("*.safetensors"))
    if not weights:
        return "no weights"
    for file in weights:
        try:
            with safe_open(file, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            return f"{file.name}: {error}"
    random_states = sorted(checkpoint.glob("rng_state*.pth")) or [checkpoint / "rng_state.pth"]
    for file in (checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *random_states):
        if not file.is_file() or not zipfile.is_zipfile(file):
            return f"{file.name} is missing or cut short"
    return None
