"""The weights of a run: those it keeps, and those of the other checkpoint, put in a folder that loads alike."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ftkit.copies import copy_folder
from ftkit.diagnosis.measurements import SETS, Model, Set
from ftkit.evaluation.subject import Gathered, Subject
from ftkit.inputs.examples import TokenExamples
from ftkit.metrics.scores import Scores
from ftkit.models.saved_lm import load_saved_lm
from ftkit.storage import scratch_folder
from ftkit.training.prepared import make_scorable, scoring_dtype
from ftkit.training.probes import read_final_test
from ftkit.training.scores import Scorer

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


def score_trained(subject: Subject, found: Gathered, score: Callable[[Model, Path], Mapping[Set, Scores]]) -> None:
    """Score the kept weights on every set, and those that are not kept, or take what is on record of these.

    Args:
        subject: a run or a model.
        found: gets the losses, or the reasons for which there are none.
        score: `best` or `final`, and a folder that loads as model/ does -> what the model gives each set.
    """
    kept, other = subject.kept, subject.other
    scored = score(kept, subject.model_dir)
    found.keep(kept, scored)
    if subject.one_model:
        found.keep(other, scored)
        return
    with other_weights(subject) as folder:
        if isinstance(folder, Path):
            found.keep(other, score(other, folder))
        else:
            losses_on_record(subject, found, reason=folder)


def score_saved(
    subject: Subject, found: Gathered, sets: Mapping[Set, TokenExamples], *, per_token: bool = False
) -> None:
    """As `score_trained` for models that write: each is read back, and scored on every set."""

    def of_folder(name: Model, folder: Path) -> dict[Set, Scores]:
        dtype = scoring_dtype(subject.recipe, subject.device)
        saved = load_saved_lm(folder, dtype=dtype, device=subject.device, trust_remote_code=subject.trust)
        scored = score_sets(subject, name, saved.model, sets, per_token=per_token)
        del saved
        gc.collect()
        return scored

    score_trained(subject, found, of_folder)


def score_sets(
    subject: Subject, name: Model, model: Any, sets: Mapping[Set, TokenExamples], *, per_token: bool = False
) -> dict[Set, Scores]:
    """What a model that writes gives each set; with the loss of each target where asked."""
    make_scorable(model)
    scorer = Scorer(subject.device, subject.reporter)
    return {
        which: scorer.examples(model, examples, what=f"the {name} model on {which}", per_token=per_token)
        for which, examples in sets.items()
    }


@contextlib.contextmanager
def other_weights(subject: Subject) -> Iterator[Path | str]:
    """A model folder with the weights that model/ does not hold: the last where the best are kept, or the best.

    Yields:
        A folder that loads as model/ does; or the reason for which there is none.
    """
    step = subject.last_step if subject.kept == "best" else subject.best_step
    if subject.run is not None and not subject.splits.holds_out and subject.kept == "final":
        yield "no best step was looked for: nothing is held out"
        return
    if subject.run is None or step is None:
        yield "the run that made the model is not known"
        return
    folder = subject.run.checkpoints_dir / f"checkpoint-{step}"
    if not folder.is_dir():
        yield f"the checkpoint of step {step:,} is not there"
        return
    if reason := _why_not_alike(folder, subject.model_dir):
        yield reason
        return
    with scratch_folder("eval") as folder_of_both:
        target = folder_of_both / "model"
        copy_folder(subject.model_dir, target, leave_out=WEIGHTS)
        for pattern in WEIGHTS:
            for file in folder.glob(pattern):
                (target / file.name).symlink_to(file.resolve())
        yield target


def losses_on_record(subject: Subject, found: Gathered, *, reason: str) -> None:
    """Take the losses of the other weights from the record of the training, where the weights are gone.

    Args:
        subject: a run.
        found: gets them, or the reason for which they are not there.
        reason: why the weights cannot be scored anew.
    """
    other = subject.other
    step = subject.last_step if other == "final" else subject.best_step
    point = next((point for point in subject.curve if point.step == step), None)
    taken: dict[Set, Scores | None] = {
        "train": point.train if point else None,
        "validation": point.validation if point else None,
        "test": read_final_test(subject.run) if subject.run is not None and other == "final" else None,
    }
    for which in SETS:
        losses = taken.get(which)
        if losses is not None and not found.refuse_other_sizes(which, losses):
            found.losses[other, which] = losses
        elif (subject.kept, which) in found.losses:
            found.absent[f"{other}/{which}"] = reason


def _why_not_alike(folder: Path, model_dir: Path) -> str:
    """Empty where the weights of a checkpoint are named and shaped as those of model/."""
    from safetensors import SafetensorError

    try:
        there, here = _shapes(folder), _shapes(model_dir)
    except (OSError, SafetensorError) as error:
        return f"the weights of {folder.name} cannot be read: {error}"
    return "" if there == here and there else f"the weights of {folder.name} are not laid out as those of model/"


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    found: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "np") as weights:
            found |= {f"{file.name}:{name}": tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    return found
