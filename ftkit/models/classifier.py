"""A finetuned classifier, written and loaded back from any folder: full checkpoint, adapter or pooled head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from ftkit.errors import UserError
from ftkit.methods.adapter_folder import ADAPTER_FILE, adapter_settings
from ftkit.methods.lora import TAKEN_OUT
from ftkit.methods.start import adapter_start
from ftkit.models.causal import open_tokenizer
from ftkit.models.checkpoint import LABELS_FILE, LONGEST_DEFAULT, Checkpoint
from ftkit.models.download import refuse_damaged
from ftkit.models.placement import choose_device
from ftkit.models.pooled import PooledFolder, pool, read_pooled
from ftkit.models.reading.adapter import put_adapter, refuse_lacking
from ftkit.models.reading.pretrained import Loaded, read_config, read_weights
from ftkit.models.saved_folder import PROMPTING_FILE, model_folder, read_long_texts
from ftkit.models.saved_lm import find_base, write_as_plain_lora
from ftkit.recipe.data_section import CUT, LongTexts
from ftkit.storage import write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Answers = Literal["one label", "several labels", "numbers"]
"""What the logits of a classifier are for: softmax, a sigmoid each, or as they are."""


@dataclass(frozen=True)
class Classifier:
    """A module from input_ids (B, T), attention_mask (B, T), ... to float32 logits (B, K), and what belongs to it."""

    module: nn.Module
    tokenizer: PreTrainedTokenizerBase
    label_names: tuple[str, ...]
    max_length: int
    answers: Answers = "one label"
    long_texts: LongTexts = CUT


class SequenceLogits(nn.Module):
    """An AutoModelForSequenceClassification that returns its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Model inputs (B, T) -> logits (B, K)."""
        logits: torch.Tensor = self.model(**inputs).logits
        return logits.float()


class PooledLogits(nn.Module):
    """An encoder, a pooling and one linear layer."""

    def __init__(self, encoder: nn.Module, head: PooledFolder) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = head.pooling
        self.linear = nn.Linear(head.weight.shape[1], head.weight.shape[0])
        self.linear.load_state_dict({"weight": head.weight, "bias": head.bias})

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Model inputs (B, T) -> logits (B, K)."""
        hidden = self.encoder(**inputs).last_hidden_state
        pooled = pool(
            hidden, tokens=self.pooling.tokens, normalize=self.pooling.normalize, mask=inputs["attention_mask"]
        )
        logits: torch.Tensor = self.linear(pooled)
        return logits


def load_classifier(folder: Path, *, device: torch.device, trust_remote_code: bool = False) -> Classifier:
    """Load a finetuned classifier in float32: of a run, or of transformers or sentence-transformers.

    Raises:
        UserError: the folder holds no classifier.
    """
    from transformers import AutoModel

    refuse_damaged(folder)
    checkpoint = Checkpoint(str(folder), folder)
    pooled = read_pooled(folder)
    home = checkpoint if pooled is None else Checkpoint(str(folder), folder / pooled.encoder)
    tokenizer = open_tokenizer(home, trust_remote_code=trust_remote_code)
    names = label_names(checkpoint)
    module: nn.Module
    max_length = checkpoint.trained_length or LONGEST_DEFAULT
    if pooled is not None:
        encoder = read_weights(
            AutoModel, home, what="an encoder", dtype=torch.float32, trust_remote_code=trust_remote_code
        )
        module, max_length = PooledLogits(encoder.model, pooled), pooled.max_length
    elif (folder / ADAPTER_FILE).is_file():
        module = SequenceLogits(_with_adapter(checkpoint, tokenizer, trust_remote_code))
    else:
        module = SequenceLogits(_full(checkpoint, trust_remote_code))
    module.eval().to(device)
    answers = answers_of(checkpoint, num_labels=len(names))
    return Classifier(module, tokenizer, names, max_length, answers, read_long_texts(folder))


def open_classifier(path: Path, *, use_cpu: bool = False, trust_remote_code: bool = False) -> Classifier:
    """Load the classifier of a run, or of a model folder.

    Raises:
        UserError: there is none.
    """
    folder = model_folder(path)
    if (folder / PROMPTING_FILE).is_file():
        raise UserError(f"{path} holds a language model, which gives no labels", fix="let it write: ftkit generate")
    return load_classifier(folder, device=choose_device(use_cpu=use_cpu), trust_remote_code=trust_remote_code)


def answers_of(checkpoint: Checkpoint, *, num_labels: int) -> Answers:
    """What the configuration says, and else what transformers' pipeline does; adapters and pooled heads have none."""
    kind = checkpoint.config.get("problem_type")
    if kind == "regression":
        return "numbers"
    return "several labels" if kind == "multi_label_classification" or num_labels == 1 else "one label"


def label_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """K names, in the order of the logits of a classifier.

    Raises:
        UserError: it is none.
    """
    labels = checkpoint.labels
    if not labels:
        raise UserError(f"{checkpoint.name} names no labels: it is no classifier", fix="name a finetuned classifier")
    return tuple(labels[str(index)] for index in range(len(labels)))


def _full(checkpoint: Checkpoint, trust_remote_code: bool) -> nn.Module:
    from transformers import AutoModelForSequenceClassification

    module: nn.Module
    module, missing, _ = read_weights(
        AutoModelForSequenceClassification,
        checkpoint,
        what="a classifier",
        dtype=torch.float32,
        trust_remote_code=trust_remote_code,
    )
    if missing:
        raise UserError(
            f"{checkpoint.folder} is no finetuned classifier: its weights lack {', '.join(missing[:3])}",
            fix="name a run of ftkit or a model finetuned for text classification",
        )
    return module


def _with_adapter(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, trust_remote_code: bool) -> nn.Module:
    folder = checkpoint.folder
    base = find_base(folder, adapter_settings(folder))
    loaded = read_base(
        base, label_names(checkpoint), pad_id=tokenizer.pad_token_id, trust_remote_code=trust_remote_code
    )
    adapted = put_adapter(loaded.model, folder, base_name=base.name)
    refuse_lacking(adapted, (*loaded.missing, *loaded.mismatched), folder, base_name=base.name)
    return adapted


def read_base(base: Checkpoint, names: Sequence[str], *, pad_id: int | None, trust_remote_code: bool = False) -> Loaded:
    """The base of a classifier in float32, with a head for K labels, which an adapter is to bring.

    Raises:
        UserError: it cannot be read.
    """
    from transformers import AutoModelForSequenceClassification

    config = read_config(base, trust_remote_code=trust_remote_code, id2label=dict(enumerate(names)))
    # a model that also sees pictures has it in the configuration of its text
    config.pad_token_id = config.get_text_config().pad_token_id = pad_id
    return read_weights(
        AutoModelForSequenceClassification,
        base,
        what="the base of a classifier",
        config=config,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        trust_remote_code=trust_remote_code,
    )


def save_classifier(model: PreTrainedModel | PeftModel, target: Path, *, base_name: str) -> None:
    """Fill an empty folder with a full checkpoint, or with an adapter as peft writes it and the label names beside it.

    `base_name` is the hub id or absolute folder under which the adapter will find its base again.
    """
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        model.save_pretrained(target)
        return
    config: Any = model.peft_config["default"]
    config.base_model_name_or_path = base_name
    model.save_pretrained(str(target))
    if getattr(config, "init_lora_weights", True) in TAKEN_OUT:
        write_as_plain_lora(target, adapter_start(model))
    base: Any = model.get_base_model()
    # not config.json: transformers would take the folder for a complete model and look for its weights
    labels = {name: getattr(base.config, name) for name in ("num_labels", "id2label", "label2id")}
    write_json(target / LABELS_FILE, labels)
