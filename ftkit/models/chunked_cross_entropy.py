"""Cross-entropy over a large vocabulary: the logits of a few positions at a time, never of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

IGNORED = -100
"""Label of a position that is not learnt."""

CACHED_LOGITS = 2**18
"""Logits that a processor's cache holds in float32, twice over: 1 MiB."""

Head = Callable[[torch.Tensor], torch.Tensor]
"""Hidden states (N, D) -> logits (N, V), soft-capped or scaled as the model does."""


class LabelledPositions(NamedTuple):
    """Where something is predicted, and what.

    Attributes:
        positions: index into the B x T positions of a batch, (N,).
        targets: token ids, (N,).
    """

    positions: torch.Tensor
    targets: torch.Tensor


class TokenLosses(NamedTuple):
    """One entry for each labelled position, in row-major order.

    Attributes:
        nll: negative log-likelihood of the label in nats, float32 (N,).
        correct: whether the label has the largest logit, bool (N,).
    """

    nll: torch.Tensor
    correct: torch.Tensor


def labelled_positions(labels: torch.Tensor) -> LabelledPositions:
    """The positions before each labelled token: labels (B, T), -100 where nothing is learnt.

    Example:
        >>> labelled_positions(torch.tensor([[-100, 7, 8], [-100, -100, 9]]))
        LabelledPositions(positions=tensor([0, 1, 4]), targets=tensor([7, 8, 9]))
    """
    following = nn.functional.pad(labels, (0, 1), value=IGNORED)[:, 1:].flatten()
    positions = torch.nonzero(following != IGNORED).flatten()
    return LabelledPositions(positions, following[positions])


def token_losses(head: Head, hidden: torch.Tensor, labelled: LabelledPositions, *, chunk_size: int) -> TokenLosses:
    """Loss of each labelled token, without gradients.

    Args:
        head: hidden states (N, D) -> logits (N, V).
        hidden: (B x T, D).
        labelled: what is predicted where.
        chunk_size: positions whose logits are held at a time.
    """
    positions, targets = labelled
    nll = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
    correct = torch.empty(len(targets), dtype=torch.bool, device=hidden.device)
    with torch.no_grad():
        for chunk in _chunks(len(targets), chunk_size):
            logits, wanted = head(hidden[positions[chunk]]), targets[chunk]
            correct[chunk] = logits.argmax(dim=1) == wanted
            for group in _groups(logits):
                some = logits[group].float()
                nll[chunk][group] = torch.logsumexp(some, dim=1) - some.gather(1, wanted[group, None])[:, 0]
    return TokenLosses(nll, correct)


def summed_cross_entropy(
    layer: nn.Module, head: Head, hidden: torch.Tensor, labelled: LabelledPositions, *, chunk_size: int
) -> torch.Tensor:
    """Sum of the losses of all labelled tokens, float32, differentiable once.

    The gradients are computed along with the loss, chunk by chunk, so that the backward pass only scales them and no
    logits are made twice.

    Args:
        layer: the output layer, whose trained parameters get gradients.
        head: hidden states (N, D) -> logits (N, V) through that layer.
        hidden: (B x T, D).
        labelled: what is predicted where.
        chunk_size: positions whose logits are held at a time.

    Source:
        Liger Kernel's fused linear cross entropy (Hsu et al. 2024), here for any output layer.
    """
    parameters = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    if torch.is_grad_enabled() and (parameters or hidden.requires_grad):
        total: torch.Tensor = _SummedCrossEntropy.apply(head, chunk_size, hidden, *labelled, *parameters)  # type: ignore[no-untyped-call]
        return total
    return token_losses(head, hidden, labelled, chunk_size=chunk_size).nll.sum()


class _SummedCrossEntropy(torch.autograd.Function):
    """Trained parameters are inputs of their own: of a layer tied to the embeddings, autograd adds up both gradients.

    The forward pass runs under the caller's autocast; the backward pass only multiplies, so it needs none.
    """

    @staticmethod
    def forward(
        ctx: Any,
        head: Head,
        chunk_size: int,
        hidden: torch.Tensor,
        positions: torch.Tensor,
        targets: torch.Tensor,
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        wants_hidden = ctx.needs_input_grad[2]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        sums = [torch.zeros_like(parameter) for parameter in parameters]
        rows = hidden.new_empty(len(targets) if wants_hidden else 0, hidden.shape[1])
        for chunk in _chunks(len(targets), chunk_size):
            with torch.enable_grad():
                states = hidden[positions[chunk]].detach().requires_grad_(wants_hidden)
                logits = head(states)
            gradient = logits.detach()
            total += _loss_with_gradient_in_place(gradient, targets[chunk])
            found = list(torch.autograd.grad(logits, [*([states] if wants_hidden else []), *parameters], gradient))
            if wants_hidden:
                rows[chunk] = found.pop(0)
            for accumulated, new in zip(sums, found, strict=True):
                accumulated += new
        ctx.save_for_backward(rows, positions, *sums)
        ctx.shape = hidden.shape
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, positions, *sums = ctx.saved_tensors
        hidden = None
        if ctx.needs_input_grad[2]:
            hidden = rows.new_zeros(ctx.shape)
            hidden[positions] = rows * scale.to(rows.dtype)
        return None, None, hidden, None, None, *(gradient * scale.to(gradient.dtype) for gradient in sums)


def _loss_with_gradient_in_place(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Summed cross-entropy in float32; the logits (N, V) are replaced by its gradient, in their own type.

    Neither nn.Linear nor what may follow it here needs its output for its own gradient; autograd would notice if not.
    """
    total = torch.zeros((), dtype=torch.float32, device=logits.device)
    for group in _groups(logits):
        weights = logits[group].to(torch.float32, copy=True)
        rows = torch.arange(len(weights), device=logits.device)
        weights -= weights.amax(dim=1, keepdim=True)
        picked = weights[rows, targets[group]]
        sums = weights.exp_().sum(dim=1, keepdim=True)
        total += (sums.log()[:, 0] - picked).sum()
        weights /= sums
        weights[rows, targets[group]] -= 1.0
        logits[group] = weights
    return total


def _groups(logits: torch.Tensor) -> Iterator[slice]:
    """Rows whose softmax is computed together: on a CPU as few as stay in its cache from one operation to the next."""
    num_rows, vocab_size = logits.shape
    yield from _chunks(num_rows, max(1, CACHED_LOGITS // vocab_size) if logits.device.type == "cpu" else num_rows)


def _chunks(num_positions: int, chunk_size: int) -> Iterator[slice]:
    for start in range(0, num_positions, chunk_size):
        yield slice(start, min(start + chunk_size, num_positions))
