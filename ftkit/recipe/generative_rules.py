"""Rules that models which write text share, whether task causal_lm or seq2seq trains them."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit.methods.lora import LoraMethod
from ftkit.methods.prompt_tuning import PromptTuningMethod
from ftkit.recipe.facts import Facts, Finding

LEARN = "<learn>"
"""The mark in a template before what is learnt."""

FLOAT32_STARTS = ("orthogonal", "pissa")
"""Starts of adapters that leave the model as it was up to rounding, which 16 bits make too coarse."""


def template_marks(facts: Facts) -> Iterator[Finding]:
    """A template has one mark at most, and something behind it."""
    template = facts.recipe.data.template
    if template is None or LEARN not in template:
        return
    if template.count(LEARN) > 1:
        fix = "what is learnt is one piece, up to the end"
        yield Finding("data.template", f"{LEARN} stands there {template.count(LEARN)} times", fix)
    if not template.partition(LEARN)[2].strip():
        yield Finding("data.template", f"nothing follows {LEARN}", "put the mark before what the model is to write")


def batches(facts: Facts) -> Iterator[Finding]:
    """A batch is counted in examples or in tokens, and holds the longest example."""
    data, training = facts.recipe.data, facts.recipe.training
    if training.max_tokens_per_batch is None:
        return
    if facts.changed("training.per_device_train_batch_size"):
        fix = "keep one of the two: a batch is counted in examples or in tokens"
        yield Finding("training.per_device_train_batch_size", "max_tokens_per_batch is given as well", fix)
    if training.auto_find_batch_size:
        fix = "a batch of tokens is made smaller by max_tokens_per_batch itself; remove one of the two"
        yield Finding("training.auto_find_batch_size", "max_tokens_per_batch is given as well", fix)
    names = [name for name in ("max_length", "max_target_length") if facts.has(f"data.{name}")]
    longest = sum(getattr(data, name) or 0 for name in names)
    if training.max_tokens_per_batch < longest:
        fix = f"at least {' + '.join(f'data.{name}' for name in names)}, {longest}"
        yield Finding("training.max_tokens_per_batch", "an example may be longer than that", fix)


def adapters(facts: Facts) -> Iterator[Finding]:
    """Starts, rates and whole modules of LoRA."""
    method = facts.recipe.method
    if not isinstance(method, LoraMethod):
        return
    if method.init_lora_weights is False:
        fix = "true, gaussian, orthogonal or pissa leave it as it was"
        yield Finding("method.init_lora_weights", "false changes the model before the first step", fix)
    if method.init_lora_weights == "orthogonal" and method.r % 2:
        yield Finding("method.r", f"orthogonal adapters need an even rank, found {method.r}", f"write {method.r + 1}")
    if method.init_lora_weights == "pissa":
        for name in ("use_dora", "use_rslora"):
            if getattr(method, name):
                fix = "remove it, or init_lora_weights: pissa"
                yield Finding(f"method.{name}", "pissa adapters are saved as plain ones, which have none", fix)
    if method.init_lora_weights in FLOAT32_STARTS and facts.recipe.model.dtype in ("bfloat16", "float16"):
        fix = f"let the base be float32, or remove init_lora_weights: {method.init_lora_weights}"
        yield Finding("model.dtype", f"{method.init_lora_weights} adapters begin at the base only in float32", fix)
    optimizer = facts.recipe.training.optim
    if method.lora_plus_ratio is not None and not optimizer.startswith("adamw_torch"):
        fix = "remove training.optim"
        yield Finding("method.lora_plus_ratio", f"LoRA+ runs with adamw_torch, not {optimizer}", fix)
    if method.modules_to_save == []:
        yield Finding("method.modules_to_save", "nothing is named", "name some, or remove it")


def prompt_start(facts: Facts) -> Iterator[Finding]:
    """A prompt that starts from a text has one, and no other has."""
    method = facts.recipe.method
    if not isinstance(method, PromptTuningMethod):
        return
    has_text, from_text = method.prompt_tuning_init_text is not None, method.prompt_tuning_init == "text"
    if from_text and not has_text and not facts.has("method.prompt_tuning_init_text"):
        fix = "add prompt_tuning_init_text: what a person would write before the input"
        yield Finding("method.prompt_tuning_init", "the text is missing", fix)
    if has_text and not from_text:
        fix = "add that, or remove it"
        yield Finding("method.prompt_tuning_init_text", "only prompt_tuning_init: text reads it", fix)


def numbers(facts: Facts) -> Iterator[Finding]:
    """Precision of what is trained, and of attention."""
    model, training = facts.recipe.model, facts.recipe.training
    if facts.recipe.method.type == "full" and model.dtype in ("bfloat16", "float16"):
        key = "bf16" if model.dtype == "bfloat16" else "fp16"
        fix = f"write training.{key}: true for mixed precision, and leave dtype out"
        yield Finding("model.dtype", "with method full every weight is trained, and kept in float32", fix)
    if model.attn_implementation == "flash_attention_2" and (model.dtype == "float32" or training.use_cpu):
        fix = "remove it, or let model.dtype be bfloat16 on a GPU"
        yield Finding("model.attn_implementation", "flash attention needs a GPU and 16-bit numbers", fix)


GENERATIVE_RULES = (template_marks, batches, adapters, prompt_start, numbers)
