"""What can be trained of a model: the `method` section of a recipe, one class for each type."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of every part of a recipe: immutable, no unknown key, no silent conversion of types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True, defer_build=True
    )


class FrozenMethod(Section):
    """The encoder stays as it is and runs once; only a classification head is trained."""

    type: Literal["frozen"]
    """frozen: train a head on the encoder's stored outputs."""

    pooling: Literal["auto", "cls", "mean", "max", "first_token"] = "auto"
    """How token vectors become one vector. `cls`: the architecture's own head; `mean`, `max` and `first_token`: that
    vector and a linear layer, saved as sentence-transformers modules; `auto`: what the checkpoint's own
    sentence-transformers files say, else `cls`."""


class FullMethod(Section):
    """Every weight is trained."""

    type: Literal["full"]
    """full: train all weights."""


class LoraMethod(Section):
    """Low-rank adapters on the linear layers (Hu et al. 2021); the base stays untouched."""

    type: Literal["lora"]
    """lora: train low-rank adapters, and the head of a classifier."""

    r: int = Field(default=8, ge=1)
    """Rank of the adapters."""

    lora_alpha: int = Field(default=16, ge=1)
    """Scale of the adapters: their output is multiplied by lora_alpha / r."""

    lora_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout on the adapters' input."""

    target_modules: Literal["all-linear"] | list[str] = "all-linear"
    """Which linear layers get an adapter: all of them, or names as peft takes them."""

    use_rslora: bool = False
    """Scale by lora_alpha / sqrt(r) instead (Kalajdzievski 2023): steadier at high ranks."""

    use_dora: bool = False
    """Decompose weights into magnitude and direction (Liu et al. 2024): slower, sometimes better at low ranks."""

    init_lora_weights: bool | Literal["gaussian", "orthogonal", "pissa"] = True
    """How adapters start (tasks causal_lm and seq2seq); each leaves the model as it was. `true`: B is zero, A is
    Kaiming-uniform (`false`, a random start, is refused); `gaussian` and `orthogonal`: another A; `pissa`: from the
    largest singular values of the layers (Meng et al. 2024), saved as a plain adapter of twice the rank."""

    lora_plus_ratio: float | None = Field(default=None, ge=1.0)
    """LoRA+ (Hayou et al. 2024): learning rate of every B is that many times that of its A; 16 is the paper's
    (tasks causal_lm and seq2seq). Default: one rate for both."""

    modules_to_save: list[str] | None = None
    """Modules that are trained whole and saved with the adapter, such as lm_head (tasks causal_lm and seq2seq)."""

    layers_to_transform: list[int] | None = None
    """Numbers of the layers that get adapters, 0 is the first (task causal_lm). Default: all."""


class PromptTuningMethod(Section):
    """A few vectors before every input are trained (Lester et al. 2021); the base stays untouched."""

    type: Literal["prompt_tuning"]
    """prompt_tuning: train the vectors of a prompt."""

    num_virtual_tokens: int = Field(default=20, ge=1)
    """Length of the prompt in tokens; the model sees that much less of each example's context."""

    prompt_tuning_init: Literal["random", "vocab", "text"] = "vocab"
    """Where the vectors start: `random` numbers, embeddings of random tokens (`vocab`), or of a `text`."""

    prompt_tuning_init_text: str | None = Field(default=None, min_length=1)
    """The text to start from, repeated or cut to num_virtual_tokens tokens."""


class PrefixTuningMethod(Section):
    """Keys and values before those of every layer are trained (Li and Liang 2021); the base stays untouched."""

    type: Literal["prefix_tuning"]
    """prefix_tuning: train keys and values that the decoder attends to in every layer."""

    num_virtual_tokens: int = Field(default=20, ge=1)
    """Length of the prefix in tokens."""


Method = Annotated[
    FrozenMethod | FullMethod | LoraMethod | PromptTuningMethod | PrefixTuningMethod, Field(discriminator="type")
]
