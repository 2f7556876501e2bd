"""What a recipe of task causal_lm may say: its keys, defaults and rules."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from ftkit.methods.section import Finding
from ftkit.metrics.names import LANGUAGE_METRICS
from ftkit.recipe.files import FILES, Located, ending, locate_file
from ftkit.recipe.generative import (
    GENERATIVE_RULES,
    LEARN,
    GenerativeModel,
    GenerativeRecipe,
)
from ftkit.recipe.nearest import nearest
from ftkit.recipe.rules import BUILTIN_NAMES, COMMON_RULES, Measured, builtin_data, metrics_fit
from ftkit.recipe.schema import EvaluationSpec
from ftkit.recipe.sources.rules import of_each_source
from ftkit.recipe.task_rules import Facts, TaskRules, method_defaults
from ftkit.tasks.causal_lm.data_section import CHAT_KEYS, FORMS_NAMED, CausalData

TEMPLATE_NAMES = ("plain", "chatml")
"""Chat templates that come with ftkit; everything else is a file."""


class CausalModel(GenerativeModel):
    """The base checkpoint."""

    follows: ClassVar = {"gguf_file": "dtype"}

    gguf_file: str | None = None
    """GGUF file in that folder or hub repository. Its weights are dequantised to float32 once and kept in the cache."""

    def gguf(self) -> str | None:
        """The GGUF file that is the checkpoint, if any."""
        return self.gguf_file


class CausalEvaluation(EvaluationSpec):
    """What is measured, on validation and test."""

    stride: int | None = Field(default=None, ge=1)
    """Tokens by which the windows advance in which documents longer than data.max_length are scored: each token once,
    with at least max_length - stride before it. A smaller stride gives more context, and takes max_length / stride
    times as long. It counts wherever texts are scored, while training too. Default: max_length - 1, so that the first
    tokens of a window have next to nothing before them."""

    def window_stride(self) -> int | None:
        """Tokens by which the windows advance in which long texts are scored."""
        return self.stride


class CausalRecipe(GenerativeRecipe):
    """A recipe of a language model."""

    task: Literal["causal_lm"]
    """causal_lm: a language model goes on with a text."""

    model: CausalModel
    data: CausalData
    evaluation: CausalEvaluation


_Facts = Facts[CausalRecipe]

_RESERVED = {
    *("messages", "conversations", "tools", "documents", "chat_template"),
    *("add_generation_prompt", "continue_final_message", "return_assistant_tokens_mask"),
}


def _one_form(facts: _Facts) -> Iterator[Finding]:
    """Text, prompt and completion, chats, or a template: one of them."""
    named = [name for name in FORMS_NAMED if facts.has(f"data.{name}")]
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


def _what_is_learnt(facts: _Facts) -> Iterator[Finding]:
    data = facts.recipe.data
    whole = facts.has("data.text_column") or (data.template is not None and LEARN not in data.template)
    if facts.changed("data.completion_only_loss") and whole:
        yield Finding("data.completion_only_loss", "the whole text is learnt anyway", "remove it")
    texts = facts.has("data.text_column") or (whole and not facts.has("data.messages_column"))
    prompts = facts.has("data.template") or facts.has("data.prompt_column")
    for key in CHAT_KEYS:
        if facts.changed(f"data.{key}") and (texts or (prompts and key == "chat_template" and not data.makes_chats())):
            yield Finding(f"data.{key}", "these examples are no chats", "name a messages_column, or remove it")
    if data.learn is not None and facts.changed("data.completion_only_loss"):
        yield Finding("data.completion_only_loss", "data.learn says what is learnt", "remove one of the two")
    if facts.has("data.history_column") and facts.has("data.messages_column"):
        yield Finding("data.history_column", "the messages have every turn", "remove it")
    if reserved := sorted(_RESERVED & (data.chat_template_kwargs or {}).keys()):
        yield Finding("data.chat_template_kwargs", f"{reserved[0]} is told by ftkit itself", "remove it")


def _documents(facts: _Facts) -> Iterator[Finding]:
    data = facts.recipe.data
    if not facts.has("data.document_separator"):
        return
    if isinstance(data.train_file, str) and ending(data.train_file) not in (".txt", ".zip"):
        yield Finding("data.document_separator", "only text files have one", "remove it: a row is a document")
    if data.dataset_name is not None and data.dataset_name.startswith("builtin:"):
        yield Finding("data.document_separator", "only text files have one", "remove it: a row is a document")


def _prompt_before_each(facts: _Facts) -> Iterator[Finding]:
    """A learnt prompt stands before each example by itself."""
    method, data = facts.recipe.method, facts.recipe.data
    if not method.input_tokens:
        return
    if data.packing is True:
        fix = "remove it: examples are padded"
        yield Finding("data.packing", "each example needs the prompt before it, so none can be packed", fix)


def _windows(facts: _Facts) -> Iterator[Finding]:
    """Windows in which texts are scored overlap, and other examples have none."""
    stride, data = facts.recipe.evaluation.stride, facts.recipe.data
    if stride is None:
        return
    prompts = data.template is not None and LEARN in data.template
    if prompts or facts.has("data.prompt_column") or facts.has("data.messages_column"):
        fix = "remove it, or raise data.max_length"
        yield Finding("evaluation.stride", "only texts are scored in windows: other examples lose their end", fix)
    if data.max_length is not None and stride >= data.max_length:
        fix = f"at most {data.max_length - 1}; {data.max_length // 2} gives each token half a window of context"
        yield Finding("evaluation.stride", f"a window has {data.max_length} tokens, and windows overlap", fix)


def locate_template(text: str, base: Path) -> Located:
    """Resolve a chat template: one of ours by its name, else a file."""
    if text in TEMPLATE_NAMES:
        return Located(text)
    located = locate_file(text, base)
    if located.message and "/" not in text and "." not in text:
        near = nearest(text.lower(), TEMPLATE_NAMES)
        fix = f"did you mean {near}?" if near else f"one of {', '.join(TEMPLATE_NAMES)}, or a .jinja file"
        return Located(text, f"no chat template is called {text!r}", fix)
    return located


_MEASURED = Measured(LANGUAGE_METRICS, by_library=False, what="task causal_lm", chosen="a language model")
_defaults = partial(
    method_defaults,
    batch=8,
    scheduler="cosine",
    warmup=0.03,
    bf16="auto",
    metrics=["perplexity", "bits_per_byte", "token_accuracy"],
)

CAUSAL_LM = TaskRules(
    name="causal_lm",
    recipe=CausalRecipe,
    methods={
        "lora": _defaults(epochs=3, rate=2e-4, decay=0.0),
        "ia3": _defaults(epochs=5, rate=3e-3, decay=0.0),
        "full": _defaults(epochs=3, rate=2e-5, decay=0.01),
        "prompt_tuning": _defaults(epochs=5, rate=3e-2, decay=0.0),
    },
    no_method={
        "frozen": "a language model has no head apart from its base to train on stored outputs",
        "prefix_tuning": "prefixes are for models with an encoder here; prompt_tuning steers the others",
    },
    metrics=_MEASURED.metrics,
    files={**FILES, "data.chat_template": locate_template},
    rules=(
        *COMMON_RULES,
        of_each_source(partial(builtin_data, fitting=BUILTIN_NAMES, what="texts")),
        of_each_source(_one_form),
        of_each_source(_what_is_learnt),
        *GENERATIVE_RULES,
        of_each_source(_documents),
        _prompt_before_each,
        _windows,
        partial(metrics_fit, measured=_MEASURED),
    ),
    peft_task_type="CAUSAL_LM",
    names=("sft", "clm", "lm", "text-generation", "text_generation", "instruct"),
    words=(
        ("data.prompt_column", "instruction_column", "in task seq2seq data.source_column"),
        ("data.completion_column", "response_column output_column", "in task seq2seq data.target_column"),
        ("data.messages_column", "conversations chat_column"),
        ("data.chat_template", "chat_template_path"),
        (
            "data.completion_only_loss",
            "train_on_inputs train_on_prompt",
            "the other way round: false there is true here",
        ),
        ("data.completion_only_loss", "mask_prompt assistant_only_loss"),
        ("data.learn", "mask_history train_on_last_turn roles_to_train"),
        ("data.system", "default_system system_prompt"),
        ("data.thoughts", "reasoning enable_thinking", "how a template is told to think is data.chat_template_kwargs"),
        ("data.packing", "sample_packing padding_free pack_sequences"),
        ("evaluation.stride", "eval_stride sliding_window_stride"),
    ),
    instead={"data.source_column": "write prompt_column", "data.target_column": "write completion_column"},
)
"""What task causal_lm says about its recipes."""
