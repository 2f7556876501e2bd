"""The methods, in an explicit table."""

from __future__ import annotations

from ftkit.methods.frozen import FrozenMethod
from ftkit.methods.full import FullMethod
from ftkit.methods.ia3 import Ia3Method
from ftkit.methods.lora import LoraMethod
from ftkit.methods.prefix_tuning import PrefixTuningMethod
from ftkit.methods.prompt_tuning import PromptTuningMethod
from ftkit.methods.section import MethodSection

METHODS: dict[str, type[MethodSection]] = {
    "frozen": FrozenMethod,
    "full": FullMethod,
    "lora": LoraMethod,
    "ia3": Ia3Method,
    "prompt_tuning": PromptTuningMethod,
    "prefix_tuning": PrefixTuningMethod,
}
"""method.type -> its section; which tasks have it is said by their defaults."""

BY_PEFT_TYPE = {method.peft_type: name for name, method in METHODS.items() if method.peft_type}
"""peft's name of what an adapter is -> the recipe's."""
