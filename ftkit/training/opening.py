"""What a run is made of, found and noted down; and how a run that is under way ends."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ftkit.data.chat.rendering import ChatBase
from ftkit.data.dataset import Splits
from ftkit.data.gather import Source
from ftkit.decoding.going_on import going_on_notes
from ftkit.errors import RunError
from ftkit.interruption import Interrupted
from ftkit.methods.adapter_folder import adapter_hash
from ftkit.models.adapted.base import locate_base
from ftkit.models.causal import load_tokenizer_for_lm
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.download import stay_offline_unless_remote
from ftkit.progress import Reporter
from ftkit.recipe.dump import changed, dump_recipe
from ftkit.recipe.schema import Recipe
from ftkit.runs.checkpoints import SealedCheckpoint
from ftkit.runs.folder import create, hardware, versions
from ftkit.runs.run import Run
from ftkit.storage import sha256_texts
from ftkit.training.again.refit import refit_notes
from ftkit.training.memory import exhaustion_told
from ftkit.training.way import Trainable


class Opened(NamedTuple):
    """A run and what it is made of.

    Attributes:
        run: its directory.
        checkpoint: the base model.
        splits: the data.
        resumed: the checkpoint of this run to go on from, verified; None for a training that begins.
    """

    run: Run
    checkpoint: Checkpoint
    splits: Splits
    resumed: SealedCheckpoint | None = None


def load_base_and_data(
    recipe: Recipe, task: Trainable, *, moment: str | None = None, reporter: Reporter
) -> tuple[Checkpoint, Splits]:
    """Find the base model of a recipe and read its data; says what was assumed.

    Args:
        recipe: of the task.
        task: asked for the data.
        moment: when a run began, for chat templates that write the date; None: now.
        reporter: hears of it.

    Raises:
        UserError: there is no such model, or a row that a person can mend.
    """
    stay_offline_unless_remote(recipe)
    if recipe.model.trust_remote_code:
        reporter.say("model.trust_remote_code: true: code that comes with the checkpoint is run")
    checkpoint = locate_base(recipe)
    if checkpoint.note is not None:
        reporter.say(checkpoint.note)
    if num_added := sum(map(len, checkpoint.new_tokens)):
        reporter.say(f"{num_added} tokens are added to the vocabulary, with embeddings of their own")
    splits = load_data(recipe, task, checkpoint, moment=moment)
    for note in (*splits.notes, *going_on_notes(recipe.model, checkpoint, splits), *refit_notes(recipe, splits)):
        reporter.say(note)
    return checkpoint, splits


def load_data(
    recipe: Recipe,
    task: Trainable,
    checkpoint: Checkpoint,
    *,
    moment: str | None = None,
    narrow: Callable[[Source], Source] | None = None,
) -> Splits:
    """Read the data of a recipe as a training with this base does; what is not given is as `load_splits` has it.

    Raises:
        UserError: a row that a person can mend.
    """
    tokenizer = partial(load_tokenizer_for_lm, checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    return task.load_splits(
        recipe.data,
        seed=recipe.training.seed,
        narrow=narrow,
        head=checkpoint.head_labels,
        chats=ChatBase(tokenizer, moment),
    )


UNSAID = (None, "auto")
"""Values of a recipe that leave a key to its data, or to its base."""


LENGTHS = ("data.max_length", "data.max_target_length")
"""Keys whose tokens an example has together."""


class Resolved(NamedTuple):
    """A recipe in which nothing is left to its data or its base, so that whoever reads it again finds no other value.

    What `model.dtype: auto` comes to is no part of it: it is the machine's, and a run may be read on another.

    Attributes:
        recipe: whole.
        found: dotted keys that the user's own recipe left open.
    """

    recipe: Recipe
    found: list[str]


def resolve(recipe: Recipe, task: Trainable, checkpoint: Checkpoint, splits: Splits) -> Resolved:
    """Fill in what was found in the data, and what the base decides.

    Of lengths only those that batches counted in tokens can hold: the others, asked for, would be refused.
    """
    settled, budget = task.settled(recipe, checkpoint), recipe.training.token_budget()
    lengths = {key: value for key in LENGTHS if isinstance(value := settled.get(key), int)}
    if budget is not None and sum(lengths.values()) > budget:
        settled = {key: value for key, value in settled.items() if key not in lengths}
    known = {**{f"data.{key}": value for key, value in splits.found.items()}, **settled}
    found = {key: value for key, value in known.items() if recipe.value(key) in UNSAID}
    return Resolved(changed(recipe, found), list(found))


def hashes_of(recipe: Recipe, checkpoint: Checkpoint, splits: Splits) -> dict[str, Any]:
    """What a run is made of, as its manifest keeps it."""
    # where a run lies is no part of what it is: it may be moved
    homeless = recipe.model_copy(update={"training": recipe.training.model_copy(update={"output_dir": None})})
    return {
        "recipe": sha256_texts([dump_recipe(homeless)]),
        "base_weights": checkpoint.weights_hash,
        "tokenizer": checkpoint.tokenizer_hash,
        "data": {split.name: split.fingerprint for split in splits.all()},
        **({} if checkpoint.adapter is None else {"adapter": adapter_hash(checkpoint.adapter)}),
    } | _prompting_hash(splits)


def _prompting_hash(splits: Splits) -> dict[str, str]:
    """What texts are made with, but for the rows: the content of a template's file, and the moment it is told."""
    if splits.prompting is None:
        return {}
    return {"prompting": sha256_texts([json.dumps(splits.prompting.to_dict(), sort_keys=True)])}


def open_run(
    recipe: Recipe, task: Trainable, splits: Splits, checkpoint: Checkpoint, *, overwrite: bool = False
) -> Opened:
    """Make the directory of a new run, with the resolved recipe and a manifest of all that it is made of."""
    assert recipe.training.output_dir is not None, "load_recipe fills it"
    whole, found = resolve(recipe, task, checkpoint, splits)
    model = recipe.model
    manifest = {
        "command": sys.argv,
        "seed": recipe.training.seed,
        "data": {split.name: {"rows": len(split), "source": split.source} for split in splits.all()},
        "data_notes": list(splits.notes),
        "label_names": list(splits.label_names),
        "adapter": None if model.adapter is None else {"from": model.adapter, "use": model.adapter_use},
        "moment": None if splits.prompting is None else splits.prompting.moment,
        "found": found,
        "hashes": hashes_of(whole, checkpoint, splits),
        "versions": versions(),
        "hardware": hardware(),
    }
    path = Path(recipe.training.output_dir)
    run = create(path, recipe_text=dump_recipe(whole), manifest=manifest, overwrite=overwrite)
    if splits.skipped:
        rows = ({"file": row.file, "line": row.line, "reason": row.reason} for row in splits.skipped)
        run.write_jsonl(run.skipped_file, rows)
    return Opened(run, checkpoint, splits)


@contextlib.contextmanager
def under_way(run: Run, recipe: Recipe) -> Iterator[None]:
    """Note in the manifest that a run is running, and how it ended; memory that ran out is told in one message."""
    run.clear_staging()
    run.update_manifest(state="running")
    try:
        with exhaustion_told(recipe):
            yield
        run.update_manifest(state="finished", finished=datetime.now(UTC).isoformat(timespec="seconds"))
    except BaseException as error:
        if not run.manifest_file.is_file():
            raise RunError(
                f"the run directory {run.path} was moved or removed while the run was under way",
                fix="where it lies now, --resume goes on from what was sealed: name it as training.output_dir",
            ) from error
        # a disk that is full takes no note of it either
        with contextlib.suppress(OSError, RunError):
            state = "stopped" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
            run.update_manifest(state=state, error=f"{type(error).__name__}: {error}")
        if isinstance(error, Interrupted):
            newest = run.checkpoints().newest_name
            sealed = f"{newest} is sealed; " if newest else ""
            error.advice = f"{sealed}the run {run.path} goes on with --resume"
        raise
