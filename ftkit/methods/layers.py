"""Where the layers of a model lie: one list of them, or one in its encoder and one in its decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ftkit.errors import UserError

if TYPE_CHECKING:
    from torch import nn

_COUNTS = ("num_hidden_layers", "num_layers", "encoder_layers", "num_decoder_layers", "decoder_layers")
"""What configurations call the number of layers, of the model or of one of its sides."""


class Stack(NamedTuple):
    """The layers of a model, or of one of its sides, from the input on.

    Attributes:
        side: encoder or decoder; empty in a model of one side.
        name: full name of the list.
        length: layers in it.
    """

    side: str
    name: str
    length: int

    def layer(self, index: int) -> str:
        """Full name of a layer, 0 is the first."""
        return f"{self.name}.{index}"

    @property
    def numbers(self) -> str:
        """Which layers there are, in words."""
        return f"{_whose(self.side)} has layers 0 to {self.length - 1}"


def _whose(side: str) -> str:
    return f"its {side}" if side else "this model"


def layer_stacks(model: Any, *, key: str, fix: str) -> list[Stack]:
    """The lists of layers of a model: one, or those of its encoder and its decoder.

    Args:
        model: of transformers.
        key: of the recipe that asks, for messages.
        fix: what to do where they cannot be told.

    Raises:
        UserError: there is no such list, as where one layer is used again and again, or more than one may be it.
    """
    config = model.config.get_text_config()
    counts = {int(count) for name in _COUNTS if isinstance(count := getattr(config, name, None), int)}
    if not model.config.is_encoder_decoder:
        return [_stack("", _lists_of(model, "", counts), key=key, fix=fix)]
    found = []
    for side in ("encoder", "decoder"):
        roots = [name for name, _ in model.named_modules() if name.rpartition(".")[2] == side]
        found.append(_stack(side, _lists_of(model, roots[0], counts) if roots else [], key=key, fix=fix))
    return found


def _stack(side: str, fitting: list[tuple[str, int]], *, key: str, fix: str) -> Stack:
    if len(fitting) != 1:
        what = "no list of layers is known" if not fitting else f"{' and '.join(name for name, _ in fitting)} may be it"
        raise UserError(f"{key}: the layers of {_whose(side)} cannot be told: {what}", fix=fix)
    return Stack(side, *fitting[0])


def _lists_of(model: nn.Module, root: str, counts: set[int]) -> list[tuple[str, int]]:
    """Full name and length of the lists below a module that are as long as a configuration says."""
    return [(name, length) for name, length in _outermost_lists(model, root) if length in counts]


def _outermost_lists(model: nn.Module, root: str) -> Iterator[tuple[str, int]]:
    """Full name and length of every list of modules that lies in no other, below a module."""
    from torch import nn

    seen = ""
    for below, module in model.get_submodule(root).named_modules():
        name = f"{root}.{below}" if root and below else root or below
        if isinstance(module, nn.ModuleList) and not (seen and name.startswith(f"{seen}.")) and len(module):
            seen = name
            yield name, len(module)


def embedding_parameters(model: Any, stacks: Sequence[Stack]) -> set[int]:
    """What tokens, positions and the like are looked up in, before the first layer: ids of parameters.

    A module that holds tables and no layers, such as BERT's `embeddings`, counts whole, with its normalisation. Tables
    within a layer, such as T5's distances, belong to the layer. Without stacks the tables alone are meant.
    """
    from torch import nn

    inside = tuple(f"{stack.name}." for stack in stacks)
    try:
        asked = model.get_input_embeddings()
    except NotImplementedError:
        # of several tables, as CANINE has for its hashes, transformers names none; their class tells them
        asked = None
    tables = [name for name, one in model.named_modules() if isinstance(one, nn.Embedding) or one is asked]
    found: set[int] = set()
    for table in tables:
        if table.startswith(inside):
            continue
        above = table.rpartition(".")[0]
        holds_layers = not stacks or not above or any(stack.name.startswith(f"{above}.") for stack in stacks)
        whole = table if holds_layers else above
        found |= {id(weight) for weight in model.get_submodule(whole).parameters()}
    return found
