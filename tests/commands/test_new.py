"""New recipes: filled in from a data file, read by read_recipe, and the recipes of the repository are such."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit.errors import UserError
from ftkit.models.builtin.builtin import resolve
from ftkit.models.checkpoint import Checkpoint
from ftkit.recipe.new import STARTING_POINTS, fill, starting_point, starting_points
from ftkit.tasks.causal_lm.examples import example_length
from ftkit.tasks.seq2seq.examples import pair_lengths
from ftkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from ftkit.tasks.table import read_recipe
from tests.commands.new_recipes import run, write_rows

REPOSITORY = Path(__file__).parents[2]
SCHEMA_COMMENT = "# yaml-language-server: $schema=ftkit.schema.json\n"
NAMES = sorted(starting_points())
OF_THEIR_OWN = {"replay", "tools"}
"""Recipes for data of several files, or with a template beside them, which no starting point is filled in for."""
DATA = {
    "text-pairs": "pairs.csv",
    "causal-lm-lora": "harbour.txt",
    "causal-lm-full": "notes.jsonl",
    "instruct": "chats.jsonl",
    "prompt-tuning": "answers.jsonl",
    "ia3": "answers.jsonl",
    "seq2seq-ia3": "polite.jsonl",
    "seq2seq-full": "polite.jsonl",
    "seq2seq-prompt-tuning": "polite.jsonl",
    "seq2seq-prefix-tuning": "polite.jsonl",
    "summarise": "reports.jsonl",
}
"""Starting point -> the file in recipes/data that its recipe learns from, where it is not messages.csv."""


def reviews(num_rows: int) -> list[str]:
    return ["id,review,stars", *(f"{n},a film like number {n},{'good' if n % 2 else 'bad'}" for n in range(num_rows))]


def test_a_recipe_for_a_csv_names_its_columns_and_says_what_was_assumed(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "my.csv", reviews(300))
    (tmp_path / "recipes").mkdir()
    out = tmp_path / "recipes" / "classify.yaml"
    said = run(out, "--data", data, "--model", "builtin:minilm")
    recipe = read_recipe(out).recipe
    assert recipe.data.train_file == str(data)
    assert (recipe.data.text_column, recipe.data.label_column) == ("review", "stars")
    assert recipe.data.scores_out_of_fold()
    assert recipe.model.name_or_path == "builtin:minilm"
    assert "300 rows" in said
    assert "bad (150), good (150)" in said
    assert "every row is scored out of fold" in said
    assert "warning" not in said


def test_validation_and_test_files_beside_the_training_file_are_used(tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        write_rows(tmp_path / f"{name}.csv", reviews(20))
    run(tmp_path / "r.yaml", "--data", tmp_path)
    data = read_recipe(tmp_path / "r.yaml").recipe.data
    assert data.validation_file == str(tmp_path / "dev.csv")
    assert data.test_file == str(tmp_path / "test.csv")


@pytest.mark.parametrize(
    ("rows", "warning"),
    [
        (["text,label", *(f"some words {n},only" for n in range(9))], "has a single value"),
        (["text,label", *(f"some words {n},l{n}" for n in range(9))], "more than half are different"),
        (["text,label", *(f"some words {n},l{n % 2}" for n in range(9)), "a b,rare"], "occur once, such as 'rare'"),
    ],
)
def test_labels_that_look_wrong_are_warned_about(tmp_path: Path, rows: list[str], warning: str) -> None:
    assert warning in run(tmp_path / "r.yaml", "--data", write_rows(tmp_path / "a.csv", rows))


def test_columns_that_are_not_obvious_are_asked_for_and_can_be_named(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "a.csv", ["a,b,c", *(f"one text {n},other text {n},{n % 2}" for n in range(20))])
    with pytest.raises(UserError, match=r"no column is clearly the text; say --text-column; columns: a, b, c"):
        run(tmp_path / "r.yaml", "--data", data)
    with pytest.raises(UserError, match=r"no column 'd' \(--text-column\)"):
        run(tmp_path / "r.yaml", "--data", data, "--text-column", "d")
    run(tmp_path / "r.yaml", "--data", data, "--text-column", "a", "--text-pair-column", "b")
    spec = read_recipe(tmp_path / "r.yaml").recipe.data
    assert (spec.text_column, spec.text_pair_column, spec.label_column) == ("a", "b", "c")


def test_a_pair_column_comes_into_any_starting_point(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "a.csv", ["a,b,c", *(f"one text {n},other text {n},{n % 2}" for n in range(20))])
    run(tmp_path / "r.yaml", "--data", data, "--text-column", "a", "--text-pair-column", "b", "--from", "classify-lora")
    assert read_recipe(tmp_path / "r.yaml").recipe.data.text_pair_column == "b"


def test_an_existing_file_is_kept_unless_overwrite_is_said(tmp_path: Path) -> None:
    out = tmp_path / "r.yaml"
    out.write_text("mine")
    with pytest.raises(UserError, match="exists already; name another file, or add --overwrite"):
        run(out, "--from", "quickstart")
    assert out.read_text() == "mine"
    run(out, "--from", "quickstart", "--overwrite")
    assert out.read_text() == starting_point("quickstart")


def test_the_list_shows_every_starting_point_below_its_task() -> None:
    lines = run("--list").splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert heads == ["task classification", "task causal_lm", "task seq2seq"]
    assert sorted(line.split()[0] for line in lines if line.startswith(" ")) == NAMES
    assert lines.index(heads[1]) < next(n for n, line in enumerate(lines) if line.startswith("  instruct "))
    assert len(NAMES) >= 10


def test_an_unknown_starting_point_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean classify-lora\?"):
        run(tmp_path / "r.yaml", "--from", "classify-lroa")


SHORT = 40
"""Positions of a base that has fewer than any starting point asks for."""


@pytest.fixture(scope="module")
def short_bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Task -> a base of few positions, for what its configuration says."""
    folders = {}
    for task, family in {"classification": "bert", "causal_lm": "gpt2", "seq2seq": "bart"}.items():
        config = json.loads((Path(resolve(f"builtin:tiny-{family}")) / "config.json").read_text())
        folders[task] = tmp_path_factory.mktemp(family)
        positions = {"max_position_embeddings": SHORT, "n_positions": SHORT}
        (folders[task] / "config.json").write_text(json.dumps(config | positions))
    return folders


@pytest.mark.parametrize("name", NAMES)
def test_no_length_is_proposed_that_check_would_refuse(tmp_path: Path, short_bases: dict[str, Path], name: str) -> None:
    task = starting_points()[name].task
    for base in (short_bases[task], Path("org/not-here")):
        run(tmp_path / "r.yaml", "--from", name, "--model", base, "--overwrite")
        recipe = read_recipe(tmp_path / "r.yaml", check_files=False).recipe
        checkpoint = Checkpoint("short", short_bases[task])
        if isinstance(recipe, Seq2SeqRecipe):
            lengths = pair_lengths(recipe, checkpoint)
            assert (lengths.source, lengths.target) == (lengths.source_limit, lengths.target_limit)
        elif task == "causal_lm":
            assert example_length(recipe, checkpoint) + recipe.method.input_tokens == SHORT
        else:
            assert checkpoint.max_length(recipe.data.max_length) == SHORT


@pytest.mark.parametrize("name", NAMES)
def test_each_starting_point_is_a_commented_recipe(tmp_path: Path, name: str) -> None:
    text = (STARTING_POINTS / f"{name}.yaml").read_text("utf-8")
    assert text.startswith(SCHEMA_COMMENT)
    read_recipe(tmp_path / "r.yaml", text=text, check_files=False)
    for line in text.splitlines():
        assert line in ("", "#") or line.endswith(":") or "# " in line, f"no comment: {line}"
        assert len(line) <= 120


@pytest.mark.parametrize("name", NAMES)
def test_each_line_that_is_commented_out_is_a_recipe_when_brought_in(tmp_path: Path, name: str) -> None:
    lines = (STARTING_POINTS / f"{name}.yaml").read_text("utf-8").splitlines()
    for index, line in enumerate(lines):
        if line.startswith("  # ") and ": " in line:
            brought = [*lines[:index], "  " + line.removeprefix("  # "), *lines[index + 1 :]]
            brought = settle(brought, line.split()[1].removesuffix(":"))
            read_recipe(tmp_path / "r.yaml", text="\n".join(brought), check_files=False)


def settle(lines: list[str], key: str) -> list[str]:
    """What else the comments of a starting point ask for when a key is brought in."""
    instead = {
        "validation_file": ("validation_size", "validation"),
        "prompt_column": ("messages_column", "chat_template"),
        "completion_column": ("messages_column", "chat_template"),
        "template": ("messages_column", "chat_template", "source_column", "target_column"),
        "max_tokens_per_batch": ("per_device_train_batch_size",),
    }
    together = {"prompt_column": "completion_column", "completion_column": "prompt_column"}
    kept = [line for line in lines if not line.startswith(tuple(f"  {other}:" for other in instead.get(key, ())))]
    pair = f"  # {together.get(key)}:"
    return ["  " + line.removeprefix("  # ") if line.startswith(pair) else line for line in kept]


def test_the_recipes_of_the_repository_are_what_ftkit_new_writes(tmp_path: Path) -> None:
    """One source: the starting points in the package; `recipes/` shows them filled in for the data beside it."""
    folder = REPOSITORY / "recipes"
    found = {path.stem: path.read_text("utf-8") for path in folder.glob("*.yaml")}
    made = {
        name: fill(starting_point(name), {"training.output_dir": f"../runs/{name}"})
        for name in NAMES
        if "  train_file:" not in starting_point(name)
    }
    assert made.keys() == {"quickstart", "smollm2-pydoc", "signatures", "commands-t5", "commands-new"}
    for name in set(NAMES) - made.keys():
        data = folder / "data" / DATA.get(name, "messages.csv")
        pair = ("--text-pair-column", "text_pair") if name == "text-pairs" else ()
        out = tmp_path / f"{name}.yaml"
        run(out, "--from", name, "--data", data, *pair)
        made[name] = fill(out.read_text("utf-8"), {"data.train_file": f"data/{data.name}"})
    assert found.keys() == made.keys() | OF_THEIR_OWN
    for name, text in made.items():
        assert found[name] == text, f"ftkit new recipes/{name}.yaml --from {name} --data recipes/data/... --overwrite"
        assert read_recipe(folder / f"{name}.yaml").recipe


def test_a_file_without_a_readable_row_is_answered_with_its_first_problem(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "a.jsonl", ["[1, 2]", "nonsense"])
    with pytest.raises(UserError) as caught:
        run(tmp_path / "r.yaml", "--data", data)
    assert caught.value.where == f"{data}:1"
    assert not (tmp_path / "r.yaml").exists()


def test_an_encoding_is_read_with_and_written_into_the_recipe(tmp_path: Path) -> None:
    data = tmp_path / "a.csv"
    data.write_bytes("\n".join(["text,label", *(f"ein schöner Film {n},l{n % 2}" for n in range(9))]).encode("cp1252"))
    with pytest.raises(UserError, match="cp1252"):
        run(tmp_path / "r.yaml", "--data", data)
    run(tmp_path / "r.yaml", "--data", data, "--encoding", "cp1252")
    assert read_recipe(tmp_path / "r.yaml").recipe.data.encoding == "cp1252"


def test_what_is_advised_of_a_file_can_be_said_and_stands_in_the_recipe(tmp_path: Path) -> None:
    data = tmp_path / "a.csv"
    data.write_text("\n".join(["text;label", *(f'a "fine" film, {n}" wide;l{n % 2}' for n in range(9))]))
    with pytest.raises(UserError, match="--delimiter ';'"):
        run(tmp_path / "r.yaml", "--data", data)
    run(tmp_path / "r.yaml", "--data", data, "--delimiter", ";", "--quoting", "none")
    written = read_recipe(tmp_path / "r.yaml").recipe.data
    assert (written.delimiter, written.quoting, written.encoding) == (";", "none", "utf-8")
