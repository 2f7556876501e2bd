"""Copies of an architecture's own head, to be trained side by side: one for each fold, and one for all rows."""

from __future__ import annotations

import torch
from torch import nn

from ftkit.encoders.heads import ALL, ArchitectureHead


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
