"""What recipes of models that write text may say, whether task causal_lm or seq2seq trains them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from ftkit.methods.lora import LoraMethod
from ftkit.methods.section import Finding, Section
from ftkit.recipe.data_section import DataSpec
from ftkit.recipe.schema import ModelSpec, Recipe
from ftkit.recipe.sources.rules import of_each_source
from ftkit.recipe.task_rules import Facts
from ftkit.recipe.training_section import TrainingSpec

Learn = Literal["all_answers", "last_answer", "marked", "everything"]
"""Turns of a chat that are learnt."""
KeptThoughts = Literal["last", "all", "none"]
"""Thoughts of a chat that are kept and learnt."""
LEARN = "<learn>"
"""The mark in a template before what is learnt."""


class GenerativeModel(ModelSpec):
    """The base checkpoint."""

    follows: ClassVar = {"attn_implementation": "dtype"}

    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """How attention is computed. `auto`: document by document where examples lie end to end, PyTorch's
    scaled_dot_product_attention elsewhere."""


class GenerativeData(DataSpec):
    """Where the examples come from, and which columns hold what."""

    follows: ClassVar = {"template": "text_column"}

    template: str | None = Field(default=None, min_length=1)
    """Text made of columns, such as "Question: {question}\\nAnswer:<learn> {answer}": what follows <learn> is learnt;
    a language model learns everything without it, an encoder reads what stands before it. `ftkit generate` sends the
    same text up to <learn>."""


class GenerativeTraining(TrainingSpec):
    """How it is trained: names as in transformers.TrainingArguments."""

    follows: ClassVar = {"max_tokens_per_batch": "per_device_train_batch_size"}

    max_tokens_per_batch: int | None = Field(default=None, ge=16)
    """Tokens a step on each device instead of examples: as many examples as fit."""

    def token_budget(self) -> int | None:
        """Tokens a step on each device."""
        return self.max_tokens_per_batch


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


class GenerativeRecipe(Recipe):
    """A recipe of a model that writes."""

    model: GenerativeModel
    data: GenerativeData
    training: GenerativeTraining


class GeneratingRecipe(GenerativeRecipe):
    """A recipe of a model whose outputs are measured."""

    generation: GenerationSpec = Field(default_factory=GenerationSpec)
    """How outputs are generated when they are measured."""


def template_marks(facts: Facts[GenerativeRecipe]) -> Iterator[Finding]:
    """A template has one mark at most, and something behind it."""
    template = facts.recipe.data.template
    if template is None or LEARN not in template:
        return
    if template.count(LEARN) > 1:
        fix = "what is learnt is one piece, up to the end"
        yield Finding("data.template", f"{LEARN} stands there {template.count(LEARN)} times", fix)
    if not template.partition(LEARN)[2].strip():
        yield Finding("data.template", f"nothing follows {LEARN}", "put the mark before what the model is to write")


def batches(facts: Facts[GenerativeRecipe]) -> Iterator[Finding]:
    """A batch is counted in examples or in tokens, and holds the longest example."""
    training = facts.recipe.training
    if training.max_tokens_per_batch is None:
        return
    if facts.changed("training.per_device_train_batch_size"):
        fix = "keep one of the two: a batch is counted in examples or in tokens"
        yield Finding("training.per_device_train_batch_size", "max_tokens_per_batch is given as well", fix)
    if training.auto_find_batch_size:
        fix = "a batch of tokens is made smaller by max_tokens_per_batch itself; remove one of the two"
        yield Finding("training.auto_find_batch_size", "max_tokens_per_batch is given as well", fix)
    keys = [key for key in ("data.max_length", "data.max_target_length") if facts.has(key)]
    longest = sum(facts.recipe.value(key) or 0 for key in keys)
    if training.max_tokens_per_batch < longest:
        yield Finding(
            "training.max_tokens_per_batch",
            "an example may be longer than that",
            f"at least {' + '.join(keys)}, {longest}",
        )


def adapters(facts: Facts[GenerativeRecipe]) -> Iterator[Finding]:
    """Starts of LoRA beside the precision of the base."""
    method = facts.recipe.method
    if not isinstance(method, LoraMethod):
        return
    if method.wants_float32 and facts.recipe.model.dtype in ("bfloat16", "float16"):
        start = method.init_lora_weights
        fix = f"let the base be float32, or remove init_lora_weights: {start}"
        yield Finding("model.dtype", f"{start} adapters begin at the base only in float32", fix)


def precision(facts: Facts[GenerativeRecipe]) -> Iterator[Finding]:
    """Precision of what is trained and of attention, and what is recomputed."""
    model, training = facts.recipe.model, facts.recipe.training
    if facts.recipe.method.trains == "weights" and model.dtype in ("bfloat16", "float16"):
        key = "bf16" if model.dtype == "bfloat16" else "fp16"
        fix = f"write training.{key}: true for mixed precision, and leave dtype out"
        yield Finding("model.dtype", "with method full every weight is trained, and kept in float32", fix)
    if model.attn_implementation == "flash_attention_2" and (model.dtype == "float32" or training.use_cpu):
        fix = "remove it, or let model.dtype be bfloat16 on a GPU"
        yield Finding("model.attn_implementation", "flash attention needs a GPU and 16-bit numbers", fix)
    if facts.recipe.method.output_tokens and training.gradient_checkpointing:
        fix = "remove it; with method prompt_tuning or lora it saves memory too"
        yield Finding("training.gradient_checkpointing", "the prefix goes through the cache, which it turns off", fix)


def generation_knobs(facts: Facts[GeneratingRecipe]) -> Iterator[Finding]:
    """Knobs that would do nothing."""
    generation = facts.recipe.generation
    for name in ("temperature", "top_k", "top_p", "min_p", "typical_p"):
        if facts.changed(f"generation.{name}") and not generation.do_sample:
            fix = "add do_sample: true, or remove it"
            yield Finding(f"generation.{name}", "nothing is drawn: the likeliest token is taken", fix)
    for name in ("length_penalty", "early_stopping"):
        if facts.changed(f"generation.{name}") and generation.num_beams == 1:
            yield Finding(f"generation.{name}", "num_beams is 1", "add num_beams, such as 4, or remove it")


GENERATIVE_RULES = (of_each_source(template_marks), batches, adapters, precision)

GENERATION_WORDS = (
    ("generation.max_new_tokens", "generation_config", "and its other settings beside it, one key each"),
    (
        "generation.max_new_tokens",
        "generation_max_length generation_max_new_tokens gen_max_length max_gen_length max_generation_length "
        "max_output_tokens max_target",
    ),
    ("", "min_length min_new_tokens min_target_length", "an output ends where the model ends it, no later"),
    ("generation.num_beams", "generation_num_beams eval_beams num_beam n_beams beams beam beam_size beam_width"),
    ("generation.do_sample", "sampling"),
    ("generation.top_p", "nucleus"),
    ("generation.temperature", "sampling_temperature"),
    ("generation.repetition_penalty", "rep_penalty"),
    ("generation.no_repeat_ngram_size", "ngram_blocking block_ngram_repeat"),
    ("generation.length_penalty", "lenpen length_alpha"),
    ("generation.max_new_tokens", "generation.max_length", "the source does not count"),
    ("generation.max_new_tokens", "generation.max_tokens generation.max_target_length"),
)
"""What the keys of `generation` are called elsewhere, as the `words` of a task."""
