"""What every method of a recipe is, and what the floors above ask of it without knowing its name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

Trains = Literal["head", "weights", "adapter", "prompt"]
"""head: a classifier's head, on the stored outputs of an encoder that never changes. weights: the base's own, which are
gone afterwards. adapter: new weights at its layers. prompt: vectors before its input or its output."""


class Finding(NamedTuple):
    """A rule of recipes that is broken.

    Attributes:
        key: dotted path of the key that it is about.
        message: what is wrong.
        fix: what to do.
        decided_by: dotted paths of other keys without whose values it would not be said.
    """

    key: str
    message: str
    fix: str
    decided_by: tuple[str, ...] = ()


class Section(BaseModel):
    """Base of every part of a recipe: immutable, no unknown key, no silent conversion of types.

    Attributes:
        follows: own key -> key of a base class after which it stands, and with it the own keys written below it: people
            look for it there, in `ftkit check` and in the recipe of a run. Other own keys stand at the end.
    """

    # no use_attribute_docstrings: every command would read the source of every section for what only a schema shows
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)
    follows: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        order: list[str] = []
        for section in reversed(cls.__mro__):
            at = len(order)
            for key in vars(section).get("__annotations__", ()):
                if key in cls.model_fields and key not in order:
                    at = order.index(anchor) + 1 if (anchor := vars(section).get("follows", {}).get(key)) else at
                    order.insert(at, key)
                    at += 1
        cls.__pydantic_fields__ = {key: cls.model_fields[key] for key in order}


class Start(NamedTuple):
    """How adapter tensors begin.

    Attributes:
        part: of their names.
        value: of each of their numbers.
        in_words: what they are as long as nothing has moved them.
    """

    part: str
    value: float
    in_words: str


class MethodSection(Section):
    """The `method` section of a recipe; a class for each type, in a file of its own.

    Attributes:
        trains: what is trained; whatever else differs is asked of the functions below.
        in_words: the same as a model card says it.
        peft_type: what peft calls what is trained; empty where peft has no part in it.
        start: of the adapter tensors that every training moves; None where there is none to look at.
        takes_tokens: whether tokens that are added to the vocabulary can be learnt.
        unmergeable: what no weight of a model can hold, in words; empty where it can be folded into the base.
        begins_by: own keys that say how what is trained begins: an adapter that is gone on with has begun.
        picks: own keys that pick layers or modules.
    """

    trains: ClassVar[Trains]
    in_words: ClassVar[str]
    peft_type: ClassVar[str] = ""
    start: ClassVar[Start | None] = None
    unmergeable: ClassVar[str] = ""
    takes_tokens: ClassVar[bool] = False
    begins_by: ClassVar[tuple[str, ...]] = ()
    picks: ClassVar[tuple[str, ...]] = ()

    type: str
    """Name of the method."""

    @classmethod
    def of_adapter(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Own key -> value, as far as an adapter_config.json of this kind says it."""
        found = {
            key: settings[key]
            for key in cls.model_fields
            if key != "type" and key not in cls.begins_by and settings.get(key) is not None
        }
        return {
            key: int(value) if isinstance(value, float) and value.is_integer() else value
            for key, value in found.items()
        }

    def findings(self, given: Collection[str]) -> Iterator[Finding]:  # noqa: ARG002
        """What is wrong with the section by itself, beyond the values of single keys.

        Args:
            given: dotted keys that the user has given a value, wrong ones included.
        """
        return iter(())

    @property
    def keeps_base(self) -> bool:
        """Whether what was trained can be taken off again, and the base is there as it was."""
        return self.trains in ("adapter", "prompt")

    @property
    def input_tokens(self) -> int:
        """Positions that are taken before what the model reads: the encoder, where there is one."""
        return 0

    @property
    def output_tokens(self) -> int:
        """Positions that are taken before what a decoder writes."""
        return 0

    @property
    def more_of_it(self) -> dict[str, object]:
        """Recipe keys with which eight times as much is trained in the same way; empty where there is no more."""
        return {}

    def with_embeddings(self, model: PreTrainedModel) -> MethodSection:  # noqa: ARG002
        """The method that trains the embeddings too, for tokens that are added.

        Raises:
            UserError: it cannot.
        """
        return self

    @property
    def wants_float32(self) -> str:
        """Why the base has to be in float32, in words; empty where it need not be."""
        return ""

    def attach(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Any:  # noqa: ARG002
        """Attach what is trained to a model that writes. Draws from torch's global generator.

        Args:
            model: decoder or encoder-decoder; changed in place, frozen where something else is trained.
            tokenizer: of the model.

        Returns:
            The model itself, or a peft model around it.

        Raises:
            UserError: the section does not fit the model.
        """
        return model

    def attach_to_classifier(self, model: PreTrainedModel, *, new_parameters: Sequence[str]) -> Any:  # noqa: ARG002
        """As `attach`, for a classifier.

        Args:
            model: changed in place.
            new_parameters: names of the parameters that the checkpoint did not bring.
        """
        return model

    def sketch(self, model: Any) -> Any:
        """A model without numbers with what `attach` would add to it, where that is part of its layers."""
        return model

    def vectors(self, model: Any) -> int:  # noqa: ARG002
        """Numbers of a prompt or a prefix before a model; 0 where none is trained."""
        return 0

    def optimizer(self, model: Any, args: TrainingArguments) -> torch.optim.Optimizer | None:  # noqa: ARG002
        """An optimizer of its own; None for the one that the recipe names."""
        return None
