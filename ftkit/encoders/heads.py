"""Classification heads that read stored features: one linear layer, or an architecture's own head around a replay."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import torch
from torch import nn

from ftkit.encoders.base_head import base_head, fit_head_to_labels
from ftkit.errors import UserError
from ftkit.models.causal import make_room
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.reading.pretrained import read_config, read_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ftkit.encoders.head_copies import HeadCopies


ALL = slice(None)
"""Every candidate of a head."""


class LinearHead(nn.Module):
    """Linear layers over centred and scaled features: features (B, D) -> logits (P, B, K).

    P layers are trained side by side, each under an L2 penalty of its own, so that the strength which suits the data
    can be chosen on the validation set at little more than the cost of one. `keep` leaves the chosen one.

    Trained on (x - mean) / scale so that one learning rate suits every encoder; `folded` gives the same function of
    the raw x. The scale is one number for all features: a scale of its own for each would blow up the directions in
    which the encoder hardly varies, which overfits sooner. Weights start at zero: the loss is convex, so there is no
    symmetry to break.

    Args:
        mean: (D,) of the training features.
        scale: root mean square of the centred training features, ().
        num_labels: K.
        penalties: (P,), each at least 0.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    penalties: torch.Tensor

    def __init__(
        self, *, mean: torch.Tensor, scale: torch.Tensor, num_labels: int, penalties: Sequence[float] = (0.0,)
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.register_buffer("penalties", torch.tensor(list(penalties)))
        self.weight = nn.Parameter(torch.zeros(len(penalties), num_labels, len(mean)))
        self.bias = nn.Parameter(torch.zeros(len(penalties), num_labels))

    def forward(self, features: torch.Tensor, candidates: slice = ALL) -> torch.Tensor:
        """Features (B, D) -> logits (P, B, K), or those of some candidates."""
        scaled = (features - self.mean) / self.scale
        weight, bias = self.weight[candidates], self.bias[candidates]
        num_candidates, num_labels, width = weight.shape
        logits = scaled @ weight.reshape(-1, width).T + bias.reshape(-1)
        return logits.reshape(len(features), num_candidates, num_labels).transpose(0, 1)

    @property
    def num_candidates(self) -> int:
        """P."""
        return len(self.penalties)

    def repeated(self, times: int) -> LinearHead:
        """An untrained head with all candidates so many times, one group of P behind the other."""
        penalties = self.penalties.tolist() * times
        return LinearHead(mean=self.mean, scale=self.scale, num_labels=self.weight.shape[1], penalties=penalties)

    def penalty(self) -> torch.Tensor:
        """Sum over candidates of penalty / 2 * |W|^2, added to the loss; the bias is free."""
        return (self.penalties * self.weight.square().sum(dim=(1, 2))).sum() / 2

    def keep(self, candidate: int) -> None:
        """Leave one candidate: P becomes 1."""
        self.penalties = self.penalties[candidate : candidate + 1]
        self.weight = nn.Parameter(self.weight.detach()[candidate : candidate + 1].clone())
        self.bias = nn.Parameter(self.bias.detach()[candidate : candidate + 1].clone())

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight (K, D) and bias (K,) of the only candidate as a function of features that are not scaled."""
        assert len(self.weight) == 1, "keep one candidate first"
        weight = self.weight.detach()[0].double() / self.scale.double()
        bias = self.bias.detach()[0].double() - weight @ self.mean.double()
        return weight.float(), bias.float()


Head = Union[LinearHead, "ArchitectureHead", "HeadCopies"]
"""What the fitting loop trains: features (B, D) -> logits (P, B, K) of P candidates, with `penalty` and `keep`."""


class Replay(nn.Module):
    """Stands in for a frozen encoder: hands the features it is given to the head as if it had computed them.

    A pooler inside the encoder (BERT, ALBERT) is part of the head's side and runs, trained or not.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.pooler = getattr(encoder, "pooler", None)
        self.pooler_activation = getattr(encoder, "pooler_activation", None)

    def forward(self, _input_ids: None = None, *, inputs_embeds: torch.Tensor, **_ignored: Any) -> Any:
        """Features as one-token sequences (B, 1, D) -> what the encoder would have returned."""
        from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

        pooled = None
        if self.pooler is not None and self.pooler_activation is not None:
            pooled = self.pooler_activation(self.pooler(inputs_embeds[:, 0]))
        elif self.pooler is not None:
            pooled = self.pooler(inputs_embeds)
        return BaseModelOutputWithPoolingAndCrossAttentions(last_hidden_state=inputs_embeds, pooler_output=pooled)


class ArchitectureHead(nn.Module):
    """The head of an AutoModelForSequenceClassification with its encoder replaced by a replay.

    Args:
        model: the whole model; its head's parameters are shared, its encoder is neither changed nor called.
        trainable: names of the parameters that are trained.
    """

    def __init__(self, model: PreTrainedModel, *, trainable: Iterable[str]) -> None:
        super().__init__()
        prefix = model.base_model_prefix
        encoder = model.base_model
        wanted = set(trainable)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in wanted)
        # a shallow copy shares every parameter of the head; only the child table is its own
        self.model = copy.copy(model)
        self.model._modules = dict(model._modules)
        self.model._modules[prefix] = Replay(encoder)

    def forward(self, features: torch.Tensor, candidates: slice = ALL) -> torch.Tensor:  # noqa: ARG002
        """Features (B, D) of the first token -> logits (1, B, K): one candidate."""
        mask = torch.ones(len(features), 1, dtype=torch.long, device=features.device)
        logits: torch.Tensor = self.model(inputs_embeds=features.unsqueeze(1), attention_mask=mask).logits
        return logits.unsqueeze(0)

    def penalty(self) -> float:
        """None: AdamW's own weight decay does it."""
        return 0.0

    def keep(self, candidate: int) -> None:
        """There is only one."""
        assert candidate == 0

    @property
    def num_candidates(self) -> int:
        """One."""
        return 1

    def repeated(self, times: int) -> HeadCopies:
        """So many copies of the head, to be trained side by side."""
        from ftkit.encoders.head_copies import HeadCopies

        return HeadCopies(self, times)


def missing_parameters(model: PreTrainedModel, missing_keys: Iterable[str]) -> list[str]:
    """The parameters of `model` that its checkpoint did not bring, in the model's order."""
    missing = set(missing_keys)
    return [name for name, _ in model.named_parameters() if name in missing]


class LoadedClassifier(NamedTuple):
    """An AutoModelForSequenceClassification and the names of the parameters its checkpoint did not bring."""

    model: PreTrainedModel
    new_parameters: tuple[str, ...]


def load_for_classification(
    checkpoint: Checkpoint, *, label_names: Sequence[str], seed: int, trust_remote_code: bool, cls_pooling: bool = False
) -> LoadedClassifier:
    """Load a checkpoint with a classification head in float32; new weights are drawn with `seed`.

    A head that it brings already is kept, row for row, where it is for the same labels.

    Args:
        checkpoint: a local checkpoint.
        label_names: K names in the order of the logits.
        seed: of the weights that the checkpoint does not bring.
        trust_remote_code: allow the checkpoint's own Python code.
        cls_pooling: make an architecture that can pool in several ways (ModernBERT) read its first token.

    Raises:
        UserError: transformers has no classification head for the architecture, or cannot read the checkpoint.
    """
    from transformers import AutoModelForSequenceClassification

    names = dict(enumerate(label_names))
    config = read_config(checkpoint, trust_remote_code=trust_remote_code)
    config.num_labels = len(names)
    config.id2label, config.label2id = names, {name: index for index, name in names.items()}
    config.problem_type = "single_label_classification"
    if cls_pooling and hasattr(config, "classifier_pooling"):
        # EuroBERT calls its first token so
        config.classifier_pooling = "bos" if config.classifier_pooling in ("bos", "late") else "cls"
    torch.manual_seed(seed)
    model, missing, mismatched = read_weights(
        AutoModelForSequenceClassification,
        checkpoint,
        what="a classifier",
        config=config,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        trust_remote_code=trust_remote_code,
    )
    make_room(model, checkpoint)
    refuse_without_weights(checkpoint, model.base_model, missing)
    missing += mismatched
    head = base_head(checkpoint, label_names)
    if head is not None and not mismatched:
        missing += fit_head_to_labels(model, head, seed=seed)
    return LoadedClassifier(model, tuple(missing_parameters(model, missing)))


def refuse_without_weights(checkpoint: Checkpoint, encoder: PreTrainedModel, missing_keys: Iterable[str]) -> None:
    """Refuse a checkpoint that does not bring most of an encoder: it would be random, and transformers only warns.

    Args:
        checkpoint: as it was read.
        encoder: without a head.
        missing_keys: as transformers reports them, of the encoder or of a model around it.

    Raises:
        UserError: with names of weights that are missing.
    """
    missing = sorted(missing_keys)
    sizes = {name: parameter.numel() for name, parameter in encoder.named_parameters()}
    missing_inside = {key.removeprefix(f"{encoder.base_model_prefix}.") for key in missing}
    random = sum(size for name, size in sizes.items() if name in missing_inside)
    if random > sum(sizes.values()) / 2:
        raise UserError(
            f"{checkpoint.name} lacks most weights of its encoder, among them {', '.join(missing[:3])}; they would be "
            "random",
            fix="name a checkpoint whose weights are those of its configuration",
        )


def check_replay(architecture: str, *, replayed: torch.Tensor, full: torch.Tensor) -> None:
    """Refuse an architecture whose head reads more of its encoder than the first token.

    Args:
        architecture: class name, for the message.
        replayed: logits (B, K) of the head on the encoder's first-token vectors, float32, eval mode.
        full: logits (B, K) of the whole model on the same examples.

    Raises:
        UserError: they differ by more than rounding.
    """
    difference = float((replayed - full).abs().max())
    if difference > 1e-4 * max(1.0, float(full.abs().max())):
        raise UserError(
            f"the head of {architecture} reads more than the first token (replayed logits differ by {difference:.1e}), "
            "so its encoder cannot be run once",
            fix="set method.pooling: mean, or method.type: full or lora",
        )


def feature_statistics(blocks: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (D,) of features and the root mean square () of what is left without it, over blocks (n, D), in one pass."""
    count, total, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for block in blocks:
        values = block.double()
        count += len(values)
        total = total + values.sum(dim=0)
        squares = squares + values.square().sum(dim=0)
    mean = total / count
    scale = (squares / count - mean.square()).clamp(min=0).mean().sqrt()
    return mean.float(), (scale if scale > 0 else torch.ones_like(scale)).float()
