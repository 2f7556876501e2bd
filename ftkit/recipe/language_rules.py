"""Rules of task causal_lm: which keys of a language model exclude or need one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ftkit.recipe.facts import Facts, Finding
from ftkit.recipe.schema import LoraMethod, PromptTuningMethod

LEARN = "<learn>"
"""The mark in a template before what is learnt."""

FLOAT32_STARTS = ("orthogonal", "pissa")
"""Starts of adapters that leave the model as it was up to rounding, which 16 bits make too coarse."""
_FORMS = ("text_column", "prompt_column", "messages_column", "template")
"""Keys of which each says on its own what an example is."""


def _one_form(facts: Facts) -> Iterator[Finding]:
    """Text, prompt and completion, chats, or a template: one of them."""
    named = [name for name in _FORMS if facts.has(f"data.{name}")]
    for name in named[1:]:
        fix = "keep one of the two: columns of a template stand in it by name"
        yield Finding(f"data.{name}", f"{named[0]} says already what an example is", fix)
    data = facts.recipe.data
    for one, other in (("prompt_column", "completion_column"), ("completion_column", "prompt_column")):
        if facts.has(f"data.{one}") and not facts.has(f"data.{other}"):
            fix = f"add {other}; a single column of texts is text_column"
            yield Finding(f"data.{one}", f"{other} is missing", fix)
    if data.prompt_column is not None and data.prompt_column == data.completion_column:
        yield Finding("data.completion_column", "it is the prompt_column already", "name another column")


def _what_is_learnt(facts: Facts) -> Iterator[Finding]:
    data = facts.recipe.data
    marked = data.template is not None and LEARN in data.template
    whole = facts.has("data.text_column") or (data.template is not None and not marked)
    if facts.changed("data.completion_only_loss") and whole:
        yield Finding("data.completion_only_loss", "the whole text is learnt anyway", "remove it")
    if facts.has("data.chat_template") and any(
        facts.has(f"data.{name}") for name in _FORMS if name != "messages_column"
    ):
        yield Finding("data.chat_template", "these examples are no chats", "name a messages_column, or remove it")
    if data.template is not None and data.template.count(LEARN) > 1:
        fix = "what is learnt is one piece, up to the end"
        yield Finding("data.template", f"{LEARN} stands there {data.template.count(LEARN)} times", fix)
    if data.template is not None and marked and not data.template.partition(LEARN)[2].strip():
        yield Finding("data.template", f"nothing follows {LEARN}", "put the mark before what the model is to write")


def _documents(facts: Facts) -> Iterator[Finding]:
    data = facts.recipe.data
    if not facts.has("data.document_separator"):
        return
    if data.train_file is not None and not data.train_file.lower().endswith(".txt"):
        yield Finding("data.document_separator", "only text files have one", "remove it: a row is a document")
    if data.dataset_name is not None and data.dataset_name.startswith("builtin:"):
        yield Finding("data.document_separator", "only text files have one", "remove it: a row is a document")


def _batches(facts: Facts) -> Iterator[Finding]:
    data, training = facts.recipe.data, facts.recipe.training
    if training.max_tokens_per_batch is None:
        return
    if facts.changed("training.per_device_train_batch_size"):
        fix = "keep one of the two: a batch is counted in examples or in tokens"
        yield Finding("training.per_device_train_batch_size", "max_tokens_per_batch is given as well", fix)
    if data.max_length is not None and training.max_tokens_per_batch < data.max_length:
        fix = f"at least data.max_length, {data.max_length}"
        yield Finding("training.max_tokens_per_batch", "an example may be longer than that", fix)


def _lora(facts: Facts) -> Iterator[Finding]:
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
        yield Finding(
            "method.lora_plus_ratio", f"LoRA+ runs with adamw_torch, not {optimizer}", "remove training.optim"
        )
    for name in ("modules_to_save", "layers_to_transform"):
        if getattr(method, name) == []:
            yield Finding(f"method.{name}", "nothing is named", "name some, or remove it")
    if any(number < 0 for number in method.layers_to_transform or ()):
        yield Finding("method.layers_to_transform", "layers are counted from 0", "for example [0, 1]")


def _prompt_tuning(facts: Facts) -> Iterator[Finding]:
    method = facts.recipe.method
    if not isinstance(method, PromptTuningMethod):
        return
    has_text, from_text = method.prompt_tuning_init_text is not None, method.prompt_tuning_init == "text"
    if from_text and not has_text and not facts.has("method.prompt_tuning_init_text"):
        fix = "add prompt_tuning_init_text: what a person would write before the input"
        yield Finding("method.prompt_tuning_init", "the text is missing", fix)
    if has_text and not from_text:
        yield Finding(
            "method.prompt_tuning_init_text", "only prompt_tuning_init: text reads it", "add that, or remove it"
        )
    if facts.recipe.data.packing is True:
        fix = "remove it: examples are padded"
        yield Finding("data.packing", "each example needs the prompt before it, so none can be packed", fix)
    length = facts.recipe.data.max_length
    if length is not None and length <= method.num_virtual_tokens:
        fix = f"more than num_virtual_tokens, {method.num_virtual_tokens}"
        yield Finding("data.max_length", "the prompt alone is as long", fix)


def _best(facts: Facts) -> Iterator[Finding]:
    name = facts.recipe.training.metric_for_best_model
    if name != "loss":
        fix = "remove it: the best model has the lowest validation loss"
        yield Finding("training.metric_for_best_model", f"a language model is not chosen by {name}", fix)


def _full(facts: Facts) -> Iterator[Finding]:
    model, training = facts.recipe.model, facts.recipe.training
    if facts.recipe.method.type == "full" and model.dtype in ("bfloat16", "float16"):
        key = "bf16" if model.dtype == "bfloat16" else "fp16"
        fix = f"write training.{key}: true for mixed precision, and leave dtype out"
        yield Finding("model.dtype", "with method full every weight is trained, and kept in float32", fix)
    if model.attn_implementation == "flash_attention_2" and (model.dtype == "float32" or training.use_cpu):
        fix = "remove it, or let model.dtype be bfloat16 on a GPU"
        yield Finding("model.attn_implementation", "flash attention needs a GPU and 16-bit numbers", fix)


_RULES = (_one_form, _what_is_learnt, _documents, _batches, _lora, _prompt_tuning, _best, _full)


def _language(facts: Facts) -> Iterator[Finding]:
    if facts.recipe.task == "causal_lm":
        for rule in _RULES:
            yield from rule(facts)


LANGUAGE_RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (_language,)
