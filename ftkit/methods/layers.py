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


def layer_stacks(model: Any, *, key: str) -> list[Stack]:
    """The lists of layers of a model: one, or those of its encoder and its decoder.

    Args:
        model: of transformers.
        key: of the recipe that asks, for messages.

    Raises:
        UserError: there is no such list, as where one layer is used again and again, or more than one may be it.
    """
    config = model.config.get_text_config()
    counts = {int(count) for name in _COUNTS if isinstance(count := getattr(config, name, None), int)}
    if not model.config.is_encoder_decoder:
        return [_stack(model, "", "", counts, key=key)]
    found = []
    for side in ("encoder", "decoder"):
        root = next((name for name, _ in model.named_modules() if name.rpartition(".")[2] == side), "")
        found.append(_stack(model, root, side, counts, key=key))
    return found


def _stack(model: nn.Module, root: str, side: str, counts: set[int], *, key: str) -> Stack:
    fitting = [(name, length) for name, length in _outermost_lists(model, root) if length in counts]
    if len(fitting) != 1:
        where = f"its {side}" if side else "this model"
        what = "no list of layers is known" if not fitting else f"{' and '.join(name for name, _ in fitting)} may be it"
        fix = "remove it, or name layers as the model has them" if "decay" not in key else "remove it"
        raise UserError(f"{key}: the layers of {where} cannot be told: {what}", fix=fix)
    return Stack(side, *fitting[0])


def _outermost_lists(model: nn.Module, root: str) -> Iterator[tuple[str, int]]:
    """Full name and length of every list of modules that lies in no other, below a module."""
    from torch import nn

    seen = ""
    for below, module in model.get_submodule(root).named_modules():
        name = f"{root}.{below}" if root and below else root or below
        if isinstance(module, nn.ModuleList) and not (seen and name.startswith(f"{seen}.")) and len(module):
            seen = name
            yield name, len(module)


def embedding_parameters(model: Any, stacks: Sequence[Stack]) -> dict[int, str]:
    """What tokens, positions and the like are looked up in, before the first layer: id of a parameter -> its name.

    A module that holds tables and no layers, such as BERT's `embeddings`, counts whole, with its normalisation. Tables
    within a layer, such as T5's distances, belong to the layer. Without stacks the tables alone are meant.
    """
    from torch import nn

    inside = tuple(f"{stack.name}." for stack in stacks)
    try:
        asked = model.get_input_embeddings()
    except NotImplementedError:
        # CANINE has a table of hashes for each of its parts
        asked = None
    tables = [name for name, one in model.named_modules() if isinstance(one, nn.Embedding) or one is asked]
    found: dict[int, str] = {}
    for table in tables:
        if table.startswith(inside):
            continue
        above = table.rpartition(".")[0]
        holds_layers = not stacks or not above or any(stack.name.startswith(f"{above}.") for stack in stacks)
        whole = table if holds_layers else above
        found |= {id(weight): f"{whole}.{own}" for own, weight in model.get_submodule(whole).named_parameters()}
    return found
