"""What no single field of a recipe for text to text can know."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.metrics.names import ALL_METRICS
from ftkit.recipe.dump import dump_recipe
from ftkit.tasks.seq2seq.recipe import LABEL_TEXT_METRICS
from ftkit.tasks.table import read_recipe, task_rules
from tests.recipe.rule_cases import broken

GUESSED = {"task": "seq2seq", "model.name_or_path": "builtin:tiny-t5", "data.train_file": "a.jsonl"}
PAIRS = {**GUESSED, "data.source_column": "de", "data.target_column": "en", "data.source_prefix": "'de: '"}
TEMPLATE = {**GUESSED, "data.template": "'Q: {q}<learn>{a}'"}
LABELS = {**GUESSED, "data.labels_as_text": "true", "data.text_column": "t", "data.label_column": "y"}
PREFIX = {**PAIRS, "method.type": "prefix_tuning"}
CLASSES = {"task": "classification", "model.name_or_path": "builtin:tiny-bert", "data.train_file": "a.csv"}
TEXTS = {"task": "causal_lm", "model.name_or_path": "builtin:tiny-gpt2", "data.train_file": "a.jsonl"}


@pytest.mark.parametrize("base", [GUESSED, PAIRS, TEMPLATE, LABELS], ids=["guessed", "pairs", "template", "labels"])
@pytest.mark.parametrize("method", list(task_rules()["seq2seq"].methods))
def test_the_recipes_that_the_rules_are_tried_on_break_none_and_are_written_out_and_read_back(
    tmp_path: Path, base: dict[str, str], method: str
) -> None:
    assert broken(tmp_path, base, f"method.type={method}") == ""


@pytest.mark.parametrize(
    ("base", "overrides", "problem"),
    [
        (TEMPLATE, ["data.source_column=q"], "template says already what an example is"),
        (TEMPLATE, ["data.target_column=q"], "template says already what an example is"),
        (TEMPLATE, ["data.source_prefix=x"], "write it at the beginning of the template"),
        (TEMPLATE, ["data.template='Q: {q}'"], "it has no <learn>; write <learn> where the source ends"),
        (TEMPLATE, ["data.template='<learn>{a}'"], "nothing stands before <learn>"),
        (TEMPLATE, ["data.template='{a}<learn>'"], "nothing follows <learn>"),
        (TEMPLATE, ["data.template='{a}<learn>{b}<learn>{c}'"], "stands there 2 times"),
        (GUESSED, ["data.source_column=q"], "target_column is missing"),
        (GUESSED, ["data.target_column=q"], "source_column is missing"),
        (PAIRS, ["data.target_column=de"], "it is the source_column already"),
        (PAIRS, ["data.references_column=en"], "it is the target_column already"),
        (PAIRS, ["data.train_file=a.txt"], "a text file has no columns"),
        (GUESSED, ["data.text_column=t"], "write source_column and target_column; for texts with labels add"),
        (PAIRS, ["data.label_column=y"], "add data.labels_as_text: true, or remove it"),
        (PAIRS, ["data.label_names=[a, b]"], "add data.labels_as_text: true, or remove it"),
        (PAIRS, ["evaluation.positive_label=a"], "add data.labels_as_text: true, or remove it"),
        (LABELS, ["data.source_column=t"], "labels_as_text makes source and target of a text and its label"),
        (LABELS, ["data.template='{t}<learn>{y}'"], "labels_as_text makes source and target of a text and its label"),
        (LABELS, ["data.references_column=r"], "labels_as_text makes source and target of a text and its label"),
        (LABELS, ["data.label_column=t"], "'t' is the text_column already"),
        (LABELS, ["data.label_names=[a]"], "fewer than two labels"),
        (LABELS, ["evaluation.positive_label=a"], "no metric of the list is about one class"),
        (
            PAIRS,
            ["data.prompt_column=q"],
            "only task causal_lm reads it, and this recipe's task is seq2seq; write source",
        ),
        (PAIRS, ["data.packing=true"], "only task causal_lm reads it"),
        (PAIRS, ["training.class_weights=balanced"], "only task classification reads it"),
        (
            TEXTS,
            ["data.target_column=q"],
            "only task seq2seq reads it, and this recipe's task is causal_lm; write compl",
        ),
        (CLASSES, ["data.target_column=q"], "this recipe's task is classification; write label_column"),
        (TEXTS, ["generation.num_beams=4"], "only task seq2seq reads it"),
        (CLASSES, ["evaluation.score_base=false"], "only task seq2seq reads it"),
        (PAIRS, ["method.type=frozen"], "no frozen for task seq2seq: a text is written by the whole model"),
        (TEXTS, ["method.type=prefix_tuning"], "no prefix_tuning for task causal_lm"),
        (CLASSES, ["method.type=prefix_tuning"], "no prefix_tuning for task classification"),
        (PAIRS, ["generation.temperature=0.7"], "nothing is drawn"),
        (PAIRS, ["generation.top_k=50"], "nothing is drawn"),
        (PAIRS, ["generation.top_p=0.9"], "nothing is drawn"),
        (PAIRS, ["generation.min_p=0.1"], "nothing is drawn"),
        (PAIRS, ["generation.typical_p=0.9", "generation.num_beams=3"], "nothing is drawn"),
        (PAIRS, ["generation.length_penalty=2.0"], "num_beams is 1"),
        (PAIRS, ["generation.early_stopping=true", "generation.do_sample=true"], "num_beams is 1"),
        (PREFIX, ["training.gradient_checkpointing=true"], "the prefix goes through the cache"),
        (PAIRS, ["method.type=prompt_tuning", "method.prompt_tuning_init=text"], "the text is missing"),
        (PAIRS, ["method.type=prompt_tuning", "method.prompt_tuning_init_text=Hi"], "only prompt_tuning_init: text"),
        (PAIRS, ["method.type=lora", "method.init_lora_weights=false"], "changes the model before the first step"),
        (PAIRS, ["method.type=full", "model.dtype=float16"], "write training.fp16: true"),
        (PAIRS, ["model.attn_implementation=flash_attention_2", "training.use_cpu=true"], "needs a GPU"),
        (PAIRS, ["training.max_tokens_per_batch=64", "training.per_device_train_batch_size=4"], "given as well"),
        (
            PAIRS,
            ["training.max_tokens_per_batch=150", "data.max_length=128", "data.max_target_length=32"],
            "an example may be longer than that; at least data.max_length + data.max_target_length, 160",
        ),
        (PAIRS, ["evaluation.bleu_tokenize=ja-mecab"], "ja-mecab needs MeCab and ipadic; pip install 'sacrebleu[ja]'"),
        (PAIRS, ["evaluation.bleu_tokenize=mecab"], "evaluation.bleu_tokenize"),
        (PAIRS, ["evaluation.rouge_language=klingon"], "evaluation.rouge_language"),
        (PAIRS, ["evaluation.metrics=[accuracy]"], "these targets are texts; for labels add data.labels_as_text: true"),
        (PAIRS, ["evaluation.metrics=[no_label]"], "these targets are texts; for labels add data.labels_as_text: true"),
        (LABELS, ["evaluation.metrics=[bleu]"], "bleu does not measure labels"),
        (LABELS, ["evaluation.metrics=['evaluate:x']"], "evaluate:x does not measure labels"),
        (TEXTS, ["evaluation.metrics=[bleu]"], "bleu does not measure task causal_lm"),
        (CLASSES, ["evaluation.metrics=[generated_accuracy]"], "does not measure task classification"),
        (
            PAIRS,
            ["training.metric_for_best_model=accuracy"],
            "what writes texts is not chosen by accuracy; one of loss, e",
        ),
        (
            LABELS,
            ["training.metric_for_best_model=bleu"],
            "not chosen by bleu; one of loss, accuracy, f1_macro, f1_w",
        ),
        (CLASSES, ["training.metric_for_best_model=chrf"], "a classifier is not chosen by chrf"),
        (TEXTS, ["training.metric_for_best_model=rougeL"], "the best model has the lowest validation loss"),
    ],
)
def test_a_broken_rule_is_reported_once(
    tmp_path: Path, base: dict[str, str], overrides: list[str], problem: str
) -> None:
    found = broken(tmp_path, base, *overrides)
    assert found.count(problem) == 1, found
    assert "\n" not in found, found


@pytest.mark.parametrize(
    ("base", "overrides"),
    [
        (PAIRS, ["generation.do_sample=true", "generation.temperature=0.7", "generation.top_k=50"]),
        (PAIRS, ["generation.num_beams=4", "generation.length_penalty=2.0", "generation.early_stopping=true"]),
        (PAIRS, ["generation.temperature=1.0", "generation.length_penalty=1.0"]),
        (PAIRS, ["generation.max_new_tokens=9", "evaluation.score_base=false", "data.references_column=r"]),
        (PAIRS, ["evaluation.metrics=[loss, bleu, 'evaluate:x']", "training.metric_for_best_model=rougeLsum"]),
        (PAIRS, ["training.fp16=true", "training.bf16=false"]),
        (PAIRS, ["method.type=prompt_tuning", "data.max_length=16", "training.gradient_checkpointing=true"]),
        (LABELS, ["data.text_pair_column=b", "data.source_prefix='nli: '", "data.label_names=[a, b]"]),
        (LABELS, ["evaluation.metrics=[f1, loss, no_label]", "evaluation.positive_label=a"]),
        (LABELS, ["training.metric_for_best_model=f1_macro"]),
        (TEMPLATE, ["data.references_column=r"]),
    ],
)
def test_what_goes_together_is_allowed(tmp_path: Path, base: dict[str, str], overrides: list[str]) -> None:
    assert broken(tmp_path, base, *overrides) == ""


@pytest.mark.parametrize(
    ("overrides", "name", "problem"),
    [
        ([], "docstrings", "has no sources and targets; with sources and targets: builtin:signatures"),
        ([], "docstrings", "data.labels_as_text: true would learn its labels"),
        ([], "pydoc", "has no sources and targets"),
        ([], "comands-new", "did you mean builtin:commands-new?"),
        (["data.labels_as_text=true"], "commands", "has no labels; with labels: builtin:docstrings"),
        (["task=classification"], "commands", "has no labels"),
    ],
)
def test_built_in_data_that_does_not_fit_is_answered_with_what_fits(
    tmp_path: Path, overrides: list[str], name: str, problem: str
) -> None:
    base = {"task": "seq2seq", "model.name_or_path": "builtin:tiny-t5", "data.dataset_name": f"builtin:{name}"}
    assert problem in broken(tmp_path, base, *overrides)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [([], "signatures"), ([], "commands"), ([], "commands-new"), (["data.labels_as_text=true"], "docstrings")],
)
def test_built_in_data_that_fits_is_taken(tmp_path: Path, overrides: list[str], name: str) -> None:
    base = {"task": "seq2seq", "model.name_or_path": "builtin:tiny-t5", "data.dataset_name": f"builtin:{name}"}
    assert broken(tmp_path, base, *overrides) == ""


def recipe_of(folder: Path, base: dict[str, str], *overrides: str):
    path = folder / "my.yaml"
    path.write_text("{}\n")
    return read_recipe(path, [f"{key}={value}" for key, value in base.items()] + [*overrides], check_files=False).recipe


def test_labels_as_text_bring_metrics_of_their_own(
    tmp_path: Path,
) -> None:
    assert recipe_of(tmp_path, LABELS).evaluation.metrics == LABEL_TEXT_METRICS
    assert "exact_match" in recipe_of(tmp_path, PAIRS).evaluation.metrics


def test_every_metric_fits_some_task_and_the_default_ones_fit_their_own(tmp_path: Path) -> None:
    recipes = [recipe_of(tmp_path, base) for base in (CLASSES, TEXTS, PAIRS, LABELS)]
    fitting = {task: set(rules.metrics) for task, rules in task_rules().items()}
    assert set.union(*fitting.values()) == set(ALL_METRICS)
    for recipe in recipes:
        assert set(recipe.evaluation.metrics) <= fitting[recipe.task]


def test_the_written_out_recipe_has_a_generation_section_only_where_it_is_read(tmp_path: Path) -> None:
    assert "\ngeneration:\n  max_new_tokens: null\n" in dump_recipe(recipe_of(tmp_path, PAIRS))
    assert "generation:" not in dump_recipe(recipe_of(tmp_path, TEXTS))


def test_an_empty_generation_section_is_one_of_defaults(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        "task: seq2seq\nmodel: {name_or_path: 'builtin:tiny-t5'}\ndata: {dataset_name: 'builtin:signatures'}\n"
        "generation:\n  # num_beams: 4\n"
    )
    assert read_recipe(path).recipe.generation.num_beams == 1
