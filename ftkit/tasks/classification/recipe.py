"""What a recipe of task classification may say: its keys, defaults and rules."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar, Literal

from pydantic import Field

from ftkit.methods.section import Finding
from ftkit.metrics.names import CLASSIFICATION_METRICS
from ftkit.recipe.data_section import LongTexts, LongTextsKind
from ftkit.recipe.files import FILES
from ftkit.recipe.labelled import (
    LabelledData,
    LabelledRecipe,
    columns_of_labels,
    label_names,
    one_of,
    positive_label,
)
from ftkit.recipe.rules import COMMON_RULES, LABELLED_DATA, Measured, builtin_data, metrics_fit
from ftkit.recipe.sources.rules import of_each_source
from ftkit.recipe.task_rules import WITHOUT_VALIDATION, Facts, TaskRules, method_defaults
from ftkit.recipe.training_section import TrainingSpec


class ClassificationData(LabelledData):
    """Where the examples come from, and which columns hold what."""

    follows: ClassVar = {"validation": "test_split", "long_texts": "max_length", "window_stride": "long_texts"}

    long_texts: LongTextsKind = "cut"
    """What is read of a text that is longer than max_length. `cut`: its beginning. `windows`: all of it, in windows of
    max_length that overlap; the row gets the mean of their logits, in training each window has the row's label and
    the windows of a row weigh as much as a row. `head_and_tail`: its beginning (a quarter of the tokens: 128 of 510)
    and its end."""

    window_stride: int | None = Field(default=None, ge=0)
    """Tokens that neighbouring windows share, as the `stride` of Hugging Face's tokenizers. Default: an eighth of
    max_length."""

    validation: Literal["folds", "split"] = "split"
    """Where there is no validation set. `folds`: every training row is scored by one of five heads that learnt from the
    other rows, and the head that is kept learns from all. `split`: validation_size of them are split off. Default:
    folds with method frozen, where it costs seconds, unless validation_size is given."""

    def reads_long_texts(self, max_length: int) -> LongTexts:
        """What becomes of texts that are longer than max_length tokens."""
        if self.long_texts != "windows":
            return LongTexts(self.long_texts)
        return LongTexts("windows", max_length // 8 if self.window_stride is None else self.window_stride)

    def scores_out_of_fold(self) -> bool:
        """Whether it is folds."""
        return self.validation == "folds"


class ClassificationTraining(TrainingSpec):
    """How it is trained: names as in transformers.TrainingArguments."""

    follows: ClassVar = {
        "per_device_eval_batch_size": "per_device_train_batch_size",
        "class_weights": "label_smoothing_factor",
    }

    per_device_eval_batch_size: int = Field(default=64, ge=1)
    """Examples a batch when evaluating."""

    class_weights: Literal["none", "balanced"] | dict[str, float] = "none"
    """Weight of each class in the loss: `balanced` is n / (num_classes * n_class), or a weight by label name."""

    def rows_scored_at_once(self) -> int | None:
        """Examples a batch when evaluating."""
        return self.per_device_eval_batch_size

    def weighs_classes(self) -> str | dict[str, float]:
        """How the loss weighs classes."""
        return self.class_weights


class ClassificationRecipe(LabelledRecipe):
    """A recipe of a classifier."""

    task: Literal["classification"]
    """classification: one label for each text or pair of texts."""

    data: ClassificationData
    training: ClassificationTraining


_Facts = Facts[ClassificationRecipe]


def _kept_in_float32(facts: _Facts) -> Iterator[Finding]:
    method, dtype = facts.recipe.method, facts.recipe.model.dtype
    if method.trains != "head" and dtype in ("bfloat16", "float16"):
        key = "bf16" if dtype == "bfloat16" else "fp16"
        fix = f"write training.{key}: true for mixed precision, and leave dtype out"
        yield Finding("model.dtype", f"with method {method.type} the weights are kept in float32", fix)


def _adapters_learn_no_tokens(facts: _Facts) -> Iterator[Finding]:
    """A classifier's adapters leave the embeddings as they are."""
    for key in ("data.add_tokens", "data.add_special_tokens"):
        if facts.has(key) and facts.recipe.method.trains == "adapter":
            yield Finding(
                key, "the embeddings of a classifier are trained by method full alone", "set method.type: full"
            )


def _class_weights(facts: _Facts) -> Iterator[Finding]:
    weights, names = facts.recipe.training.class_weights, facts.recipe.data.label_names
    if not isinstance(weights, dict):
        return
    if not weights:
        yield Finding("training.class_weights", "no label has a weight", "write balanced, or a weight for each label")
    for label, weight in weights.items():
        if weight < 0:
            yield Finding("training.class_weights", f"the weight of {label!r} is below 0", "0 leaves a label out")
    if weights and not any(weight > 0 for weight in weights.values()):
        yield Finding("training.class_weights", "every weight is 0", "give one label a weight above 0")
    words = [str(name) for name in names or ()]
    for label in weights if words else ():
        if label not in words:
            yield Finding("training.class_weights", f"{label!r} is not in data.label_names", one_of(words))
    if without := [word for word in words if word not in weights]:
        yield Finding("training.class_weights", f"no weight for {without[0]!r}", "give every label a weight")


def _folds(facts: _Facts) -> Iterator[Finding]:
    """Folds are for heads, and instead of every other way to hold rows out."""
    if facts.recipe.data.validation != "folds" or not facts.has("data.validation"):
        return
    if facts.recipe.method.trains != "head":
        fix = "write split, or set method.type: frozen"
        yield Finding("data.validation", "the whole training would be done six times; folds are for frozen heads", fix)
    # the validation_split of a finished run may be one that was found
    for key in ("data.validation_file", "data.validation_size"):
        if facts.changed(key):
            yield Finding(key, "data.validation is folds: no other rows are held out", "keep one of the two")


def _long_texts(facts: _Facts) -> Iterator[Finding]:
    """Windows overlap, and are of single texts."""
    data = facts.recipe.data
    if data.long_texts != "cut" and data.text_pair_column is not None:
        fix = "remove it: the longer of the two is cut; or raise data.max_length"
        yield Finding("data.long_texts", "a window of a pair would have to leave one of the two out", fix)
    if data.long_texts == "windows" and data.is_weighted and facts.recipe.method.trains != "head":
        fix = "set data.long_texts: head_and_tail, or method.type: frozen, or remove the weights"
        problem = "each window is an example here, and windows of long rows would count for less than a source's weight"
        yield Finding("data.long_texts", problem, fix)
    if data.window_stride is not None and data.long_texts != "windows":
        fix = "add long_texts: windows, or remove it"
        decided_by = ("data.long_texts",)
        yield Finding("data.window_stride", f"data.long_texts is {data.long_texts}", fix, decided_by)
    elif data.window_stride is not None and data.max_length is not None and 2 * data.window_stride > data.max_length:
        fix = f"at most {data.max_length // 2}; it is what neighbouring windows share, not what they advance by"
        yield Finding("data.window_stride", "every token would be read three times or more", fix)


_MEASURED = Measured(CLASSIFICATION_METRICS, by_library=True, what="task classification", chosen="a classifier")
_defaults = partial(method_defaults, bf16=False, metrics=["accuracy", "f1_macro", "matthews", "ece"])
_SPLIT: dict[str, object] = {"data.validation": "split"}
_NO_PROMPT = "classifiers are trained by their head, whole, or by LoRA or IA3"

CLASSIFICATION = TaskRules(
    name="classification",
    recipe=ClassificationRecipe,
    methods={
        "frozen": {
            **_defaults(epochs=100, rate=1e-2, batch=256, scheduler="cosine", warmup=0, decay="auto"),
            "data.validation": "folds",
        },
        "full": _SPLIT | _defaults(epochs=3, rate=2e-5, batch=16, scheduler="linear", warmup=0.06, decay=0.01),
        "lora": _SPLIT | _defaults(epochs=5, rate=2e-4, batch=16, scheduler="linear", warmup=0.06, decay=0.0),
        "ia3": _SPLIT | _defaults(epochs=10, rate=3e-3, batch=16, scheduler="linear", warmup=0.06, decay=0.0),
    },
    zero={"data.validation_size": WITHOUT_VALIDATION | _SPLIT},
    switched={f"data.{key}": _SPLIT for key in ("validation_file", "validation_split", "validation_size")},
    no_method={"prompt_tuning": _NO_PROMPT, "prefix_tuning": _NO_PROMPT},
    metrics=_MEASURED.metrics,
    by_library=True,
    files=FILES,
    rules=(
        *COMMON_RULES,
        of_each_source(partial(builtin_data, fitting=LABELLED_DATA, what="labels")),
        of_each_source(columns_of_labels),
        label_names,
        _class_weights,
        _folds,
        _long_texts,
        _adapters_learn_no_tokens,
        _kept_in_float32,
        partial(metrics_fit, measured=_MEASURED),
        positive_label,
    ),
    peft_task_type="SEQ_CLS",
    names=(
        *("text-classification", "text_classification", "sequence-classification"),
        *("seq_cls", "sentiment-analysis", "nli"),
    ),
    words=(
        ("training.per_device_eval_batch_size", "eval_batch_size per_gpu_eval_batch_size"),
        ("training.class_weights", "class_weight"),
        ("data.window_stride", "doc_stride data.stride window_overlap chunk_overlap", "tokens that windows share"),
        ("data.long_texts", "truncation truncation_strategy return_overflowing_tokens sliding_window"),
    ),
    instead={"data.source_column": "write text_column", "data.target_column": "write label_column"},
)
"""What task classification says about its recipes."""
