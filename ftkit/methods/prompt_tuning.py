"""method.type: prompt_tuning: a few vectors before every input of a model that writes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ftkit.errors import UserError
from ftkit.methods.section import Finding, MethodSection, Trains

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NUM_TOKENS_SAMPLED = 1024
"""Embeddings from which the size of a random prompt's numbers is told."""


class PromptTuningMethod(MethodSection):
    """A few vectors before every input are trained (Lester et al. 2021); the base stays untouched."""

    trains: ClassVar[Trains] = "prompt"
    in_words: ClassVar[str] = "a learnt prompt of vectors"
    peft_type: ClassVar[str] = "PROMPT_TUNING"
    unmergeable: ClassVar[str] = "a tuned prompt"
    begins_by: ClassVar[tuple[str, ...]] = ("prompt_tuning_init", "prompt_tuning_init_text")

    type: Literal["prompt_tuning"]
    """prompt_tuning: train the vectors of a prompt."""

    num_virtual_tokens: int = Field(default=20, ge=1)
    """Length of the prompt in tokens; the model sees that much less of each example's context."""

    prompt_tuning_init: Literal["random", "vocab", "text"] = "vocab"
    """Where the vectors start: `random` numbers, embeddings of random tokens (`vocab`), or of a `text`."""

    prompt_tuning_init_text: str | None = Field(default=None, min_length=1)
    """The text to start from, repeated or cut to num_virtual_tokens tokens."""

    def findings(self, given: Collection[str]) -> Iterator[Finding]:
        """A prompt that starts from a text has one, and no other has."""
        has_text, from_text = self.prompt_tuning_init_text is not None, self.prompt_tuning_init == "text"
        if from_text and not has_text and "method.prompt_tuning_init_text" not in given:
            fix = "add prompt_tuning_init_text: what a person would write before the input"
            yield Finding("method.prompt_tuning_init", "the text is missing", fix)
        if has_text and not from_text:
            fix = "add that, or remove it"
            yield Finding("method.prompt_tuning_init_text", "only prompt_tuning_init: text reads it", fix)

    @property
    def input_tokens(self) -> int:
        """The prompt stands before what the model reads."""
        return self.num_virtual_tokens

    def attach(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PeftModel:
        """Put a trainable prompt before every input."""
        return attach_prompt_tuning(model, self, tokenizer)

    def vectors(self, model: Any) -> int:
        """As many as its tokens have."""
        return self.num_virtual_tokens * int(model.get_input_embeddings().weight.shape[1])


def attach_prompt_tuning(
    model: PreTrainedModel, method: PromptTuningMethod, tokenizer: PreTrainedTokenizerBase
) -> PeftModel:
    """Put a trainable prompt before every input of a language model: before what the encoder reads, where there is one.

    `random` draws normal numbers of the size of the model's own embeddings (peft's are of size 1, tens of times that);
    `vocab` takes the embeddings of random tokens; `text` those of the text's tokens, begin token included if the
    tokenizer puts one, repeated or cut to num_virtual_tokens as peft does. Draws from torch's global generator.

    Args:
        model: changed in place; its weights are frozen.
        method: the recipe's method section.
        tokenizer: of the model.

    Raises:
        UserError: the text of prompt_tuning_init_text is missing or has no tokens.

    Source:
        Lester et al. 2021, The Power of Scale for Parameter-Efficient Prompt Tuning.
    """
    import torch
    from peft import PromptTuningConfig, get_peft_model

    from ftkit.methods.start import WATCHED, remember_start, task_type_of

    start = _prompt_start(model, method, tokenizer)
    # always RANDOM for peft: for a text it would load the tokenizer again, by a name, here and at every reload
    config = PromptTuningConfig(
        task_type=task_type_of(model),
        num_virtual_tokens=method.num_virtual_tokens,
        prompt_tuning_init="RANDOM",
        # peft's own two would be a prompt for the decoder as well, which nothing ever reads
        num_transformer_submodules=1,
    )
    adapted: PeftModel = get_peft_model(model, config)
    prompt: Any = adapted.prompt_encoder["default"]
    with torch.no_grad():
        prompt.embedding.weight.copy_(start)
    remember_start(adapted, WATCHED)
    return adapted


def _prompt_start(
    model: PreTrainedModel, method: PromptTuningMethod, tokenizer: PreTrainedTokenizerBase
) -> torch.Tensor:
    """First vectors of the prompt (num_virtual_tokens, D), float32."""
    import torch

    embeddings: Any = model.get_input_embeddings()
    length, device = method.num_virtual_tokens, embeddings.weight.device
    if method.prompt_tuning_init == "text":
        ids = _text_ids(method.prompt_tuning_init_text, length, tokenizer).to(device)
    else:
        drawn = length if method.prompt_tuning_init == "vocab" else NUM_TOKENS_SAMPLED
        ids = torch.randint(0, len(tokenizer), (drawn,)).to(device)
    # through the module, not its weight: Gemma scales what it looks up
    with torch.no_grad():
        vectors: torch.Tensor = embeddings(ids).float()
    return torch.randn(length, vectors.shape[1]).to(device) * vectors.std() if drawn_at_random(method) else vectors


def drawn_at_random(method: PromptTuningMethod) -> bool:
    """Whether the prompt starts as numbers, not as tokens."""
    return method.prompt_tuning_init == "random"


def _text_ids(text: str | None, length: int, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    import torch

    ids = list(tokenizer(text)["input_ids"]) if text else []
    if not ids:
        raise UserError(
            "method.prompt_tuning_init is text, and method.prompt_tuning_init_text has none",
            fix="write what the prompt should start as, for example 'Summarize the following text.'",
        )
    return torch.tensor((ids * math.ceil(length / len(ids)))[:length])
