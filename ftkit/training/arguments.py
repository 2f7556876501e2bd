"""Recipe -> transformers.TrainingArguments: the one place that names them."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.models.placement import choose_device, computes_in_bfloat16, place
from ftkit.recipe.schema import Recipe
from ftkit.runs.run import Run

if TYPE_CHECKING:
    from transformers import TrainingArguments

SAME_NAME = (
    "num_train_epochs",
    "learning_rate",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "optim",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "load_best_model_at_end",
    "seed",
    "fp16",
    "dataloader_num_workers",
    "use_cpu",
    "logging_steps",
    "report_to",
)
"""Keys of the recipe's training section that TrainingArguments spells and means the same."""

OWN_LOSS, WEIGHTED_LOSS = "eval_nll", "eval_weighted_loss"
"""The loss as it is measured here, and the same with class weights, where there are some; `eval_loss` is Trainer's own,
with label smoothing in it too. Every other score is called as in the recipe, behind `eval_`."""


def mixes_bfloat16(recipe: Recipe) -> bool:
    """Whether products are made in bfloat16: as the recipe says, `auto` by what the processor can do."""
    spec = recipe.training
    if spec.bf16 != "auto":
        return spec.bf16
    return not spec.fp16 and computes_in_bfloat16(choose_device(use_cpu=spec.use_cpu))


def training_precision(recipe: Recipe) -> str:
    """How Trainer computes with weights that are kept in float32, in words."""
    if mixes_bfloat16(recipe):
        return "float32 weights, bfloat16 products"
    return "float32 weights, float16 products" if recipe.training.fp16 else "float32"


def trains_in_16_bits(recipe: Recipe) -> bool:
    """Whether products or weights may be in 16 bits where a model is trained, or where it is scored."""
    import torch

    dtype = place(recipe.model.dtype, use_cpu=recipe.training.use_cpu).dtype
    return mixes_bfloat16(recipe) or recipe.training.fp16 or dtype != torch.float32


def refuse_missing_packages(recipe: Recipe) -> None:
    """Refuse a tracker or an optimizer that cannot be had on this machine, before anything is read.

    Raises:
        UserError: its package is not installed, or transformers has no such optimizer.
    """
    spec = recipe.training
    if recipe.method.trains == "head":
        return
    if spec.report_to != "none" and not _is_installed(spec.report_to):
        raise UserError(
            f"training.report_to: {spec.report_to} is not installed", fix=f"pip install {spec.report_to}, or write none"
        )
    if spec.optim == type(spec).model_fields["optim"].default:
        return
    from torch import nn
    from transformers import Trainer, TrainingArguments

    settings = {name: value for name, value in spec.extra.items() if name.startswith("optim_")}
    model: Any = nn.Sequential(nn.Linear(1, 1))
    try:
        # as Trainer will ask for it; nothing is written
        arguments = TrainingArguments(output_dir="unused", optim=spec.optim, use_cpu=spec.use_cpu, **settings)
        Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    except (ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        fix = "write adamw_torch, or another name that this version of transformers has"
        if "install" in reason.lower() or isinstance(error, ImportError):
            fix = "install the package that it names, or write adamw_torch"
        raise UserError(f"training.optim: {spec.optim} cannot be had: {reason}", fix=fix) from error


def _is_installed(package: str) -> bool:
    found = importlib.util.find_spec(package)
    # a folder of that name in the working directory, such as trackers leave there, is none
    return found is not None and found.origin is not None


def training_arguments(recipe: Recipe, run: Run) -> TrainingArguments:
    """What HF Trainer is told.

    Raises:
        UserError: a value that TrainingArguments refuses; fp16 is asked of a CPU.
    """
    import torch
    from transformers import TrainingArguments

    spec = recipe.training
    on_cpu = spec.use_cpu or not torch.accelerator.is_available()
    if spec.fp16 and on_cpu:
        # Trainer would ignore it without a word
        raise UserError("training.fp16 needs a GPU, and there is none", fix="use training.bf16: true, or remove it")
    best = spec.metric_for_best_model
    own_loss = OWN_LOSS if spec.weighs_classes() == "none" else WEIGHTED_LOSS
    chosen_by = own_loss if best == "loss" else f"eval_{best}"
    values: dict[str, Any] = {name: getattr(spec, name) for name in SAME_NAME}
    values |= {
        "output_dir": str(run.checkpoints_dir),
        "max_steps": spec.max_steps or -1,
        "label_names": ["labels"],
        **({} if (rows := spec.rows_scored_at_once()) is None else {"per_device_eval_batch_size": rows}),
        "eval_strategy": spec.eval_strategy,
        "eval_steps": spec.eval_steps,
        # the best are sealed by Trainer, what is due apart from evaluations by the trainer's own SavesApart
        "save_strategy": "best" if spec.load_best_model_at_end else "no",
        "metric_for_best_model": None if recipe.data.holds_nothing_out else chosen_by,
        "greater_is_better": best != "loss",
        "bf16": mixes_bfloat16(recipe),
        "activation_checkpointing": spec.gradient_checkpointing,
        "train_sampling_strategy": "group_by_length",
        "restore_callback_states_from_checkpoint": True,
        # checkpoints are rotated behind their seals, by whoever seals them
        "save_total_limit": None,
        # a NaN must stop the run, not be logged as 0
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "use_cpu": on_cpu,
        "dataloader_pin_memory": not on_cpu,
    }
    try:
        return TrainingArguments(**(values | spec.extra))
    except (ValueError, TypeError, ImportError) as error:
        raise UserError(f"the training section does not fit: {str(error).splitlines()[0]}") from error
