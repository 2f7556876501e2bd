"""method.type: lora: low-rank adapters at the linear layers of a classifier or of a model that writes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ftkit.errors import UserError
from ftkit.methods.section import Finding, MethodSection, Start, Trains

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

FLOAT32_STARTS = ("orthogonal", "pissa")
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

    def findings(self, given: Collection[str]) -> Iterator[Finding]:  # noqa: ARG002
        """Starts that change the model or do not go together with other keys, and lists that name nothing."""
        start = self.init_lora_weights
        if self.target_modules == []:
            yield Finding("method.target_modules", "no layer is named", "write all-linear, or names of layers")
        if start is False:
            fix = "true, gaussian, orthogonal or pissa leave it as it was"
            yield Finding("method.init_lora_weights", "false changes the model before the first step", fix)
        if start == "orthogonal" and self.r % 2:
            yield Finding("method.r", f"orthogonal adapters need an even rank, found {self.r}", f"write {self.r + 1}")
        for name in ("use_dora", "use_rslora") if start == "pissa" else ():
            if getattr(self, name):
                fix = "remove it, or init_lora_weights: pissa"
                yield Finding(f"method.{name}", "pissa adapters are saved as plain ones, which have none", fix)
        for name in ("modules_to_save", "layers_to_transform"):
            if getattr(self, name) == []:
                yield Finding(f"method.{name}", "nothing is named", "name some, or remove it")
        if any(number < 0 for number in self.layers_to_transform or ()):
            yield Finding("method.layers_to_transform", "layers are counted from 0", "for example [0, 1]")

    @property
    def more_of_it(self) -> dict[str, object]:
        """Eight times the rank under the same scale, on all linear layers where the recipe names some."""
        found: dict[str, object] = {"method.r": self.r * 8, "method.lora_alpha": self.lora_alpha * 8}
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
        return attach_language_lora(model, self)

    def attach_to_classifier(self, model: PreTrainedModel, *, new_parameters: Sequence[str]) -> PeftModel:
        """Put low-rank adapters on a classifier; modules with new weights are trained whole."""
        return attach_lora(model, self, new_parameters=new_parameters)

    def sketch(self, model: Any) -> PeftModel:
        """With the usual start: every start makes tensors of one shape, and pissa would need the numbers."""
        return attach_language_lora(model, self.model_copy(update={"init_lora_weights": True}))

    def optimizer(self, model: Any, args: TrainingArguments) -> torch.optim.Optimizer | None:
        """LoRA+, where the recipe asks for it."""
        return None if self.lora_plus_ratio is None else lora_plus(model, args, ratio=self.lora_plus_ratio)


def attach_language_lora(model: PreTrainedModel, method: LoraMethod) -> PeftModel:
    """Put low-rank adapters on the linear layers of a language model.

    Whatever `init_lora_weights`, the model computes at first what it did before: B is zero (`true`, `gaussian`),
    B A is zero (`orthogonal`), or B A is taken out of the layer's own weight (`pissa`). Adapters are float32
    whatever the base is. Draws from torch's global generator.

    Args:
        model: changed in place; its weights are frozen.
        method: the recipe's method section.

    Raises:
        UserError: a name fits no module, or the start asked for does not fit the model.

    Source:
        Hu et al. 2021 (LoRA); Kalajdzievski 2023 (rsLoRA); Liu et al. 2024 (DoRA); Meng et al. 2024 (PiSSA).
    """
    from peft import LoraConfig, get_peft_model
    from torch import nn

    from ftkit.methods.start import WATCHED, remember_start, task_type_of
    from ftkit.methods.targets import choose_targets

    targets = choose_targets(model, method)
    layers = [model.get_submodule(name) for name in targets.layers]
    _refuse_start(model, method, layers)
    config = LoraConfig(
        task_type=task_type_of(model),
        r=method.r,
        lora_alpha=method.lora_alpha,
        lora_dropout=method.lora_dropout,
        target_modules=targets.layers,
        use_rslora=method.use_rslora,
        use_dora=method.use_dora,
        init_lora_weights=method.init_lora_weights,
        # peft appends to the list that it is given
        modules_to_save=list(targets.whole) or None,
        fan_in_fan_out=not any(isinstance(layer, nn.Linear) for layer in layers),
    )
    try:
        adapted: PeftModel = get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"LoRA cannot be attached: {str(error).splitlines()[0]}") from error
    # a set has another order in every process, and with it adapter_config.json
    config.target_modules = sorted(config.target_modules or ())
    remembered = (*WATCHED, "lora_A") if method.init_lora_weights == "pissa" else WATCHED
    remember_start(adapted, remembered)
    return adapted


def _refuse_start(model: PreTrainedModel, method: LoraMethod, layers: list[nn.Module]) -> None:
    import torch

    start = method.init_lora_weights
    if start is False:
        raise UserError(
            "method.init_lora_weights: false starts at random, not at the base model",
            fix="use true, gaussian, orthogonal or pissa",
        )
    if start == "orthogonal" and method.r % 2:
        raise UserError(f"method.init_lora_weights: orthogonal needs an even rank, and r is {method.r}")
    if start in ("orthogonal", "pissa") and model.dtype != torch.float32:
        raise UserError(
            f"method.init_lora_weights: {start} starts at the base model only up to rounding, which {model.dtype} "
            "makes too coarse",
            fix="set model.dtype: float32, or init_lora_weights: true",
        )
    if start == "pissa":
        if method.use_dora:
            raise UserError(
                "method.init_lora_weights: pissa with use_dora cannot be saved as an adapter of the original base",
                fix="use one of the two",
            )
        narrowest = min(min(layer.weight.shape) for layer in layers)  # type: ignore[arg-type]
        if method.r > narrowest:
            raise UserError(
                f"method.init_lora_weights: pissa has {narrowest} singular values to start from, and r is {method.r}",
                fix=f"set method.r to at most {narrowest}",
            )


def attach_lora(model: PreTrainedModel, method: LoraMethod, *, new_parameters: Sequence[str]) -> PeftModel:
    """Put low-rank adapters on a classifier; modules with new weights are trained whole and saved with the adapter.

    peft saves the classification layer by itself, but not a pooler that the checkpoint lacks: it would be random
    again after a reload. So everything new is named in `modules_to_save` and left out of the adapted layers.

    Args:
        model: the classifier; changed in place.
        method: the recipe's method section.
        new_parameters: names of the parameters that the checkpoint did not bring.

    Raises:
        UserError: peft finds none of the target modules.
    """
    from peft import LoraConfig, get_peft_model

    from ftkit.methods.targets import new_modules

    heads = new_modules(model, new_parameters)
    targets = method.target_modules if method.target_modules != "all-linear" else adaptable_layers(model, heads)
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=method.r,
        lora_alpha=method.lora_alpha,
        lora_dropout=method.lora_dropout,
        target_modules=targets,
        use_rslora=method.use_rslora,
        use_dora=method.use_dora,
        modules_to_save=list(heads),
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise UserError(
            f"LoRA cannot be attached: {str(error).splitlines()[0]}",
            fix="set method.target_modules: all-linear, or names of linear layers of this model",
        ) from error


def adaptable_layers(model: nn.Module, heads: Sequence[str]) -> list[str]:
    """Full names of every linear layer outside the given modules."""
    from ftkit.methods.targets import is_inside, linear_layers

    return [name for name in linear_layers(model) if not any(is_inside(name, head) for head in heads)]


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
