"""What is written of a finetuned classifier: a whole checkpoint, or an adapter with the label names beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.models.checkpoint import LABELS_FILE
from ftkit.storage import write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


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
