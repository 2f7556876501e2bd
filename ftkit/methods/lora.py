"""full | lora: what is trained of a classifier, and what is written of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from ftkit.errors import UserError
from ftkit.models.checkpoint import LABELS_FILE
from ftkit.recipe.schema import LoraMethod
from ftkit.storage import write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class ParameterCount(NamedTuple):
    """Parameters of a model, and how many of them are trained."""

    total: int
    trained: int


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count parameters; a tied one counts once."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return ParameterCount(sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained))


def new_modules(model: nn.Module, new_parameters: Sequence[str]) -> list[str]:
    """The modules in which every weight is new, as short as their names stay unambiguous.

    Args:
        model: the classifier.
        new_parameters: names of the parameters that its checkpoint did not bring.

    Returns:
        Names of the highest modules that hold no parameter of the checkpoint (`classifier`, `bert.pooler`).
    """
    new = set(new_parameters)
    found: list[str] = []
    for name, module in model.named_modules():
        inside = [f"{name}.{parameter}" for parameter, _ in module.named_parameters()]
        if name and inside and new.issuperset(inside) and not any(name.startswith(f"{above}.") for above in found):
            found.append(name)
    return found


def attach_lora(model: PreTrainedModel, method: LoraMethod, *, new_parameters: Sequence[str]) -> PeftModel:
    """Put low-rank adapters on a classifier; modules with new weights are trained whole and saved with the adapter.

    peft saves the classification layer by itself, but not a pooler that the checkpoint lacks: it would be random
    again after a reload. So everything new is named in `modules_to_save` and left out of the adapted layers.

    Args:
        model: the classifier; changed in place.
        method: the recipe's method section.
        new_parameters: names of the parameters that the checkpoint did not bring.

    Raises:
        UserError: peft finds none of the target modules.
    """
    from peft import LoraConfig, get_peft_model

    heads = new_modules(model, new_parameters)
    targets = method.target_modules if method.target_modules != "all-linear" else adaptable_layers(model, heads)
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=method.r,
        lora_alpha=method.lora_alpha,
        lora_dropout=method.lora_dropout,
        target_modules=targets,
        use_rslora=method.use_rslora,
        use_dora=method.use_dora,
        modules_to_save=list(heads),
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise UserError(
            f"LoRA cannot be attached: {str(error).splitlines()[0]}",
            fix="set method.target_modules: all-linear, or names of linear layers of this model",
        ) from error


def adaptable_layers(model: nn.Module, heads: Sequence[str]) -> list[str]:
    """Full names of every linear layer outside the given modules; GPT-2's are called Conv1D."""
    from transformers.pytorch_utils import Conv1D

    linear = (nn.Linear, Conv1D)

    def is_inside(name: str) -> bool:
        return any(name == head or name.startswith(f"{head}.") for head in heads)

    return [name for name, module in model.named_modules() if isinstance(module, linear) and not is_inside(name)]


def save_classifier(model: PreTrainedModel | PeftModel, target: Path, *, base_name: str) -> None:
    """Write a full checkpoint, or an adapter as peft writes it with the label names beside it.

    Args:
        model: a transformers model, or a peft model around one.
        target: an empty folder.
        base_name: hub id or absolute folder under which the adapter will find its base again.
    """
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        model.save_pretrained(target)
        return
    model.peft_config["default"].base_model_name_or_path = base_name
    model.save_pretrained(str(target))
    base: Any = model.get_base_model()
    # not config.json: transformers would take the folder for a complete model and look for its weights
    labels = {name: getattr(base.config, name) for name in ("num_labels", "id2label", "label2id")}
    write_json(target / LABELS_FILE, labels)
