"""The `generation` section of a recipe."""

from __future__ import annotations

from pydantic import Field

from ftkit.methods.section import Section


class GenerationSpec(Section):
    """How the next token is chosen, every knob with the value at which it does nothing."""

    max_new_tokens: int | None = Field(default=None, ge=1)
    """Tokens that an output has at most. Default: as many as the longest training target, which the run says."""

    num_beams: int = Field(default=1, ge=1)
    """Outputs that are kept side by side; 1 takes the likeliest token each time."""

    do_sample: bool = False
    """Draw tokens, with training.seed, instead of taking the likeliest."""

    temperature: float = Field(default=1.0, gt=0)
    """Logits are divided by it before a token is drawn (do_sample)."""

    top_k: int = Field(default=0, ge=0)
    """Draw from so many of the likeliest tokens only; 0 is all (do_sample)."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw from the likeliest tokens that make up this probability only (do_sample)."""

    min_p: float = Field(default=0.0, ge=0, le=1)
    """Draw from tokens that are at least so likely beside the likeliest only (do_sample)."""

    typical_p: float = Field(default=1.0, gt=0, le=1)
    """Draw from tokens of typical surprise that make up this probability only (do_sample; Meister et al. 2022)."""

    repetition_penalty: float = Field(default=1.0, gt=0)
    """Tokens of the output so far lose logits by this factor; 1 is none."""

    no_repeat_ngram_size: int = Field(default=0, ge=0)
    """Runs of so many tokens occur once at most; 0 lets them occur."""

    length_penalty: float = 1.0
    """Exponent of the length by which the score of a beam is divided: above 0 favours longer outputs (num_beams)."""

    early_stopping: bool = False
    """Stop as soon as there are num_beams whole outputs (num_beams)."""
