"""Model and texts in, per-example scores out, in eval mode, the same way for every split and every model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ftkit.interruption import STOP
from ftkit.metrics.scores import IGNORED, Scores

NumberedBatch = tuple[npt.NDArray[np.int64], Mapping[str, npt.NDArray[np.int64]]]


def score_logits(
    module: nn.Module,
    batches: Iterable[NumberedBatch],
    *,
    num_rows: int,
    num_labels: int,
    device: torch.device,
    advance: Callable[[npt.NDArray[np.int64]], None] = lambda _rows: None,
) -> npt.NDArray[np.float32]:
    """Logits (N, K) of a classifier in eval mode, from rows and their model inputs, each row once, in any order.

    `advance` is called with the rows just scored.
    """
    logits = np.zeros((num_rows, num_labels), dtype=np.float32)
    with torch.inference_mode():
        for rows, inputs in batches:
            STOP.poll()
            tensors = {name: torch.from_numpy(ids).to(device) for name, ids in inputs.items()}
            logits[rows] = module(**tensors).float().cpu().numpy()
            advance(rows)
    return logits


SOFTMAX_AT_A_TIME = 2**24
"""Logits whose softmax is held at a time, in float32, where a model gives all of them."""


class TokenBatch(NamedTuple):
    """Token sequences as a language model takes them, one a row or end to end in a single row.

    Attributes:
        inputs: model inputs (B, T), `labels` among them: the token's own id where it is scored, -100 elsewhere. A
            decoder shifts them, and the first of a row is always -100; an encoder-decoder predicts them from the
            first on.
        sequences: of each scored token, row by row: the number of its sequence, (n,).
        special: of each scored token: whether it is a special token, (n,).
    """

    inputs: Mapping[str, npt.NDArray[np.int64]]
    sequences: npt.NDArray[np.int64]
    special: npt.NDArray[np.bool_]


def score_tokens(
    model: nn.Module,
    batches: Iterable[TokenBatch],
    *,
    num_sequences: int,
    device: torch.device,
    per_token: bool = False,
    advance: Callable[[int], None] = lambda _sequences: None,
) -> Scores:
    """Score every learnt token once, in eval mode, with log-softmax in float32; each module gets its mode back.

    A model with the attribute `computes_loss_in_chunks` is called with labels and `token_scores=True` and answers with
    `token_nll` and `token_correct`; any other must give `logits` (B, T or more, V), which cost memory.

    Args:
        batches: each sequence in one batch, in any order.
        per_token: keep each token's nll too.
        advance: called with the number of sequences just scored.

    Raises:
        ValueError: a batch has another number of labels than it says, or labels the first token of a row of a decoder,
            though nothing stands before it.
    """
    shifts = not is_encoder_decoder(model)
    owners, nlls = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
    hits, texts = [np.zeros(0, dtype=np.bool_)], [np.zeros(0, dtype=np.bool_)]
    with evaluating(model), torch.inference_mode():
        for batch in batches:
            STOP.poll()
            labelled = batch.inputs["labels"] != IGNORED
            if (shifts and labelled[:, 0].any()) or labelled.sum() != len(batch.sequences):
                raise ValueError("labels: one for each scored token, and none for the first token of a row")
            inputs = {name: torch.from_numpy(values).to(device) for name, values in batch.inputs.items()}
            nll, correct = _token_losses(model, inputs, shifts=shifts)
            owners.append(batch.sequences)
            nlls.append(nll.float().cpu().numpy())
            hits.append(correct.cpu().numpy())
            texts.append(~batch.special)
            advance(len(np.unique(batch.sequences)))
    owner, token_nll = np.concatenate(owners), np.concatenate(nlls)

    def total(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.asarray(np.bincount(owner, weights=values, minlength=num_sequences), dtype=np.float64)

    return Scores(
        nll=total(token_nll),
        num_targets=np.bincount(owner, minlength=num_sequences),
        num_correct=total(np.concatenate(hits)).astype(np.int64),
        text_nll=total(np.where(np.concatenate(texts), token_nll, 0.0)),
        token_nll=token_nll[np.argsort(owner, kind="stable")] if per_token else None,
    )


def score_candidates(
    model: nn.Module,
    batches: Iterable[NumberedBatch],
    candidates: Sequence[Sequence[int]],
    *,
    num_rows: int,
    device: torch.device,
    advance: Callable[[int], None] = lambda _rows: None,
) -> npt.NDArray[np.float64]:
    """Log-likelihood of each of K targets for every source: which of them an encoder-decoder would rather write.

    The encoder runs once over a batch, whatever the number of candidates. Batches are rows and the model inputs of
    their sources, each row once, in any order; candidates are token ids, special tokens included.

    Returns:
        Sums over the tokens of each candidate in nats, (N, K).
    """
    found = np.zeros((num_rows, len(candidates)))
    whole: Any = model
    base = whole.get_base_model() if hasattr(whole, "get_base_model") else whole
    encoded: dict[str, Any] = {}
    hook = base.get_encoder().register_forward_hook(lambda _m, _i, output: encoded.update(encoder_outputs=output))
    try:
        with evaluating(model), torch.inference_mode():
            for rows, arrays in batches:
                inputs = {name: torch.from_numpy(values).to(device) for name, values in arrays.items()}
                # a step of the decoder, for the sake of the encoder's output, with whatever prompt stands before it
                model(**inputs, decoder_input_ids=torch.zeros(len(rows), 1, dtype=torch.int64, device=device))
                for column, ids in enumerate(candidates):
                    STOP.poll()
                    labels = torch.tensor([list(ids)] * len(rows), device=device)
                    nll, _ = _token_losses(model, inputs | encoded | {"labels": labels}, shifts=False)
                    found[rows, column] = -nll.double().view(len(rows), -1).sum(dim=1).cpu().numpy()
                advance(len(rows))
    finally:
        hook.remove()
    return found


def is_encoder_decoder(model: nn.Module) -> bool:
    """Whether a model of transformers, perhaps with adapters, has an encoder that reads and a decoder that writes."""
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))


def _token_losses(
    model: nn.Module, inputs: dict[str, torch.Tensor], *, shifts: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Nll and whether it is the likeliest, for each labelled token in row-major order."""
    if getattr(model, "computes_loss_in_chunks", False):
        outputs = model(**inputs, token_scores=True)
        return outputs.token_nll, outputs.token_correct
    if shifts:
        labels = inputs.pop("labels")[:, 1:]
        # a learnt prompt puts positions of its own before the row
        logits = model(**inputs).logits[:, -labels.shape[1] - 1 : -1]
    else:
        # given labels, the model makes the decoder's inputs of them
        labels = inputs["labels"]
        logits = model(**inputs).logits
    learnt = labels != IGNORED
    logits, targets = logits[learnt], labels[learnt]
    chunks = torch.split(torch.arange(len(targets)), max(1, SOFTMAX_AT_A_TIME // logits.shape[1]))
    nlls = [nn.functional.cross_entropy(logits[rows].float(), targets[rows], reduction="none") for rows in chunks]
    return torch.cat(nlls), logits.argmax(dim=1) == targets


@contextlib.contextmanager
def polled(*modules: nn.Module) -> Iterator[None]:
    """Look before every run of some modules whether the process was asked to stop."""

    def look(_module: nn.Module, _inputs: Any) -> None:
        STOP.poll()

    hooks = [module.register_forward_pre_hook(look) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode for a while; a frozen base inside a model that trains may have been in eval mode before."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
