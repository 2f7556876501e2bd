"""Old and foreign spellings are answered with today's, and today's exist."""

from __future__ import annotations

import pytest

from ftkit.recipe.defaults import TASK_METHODS
from ftkit.recipe.keys import METHODS, SECTIONS, all_keys, answer_unknown
from ftkit.recipe.vocabulary import HERE, TODAY, TODAYS_SECTION, TODAYS_TASK

KEYS = {path for paths in all_keys().values() for path in paths}


@pytest.mark.parametrize("word", sorted(TODAY))
def test_each_answer_is_a_key_of_the_schema_or_explains_itself(word: str) -> None:
    today = TODAY[word]
    assert today.key in KEYS or (today.key == "" and today.note)
    assert word not in {path.rpartition(".")[2] for path in KEYS}


def test_each_section_that_is_answered_exists() -> None:
    assert set(TODAYS_SECTION.values()) <= {*SECTIONS, "method"}


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
        answer = answer_unknown(section, word, method="prefix_tuning" if "virtual" in key else "lora")
        assert answer.meant == key
        assert (key if key.rpartition(".")[0] != section else key.rpartition(".")[2]) in answer.fix


@pytest.mark.parametrize(
    "word", ["overwrite_output_dir", "logging_dir", "tokenizer", "predict_with_generate", "source_lang"]
)
def test_a_spelling_without_a_successor_says_what_to_do_instead(word: str) -> None:
    answer = answer_unknown("training", word, method="full")
    assert answer.meant == ""
    assert answer.fix == TODAY[word].note


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
    assert answer_unknown(section, word, method="full").fix.startswith(fix)


@pytest.mark.parametrize(("section", "word"), sorted(HERE))
def test_a_word_that_means_another_key_in_one_section_is_answered_with_that(section: str, word: str) -> None:
    today = HERE[section, word]
    assert today.key in KEYS
    # elsewhere it is a key by itself, or a spelling of another one
    assert word in TODAY or any(path.endswith(f".{word}") for path in KEYS)
    assert answer_unknown(section, word, method="lora").meant == today.key


def test_what_people_call_early_stopping_in_training_is_not_that_of_beams() -> None:
    assert "early_stopping_patience" in answer_unknown("training", "early_stopping", method="full").fix
    assert "max_new_tokens" in answer_unknown("generation", "max_length", method="full").fix


def test_tasks_that_are_answered_exist_and_are_no_names_of_tasks_themselves() -> None:
    assert set(TODAYS_TASK.values()) == set(TASK_METHODS)
    assert not set(TODAYS_TASK) & set(TASK_METHODS)
    assert all(word == word.lower() for word in TODAYS_TASK)


def test_methods_of_the_schema_and_of_the_defaults_are_the_same() -> None:
    from ftkit.recipe.defaults import DEFAULTS

    assert set(METHODS) == {method for _, method in DEFAULTS}
    required = {
        f"{name}.{key}"
        for name in ("training", "evaluation")
        for key, field in SECTIONS[name].model_fields.items()
        if field.is_required()
    }
    for defaults in DEFAULTS.values():
        assert set(defaults) == required
