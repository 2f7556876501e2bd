"""Classification heads that read stored features: one linear layer, or an architecture's own head around a replay."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ftkit.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
        return HeadCopies(self, times)


class HeadCopies(nn.Module):
    """Copies of an architecture's head, each with trained weights of its own: features (B, D) -> logits (P, B, K).

    Args:
        head: gets the weights of the copy that is kept.
        times: P.
    """

    def __init__(self, head: ArchitectureHead, times: int) -> None:
        super().__init__()
        self.head = head
        self.names = [name for name, weight in head.named_parameters() if weight.requires_grad]
        self.stacks = nn.ParameterList(
            torch.stack([weight.detach()] * times) for weight in head.parameters() if weight.requires_grad
        )
        head.requires_grad_(False)

    def forward(self, features: torch.Tensor, candidates: slice = ALL) -> torch.Tensor:
        """Features (B, D) of the first token -> logits (P, B, K), or those of some copies."""
        copies = zip(*(stack[candidates] for stack in self.stacks), strict=True)
        given = [dict(zip(self.names, weights, strict=True)) for weights in copies]
        return torch.cat([torch.func.functional_call(self.head, weights, (features,)) for weights in given])

    @property
    def num_candidates(self) -> int:
        """P."""
        return len(self.stacks[0])

    def penalty(self) -> float:
        """None, as of the head itself."""
        return 0.0

    @torch.no_grad()
    def keep(self, candidate: int) -> None:
        """Leave one copy, in the head: P becomes 1."""
        own = dict(self.head.named_parameters())
        for name, stack in zip(self.names, self.stacks, strict=True):
            own[name].copy_(stack[candidate])
        self.stacks = nn.ParameterList(stack.detach()[candidate : candidate + 1].clone() for stack in self.stacks)


Head = LinearHead | ArchitectureHead | HeadCopies
"""What the fitting loop trains: features (B, D) -> logits (P, B, K) of P candidates, with `penalty` and `keep`."""


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
