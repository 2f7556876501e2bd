"""Parts of a model that stay as they are while the rest is trained (model.freeze)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.methods.layers import embedding_parameters, layer_stacks
from ftkit.methods.targets import is_inside, unknown_name

if TYPE_CHECKING:
    from torch import nn

_KEY = "model.freeze"
_FIX = "remove it, or name layers as the model has them"
EMBEDDINGS = "embeddings"
_LAYERS = re.compile(r"(?:(encoder|decoder)\.)?layers\.(\*|\d+(?:-\d+)?)")
_RANGE = re.compile(r"(?<![^.])(\d+)-(\d+)(?![^.])")


def freeze(model: Any, names: Sequence[str]) -> list[str]:
    """Let parts of a model stay as they are.

    A name is `embeddings` (every table outside the layers), `layers.0-5` (layers by number, whatever the architecture
    calls them; of an encoder-decoder both sides', or `encoder.layers.0-5`), or what the model itself calls a module or
    a parameter, from a dot on, with `*` for anything and `0-5` for numbers: all below it is meant.

    Args:
        model: all of whose weights are trained; changed in place.
        names: of the recipe.

    Returns:
        What is said of it, a sentence each.

    Raises:
        UserError: a name fits nothing, or nothing is left to train.
    """
    if not names:
        return []
    parameters = dict(model.named_parameters(remove_duplicate=False))
    chosen: dict[str, None] = {}
    for asked in names:
        chosen |= dict.fromkeys(_meant(model, asked, list(parameters)))
    frozen = {id(parameters[name]) for name in chosen}
    if not any(weight.requires_grad for weight in parameters.values() if id(weight) not in frozen):
        raise UserError(f"{_KEY}: nothing is left to train", fix="name less")
    for weight in parameters.values():
        if id(weight) in frozen:
            weight.requires_grad_(False)
    sizes = {id(weight): weight.numel() for weight in parameters.values()}
    kept = sum(size for one, size in sizes.items() if one in frozen)
    shared = [name for name, weight in parameters.items() if id(weight) in frozen and name not in chosen]
    said = f"{kept:,} of {sum(sizes.values()):,} parameters stay as they are ({_KEY}: {', '.join(names)})"
    others = f"by {'another name' if len(shared) == 1 else 'other names'}: {', '.join(shared)}"
    return [said, *([f"of these is the same {others}"] if shared else [])]


def _meant(model: Any, asked: str, parameters: list[str]) -> list[str]:
    """Full names of the parameters that a name of the recipe means.

    Raises:
        UserError: there are none.
    """
    if asked == EMBEDDINGS:
        try:
            stacks = layer_stacks(model, key=_KEY, fix=_FIX)
        except UserError:
            # the tables are there all the same
            stacks = []
        tables = embedding_parameters(model, stacks)
        if not tables:
            raise UserError(f"{_KEY}: this model has no {EMBEDDINGS}", fix="name parts as the model has them")
        return [name for name, weight in model.named_parameters() if id(weight) in tables]
    layers = _LAYERS.fullmatch(asked)
    if layers and (not layers[1] or model.config.is_encoder_decoder):
        return [
            name for layer in _numbered(model, asked, *layers.groups()) for name in parameters if is_inside(name, layer)
        ]
    return [name for one in _each_number(asked) for name in _fitting(model, one, parameters)]


def _numbered(model: Any, asked: str, side: str | None, numbers: str) -> Iterator[str]:
    """Full names of layers by their numbers.

    Raises:
        UserError: there are not so many.
    """
    stacks = [stack for stack in layer_stacks(model, key=_KEY, fix=_FIX) if side in (None, stack.side)]
    for stack in stacks:
        first, _, last = ("0", "-", str(stack.length - 1)) if numbers == "*" else numbers.partition("-")
        if last and int(last) < int(first):
            raise UserError(f"{_KEY}: {asked} ends before it begins", fix=f"write {last}-{first}")
        if int(last or first) >= stack.length:
            raise UserError(f"{_KEY}: there is no {asked}", fix=stack.numbers)
        yield from (stack.layer(index) for index in range(int(first), int(last or first) + 1))


def _fitting(model: nn.Module, asked: str, parameters: list[str]) -> list[str]:
    """Full names of parameters that a pattern fits, or a module above them.

    Raises:
        UserError: there are none.
    """
    modules = [name for name, _ in model.named_modules() if name]
    fitting = {name for name in (*modules, *parameters) if fnmatchcase(name, asked) or fnmatchcase(name, f"*.{asked}")}
    found = [name for name in parameters if any(above in fitting for above in _upwards(name))]
    if not found:
        raise unknown_name(asked, [*modules, *parameters], key=_KEY)
    return found


def _upwards(name: str) -> Iterator[str]:
    """A dotted name, and those of all that it lies in."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _each_number(asked: str) -> Iterator[str]:
    """A name with each number of its first range; itself where it has none.

    Example:
        >>> list(_each_number("encoder.layer.0-2.output"))
        ['encoder.layer.0.output', 'encoder.layer.1.output', 'encoder.layer.2.output']
    """
    found = _RANGE.search(asked)
    if found is None:
        yield asked
        return
    for number in range(int(found[1]), int(found[2]) + 1):
        yield from _each_number(f"{asked[: found.start()]}{number}{asked[found.end() :]}")
