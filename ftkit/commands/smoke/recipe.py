"""A recipe made small enough for a smoke test, with a word on everything that is done otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.methods.section import MethodSection, Section
from ftkit.recipe.data_section import DataSpec
from ftkit.recipe.generative import GeneratingRecipe, GenerationSpec, GenerativeRecipe
from ftkit.recipe.schema import Recipe

if TYPE_CHECKING:
    from ftkit.commands.smoke.stand_in import StandIn

SMOKE_STEPS = 2
NEW_TOKENS = 8
MOST_BEAMS = 2

NOT_CHECKED = "the hub, the real weights, memory, speed, GPUs and mixed precision, the result's quality"

SLOW_EXTRA = ("torch_compile", "tf32")
"""Beginnings of fields of training.extra that want a certain machine, or take minutes."""


def shrink(recipe: Recipe, stand_in: StandIn, *, output_dir: Path) -> tuple[Recipe, list[str]]:
    """Two steps of a recipe on the CPU in float32.

    Returns:
        The small recipe, and what it leaves out or changes besides model, rows and steps, a few words each.

    Raises:
        UserError: data.max_length is more than the real model takes.
    """
    changes: list[str] = []
    model = _model(recipe, stand_in, changes)
    lengths = [key for key in ("max_length", "max_target_length") if key in type(recipe.data).model_fields]
    data: dict[str, Any] = {key: _max_length(recipe, stand_in, changes, key=key) for key in lengths}
    data |= _overlap(recipe.data, data["max_length"], changes)
    data |= _chat_template(recipe.data, stand_in, changes) | _languages(recipe.data, stand_in, changes)
    method = _method(recipe.method, stand_in, changes)
    training = _training(recipe, changes) | {"output_dir": str(output_dir)}
    evaluation = {"metrics": _metrics(recipe, changes)} | _windows(recipe, changes)
    if recipe.model.trust_remote_code:
        changes.append("the checkpoint's own code is not run")
    sections: dict[str, Section] = {
        "model": recipe.model.model_copy(update=model),
        "method": recipe.method.model_copy(update=method),
        "data": recipe.data.model_copy(update=data),
        "training": recipe.training.model_copy(update=training),
        "evaluation": recipe.evaluation.model_copy(update=evaluation),
    }
    if isinstance(recipe, GeneratingRecipe):
        sections["generation"] = recipe.generation.model_copy(update=_generation(recipe.generation, changes))
    return recipe.model_copy(update=sections), changes


def _max_length(recipe: Recipe, stand_in: StandIn, changes: list[str], *, key: str) -> int | None:
    asked: int | None = getattr(recipe.data, key)
    if asked is None:
        return None
    if stand_in.real is not None:
        stand_in.real.max_length(asked)
    try:
        return stand_in.checkpoint.max_length(asked)
    except UserError:
        lowered = stand_in.checkpoint.max_length(None)
        changes.append(f"{key} {lowered} instead of {asked}, which the tiny model does not take")
        return lowered


def _generation(spec: GenerationSpec, changes: list[str]) -> dict[str, Any]:
    """Untrained models never stop by themselves, so outputs are short."""
    if spec.num_beams > MOST_BEAMS:
        changes.append(f"num_beams {MOST_BEAMS} instead of {spec.num_beams}")
    changes.append(f"outputs of at most {NEW_TOKENS} tokens")
    return {"max_new_tokens": NEW_TOKENS, "num_beams": min(MOST_BEAMS, spec.num_beams)}


def _model(recipe: Recipe, stand_in: StandIn, changes: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name_or_path": stand_in.checkpoint.name,
        "revision": None,
        "dtype": "float32",
        "trust_remote_code": False,
    }
    if recipe.model.adapter is not None:
        values |= {"adapter": None, "adapter_use": "continue"}
        changes.append("a new adapter instead of model.adapter, which is the real model's")
    if recipe.model.gguf() is not None:
        values["gguf_file"] = None
    if recipe.model.freeze and recipe.model.freeze != ["embeddings"]:
        changes.append(
            f"freeze embeddings instead of {', '.join(recipe.model.freeze)}: the tiny model has fewer layers"
        )
        values["freeze"] = ["embeddings"]
    if isinstance(recipe, GenerativeRecipe) and recipe.model.attn_implementation == "flash_attention_2":
        values["attn_implementation"] = "auto"
        changes.append("attn_implementation auto instead of flash_attention_2")
    return values


def _overlap(data: DataSpec, max_length: int | None, changes: list[str]) -> dict[str, Any]:
    """Windows of a shorter model share fewer tokens."""
    stride = getattr(data, "window_stride", None)
    if stride is None or max_length is None or 2 * stride <= max_length:
        return {}
    changes.append(f"window_stride {max_length // 2} instead of {stride}")
    return {"window_stride": max_length // 2}


def _windows(recipe: Recipe, changes: list[str]) -> dict[str, Any]:
    """Whoever reads the saved model back scores rows as they come."""
    if recipe.evaluation.window_stride() is None:
        return {}
    changes.append("without evaluation.stride")
    return {"stride": None}


def _chat_template(data: DataSpec, stand_in: StandIn, changes: list[str]) -> dict[str, Any]:
    """Chats need a template; the stand-in may have none where the real tokenizer has one."""
    chats = getattr(data, "messages_column", None) is not None and getattr(data, "chat_template", None) is None
    if not chats or stand_in.has_chat_template:
        return {}
    changes.append(
        f"chat_template plain instead of the tokenizer's own, which {stand_in.checkpoint.name} does not have"
    )
    return {"chat_template": "plain"}


def _languages(data: DataSpec, stand_in: StandIn, changes: list[str]) -> dict[str, Any]:
    """The stand-in's tokenizer may mark no languages, or others."""
    keys = ("source_language", "target_language", "source_language_column", "target_language_column")
    named = [key for key in keys if getattr(data, key, None) is not None]
    if not named or stand_in.marks_languages:
        return {}
    changes.append(f"without {', '.join(named)}: {stand_in.checkpoint.name} marks no languages")
    return dict.fromkeys(named)


def _method(method: MethodSection, stand_in: StandIn, changes: list[str]) -> dict[str, Any]:
    """Names and numbers of layers are those of the real architecture, which the stand-in may not have."""
    targets, saved, numbers = (
        getattr(method, key, None) for key in ("target_modules", "modules_to_save", "layers_to_transform")
    )
    values: dict[str, Any] = {}
    other = stand_in.checkpoint.name
    if isinstance(targets, list) and not _has(stand_in, targets):
        values["target_modules"] = usual = type(method).model_fields["target_modules"].default
        changes.append(f"target_modules {usual} instead of {', '.join(targets)}, which {other} does not have")
    if saved and not _has(stand_in, saved):
        changes.append(f"without modules_to_save {', '.join(saved)}, which {other} does not have")
        values["modules_to_save"] = None
    for key in ("rank_pattern", "alpha_pattern"):
        if patterns := getattr(method, key, None):
            changes.append(f"without {key} {', '.join(patterns)}, which {other} need not have")
            values[key] = {}
    if numbers and max(numbers) >= stand_in.num_layers:
        changes.append(f"layers_to_transform [0]: {other} has {stand_in.num_layers} layers")
        values["layers_to_transform"] = [0]
    return values


def _has(stand_in: StandIn, names: list[str]) -> bool:
    return stand_in.same_architecture or stand_in.has_layer(names)


def _training(recipe: Recipe, changes: list[str]) -> dict[str, Any]:
    spec = recipe.training
    values: dict[str, Any] = {
        "max_steps": SMOKE_STEPS,
        "use_cpu": True,
        "bf16": False,
        "fp16": False,
        "report_to": "none",
        "dataloader_num_workers": 0,
        "extra": {name: value for name, value in spec.extra.items() if name not in set(_left_out(spec.extra))},
    }
    if recipe.method.trains != "head":
        values["logging_steps"] = 1
    if spec.eval_strategy == "steps":
        values["eval_steps"] = 1
    if spec.lr_scheduler_kwargs.get("num_decay_steps", 0) >= 1:
        values["lr_scheduler_kwargs"] = {"num_decay_steps": 0.5}
        changes.append(f"lr_scheduler_kwargs {{num_decay_steps: 0.5}}: the run has {SMOKE_STEPS} steps")
    for name in ("report_to", "bf16", "fp16", "dataloader_num_workers"):
        if getattr(spec, name) != values[name]:
            changes.append(f"{name} {_shown(values[name])} instead of {_shown(getattr(spec, name))}")
    if left_out := list(_left_out(spec.extra)):
        changes.append(f"without {', '.join(left_out)} of training.extra")
    return values


def _left_out(extra: dict[str, Any]) -> Iterator[str]:
    return (name for name in extra if name.startswith(SLOW_EXTRA))


def _metrics(recipe: Recipe, changes: list[str]) -> list[str]:
    """All but those that the `evaluate` library would have to fetch; ones that lie on this machine are tried."""
    asked = recipe.evaluation.metrics
    fetched = [name for name in asked if name.startswith("evaluate:") and name[len("evaluate:")] not in "./~"]
    if fetched:
        changes.append(f"without {', '.join(fetched)}, which the hub would be asked for")
    left = "accuracy" if recipe.data.has_labels() else "perplexity"
    return [name for name in asked if name not in fetched] or [left]


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
