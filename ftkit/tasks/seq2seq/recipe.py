"""What a recipe of task seq2seq may say: its keys, defaults and rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftkit.methods.section import Finding
from ftkit.metrics.names import (
    BLEU_EXTRAS,
    BLEU_PACKAGES,
    CLASSIFICATION_METRICS,
    GENERATED_LABEL_METRICS,
    LANGUAGE_METRICS,
    ROUGE_LANGUAGES,
    TEXT_METRICS,
)
from ftkit.recipe.files import FILES, ending
from ftkit.recipe.generative import (
    GENERATIVE_RULES,
    LEARN,
    GeneratingRecipe,
    GenerativeData,
    generation_knobs,
)
from ftkit.recipe.labelled import (
    LabelledData,
    LabelledEvaluation,
    LabelledRecipe,
    LabelledSource,
    columns_of_labels,
    distinct,
    label_names,
    positive_label,
)
from ftkit.recipe.rules import COMMON_RULES, LABELLED_DATA, PAIRED_DATA, Measured, builtin_data, metrics_fit
from ftkit.recipe.sources.rules import of_each_source
from ftkit.recipe.sources.section import SourceSpec
from ftkit.recipe.task_rules import Facts, TaskRules, method_defaults
from ftkit.tasks.seq2seq.vocabulary import SEQ2SEQ_WORDS

LABEL_TEXT_METRICS = ["accuracy", "f1_macro", "generated_accuracy", "generated_f1_macro", "no_label"]
"""What is measured by default where data.labels_as_text is true."""

BleuTokenizer = Literal["13a", "intl", "zh", "char", "ja-mecab", "ko-mecab", "flores101", "flores200"]
RougeLanguage = Annotated[str, Field(pattern=rf"^({'|'.join(ROUGE_LANGUAGES)})$")]


class PairSource(LabelledSource):
    """One of several sources of sources and targets, or of texts and labels."""

    forms: ClassVar = ("source_column", "target_column", "template")

    template: str | None = Field(default=None, min_length=1)
    source_column: str | None = None
    target_column: str | None = None
    references_column: str | None = None
    source_prefix: str | None = Field(default=None, min_length=1)
    source_language_column: str | None = None
    target_language_column: str | None = None


PairFiles = str | Annotated[Sequence[str | PairSource], Field(min_length=1)] | None
"""A file, or several sources of sources and targets."""


class Seq2SeqData(GenerativeData, LabelledData):
    """Where the examples come from, and which columns hold what."""

    follows: ClassVar = {"source_column": "text_column", "max_target_length": "max_length"}
    source_class: ClassVar[type[SourceSpec]] = PairSource

    train_file: PairFiles = None
    validation_file: PairFiles = None
    test_file: PairFiles = None

    source_column: str | None = None
    """Column of what the encoder reads; with target_column it is short for a template. `a.b` is key b
    of the objects in column a."""

    target_column: str | None = None
    """Column of what the decoder is to write."""

    references_column: str | None = None
    """Column of lists of texts, each of them right, that outputs are measured against instead of the target. Without it
    the targets of all rows with one source are its references."""

    source_prefix: str | None = Field(default=None, min_length=1)
    """Text before every source, such as "summarize: ": T5 tells its tasks by it."""

    source_language: str | None = None
    """Language of the sources, as the tokenizer of mBART, mBART-50, M2M100 or NLLB writes it (`de_DE`, `de`,
    `deu_Latn`); they need it, and no other has it."""

    target_language: str | None = None
    """Language of the targets: outputs begin with its mark, here and wherever the model is loaded."""

    source_language_column: str | None = None
    """Column of the language of each source, where there are several."""

    target_language_column: str | None = None
    """Column of the language of each target, where there are several."""

    labels_as_text: bool = False
    """Write the names of labels as targets: a data set for classification, with text_column and
    label_column, is learnt as text to text."""

    max_target_length: int | None = Field(default=None, ge=2)
    """Tokens kept of each target, special tokens included. Default: what the model allows, at most
    1,024."""

    def has_labels(self) -> bool:
        """Whether names of labels are the targets."""
        return self.labels_as_text


class Seq2SeqEvaluation(LabelledEvaluation):
    """What is measured at the end, on validation and test."""

    score_base: bool = True
    """Let the untrained base generate too, and show its scores beside."""

    bleu_tokenize: BleuTokenizer = "13a"
    """sacrebleu's tokenizer for bleu: zh for Chinese, ja-mecab, ko-mecab, flores200 for many languages, intl, char."""

    rouge_language: RougeLanguage = "english"
    """Whose words ROUGE counts. `english`: rouge-score as papers report it, which reads a-z and 0-9 alone. Any other:
    letters of every script, each character a word where a script has no spaces, with Snowball's stems; `other`: without
    stems."""

    def of_texts(self) -> dict[str, Any]:
        """How texts are cut into words, as `evaluate_texts` takes it."""
        return {"bleu_tokenize": self.bleu_tokenize, "rouge_language": self.rouge_language}


class Seq2SeqRecipe(GeneratingRecipe, LabelledRecipe):
    """A recipe of an encoder with a decoder."""

    task: Literal["seq2seq"]
    """seq2seq: an encoder reads a text and a decoder writes another."""

    data: Seq2SeqData
    evaluation: Seq2SeqEvaluation


_Facts = Facts[Seq2SeqRecipe]


def _bleu_tokenizer(facts: _Facts) -> Iterator[Finding]:
    name = facts.recipe.evaluation.bleu_tokenize
    if lacking := [module for module in BLEU_PACKAGES[name] if find_spec(module) is None]:
        fix = f"pip install {BLEU_EXTRAS.get(name, lacking[0])}"
        yield Finding("evaluation.bleu_tokenize", f"{name} needs {' and '.join(lacking)}", fix)


_PAIR_KEYS = ("source_column", "target_column", "template", "references_column")
"""Keys of `data` that say what a pair of texts is; a label and its text have keys of their own."""
_LABEL_KEYS = ("data.text_pair_column", "data.label_column", "data.label_names", "evaluation.positive_label")


def _one_form(facts: _Facts) -> Iterator[Finding]:
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


def _languages(facts: _Facts) -> Iterator[Finding]:
    """Each side has a language for all rows, or a column of them; one side alone has none."""
    for side, other in (("source", "target"), ("target", "source")):
        names = [name for name in (f"{side}_language", f"{side}_language_column") if facts.has(f"data.{name}")]
        if len(names) > 1:
            yield Finding(f"data.{names[1]}", f"{names[0]} is given as well", "keep one of the two")
        if names and not any(facts.has(f"data.{other}_{name}") for name in ("language", "language_column")):
            yield Finding(f"data.{names[0]}", f"{other}_language is missing", f"add {other}_language")
        if facts.recipe.data.labels_as_text and facts.has(f"data.{side}_language_column"):
            fix = f"name one {side}_language"
            yield Finding(f"data.{side}_language_column", "labels are compared in one language", fix)


def _no_labels(facts: _Facts) -> Iterator[Finding]:
    """Keys of labelled data where no labels are learnt."""
    if facts.recipe.data.labels_as_text:
        return
    for key in _LABEL_KEYS:
        if facts.has(key):
            yield Finding(key, "only labels have it", "add data.labels_as_text: true, or remove it")
    if facts.has("data.text_column"):
        fix = "write source_column and target_column; for texts with labels add data.labels_as_text: true"
        yield Finding("data.text_column", "it does not say what is read and what is written", fix)


def _columns(facts: _Facts) -> Iterator[Finding]:
    data = facts.recipe.data
    if isinstance(data.train_file, str) and ending(data.train_file) == ".txt":
        fix = "write source and target side by side, as CSV, JSON lines or Parquet"
        yield Finding("data.train_file", "a text file has no columns", fix)
    yield from distinct(facts, ("source_column", "target_column", "references_column"), "it is the {key} already")
    if data.template is not None and LEARN not in data.template:
        fix = f'write {LEARN} where the source ends, as in "{{question}}{LEARN}{{answer}}"'
        yield Finding("data.template", f"it has no {LEARN}", fix)
    if data.template is not None and data.template.partition(LEARN)[0] == "":
        fix = "put the mark behind what the encoder reads"
        yield Finding("data.template", f"nothing stands before {LEARN}", fix)


def _data_set(facts: _Facts) -> Iterator[Finding]:
    if facts.recipe.data.labels_as_text:
        return builtin_data(facts, LABELLED_DATA, "labels")
    return builtin_data(facts, PAIRED_DATA, "sources and targets")


_LABELS = Measured(
    (*CLASSIFICATION_METRICS, *GENERATED_LABEL_METRICS, *LANGUAGE_METRICS),
    by_library=False,
    what="labels",
    chosen="what writes labels",
)
_TEXTS = Measured(
    (*LANGUAGE_METRICS, *TEXT_METRICS),
    by_library=True,
    what="task seq2seq",
    chosen="what writes texts",
    others=dict.fromkeys(
        (*CLASSIFICATION_METRICS, *GENERATED_LABEL_METRICS),
        ("measures labels, and these targets are texts", "for labels add data.labels_as_text: true"),
    ),
)


def _metrics(facts: _Facts) -> Iterator[Finding]:
    return metrics_fit(facts, _LABELS if facts.recipe.data.labels_as_text else _TEXTS)


_defaults = partial(
    method_defaults,
    batch=16,
    bf16="auto",
    metrics=["perplexity", "exact_match", "token_f1", "bleu", "chrf", "rougeL", "length_ratio", "limit_share"],
)

SEQ2SEQ = TaskRules(
    name="seq2seq",
    recipe=Seq2SeqRecipe,
    methods={
        "full": _defaults(epochs=3, rate=1e-4, scheduler="linear", warmup=0.03, decay=0.01),
        "lora": _defaults(epochs=5, rate=5e-4, scheduler="linear", warmup=0.03, decay=0.0),
        "ia3": _defaults(epochs=10, rate=3e-3, scheduler="linear", warmup=0.03, decay=0.0),
        "prompt_tuning": _defaults(epochs=10, rate=0.3, scheduler="constant", warmup=0, decay=0.0),
        "prefix_tuning": _defaults(epochs=10, rate=1e-2, scheduler="linear", warmup=0.03, decay=0.0),
    },
    switched={"data.labels_as_text": {"evaluation.metrics": LABEL_TEXT_METRICS}},
    no_method={"frozen": "a text is written by the whole model; no head apart from it is trained on stored outputs"},
    metrics=tuple(dict.fromkeys((*_TEXTS.metrics, *_LABELS.metrics))),
    by_library=True,
    files=FILES,
    rules=(
        *COMMON_RULES,
        *map(of_each_source, (_data_set, columns_of_labels, _one_form, _languages, _no_labels, _columns)),
        *GENERATIVE_RULES,
        generation_knobs,
        label_names,
        _metrics,
        _bleu_tokenizer,
        positive_label,
    ),
    peft_task_type="SEQ_2_SEQ_LM",
    names=(
        *("seq2seq_lm", "seq_2_seq_lm", "text2text-generation", "text2text", "text-to-text"),
        *("summarization", "summarisation", "translation", "t5", "bart"),
    ),
    words=SEQ2SEQ_WORDS,
    instead={"data.prompt_column": "write source_column", "data.completion_column": "write target_column"},
)
"""What task seq2seq says about its recipes."""
