"""How the next token is chosen: every knob of transformers' generation written out, so that nothing hidden decides."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import GenerationConfig

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p")
BEAMS = ("length_penalty", "early_stopping")


class KnobError(ValueError):
    """A knob that has a value which it cannot have, or that does not act; the message begins with its name."""


@dataclass(frozen=True)
class Decoding:
    """How the next tokens are chosen.

    The defaults of the knobs are the values at which they do nothing: transformers' own are not (sampling alone has
    top_k 50 there, and a checkpoint's generation_config.json fills in whatever is left open).

    Attributes:
        max_new_tokens: limit, at least 1.
        do_sample: draw the next token; else the likeliest is taken.
        num_beams: sequences kept side by side; 1 is greedy or plain sampling.
        temperature: logits are divided by it, above 0.
        top_k: only that many of the likeliest tokens are drawn from; 0 is all.
        top_p: only the likeliest tokens that make up this probability (Holtzman et al. 2020), in (0, 1].
        min_p: only tokens at least that likely relative to the likeliest (Nguyen et al. 2024), in [0, 1].
        typical_p: only tokens of typical surprise that make up this probability (Meister et al. 2022), in (0, 1].
        repetition_penalty: tokens already there lose logits by it (Keskar et al. 2019); 1 is none.
        no_repeat_ngram_size: runs of so many tokens occur once at most; 0 lets them occur.
        length_penalty: exponent of the length that a beam's score is divided by; 1 is the mean of a token.
        early_stopping: beam search ends with num_beams whole sequences, whether or not others could still win.
        seed: of the draws.

    Raises:
        KnobError: a value outside its range.
    """

    max_new_tokens: int = 128
    do_sample: bool = False
    num_beams: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    length_penalty: float = 1.0
    early_stopping: bool = False
    seed: int = 42

    def __post_init__(self) -> None:
        rules = {
            "max_new_tokens is at least 1": self.max_new_tokens >= 1,
            "num_beams is at least 1": self.num_beams >= 1,
            "temperature is above 0": self.temperature > 0,
            "top_k is at least 0": self.top_k >= 0,
            "top_p is above 0 and at most 1": 0 < self.top_p <= 1,
            "min_p is from 0 to 1": 0 <= self.min_p <= 1,
            "typical_p is above 0 and at most 1": 0 < self.typical_p <= 1,
            "repetition_penalty is above 0": self.repetition_penalty > 0,
            "no_repeat_ngram_size is at least 0": self.no_repeat_ngram_size >= 0,
        }
        for rule, holds in rules.items():
            if not holds:
                raise KnobError(rule)

    def generation_config(
        self, *, stop_ids: Collection[int], pad_id: int, max_new_tokens: int, **of_the_model: Any
    ) -> GenerationConfig:
        """The same as transformers reads it, for a batch of at most `max_new_tokens` each.

        `of_the_model` are settings that belong to the architecture, such as the decoder's first token.
        """
        from transformers import GenerationConfig

        knobs = asdict(self) | {"max_new_tokens": max_new_tokens, "min_p": self.min_p or None}
        # named only where they act, since transformers warns of knobs that do not
        idle = {"seed", *(() if self.do_sample else SAMPLING), *(() if self.num_beams > 1 else BEAMS)}
        make: Any = GenerationConfig
        config: GenerationConfig = make(
            **{name: value for name, value in knobs.items() if name not in idle},
            eos_token_id=sorted(stop_ids),
            pad_token_id=pad_id,
            use_cache=True,
            **of_the_model,
        )
        return config
