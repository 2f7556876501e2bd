"""method.type: lora: low-rank adapters at the linear layers of a classifier or of a model that writes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftkit.errors import UserError
from ftkit.methods.section import Finding, MethodSection, Start, Trains

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

TAKEN_OUT = ("pissa", "olora")
"""Starts of adapters that are taken out of the weights of the base."""
FLOAT32_STARTS = ("orthogonal", *TAKEN_OUT)
"""Starts of adapters that leave the model as it was up to rounding, which 16 bits make too coarse."""


class LoraMethod(MethodSection):
    """Low-rank adapters on the linear layers (Hu et al. 2021); the base stays untouched."""

    trains: ClassVar[Trains] = "adapter"
    in_words: ClassVar[str] = "a LoRA adapter"
    peft_type: ClassVar[str] = "LORA"
    takes_tokens: ClassVar[bool] = True
    begins_by: ClassVar[tuple[str, ...]] = ("init_lora_weights",)
    picks: ClassVar[tuple[str, ...]] = ("target_modules", "modules_to_save", "layers_to_transform")
    start: ClassVar[Start | None] = Start(".lora_B.", 0.0, "every B is zero")

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

    init_lora_weights: bool | Literal["gaussian", "orthogonal", "pissa", "olora"] = True
    """How adapters start; each leaves the model as it was. `true`: B is zero, A is Kaiming-uniform (`false`, a random
    start, is refused); `gaussian` and `orthogonal`: another A; `pissa`: from the largest singular values of the layers
    (Meng et al. 2024), `olora`: from their QR decomposition (Buyukakyuz 2024), both saved as a plain adapter of twice
    the rank."""

    lora_plus_ratio: float | None = Field(default=None, ge=1.0)
    """LoRA+ (Hayou et al. 2024): learning rate of every B is that many times that of its A; 16 is the paper's. Default:
    one rate for both."""

    modules_to_save: list[str] | None = None
    """Modules that are trained whole and saved with the adapter, such as lm_head; a classifier's new head is anyway."""

    layers_to_transform: list[int] | None = None
    """Numbers of the layers that get adapters, 0 is the first; of an encoder-decoder on both sides. Default: all."""

    rank_pattern: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Other ranks than r: a layer, or the end of its name from a dot on, such as {q_proj: 16}; regular expressions as
    peft reads them; the first that fits counts."""

    alpha_pattern: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Other values than lora_alpha, named likewise."""

    def findings(self, given: Collection[str]) -> Iterator[Finding]:  # noqa: ARG002
        """Starts that change the model or do not go together with other keys, and lists that name nothing."""
        start = self.init_lora_weights
        if self.target_modules == []:
            yield Finding("method.target_modules", "no layer is named", "write all-linear, or names of layers")
        if start is False:
            fix = "true, gaussian, orthogonal, pissa or olora leave it as it was"
            yield Finding("method.init_lora_weights", "false changes the model before the first step", fix)
        if start == "orthogonal" and self.r % 2:
            yield Finding("method.r", f"orthogonal adapters need an even rank, found {self.r}", f"write {self.r + 1}")
        for rank in (rank for rank in self.rank_pattern.values() if start == "orthogonal" and rank % 2):
            message = f"orthogonal adapters need even ranks, found {rank}"
            yield Finding("method.rank_pattern", message, f"write {rank + 1}")
        for name in ("use_dora", "use_rslora") if start in TAKEN_OUT else ():
            if getattr(self, name):
                fix = f"remove it, or init_lora_weights: {start}"
                yield Finding(f"method.{name}", f"{start} adapters are saved as plain ones, which have none", fix)
        for name in ("modules_to_save", "layers_to_transform"):
            if getattr(self, name) == []:
                yield Finding(f"method.{name}", "nothing is named", "name some, or remove it")
        if any(number < 0 for number in self.layers_to_transform or ()):
            yield Finding("method.layers_to_transform", "layers are counted from 0", "for example [0, 1]")

    @property
    def more_of_it(self) -> dict[str, object]:
        """Eight times the rank under the same scale, on all linear layers where the recipe names some."""
        found: dict[str, object] = {"method.r": self.r * 8, "method.lora_alpha": self.lora_alpha * 8}
        for name in ("rank_pattern", "alpha_pattern"):
            if pattern := getattr(self, name):
                found[f"method.{name}"] = {layer: value * 8 for layer, value in pattern.items()}
        return found if self.target_modules == "all-linear" else {**found, "method.target_modules": "all-linear"}

    @property
    def wants_float32(self) -> str:
        """Adapters that begin at the base only up to rounding."""
        start = self.init_lora_weights
        return f"{start} adapters begin at it only so" if start in FLOAT32_STARTS else ""

    def with_embeddings(self, model: PreTrainedModel) -> LoraMethod:
        """Embeddings and output head among the modules that are trained whole, where they are two matrices.

        Raises:
            UserError: they are one, which no adapter can hold twice.
        """
        from ftkit.methods.targets import output_head, tied_modules

        lm: Any = model
        if lm.config.is_encoder_decoder or tied_modules(model):
            raise UserError(
                "data.add_tokens: the embeddings of this model are its output head or stand in it more than once, "
                "so that no adapter holds new ones",
                fix="set method.type: full",
            )
        embeddings = lm.get_input_embeddings()
        name = next(name for name, module in model.named_modules() if module is embeddings)
        named = [*(self.modules_to_save or ()), name, output_head(model)]
        return self.model_copy(update={"modules_to_save": list(dict.fromkeys(named))})

    def attach(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PeftModel:  # noqa: ARG002
        """Put low-rank adapters on the linear layers of a model that writes."""
        from ftkit.methods.lora_layers import attach_language_lora

        return attach_language_lora(model, self)

    def attach_to_classifier(self, model: PreTrainedModel, *, new_parameters: Sequence[str]) -> PeftModel:
        """Put low-rank adapters on a classifier; modules with new weights are trained whole."""
        from ftkit.methods.lora_layers import attach_lora

        return attach_lora(model, self, new_parameters=new_parameters)

    def sketch(self, model: Any) -> PeftModel:
        """With the usual start: every start makes tensors of one shape, and pissa would need the numbers."""
        from ftkit.methods.lora_layers import attach_language_lora

        return attach_language_lora(model, self.model_copy(update={"init_lora_weights": True}))

    def optimizer(self, model: Any, args: TrainingArguments) -> torch.optim.Optimizer | None:
        """LoRA+, where the recipe asks for it."""
        return None if self.lora_plus_ratio is None else lora_plus(model, args, ratio=self.lora_plus_ratio)


def lora_plus(model: Any, args: TrainingArguments, *, ratio: float) -> torch.optim.Optimizer:
    """AdamW in which every LoRA B learns `ratio` times as fast as its A.

    Source:
        Hayou et al. 2024, LoRA+: Efficient Low Rank Adaptation of Large Models.
    """
    import torch
    from peft.optimizers import create_loraplus_optimizer

    found: torch.optim.Optimizer = create_loraplus_optimizer(
        model,
        torch.optim.AdamW,
        lr=args.learning_rate,
        loraplus_lr_ratio=ratio,
        loraplus_weight_decay=args.weight_decay,
        betas=(args.adam_beta1, args.adam_beta2),
        eps=args.adam_epsilon,
    )
    return found
