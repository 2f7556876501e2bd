"""Reading a recipe: values, sources, overrides, paths, and every problem with its line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ftkit.errors import RecipeError
from ftkit.recipe.parse import LoadedRecipe
from ftkit.tasks.table import read_recipe, task_rules

TASKS = task_rules()
SMALL = """\
task: classification
model:
  name_or_path: builtin:minilm
data:
  dataset_name: builtin:docstrings
"""


def load(folder: Path, text: str, *overrides: str, check_files: bool = True) -> LoadedRecipe:
    path = folder / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return read_recipe(path, overrides, check_files=check_files)


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(folder, text, *overrides)
    return [str(problem).replace(str(folder) + "/", "") for problem in caught.value.problems]


def test_a_recipe_of_five_lines_gets_every_default_and_says_where_each_value_came_from(tmp_path: Path) -> None:
    loaded = load(tmp_path, SMALL, "training.learning_rate=0.5")
    assert loaded.recipe.method.type == "frozen"
    assert (
        loaded.recipe.training.num_train_epochs
        == TASKS["classification"].methods["frozen"]["training.num_train_epochs"]
    )
    assert loaded.sources["model.name_or_path"] == "line 3"
    assert loaded.sources["training.learning_rate"] == "override 1"
    assert loaded.sources["training.weight_decay"] == "default of method frozen"
    assert loaded.sources["training.seed"] == "default"
    settings = loaded.recipe.settings()
    assert set(loaded.sources) == {"task", *(f"{name}.{key}" for name, below in settings.items() for key in below)}


@pytest.mark.parametrize(
    ("task", "method"), [(task, method) for task, rules in TASKS.items() for method in rules.methods]
)
def test_each_method_of_each_task_has_defaults_of_its_own(tmp_path: Path, task: str, method: str) -> None:
    text = SMALL.replace("task: classification", f"task: {task}").replace("builtin:docstrings", "someone/texts")
    recipe = load(tmp_path, f"{text}method: {{type: {method}}}\n").recipe
    for key, value in TASKS[task].methods[method].items():
        section, _, name = key.partition(".")
        assert getattr(getattr(recipe, section), name) == value


def test_numbers_and_words_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    text = SMALL + "  label_names: [yes, no, NA, on, 3]\ntraining:\n  learning_rate: 2e-5\n  num_train_epochs: 3\n"
    recipe = load(tmp_path, text).recipe
    assert recipe.data.label_names == ["yes", "no", "NA", "on", 3]
    assert recipe.training.learning_rate == 2e-5
    assert recipe.training.num_train_epochs == 3.0


def test_every_problem_is_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
task: classification
model: {name_or_path: builtin:minilm}
method:
  type: lroa
  lora_rank: 8
data:
  dataset_name: builtin:docstrings
  learning_rate: 1e-3
  validation_size: "0.1"
training:
  seed: 1
  seed: 2
  lr_scheduler_type: linaer
  bf16: true
  fp16: true
"""
    assert problems(tmp_path, text) == [
        'my.yaml:4:9 method.type: must be one of frozen, full, lora, ia3, found the text "lroa"; did you mean lora?',
        "my.yaml:5:3 method.lora_rank: an older or foreign spelling; it is called r here",
        "my.yaml:8:3 data.learning_rate: not a key of data; it belongs in training: training.learning_rate",
        'my.yaml:9:20 data.validation_size: must be a number, found the text "0.1"; remove the quotes: 0.1',
        "my.yaml:12:3 training.seed: the key is given twice; it stands on line 11 already; keep one of the two",
        "my.yaml:13:22 training.lr_scheduler_type: must be one of linear, cosine, constant, constant_with_warmup, "
        "cosine_with_restarts, polynomial, inverse_sqrt, cosine_with_min_lr, cosine_warmup_with_min_lr, "
        "warmup_stable_decay, reduce_lr_on_plateau, greedy, "
        'found the text "linaer"; did you mean linear?',
        "my.yaml:15:3 training.fp16: bf16 is on as well; keep one of the two",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("  learning_rate: '2e-5'", "remove the quotes: 2e-5"),
        ("  learning_rate: 1_000", "write 1000"),
        ("  weight_decay: 1%", "write 0.01"),
        ("  max_steps: 1e3", "write 1000"),
        ("  max_steps: true", "must be a whole number, found true"),
        ("  learning_rate: .inf", "must be a finite number"),
        ("  learning_rate: -1", "must be above 0"),
        ("  learning_rate:", "must be a number, found nothing"),
        ("  use_cpu: yes", "write true"),
        ("  use_cpu: 'false'", "remove the quotes: false"),
        ("  output_dir: 5", 'put it in quotes: "5"'),
        ("  output_dir: None", "write null"),
        ("  output_dir: !!python/name:os.system x", "is a YAML tag"),
        ("  output_dir: *x", "is a YAML alias"),
        ("  seed: &a 1\n  eval_steps: *a", "is a YAML alias"),
        ("  optim: a: b", "not valid YAML"),
        ("\tseed: 1", "indent with spaces"),
        ("  optim: 'x", "close the quote"),
        ("  ? [a]\n  : 1", "a key must be a word"),
        ('  output_dir: "\\0"', "holds a NUL"),
        ("  seed: " + "9" * 5000, "must be a whole number"),
        ("  extra: " + "[" * 5000, "nested more than"),
        ("---\na: 1", "a second document"),
        ("  class_weights: ballanced", "did you mean balanced?"),
        ("  <<: {a: 1}", "no such key"),
    ],
)
def test_a_bad_line_is_answered_with_what_to_do(tmp_path: Path, line: str, problem: str) -> None:
    found = problems(tmp_path, f"{SMALL}training:\n{line}\n")
    assert any(problem in text for text in found), found
    assert all(text.startswith("my.yaml:") for text in found)


def test_missing_keys_stand_at_the_line_of_their_section(tmp_path: Path) -> None:
    assert problems(tmp_path, "task: classification\ndata:\n  max_length: 8\nmodel:\n  dtype: auto\n") == [
        "my.yaml:2:1 data: no training examples are named; add train_file, or dataset_name",
        "my.yaml:4:1 model.name_or_path: missing; a hub id, a folder, or builtin:NAME",
    ]
    assert [text.split()[1] for text in problems(tmp_path, "{}\n")] == ["data:", "model:", "task:"]


def test_a_misspelt_section_is_named_once_and_read_on(tmp_path: Path) -> None:
    found = problems(tmp_path, SMALL.replace("model:", "modle:").replace("name_or_path", "name_or_pth"))
    assert found == [
        "my.yaml:2:1 modle: no such key; did you mean model?",
        "my.yaml:3:3 model.name_or_pth: no such key; did you mean name_or_path?",
    ]


@pytest.mark.parametrize(
    ("word", "task"),
    [
        ("sft", "causal_lm"),
        ("summarization", "seq2seq"),
        ("text2text-generation", "seq2seq"),
        ("NLI", "classification"),
    ],
)
def test_what_others_call_a_task_is_answered_with_its_name_here_and_read_on_as_that(
    tmp_path: Path, word: str, task: str
) -> None:
    key = {"causal_lm": "prompt_column", "seq2seq": "source_column", "classification": "label_column"}[task]
    found = problems(tmp_path, SMALL.replace("classification", word).replace("builtin:docstrings", f"a/b\n  {key}: x"))
    assert found[0] == (
        f'my.yaml:1:7 task: must be one of classification, causal_lm, seq2seq, found the text "{word}"; '
        f"it is called {task} here"
    )
    assert all("this recipe's task" not in text for text in found)


def test_a_misspelt_task_is_answered_with_the_nearest(tmp_path: Path) -> None:
    found = problems(tmp_path, SMALL.replace("classification", "seq2sec").replace("docstrings", "signatures"))
    assert len(found) == 1
    assert found[0].endswith("did you mean seq2seq?")


def test_an_override_makes_its_section_and_its_problems_name_its_number(tmp_path: Path) -> None:
    recipe = load(tmp_path, SMALL, "method.type=lora", "method.r=4", "evaluation.metrics=[accuracy, f1]").recipe
    assert recipe.method.model_dump()["r"] == 4
    assert recipe.evaluation.metrics == ["accuracy", "f1"]
    found = problems(tmp_path, SMALL, "resume", "training.seed=x", "trainig.seed=1", "task.x=1", "data.delimiter=|")
    assert [text.partition(" ")[2][:2] for text in found] == ["1 ", "2 ", "3 ", "4 ", "5 "]
    assert "has no `=`" in found[0]
    assert "did you mean training?" in found[2]


def test_keys_that_no_longer_fit_after_an_override_of_the_method_are_errors(tmp_path: Path) -> None:
    found = problems(tmp_path, SMALL + "method:\n  type: lora\n  r: 4\n", "method.type=frozen")
    assert len(found) == 1
    assert found[0].startswith("my.yaml:8:3 method.r: not a key of method frozen")


@pytest.mark.parametrize("value", ["null", "auto"])
def test_a_key_of_another_task_is_read_in_peace_where_its_value_changes_nothing(tmp_path: Path, value: str) -> None:
    key = "data.packing=auto" if value == "auto" else "data.source_column=null"
    assert load(tmp_path, SMALL, key, "generation.num_beams=1").recipe == load(tmp_path, SMALL).recipe


@pytest.mark.parametrize(
    ("word", "owners"), [("packing=maybe", "task causal_lm reads"), ("labels_as_text=0", "task seq2seq reads")]
)
def test_a_key_of_another_task_is_answered_with_that_task_once_whatever_its_value(
    tmp_path: Path, word: str, owners: str
) -> None:
    key = word.partition("=")[0]
    assert problems(tmp_path, SMALL, f"data.{word}") == [
        f"override 1 data.{key}: only {owners} it, and this recipe's task is classification; remove it"
    ]


def test_keys_stand_in_the_order_in_which_they_are_looked_for(tmp_path: Path) -> None:
    text = SMALL.replace("classification", "causal_lm").replace("docstrings", "pydoc")
    keys = list(load(tmp_path, text).recipe.settings()["data"])
    found = ["text_column", "prompt_column", "completion_column", "messages_column", "template", "chat_template"]
    assert keys[keys.index("text_column") :][: len(found)] == found
    assert keys[-1] == "on_bad_row"


def test_max_steps_on_the_command_line_takes_the_place_of_the_epochs_in_the_file(tmp_path: Path) -> None:
    text = SMALL + "training: {num_train_epochs: 7}\n"
    loaded = load(tmp_path, text, "training.max_steps=3")
    assert loaded.recipe.training.max_steps == 3
    assert loaded.sources["training.num_train_epochs"] == "default of method frozen (max_steps decides)"
    assert "max_steps is given as well" in problems(tmp_path, text.replace("{", "{max_steps: 3, "))[0]


def test_environment_variables_are_not_expanded(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL, "training.output_dir=${HOME}/x").recipe.training.output_dir.endswith("/${HOME}/x")


def test_paths_are_relative_to_the_recipe_and_those_of_overrides_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes, work = tmp_path / "recipes", tmp_path / "work"
    (recipes / "bert").mkdir(parents=True)
    work.mkdir()
    (recipes / "train.csv").touch()
    (work / "dev.csv").touch()
    monkeypatch.chdir(work)
    text = "task: classification\nmodel: {name_or_path: bert}\ndata: {train_file: train.csv}\n"
    recipe = load(recipes, text, "data.validation_file=dev.csv").recipe
    assert recipe.model.name_or_path == str(recipes / "bert")
    assert recipe.data.train_file == str(recipes / "train.csv")
    assert recipe.data.validation_file == str(work / "dev.csv")
    assert recipe.training.output_dir == str(work / "runs" / "my")
    hub = load(recipes, text.replace("bert", "distilbert/distilbert-base-uncased")).recipe
    assert hub.model.name_or_path == "distilbert/distilbert-base-uncased"


def test_a_file_that_is_not_there_is_a_problem_and_the_nearest_name_is_offered(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    text = "task: classification\nmodel: {name_or_path: ./bert}\ndata:\n  train_file: trian.csv\n"
    found = problems(tmp_path, text)
    assert found[0].startswith("my.yaml:2:23 model.name_or_path: no such file or folder: './bert'")
    assert found[1] == "my.yaml:4:15 data.train_file: no such file or folder: 'trian.csv'; did you mean train.csv?"
    assert load(tmp_path, text, check_files=False).recipe.data.train_file == str(tmp_path / "trian.csv")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the recipe is empty"),
        (b"- a\n", "a recipe is keys and values, found a list"),
        (b"task: \xff\n", ":1:7 byte 0xff is not UTF-8"),
        (b"task: a\nb: \x00\n", ":2:4 the character U+0000"),
        ("task: x".encode("utf-16"), "the file is UTF-16"),
        (b"x: " + b"a" * 300_000, "larger than 256 KB"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_problem(tmp_path: Path, data: bytes, problem: str) -> None:
    (tmp_path / "my.yaml").write_bytes(data)
    with pytest.raises(RecipeError, match=r"my\.yaml:1:1|my\.yaml:\d") as caught:
        read_recipe(tmp_path / "my.yaml")
    assert problem in str(caught.value)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert read_recipe(tmp_path / "my.yaml").sources["data.dataset_name"] == "line 5"


def test_a_recipe_that_is_not_there_names_the_one_that_is(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").touch()
    with pytest.raises(RecipeError, match=r"did you mean quickstart\.yaml\?"):
        read_recipe(tmp_path / "quickstrat.yaml")


def test_reading_a_recipe_imports_no_torch_and_no_transformers(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(SMALL)
    code = (
        "import sys; from pathlib import Path; from ftkit.tasks.table import read_recipe;"
        f"read_recipe(Path({str(tmp_path / 'my.yaml')!r}));"
        "heavy = {'torch', 'transformers', 'datasets', 'peft', 'numpy', 'typer'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
