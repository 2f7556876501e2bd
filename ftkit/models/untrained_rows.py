"""Tokens that a base never learnt to write: rows of its output head that no training has touched."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import torch

from ftkit.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FAR = 0.01
"""Share of the usual norm, or of the usual distance from the mean, below which a row is no trained one."""
NUM_SAMPLED = 4096
"""Rows by which the usual is told."""


def untrained_rows(weight: torch.Tensor, ids: Collection[int]) -> dict[int, str]:
    """Those of some rows of an output head (V, D) that tell by their numbers that they were never trained, and how.

    A row that was laid out and never met is next to nothing, the same as another one, or the mean of all, as embeddings
    are resized. A row of random numbers of the usual size is not told from a trained one.

    Example:
        >>> head = torch.tensor([[1.0, 0], [0, 2], [0, 0], [0, 2]])
        >>> untrained_rows(head, [0, 2, 3])
        {2: 'it is next to zero', 3: 'token 1 has the same one'}
    """
    sample = weight[:: max(1, len(weight) // NUM_SAMPLED)].float()
    mean = torch.mean(weight, dim=0, dtype=torch.float32)
    usual, spread = sample.norm(dim=1).median(), (sample - mean).norm(dim=1).median()
    found: dict[int, str] = {}
    for index in ids:
        row = weight[index]
        # a first look at a few columns: comparing all of them would hold a mask as large as the head
        alike = (weight[:, :8] == row[:8]).all(dim=1).nonzero()[:, 0].tolist()
        same = [other for other in alike if other != index and torch.equal(weight[other], row)]
        if row.float().norm() < FAR * usual:
            found[index] = "it is next to zero"
        elif same:
            found[index] = f"token {same[0]} has the same one"
        elif (row.float() - mean).norm() < FAR * spread:
            found[index] = "it is the mean of all rows"
    return found


def refuse_unlearnable_ends(
    model: Any, tokenizer: PreTrainedTokenizerBase, untrained: dict[int, str], *, remedy: str
) -> None:
    """Refuse to teach tokens whose row nothing trains: they would never become likely, and the model would not stop.

    Args:
        model: with what is trained attached.
        tokenizer: names the tokens.
        untrained: as `untrained_rows` found them in the base.
        remedy: what to do.

    Raises:
        UserError: the head stays as it is.
    """
    if not untrained or any(parameter.requires_grad for parameter in model.get_output_embeddings().parameters()):
        return
    index, how = next(iter(untrained.items()))
    raise UserError(
        f"{tokenizer.convert_ids_to_tokens(index)} is to be learnt, but its row of the base's output head was never "
        f"trained ({how}) and stays as it is: the token would not become likely, and the model would not end",
        fix=remedy,
    )
