"""Old and foreign spellings are answered with today's, and today's exist."""

from __future__ import annotations

import pytest

from ftkit.methods.table import METHODS
from ftkit.recipe.keys import Answer, all_keys, answer_unknown, todays
from ftkit.recipe.task_rules import sections_of
from ftkit.recipe.vocabulary import TODAYS_SECTION
from ftkit.recipe.vocabulary import WORDS as SHARED
from ftkit.tasks.table import task_rules

TASKS = task_rules()
KEYS = {path for paths in all_keys(TASKS).values() for path in paths}
ROWS = [*SHARED, *(row for task in TASKS.values() for row in task.words)]
WORDS = [word for _, words, *_ in ROWS for word in words.split()]
HERE = [tuple(word.split(".")) for word in WORDS if "." in word]


def answer(section: str, word: str, *, method: str = "lora", task: str = "seq2seq") -> Answer:
    return answer_unknown(section, word, method=method, task=TASKS[task], tasks=TASKS)


@pytest.mark.parametrize("word", sorted(word for word in WORDS if "." not in word))
def test_each_answer_is_a_key_of_the_schema_or_explains_itself(word: str) -> None:
    today = todays(word, TASKS)
    assert today is not None
    assert today.key in KEYS or (today.key == "" and today.note)
    assert word not in {path.rpartition(".")[2] for path in KEYS}


def test_no_word_is_answered_in_two_places() -> None:
    assert sorted(set(WORDS)) == sorted(WORDS)


def test_each_section_that_is_answered_exists() -> None:
    assert set(TODAYS_SECTION.values()) <= set(sections_of(TASKS))


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("lr", "training.learning_rate"),
        ("epochs", "training.num_train_epochs"),
        ("num_epochs", "training.num_train_epochs"),
        ("batch_size", "training.per_device_train_batch_size"),
        ("micro_batch_size", "training.per_device_train_batch_size"),
        ("lora_rank", "method.r"),
        ("lora_r", "method.r"),
        ("base_model", "model.name_or_path"),
        ("val_set_size", "data.validation_size"),
        ("warmup_ratio", "training.warmup_steps"),
        ("group_by_length", "training.extra"),
        ("evaluation_strategy", "training.eval_strategy"),
        ("no_cuda", "training.use_cpu"),
        ("max_source_length", "data.max_length"),
        ("val_max_target_length", "data.max_target_length"),
        ("summary_column", "data.target_column"),
        ("generation_max_length", "generation.max_new_tokens"),
        ("generation_num_beams", "generation.num_beams"),
        ("num_prefix_tokens", "method.num_virtual_tokens"),
    ],
)
def test_the_spellings_that_people_paste_most_are_answered_wherever_they_stand(word: str, key: str) -> None:
    for section in ("", "model", "training", "data"):
        found = answer(section, word, method="prefix_tuning" if "virtual" in key else "lora")
        assert found.meant == key
        assert (key if key.rpartition(".")[0] != section else key.rpartition(".")[2]) in found.fix


@pytest.mark.parametrize(
    "word", ["overwrite_output_dir", "logging_dir", "tokenizer", "predict_with_generate", "num_return_sequences"]
)
def test_a_spelling_without_a_successor_says_what_to_do_instead(word: str) -> None:
    found = answer("training", word, method="full")
    today = todays(word, TASKS)
    assert found.meant == ""
    assert today is not None
    assert found.fix == today.note


@pytest.mark.parametrize(
    ("section", "word", "fix"),
    [
        ("training", "learningRate", "did you mean learning_rate?"),
        ("training", "Learning-Rate", "did you mean learning_rate?"),
        ("training", "eval_step", "did you mean eval_steps?"),
        ("model", "learning_rat", "did you mean training.learning_rate?"),
        ("method", "lora_alpha", "it belongs to method.type: lora; this recipe's method.type is full"),
        ("", "training.learning_rate", "it belongs in training: training.learning_rate"),
        ("", "train", "it is called training here"),
        ("evaluation", "zzzzzz", "keys here: metrics, positive_label, num_resamples, reference_file, score_base"),
        ("method", "num_virtual_tokens", "it belongs to method.type: prompt_tuning or prefix_tuning; this recipe's"),
        ("data", "num_beams", "it belongs in generation: generation.num_beams"),
    ],
)
def test_the_nearest_key_is_offered(section: str, word: str, fix: str) -> None:
    assert answer(section, word, method="full").fix.startswith(fix)


def test_of_keys_that_are_listed_each_is_one_of_the_task() -> None:
    listed = "keys here: metrics, num_resamples, reference_file, stride"
    assert answer("evaluation", "zzzzzz", task="causal_lm").fix == listed
    assert answer("method", "zzzzzz", task="classification").fix.endswith("rank_pattern, alpha_pattern")


@pytest.mark.parametrize(("section", "word"), sorted(HERE))
def test_a_word_that_means_another_key_in_one_section_is_answered_with_that(section: str, word: str) -> None:
    today = todays(f"{section}.{word}", TASKS)
    assert today is not None
    assert today.key in KEYS
    # elsewhere it is a key by itself, or a spelling of another one
    assert word in WORDS or any(path.endswith(f".{word}") for path in KEYS)
    assert answer(section, word).meant == today.key


def test_what_people_call_early_stopping_in_training_is_not_that_of_beams() -> None:
    assert "early_stopping_patience" in answer("training", "early_stopping").fix
    assert "max_new_tokens" in answer("generation", "max_length").fix


def test_what_tasks_are_called_elsewhere_is_no_name_of_a_task_and_means_one() -> None:
    names = [name for task in TASKS.values() for name in task.names]
    assert len(set(names)) == len(names)
    assert not set(names) & set(TASKS)
    assert all(name == name.lower() for name in names)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_task_has_each_method_or_says_why_not(task: str) -> None:
    assert {*TASKS[task].methods, *TASKS[task].no_method} == set(METHODS)
    assert not set(TASKS[task].methods) & set(TASKS[task].no_method)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_defaults_of_a_task_fill_whatever_has_none_of_its_own(task: str) -> None:
    rules = TASKS[task]
    required = {
        f"{name}.{key}"
        for name in ("training", "evaluation")
        for key, field in rules.fields("full")[name].items()
        if field.is_required()
    }
    assert all(required <= set(defaults) for defaults in rules.methods.values())


@pytest.mark.parametrize("task", sorted(TASKS))
def test_what_a_task_says_of_keys_is_said_of_keys_that_there_are(task: str) -> None:
    rules = TASKS[task]
    assert {*rules.switched, *rules.instead, *rules.files} <= KEYS
    own = {f"{section}.{key}" for section, fields in rules.fields("lora").items() for key in fields}
    assert not own & set(rules.instead)
    assert own >= {*rules.switched, *rules.files}
