"""Several sources in one data set: found, joined, split, and told apart again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftkit.data.dataset import LINE_COLUMN, Splits
from ftkit.data.mixture.shares import label_counts, mixing_of
from ftkit.errors import UserError
from ftkit.tasks.table import read_recipe, task_of


def load(folder: Path, task: str, data: dict[str, Any], *, seed: int = 0) -> Splits:
    file = folder / "my.yaml"
    file.write_text(json.dumps({"task": task, "model": {"name_or_path": "builtin:tiny-bert"}, "data": data}))
    return task_of(task).load_splits(read_recipe(file).recipe.data, seed=seed)


def write_csv(file: Path, head: str, rows: list[str]) -> str:
    file.write_text("\n".join([head, *rows]) + "\n")
    return file.name


def labelled(folder: Path, name: str, *, head: str = "text,label", start: int = 0, rows: int = 40) -> str:
    lines = [f"text number {number},{'ab'[number % 2]}" for number in range(start, start + rows)]
    return write_csv(folder / name, head, lines)


def counted(splits: Splits) -> dict[str, list[int]]:
    """Split -> rows of each source."""
    return {
        split.name: np.bincount(split.source_numbers, minlength=len(split.source_names)).tolist()
        for split in splits.all()
        if split.source_numbers is not None
    }


def test_sources_with_columns_of_their_own_are_joined_and_each_is_split_by_its_share(tmp_path: Path) -> None:
    labelled(tmp_path, "one.csv", rows=80)
    labelled(tmp_path, "two.csv", head="review,stars", start=100)
    two = {"file": "two.csv", "text_column": "review", "label_column": "stars"}
    splits = load(tmp_path, "classification", {"train_file": ["one.csv", two], "validation_size": 0.2})
    assert splits.train.source_names == ("one", "two")
    assert counted(splits) == {"train": [64, 32], "validation": [16, 8]}
    assert splits.label_names == ("a", "b")
    labels_of_two = splits.validation.labels[splits.validation.source_numbers == 1]
    assert np.bincount(labels_of_two).tolist() == [4, 4]


def test_a_text_of_two_sources_is_on_one_side_and_is_left_out_where_repeats_are(tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        labelled(tmp_path, name)
    data = {"train_file": ["one.csv", "two.csv"], "validation_size": 0.25}
    splits = load(tmp_path, "classification", data)
    assert len(splits.validation)
    assert not set(splits.train.texts) & set(splits.validation.texts)
    assert len(load(tmp_path, "classification", data | {"drop_duplicates": True}).train) == len(splits.train) // 2


def test_a_list_of_one_file_gives_the_same_rows_and_hashes_as_the_file(tmp_path: Path) -> None:
    labelled(tmp_path, "one.csv")
    one, listed = (load(tmp_path, "classification", {"train_file": file}) for file in ("one.csv", ["one.csv"]))
    assert [split.fingerprint for split in one.all()] == [split.fingerprint for split in listed.all()]
    assert listed.train.source_names == ()


def test_the_hash_of_a_split_tells_which_rows_are_of_which_source(tmp_path: Path) -> None:
    labelled(tmp_path, "all.csv", rows=40)
    labelled(tmp_path, "validation.csv", start=100)
    hashes = set()
    for cut in (10, 20):
        labelled(tmp_path, "one.csv", rows=cut)
        labelled(tmp_path, "two.csv", start=cut, rows=40 - cut)
        data = {"train_file": ["one.csv", "two.csv"], "validation_file": "validation.csv"}
        hashes.add(load(tmp_path, "classification", data).train.fingerprint)
    assert len(hashes) == 2


def test_held_out_rows_are_read_as_the_training_source_of_their_name(tmp_path: Path) -> None:
    for folder in ("train", "dev"):
        (tmp_path / folder).mkdir()
        labelled(tmp_path / folder, "one.csv", start=len(folder) * 1000)
        labelled(tmp_path / folder, "two.csv", head="review,stars", start=len(folder) * 2000)
    two = {"file": "train/two.csv", "text_column": "review", "label_column": "stars"}
    data = {"train_file": ["train/one.csv", two], "validation_file": ["dev/two.csv", "dev/one.csv"]}
    splits = load(tmp_path, "classification", data)
    assert counted(splits) == {"train": [40, 40], "validation": [40, 40]}


def test_weights_are_kept_by_the_number_of_a_source(tmp_path: Path) -> None:
    labelled(tmp_path, "one.csv")
    labelled(tmp_path, "two.csv", start=100)
    weighted = [{"file": "one.csv", "weight": 3}, {"file": "two.csv", "weight": 0.5}]
    splits = load(tmp_path, "classification", {"train_file": weighted, "test_file": ["one.csv", "two.csv"]})
    assert splits.weights == (3, 0.5)
    rows = np.arange(len(splits.train))
    mixing = mixing_of(splits, rows)
    assert mixing is not None
    assert label_counts(splits).sum() == pytest.approx(sum(mixing.an_epoch))


def test_pairs_of_texts_do_not_mix_with_single_texts(tmp_path: Path) -> None:
    labelled(tmp_path, "one.csv")
    write_csv(tmp_path / "two.csv", "a,b,label", [f"x{n},y{n},{'ab'[n % 2]}" for n in range(20)])
    two = {"file": "two.csv", "text_column": "a", "text_pair_column": "b"}
    with pytest.raises(UserError, match="some sources are pairs of texts, and others single texts"):
        load(tmp_path, "classification", {"train_file": ["one.csv", two]})
    with pytest.raises(UserError, match="some sources are pairs of texts, and others single texts"):
        load(tmp_path, "classification", {"train_file": "one.csv", "validation_file": [two]})


def test_chats_completions_and_a_text_are_each_written_in_their_form(tmp_path: Path, texts: dict[str, Path]) -> None:
    qa = {"file": str(texts["pairs"]), "template": "Q: {prompt}<learn> {completion}"}
    data = {"train_file": [str(texts["chats"]), qa, str(texts["plain"])], "chat_template": "plain"}
    splits = load(tmp_path, "causal_lm", data | {"validation_size": 0.25})
    assert [prompting.kind for prompting in splits.promptings] == ["chat", "completion", "text"]
    assert splits.prompting == splits.promptings[0]
    found = counted(splits)
    # a single document keeps a row on both sides: its end is cut off
    assert found["train"][2] == found["validation"][2] == 1
    assert found["validation"][0] == pytest.approx(12, abs=2)
    parts = {part.source: part for _, _, part in splits.validation.by_source()}
    assert parts["pairs"].table.column_names == ["prompt", "completion", LINE_COLUMN]
    assert parts["plain"].texts[0] in texts["plain"].read_text()
    assert all(prompt.startswith("Q: ") for prompt in parts["pairs"].table["prompt"].to_pylist())


def test_a_source_whose_rows_have_one_prompt_is_split_by_its_rows_and_that_is_said(tmp_path: Path) -> None:
    write_csv(tmp_path / "one.csv", "prompt,completion", [f"say {n},yes {n}" for n in range(20)])
    write_csv(tmp_path / "two.csv", "prompt,completion", [f"Tell me a name.,name {n}" for n in range(20)])
    splits = load(tmp_path, "causal_lm", {"train_file": ["one.csv", "two.csv"], "validation_size": 0.2})
    assert counted(splits) == {"train": [16, 16], "validation": [4, 4]}
    assert "sources of too few different prompts for that, of which only equal rows are: two" in splits.notes


def test_each_source_of_pairs_has_its_prefix_and_references_where_it_has_some(tmp_path: Path) -> None:
    write_csv(tmp_path / "one.csv", "source,target", [f"one {n},eins {n}" for n in range(20)])
    rows = [{"source": f"two {n}", "target": f"zwei {n}", "right": [f"zwei {n}", f"2 {n}"]} for n in range(20)]
    (tmp_path / "two.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = {"file": "one.csv", "source_prefix": "translate: "}
    two = {"file": "two.jsonl", "source_prefix": "count: ", "references_column": "right"}
    splits = load(tmp_path, "seq2seq", {"train_file": [one, two]})
    first, second = (part.table.to_pylist()[0] for _, _, part in splits.validation.by_source())
    assert first["prompt"].startswith("translate: one")
    assert json.loads(first["references"]) == [first["completion"]]
    assert second["prompt"].startswith("count: two")
    assert len(json.loads(second["references"])) == 2


@pytest.mark.parametrize("task", ["classification", "causal_lm", "seq2seq"])
def test_a_row_is_called_by_the_line_of_its_file_wherever_it_went_from_there(task: str, tmp_path: Path) -> None:
    names = {"classification": ("text", "label"), "causal_lm": ("prompt", "completion")}
    key, other = names.get(task, ("source", "target"))
    table = [f'"row {n}\nof the table",{"ab"[n % 2]}' for n in range(40)]
    (tmp_path / "a.csv").write_text("\n".join([f"{key},{other}", *table]))
    rows = [json.dumps({key: f"row {n} of lines", other: "ab"[n % 2]}) for n in range(40)]
    (tmp_path / "b.jsonl").write_text("\n".join(["", *rows]))
    drawn = {"validation_size": 0.2, "drop_duplicates": True, "max_train_samples": 50}
    splits = load(tmp_path, task, {"train_file": ["a.csv", "b.jsonl"], **drawn})
    assert {len(splits.train), len(splits.validation)} == {50, 16}
    for split in splits.all():
        for row, words in enumerate(split.table["text" if task == "classification" else "prompt"].to_pylist()):
            number = int(words.split("row ")[1].split()[0])
            # a header above the table, of which a row has two lines; an empty line above the other
            line = f"line {2 + 2 * number} of a" if "table" in words else f"line {2 + number} of b"
            assert split.place(row) == line


@pytest.mark.parametrize(
    ("weights", "drawn", "problem"),
    [((1, 9), 4, "no training example of the source b is left"), ((1e9, 1e-4), 40, "too small for one example")],
)
def test_a_source_with_a_weight_of_which_nothing_would_be_learnt_is_refused(
    tmp_path: Path, weights: tuple[float, float], drawn: int, problem: str
) -> None:
    for name, count in (("a", 60), ("b", 2)):
        write_csv(tmp_path / f"{name}.csv", "prompt,completion", [f"{name} {n},yes {n}" for n in range(count)])
    files = [{"file": f"{name}.csv", "weight": weight} for name, weight in zip("ab", weights, strict=True)]
    held_out = {"validation_file": "a.csv", "max_train_samples": drawn}
    splits = load(tmp_path, "causal_lm", {"train_file": files, **held_out}, seed=1)
    with pytest.raises(UserError, match=problem):
        mixing_of(splits, np.arange(len(splits.train)))
