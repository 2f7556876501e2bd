"""Rules of task causal_lm: which keys of a language model exclude or need one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ftkit.methods.lora import LoraMethod
from ftkit.methods.prompt_tuning import PromptTuningMethod
from ftkit.recipe.facts import Facts, Finding
from ftkit.recipe.generative_rules import GENERATIVE_RULES, LEARN

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
    whole = facts.has("data.text_column") or (data.template is not None and LEARN not in data.template)
    if facts.changed("data.completion_only_loss") and whole:
        yield Finding("data.completion_only_loss", "the whole text is learnt anyway", "remove it")
    if facts.has("data.chat_template") and any(
        facts.has(f"data.{name}") for name in _FORMS if name != "messages_column"
    ):
        yield Finding("data.chat_template", "these examples are no chats", "name a messages_column, or remove it")


def _documents(facts: Facts) -> Iterator[Finding]:
    data = facts.recipe.data
    if not facts.has("data.document_separator"):
        return
    if data.train_file is not None and not data.train_file.lower().endswith(".txt"):
        yield Finding("data.document_separator", "only text files have one", "remove it: a row is a document")
    if data.dataset_name is not None and data.dataset_name.startswith("builtin:"):
        yield Finding("data.document_separator", "only text files have one", "remove it: a row is a document")


def _layers(facts: Facts) -> Iterator[Finding]:
    method = facts.recipe.method
    if not isinstance(method, LoraMethod) or method.layers_to_transform is None:
        return
    if not method.layers_to_transform:
        yield Finding("method.layers_to_transform", "nothing is named", "name some, or remove it")
    if any(number < 0 for number in method.layers_to_transform):
        yield Finding("method.layers_to_transform", "layers are counted from 0", "for example [0, 1]")


def _prompt_length(facts: Facts) -> Iterator[Finding]:
    """The prompt is part of each example, of its length and of its context."""
    method, data = facts.recipe.method, facts.recipe.data
    if not isinstance(method, PromptTuningMethod):
        return
    if data.packing is True:
        fix = "remove it: examples are padded"
        yield Finding("data.packing", "each example needs the prompt before it, so none can be packed", fix)
    if data.max_length is not None and data.max_length <= method.num_virtual_tokens:
        fix = f"more than num_virtual_tokens, {method.num_virtual_tokens}"
        yield Finding("data.max_length", "the prompt alone is as long", fix)


_RULES = (_one_form, _what_is_learnt, *GENERATIVE_RULES, _documents, _layers, _prompt_length)


def _language(facts: Facts) -> Iterator[Finding]:
    if facts.recipe.task == "causal_lm":
        for rule in _RULES:
            yield from rule(facts)


LANGUAGE_RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (_language,)
