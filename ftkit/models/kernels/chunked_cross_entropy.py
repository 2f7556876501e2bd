"""Cross-entropy over a large vocabulary: the logits of a few positions at a time, never of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from ftkit.metrics.scores import IGNORED

CACHED_LOGITS = 2**18
"""Logits that a processor's cache holds in float32, twice over: 1 MiB."""

OutputLayer = Callable[[torch.Tensor], torch.Tensor]
"""Hidden states (N, D) -> logits (N, V), soft-capped or scaled as the model does."""


class LabelledPositions(NamedTuple):
    """Where something is predicted (N,), an index into the B x T positions of a batch, and which token id (N,)."""

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


def labelled_positions(labels: torch.Tensor, *, shifted: bool = True) -> LabelledPositions:
    """Where each labelled token is predicted: labels (B, T), -100 where nothing is learnt.

    Shifted: at the position before it, as decoder-only models do. Else at its own, as encoder-decoders do, whose
    decoders read the labels one position later.

    Example:
        >>> labels = torch.tensor([[-100, 7, 8], [-100, -100, 9]])
        >>> labelled_positions(labels)
        LabelledPositions(positions=tensor([0, 1, 4]), targets=tensor([7, 8, 9]))
        >>> labelled_positions(labels, shifted=False)
        LabelledPositions(positions=tensor([1, 2, 5]), targets=tensor([7, 8, 9]))
    """
    wanted = (nn.functional.pad(labels, (0, 1), value=IGNORED)[:, 1:] if shifted else labels).flatten()
    positions = torch.nonzero(wanted != IGNORED).flatten()
    return LabelledPositions(positions, wanted[positions])


def token_losses(
    head: OutputLayer, hidden: torch.Tensor, labelled: LabelledPositions, *, chunk_size: int
) -> TokenLosses:
    """Loss of each labelled token, without gradients.

    Args:
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
    layer: nn.Module,
    head: OutputLayer,
    hidden: torch.Tensor,
    labelled: LabelledPositions,
    *,
    chunk_size: int,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Sum of the losses of all labelled tokens, float32, differentiable once.

    The gradients are computed along with the loss, chunk by chunk, so that the backward pass only scales them and no
    logits are made twice.

    The trained parameters of the output layer, which `head` goes through, get gradients. `label_smoothing` is the share
    of each target's probability that is spread over the vocabulary, 0 to 1; where no gradients are wanted the loss is
    plain. The rest is as in `token_losses`.

    Source:
        Liger Kernel's fused linear cross entropy (Hsu et al. 2024), here for any output layer; Szegedy et al. 2016
        (label smoothing), as torch.nn.functional.cross_entropy has it.
    """
    parameters = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    if torch.is_grad_enabled() and (parameters or hidden.requires_grad):
        total: torch.Tensor = _SummedCrossEntropy.apply(  # type: ignore[no-untyped-call]
            head, chunk_size, label_smoothing, hidden, *labelled, *parameters
        )
        return total
    return token_losses(head, hidden, labelled, chunk_size=chunk_size).nll.sum()


class _SummedCrossEntropy(torch.autograd.Function):
    """Trained parameters are inputs of their own: of a layer tied to the embeddings, autograd adds up both gradients.

    The forward pass runs under the caller's autocast; the backward pass only multiplies, so it needs none.
    """

    @staticmethod
    def forward(
        ctx: Any,
        head: OutputLayer,
        chunk_size: int,
        label_smoothing: float,
        hidden: torch.Tensor,
        positions: torch.Tensor,
        targets: torch.Tensor,
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        wants_hidden = ctx.needs_input_grad[3]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        rows = hidden.new_empty(len(targets) if wants_hidden else 0, hidden.shape[1])
        sums = _Sums(head, parameters, label_smoothing)
        for chunk in _chunks(len(targets), chunk_size):
            states = hidden[positions[chunk]].detach()
            loss, by_states = sums.add(states, targets[chunk], wants_states=wants_hidden)
            total += loss
            if by_states is not None:
                rows[chunk] = by_states
        ctx.save_for_backward(rows, positions)
        ctx.sums, ctx.shape = sums, hidden.shape
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, positions = ctx.saved_tensors
        hidden = None
        if ctx.needs_input_grad[3]:
            hidden = rows.new_zeros(ctx.shape)
            hidden[positions] = rows * scale.to(rows.dtype)
        return None, None, None, hidden, None, None, *ctx.sums.scaled(scale)


class _Sums:
    """Gradients of the output layer's trained parameters, added up chunk by chunk.

    They are as large as the layer, and a processor takes longer to get memory of that size than to compute with it:
    that of a plain nn.Linear is made once, added to where it lies, and given away by the backward pass.
    """

    def __init__(self, head: OutputLayer, parameters: tuple[torch.Tensor, ...], label_smoothing: float) -> None:
        self.head = head
        self.parameters = parameters
        self.label_smoothing = label_smoothing
        self.is_plain = type(head) is nn.Linear and len(parameters) == 1 and head.bias is None
        self.gradients: list[torch.Tensor] | None = None
        self.were_given_away = False

    def add(
        self, states: torch.Tensor, targets: torch.Tensor, *, wants_states: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The summed loss of a chunk, and its gradient by the states (N, D) if that is wanted."""
        if self.is_plain:
            gradient: torch.Tensor = self.head(states)
            loss = _loss_with_gradient_in_place(gradient, targets, self.label_smoothing)
            self._add_product(gradient, states)
            return loss, gradient @ self.parameters[0] if wants_states else None
        with torch.enable_grad():
            states.requires_grad_(wants_states)
            logits = self.head(states)
        gradient = logits.detach()
        loss = _loss_with_gradient_in_place(gradient, targets, self.label_smoothing)
        wanted = [*([states] if wants_states else []), *self.parameters]
        found = list(torch.autograd.grad(logits, wanted, gradient))
        by_states = found.pop(0) if wants_states else None
        if self.gradients is None:
            self.gradients = [new.to(old.dtype) for new, old in zip(found, self.parameters, strict=True)]
        else:
            for accumulated, new in zip(self.gradients, found, strict=True):
                accumulated += new
        return loss, by_states

    def _add_product(self, gradient: torch.Tensor, states: torch.Tensor) -> None:
        """That of nn.Linear's weight: the logits' gradient, transposed, times the states."""
        weight = self.parameters[0]
        if self.gradients is None:
            self.gradients = [torch.mm(gradient.t(), states.to(gradient.dtype)).to(weight.dtype)]
        elif gradient.dtype == states.dtype == weight.dtype:
            self.gradients[0].addmm_(gradient.t(), states)
        else:
            self.gradients[0] += torch.mm(gradient.t(), states.to(gradient.dtype))

    def scaled(self, scale: torch.Tensor) -> list[torch.Tensor]:
        """All gradients times what arrives in the backward pass."""
        if self.were_given_away:
            raise RuntimeError(
                "the gradients of the output layer are there for one backward pass, and this is a second"
            )
        found = self.gradients
        if found is None:
            return [torch.zeros_like(parameter) for parameter in self.parameters]
        if not self.is_plain:
            return [gradient * scale.to(gradient.dtype) for gradient in found]
        self.gradients, self.were_given_away = None, True
        return [gradient.mul_(scale.to(gradient.dtype)) for gradient in found]


def _loss_with_gradient_in_place(logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """Summed cross-entropy in float32; the logits (N, V) are replaced by its gradient, in their own type.

    Neither nn.Linear nor what may follow it here needs its output for its own gradient; autograd would notice if not.
    """
    total = torch.zeros((), dtype=torch.float32, device=logits.device)
    for group in _groups(logits):
        weights = logits[group].to(torch.float32, copy=True)
        rows = torch.arange(len(weights), device=logits.device)
        weights -= weights.amax(dim=1, keepdim=True)
        picked = (1.0 - label_smoothing) * weights[rows, targets[group]]
        if label_smoothing:
            picked += label_smoothing * weights.mean(dim=1)
        sums = weights.exp_().sum(dim=1, keepdim=True)
        total += (sums.log()[:, 0] - picked).sum()
        weights /= sums
        if label_smoothing:
            weights -= label_smoothing / logits.shape[1]
        weights[rows, targets[group]] -= 1.0 - label_smoothing
        logits[group] = weights
    return total


def _groups(logits: torch.Tensor) -> Iterator[slice]:
    """Rows whose softmax is computed together: on a CPU as few as stay in its cache from one operation to the next."""
    num_rows, vocab_size = logits.shape
    yield from _chunks(num_rows, max(1, CACHED_LOGITS // vocab_size) if logits.device.type == "cpu" else num_rows)


def _chunks(num_positions: int, chunk_size: int) -> Iterator[slice]:
    for start in range(0, num_positions, chunk_size):
        yield slice(start, min(start + chunk_size, num_positions))
