"""Rules of task seq2seq: what an example is, how outputs are generated, and what a prefix needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ftkit.recipe.facts import Facts, Finding
from ftkit.recipe.generative_rules import GENERATIVE_RULES, LEARN

_PAIR_KEYS = ("source_column", "target_column", "template", "references_column")
"""Keys of `data` that say what a pair of texts is; a label and its text have keys of their own."""
_LABEL_KEYS = (
    "data.text_pair_column",
    "data.label_column",
    "data.label_names",
    "evaluation.positive_label",
)
_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p")
_BEAMS = ("length_penalty", "early_stopping")


def _one_form(facts: Facts) -> Iterator[Finding]:
    """Source and target, a template, or a text with its label: one of them."""
    if facts.recipe.data.labels_as_text:
        for name in _PAIR_KEYS:
            if facts.has(f"data.{name}"):
                fix = "name text_column and label_column instead, or remove labels_as_text"
                yield Finding(f"data.{name}", "labels_as_text makes source and target of a text and its label", fix)
        return
    if facts.has("data.template"):
        for name in ("source_column", "target_column"):
            if facts.has(f"data.{name}"):
                fix = "keep one of the two: columns of a template stand in it by name"
                yield Finding(f"data.{name}", "template says already what an example is", fix)
        if facts.has("data.source_prefix"):
            fix = "write it at the beginning of the template"
            yield Finding("data.source_prefix", "a template has its own words before the source", fix)
        return
    for one, other in (("source_column", "target_column"), ("target_column", "source_column")):
        if facts.has(f"data.{one}") and not facts.has(f"data.{other}"):
            yield Finding(f"data.{one}", f"{other} is missing", f"add {other}")


def _no_labels(facts: Facts) -> Iterator[Finding]:
    """Keys of labelled data where no labels are learnt."""
    if facts.recipe.data.labels_as_text:
        return
    for key in _LABEL_KEYS:
        if facts.has(key):
            yield Finding(key, "only labels have it", "add data.labels_as_text: true, or remove it")
    if facts.has("data.text_column"):
        fix = "write source_column and target_column; for texts with labels add data.labels_as_text: true"
        yield Finding("data.text_column", "it does not say what is read and what is written", fix)


def _columns(facts: Facts) -> Iterator[Finding]:
    data = facts.recipe.data
    if data.train_file is not None and data.train_file.lower().endswith(".txt"):
        fix = "write source and target side by side, as CSV, JSON lines or Parquet"
        yield Finding("data.train_file", "a text file has no columns", fix)
    used: dict[str, str] = {}
    for name in ("source_column", "target_column", "references_column"):
        column = getattr(data, name)
        if column is not None and column in used:
            yield Finding(f"data.{name}", f"it is the {used[column]} already", "name another column")
        elif column is not None:
            used[column] = name
    if data.template is not None and LEARN not in data.template:
        fix = f'write {LEARN} where the source ends, as in "{{question}}{LEARN}{{answer}}"'
        yield Finding("data.template", f"it has no {LEARN}", fix)
    if data.template is not None and data.template.partition(LEARN)[0] == "":
        fix = "put the mark behind what the encoder reads"
        yield Finding("data.template", f"nothing stands before {LEARN}", fix)


def _generation(facts: Facts) -> Iterator[Finding]:
    """Knobs that would do nothing."""
    generation = facts.recipe.generation
    for name in _SAMPLING:
        if facts.changed(f"generation.{name}") and not generation.do_sample:
            fix = "add do_sample: true, or remove it"
            yield Finding(f"generation.{name}", "nothing is drawn: the likeliest token is taken", fix)
    for name in _BEAMS:
        if facts.changed(f"generation.{name}") and generation.num_beams == 1:
            yield Finding(f"generation.{name}", "num_beams is 1", "add num_beams, such as 4, or remove it")


def _prefix(facts: Facts) -> Iterator[Finding]:
    if facts.recipe.method.type == "prefix_tuning" and facts.recipe.training.gradient_checkpointing:
        fix = "remove it; with method prompt_tuning or lora it saves memory too"
        yield Finding("training.gradient_checkpointing", "the prefix goes through the cache, which it turns off", fix)


_RULES = (_one_form, _no_labels, _columns, *GENERATIVE_RULES, _generation, _prefix)


def _seq2seq(facts: Facts) -> Iterator[Finding]:
    if facts.recipe.task == "seq2seq":
        for rule in _RULES:
            yield from rule(facts)


SEQ2SEQ_RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (_seq2seq,)
