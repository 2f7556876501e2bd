"""What a recipe of any task may say. The docstring under a field is its reference manual and its entry in the schema.

Keys that one task reads stand in that task's recipe.py, those of several tasks in labelled.py and generative.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny

from ftkit.methods.section import MethodSection, Section
from ftkit.metrics.names import ALL_METRICS
from ftkit.recipe.data_section import DataSpec
from ftkit.recipe.training_section import TrainingSpec

Metric = Annotated[str, Field(pattern=rf"^({'|'.join(ALL_METRICS)}|evaluate:.+)$")]


class ModelSpec(Section):
    """The base checkpoint."""

    name_or_path: str = Field(min_length=1)
    """Hub id, folder, or `builtin:NAME` (`ftkit builtin` lists them). A relative folder is relative to the recipe."""

    revision: str | None = None
    """Branch, tag or commit of a hub model."""

    adapter: str | None = None
    """A run, or a folder of peft's, whose adapter is gone on with. Without name_or_path its base is the base; keys of
    `method` that are not given are the adapter's."""

    adapter_use: Literal["continue", "merge"] = "continue"
    """`continue`: the adapter's own weights are trained on, and its rank, scale and layers are what they are. `merge`:
    it becomes a part of the base, in float32 and once, in the cache; what is trained starts from there, by any method,
    and a new adapter names the merged model as its base."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of what is not trained: a frozen encoder, the base under adapters or a prompt. `auto`: bfloat16 where
    the processor computes in it, else float32. What is trained is kept in float32; for mixed precision see
    training.bf16."""

    trust_remote_code: bool = False
    """Run Python code that comes with the checkpoint. Leave it off unless you have read that code. It counts for
    training alone: commands that open a finished run have --trust-remote-code."""

    freeze: list[str] | None = Field(default=None, min_length=1)
    """Parts of the base that stay as they are with method full: `embeddings`, `layers.0-5` (by number from the input;
    `encoder.layers.0-5` of one side), or names of modules or parameters as the model has them, `*` for anything."""

    def gguf(self) -> str | None:
        """The GGUF file that is the checkpoint; None where the task reads none, or it is none."""
        return None


class EvaluationSpec(Section):
    """What is measured at the end, on validation and test."""

    metrics: list[Metric] = Field(min_length=1)
    """What is measured, by name."""

    num_resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples behind each 95 % interval."""

    reference_file: str | None = None
    """Text that stands for what the base model knew, for `ftkit eval` to tell what was forgotten: a text file, or a
    file with a text column, relative to the recipe. Default: text that a causal language model writes itself, else
    prose that comes with Python."""

    def window_stride(self) -> int | None:
        """Tokens by which the windows advance in which long texts are scored; None where the task has no such key, or
        it is not given."""
        return None


class Recipe(Section):
    """A whole recipe: what to train, on what, how. Each task has its own, with sections of its own."""

    task: str
    """What comes out."""

    model: ModelSpec
    """The base checkpoint."""

    method: SerializeAsAny[MethodSection]
    """What is trained."""

    data: DataSpec
    """The examples."""

    training: TrainingSpec
    """How it is trained."""

    evaluation: EvaluationSpec
    """What is measured."""

    def value(self, dotted: str) -> Any:
        """What stands at a dotted key of the task."""
        section, _, name = dotted.rpartition(".")
        return getattr(getattr(self, section), name)

    def trained_in_words(self) -> str:
        """What is trained, as a model card says it."""
        but = f" but {', '.join(self.model.freeze)}" if self.model.freeze else ""
        return f"{self.method.in_words}{but}"

    def labels_named(self) -> list[str]:
        """Labels that examples have, as far as the recipe speaks of them, two at least; none where none are learnt."""
        return []

    def settings(self) -> dict[str, dict[str, Any]]:
        """Section -> key -> value, of the keys that decide something: those that no other overrules."""
        found: dict[str, dict[str, Any]] = self.model_dump(exclude={"task"})
        if self.training.max_steps is not None:
            del found["training"]["num_train_epochs"]
        return found
