"""An adapter that a recipe goes on with: what is to be said of it before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ftkit.data.dataset import Splits
from ftkit.data.prompting import Prompting
from ftkit.decoding.prompts import form_of
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.saved_folder import PROMPTING_FILE
from ftkit.recipe.schema import ModelSpec
from ftkit.recipe.yaml.scalars import write_value

FORM = ("kind", "template", "system", "completion_only_loss", "chat_template_kwargs")
"""What is to be the same where a model is asked as it was taught before."""
SHOWN = 60


def going_on_notes(spec: ModelSpec, checkpoint: Checkpoint, splits: Splits) -> Iterator[str]:
    """What a training goes on from, and where its texts are written otherwise than those that the adapter learnt."""
    if spec.adapter is None:
        return
    if checkpoint.adapter is not None:
        yield f"going on with the adapter {spec.adapter}: its own weights are trained on"
    else:
        yield f"the adapter {spec.adapter} is a part of the base: the two are merged in {checkpoint.folder}"
    folder = Path(spec.adapter)
    if splits.prompting is None or not (folder / PROMPTING_FILE).is_file():
        return
    if changes := list(_changes(form_of(folder).prompting, splits.prompting)):
        yield f"warning: the adapter was taught in another form: {'; '.join(changes)}; it will be asked in the new one"


def _changes(before: Prompting, now: Prompting) -> Iterator[str]:
    for name in FORM:
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            yield f"{name} {_shown(old)} -> {_shown(new)}"
    # without one of the recipe it is that of the tokenizer, which comes with the adapter
    if now.chat_template not in (None, before.chat_template):
        yield "another chat_template"


def _shown(value: object) -> str:
    text = write_value(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
