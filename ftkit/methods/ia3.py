"""method.type: ia3: one learnt factor for each key, value and inner activation of a model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from ftkit.errors import UserError
from ftkit.methods.section import Finding, MethodSection, Start, Trains

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KEYS_AND_VALUES = (
    *("k", "v", "k_proj", "v_proj", "k_lin", "v_lin", "key", "value", "key_proj", "value_proj"),
    # one matrix for queries, keys and values: its queries are scaled too
    *("c_attn", "query_key_value", "Wqkv", "qkv_proj", "in_proj"),
)
"""Last words of the names of the layers that make keys and values, in the families of transformers."""


class Ia3Method(MethodSection):
    """Factors on keys, values and inner activations (Liu et al. 2022): the fewest numbers of all; the base stays."""

    trains: ClassVar[Trains] = "adapter"
    in_words: ClassVar[str] = "factors of keys, values and activations (IA3)"
    peft_type: ClassVar[str] = "IA3"
    picks: ClassVar[tuple[str, ...]] = ("target_modules", "feedforward_modules")
    start: ClassVar[Start | None] = Start(".ia3_l", 1.0, "every factor is one")

    type: Literal["ia3"]
    """ia3: train factors of keys, values and feed-forward activations, and the head of a classifier."""

    target_modules: Literal["auto"] | list[str] = "auto"
    """Which linear layers are scaled: keys, values and the second layer of each feed-forward (`auto`), or names as peft
    takes them."""

    feedforward_modules: list[str] | None = None
    """Those of target_modules whose input is scaled instead of their output; `auto` finds them by itself."""

    def findings(self, given: Collection[str]) -> Iterator[Finding]:  # noqa: ARG002
        """Lists that name nothing, and feed-forwards that no list of layers could hold."""
        if self.target_modules == []:
            yield Finding("method.target_modules", "no layer is named", "write auto, or names of layers")
        if self.feedforward_modules is not None and self.target_modules == "auto":
            fix = "remove it, or name target_modules too"
            yield Finding("method.feedforward_modules", "target_modules: auto finds them by itself", fix)

    def attach(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PeftModel:  # noqa: ARG002
        """Put factors of 1 on the layers of a model that writes."""
        from ftkit.methods.start import task_type_of
        from ftkit.methods.targets import output_head

        return attach_ia3(model, self, task_type=task_type_of(model), without=[output_head(model)])

    def attach_to_classifier(self, model: PreTrainedModel, *, new_parameters: Sequence[str]) -> PeftModel:
        """Put factors of 1 on the layers of a classifier; modules with new weights are trained whole."""
        from ftkit.methods.targets import new_modules

        heads = new_modules(model, new_parameters)
        return attach_ia3(model, self, task_type="SEQ_CLS", without=heads, whole=heads)

    def sketch(self, model: Any) -> PeftModel:
        """The same: factors have no numbers of their own."""
        return self.attach(model, None)  # type: ignore[arg-type]


class Scaled(NamedTuple):
    """Full names of the layers that get factors, and of those among them whose input is scaled."""

    layers: list[str]
    feed_forward: list[str]


def attach_ia3(
    model: PreTrainedModel, method: Ia3Method, *, task_type: str, without: Sequence[str], whole: Sequence[str] = ()
) -> PeftModel:
    """Multiply what some layers give or take by learnt factors, which are 1 at first.

    Args:
        model: changed in place; its weights are frozen.
        method: the recipe's method section.
        task_type: what peft calls the kind of model.
        without: modules that get no factors.
        whole: modules that are trained whole and saved beside.

    Raises:
        UserError: a name fits no layer, or none is known in this architecture.

    Source:
        Liu et al. 2022, Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning.
    """
    from peft import IA3Config, get_peft_model
    from torch import nn

    from ftkit.methods.start import WATCHED, remember_start

    chosen = scaled_layers(model, method, without=without)
    config = IA3Config(
        task_type=task_type,
        target_modules=chosen.layers,
        feedforward_modules=chosen.feed_forward,
        modules_to_save=list(whole) or None,
        fan_in_fan_out=not any(isinstance(model.get_submodule(name), nn.Linear) for name in chosen.layers),
    )
    adapted: PeftModel = get_peft_model(model, config)
    # a set has another order in every process, and with it adapter_config.json
    config.target_modules = sorted(config.target_modules or ())
    config.feedforward_modules = sorted(config.feedforward_modules or ())
    remember_start(adapted, WATCHED)
    return adapted


def scaled_layers(model: nn.Module, method: Ia3Method, *, without: Sequence[str]) -> Scaled:
    """The layers that a recipe means, by their full names.

    Found are keys and values by their usual names, and outside of attention the layers that narrow: the second of each
    feed-forward.

    Raises:
        UserError: a name fits no layer, or none is found.
    """
    from ftkit.methods.targets import is_inside, linear_layers, resolve

    names = [name for name in linear_layers(model) if not any(is_inside(name, module) for module in without)]
    if method.target_modules == "auto":
        forward = [name for name in names if _narrows(model, name)]
        made = [name for name in names if name.rpartition(".")[2] in KEYS_AND_VALUES]
        if not made:
            shown = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in names))
            raise UserError(
                "method.target_modules: auto knows no layer of this model that makes keys or values",
                fix=f"name them; linear layers here: {shown}",
            )
        return Scaled([*made, *forward], forward)
    layers = resolve(method.target_modules, names, key="method.target_modules")
    return Scaled(layers, resolve(method.feedforward_modules or (), layers, key="method.feedforward_modules"))


def _narrows(model: nn.Module, name: str) -> bool:
    """Whether a layer outside of attention has more inputs than outputs; GPT-2's Conv1D holds its matrix turned."""
    layer: Any = model.get_submodule(name)
    rows, columns = layer.weight.shape
    inputs, outputs = (columns, rows) if hasattr(layer, "in_features") else (rows, columns)
    return bool(inputs > outputs) and not {"attn", "attention"} & set(_words(name))


def _words(name: str) -> list[str]:
    """Pieces of a full name in lower case, `self_attn` and `SelfAttention` as attn and attention."""
    pieces = name.lower().replace("_", ".").split(".")
    return ["attention" if "attention" in piece else piece for piece in pieces]
