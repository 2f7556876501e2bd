"""The tiny checkpoints: two-layer models with fixed random weights, one for every family of the field.

The same versions of the libraries write the same bytes, in any process and on any machine: the weights come from a hash
function and not from a random generator, so the caller's random state is neither used nor changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ftkit.models.builtin.tiny_recipes import TINY_RECIPES, TinyRecipe

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POSITION_SCALE = 0.25


def build_tiny(family: str, folder: Path) -> None:
    """Fill the empty folder with the tiny checkpoint of a family of `TINY_RECIPES`: config, weights and tokenizer.

    A checkpoint's usual initial deviation of 0.02 would make all outputs of so narrow a model look alike, so matrices
    get a variance of 1 / fan-in. Positions weigh less than words, as in a trained model, so that a linear head can tell
    texts apart by their words.
    """

    def bound(name: str, weight: torch.Tensor) -> float:
        return math.sqrt(3.0 / weight.shape[-1]) * (POSITION_SCALE if "position" in name else 1.0)

    build(TINY_RECIPES[family], folder, name=family, bound=bound)


def build(recipe: TinyRecipe, folder: Path, *, name: str, bound: Callable[[str, torch.Tensor], float]) -> None:
    """Fill the empty folder with a checkpoint: config, weights (safetensors) and tokenizer."""
    import torch

    tokenizer = recipe.tokenizer(max_length=recipe.max_length)
    # The constructor initialises from the global generator; that state is put back, and its weights are replaced.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        model = make_model(recipe, tokenizer)
    fill_weights(model, name=name, bound=bound)
    with no_progress_bar():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar while it writes one small file."""
    import transformers

    logging: Any = transformers.utils.logging
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


def make_model(recipe: TinyRecipe, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The untrained model of a recipe, its vocabulary and special tokens those of the tokenizer."""
    import transformers

    # None too: left out, the configuration would keep the ids of the family's full vocabulary.
    special_ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    model_class = getattr(transformers, recipe.model_class)
    config = model_class.config_class(vocab_size=len(tokenizer), dtype="float32", **{**special_ids, **recipe.settings})
    model: Any = model_class(config)
    if recipe.with_pooler:
        setattr(model, recipe.with_pooler, type(model.base_model)(config, add_pooling_layer=True))
        model.tie_weights()
    return cast("PreTrainedModel", model.float())


def fill_weights(model: PreTrainedModel, *, name: str, bound: Callable[[str, torch.Tensor], float]) -> None:
    """Replace every matrix by uniform numbers from [-bound, bound), so that activations keep their size.

    Vectors (biases, the scales of norms) stay as the architecture starts them: zeros and ones.
    """
    import torch

    with torch.no_grad():
        for of, parameter in model.named_parameters():
            if parameter.ndim > 1:
                values = hashed_uniform(f"ftkit {name} {of}", parameter.numel()) * bound(of, parameter)
                parameter.copy_(torch.from_numpy(values).view(parameter.shape))


def hashed_uniform(name: str, count: int) -> np.ndarray:
    """Float32 numbers (count,) from [-1, 1), the same for a name on every machine and with every library's version.

    Example:
        >>> [float(value) for value in hashed_uniform("example", 2)]
        [0.6126666069030762, -0.8549840450286865]
    """
    import numpy as np

    stream = hashlib.shake_256(name.encode()).digest(4 * count)
    # 24 bits are what a float32 holds exactly.
    return ((np.frombuffer(stream, dtype="<u4") >> 8).astype(np.float32) / 2.0**23 - 1.0).astype(np.float32)
