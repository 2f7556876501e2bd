from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftkit.commands.smoke.specimen import CHARACTERS_KEPT, MADE_UP_ROWS, FirstRows, few_rows, write_made_up
from ftkit.data.dataset import LINE_COLUMN, Split, Splits
from ftkit.data.prompting import Prompting
from ftkit.data.reading.nested import get, has, names_within, value_of
from ftkit.errors import UserError
from ftkit.tasks import causal_lm, seq2seq
from ftkit.tasks.causal_lm.data_section import CausalData
from ftkit.tasks.seq2seq.outputs import group_by_prompt
from ftkit.tasks.seq2seq.recipe import Seq2SeqData


def load(seed: int = 1, **spec: Any) -> Splits:
    return seq2seq.load_splits(Seq2SeqData.model_validate(spec), seed=seed)


def refusal(**spec: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        load(**spec)
    return caught.value


def lines(path: Path, rows: Sequence[object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def column(split: Split, name: str) -> list[Any]:
    values: list[Any] = split.table.column(name).to_pylist()
    return values


def pairs_of(splits: Splits) -> set[tuple[str, str]]:
    return {
        pair
        for split in splits.all()
        for pair in zip(column(split, "prompt"), column(split, "completion"), strict=True)
    }


def sentences(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"de": f"Satz {number}", "en": f"sentence {number}", **more} for number in range(count)]


def test_named_columns_become_prompts_and_completions_with_nothing_between(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", sentences(40))
    splits = load(train_file=file, source_column="de", target_column="en")
    assert splits.prompting == Prompting("completion", "{de}<learn>{en}")
    assert pairs_of(splits) == {(row["de"], row["en"]) for row in sentences(40)}
    texts = splits.train.table.drop_columns(LINE_COLUMN)
    assert texts.schema == pa.schema([("prompt", pa.string()), ("completion", pa.string())])
    assert splits.label_names == ()
    assert not any("loss" in note or "completion" in note for note in splits.notes)


def test_a_prefix_stands_before_every_source_braces_and_all(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", sentences(40))
    splits = load(train_file=file, source_column="de", target_column="en", source_prefix="to {en}: ")
    assert pairs_of(splits) == {(f"to {{en}}: {row['de']}", row["en"]) for row in sentences(40)}
    assert splits.prompting is not None
    assert splits.prompting.prompt_fields == ("de",)
    assert splits.prompting.render_prompt({"de": "Satz 3"}) in {prompt for prompt, _ in pairs_of(splits)}


def test_a_template_and_columns_found_by_their_names(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", [{**row, "source": "s", "target": "t"} for row in sentences(9)])
    found = load(train_file=file, validation_file=file, source_prefix="x: ")
    assert found.prompting == Prompting("completion", "x: {source}<learn>{target}")
    assert any("source column `source` and target column `target`" in note for note in found.notes)
    made = load(train_file=file, validation_file=file, template="{source}: {de}<learn>{en}!")
    assert pairs_of(made) == {(f"s: {row['de']}", f"{row['en']}!") for row in sentences(9)}


@pytest.mark.parametrize(
    ("spec", "problem", "fix"),
    [
        ({"source_column": "dee", "target_column": "en"}, "no such column: dee (data.source_column)", "de?"),
        ({"source_column": "de", "target_column": "english"}, "english (data.target_column)", "columns here: de, en"),
        ({"template": "{de}<learn>{enn}"}, "no such column: enn", "did you mean en?"),
        ({"template": "{de} {en}"}, "data.template has no <learn>", "behind what the model reads"),
        ({"source_column": "de"}, "data.target_column is missing", "name both"),
        ({}, "de and en do not tell which is translated into which", "data.source_column and data.target_column"),
        (
            {"source_column": "de", "target_column": "en", "references_column": "id"},
            "no such column: id (data.references_column)",
            "columns here: de, en",
        ),
    ],
)
def test_columns_that_are_not_there_are_refused_with_the_nearest(
    tmp_path: Path, spec: dict[str, str], problem: str, fix: str
) -> None:
    error = refusal(train_file=lines(tmp_path / "a.jsonl", sentences(9)), **spec)
    assert problem in error.problem
    assert fix in str(error.fix)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"de": "", "en": "x"}, "de is empty"),
        ({"de": "x", "en": " \n"}, "en is empty"),
        ({"de": None, "en": "x"}, "de is null"),
        ({"de": "x"}, "no en in this row"),
        ({"de": ["x"], "en": "x"}, "de is a list instead of a string"),
        ({"de": "x", "en": 0.5}, "en is the number 0.5"),
    ],
)
def test_an_empty_or_broken_side_is_reported_with_its_line(tmp_path: Path, row: object, said: str) -> None:
    file = lines(tmp_path / "a.jsonl", [*sentences(20), row])
    names = {"source_column": "de", "target_column": "en"}
    assert f"a.jsonl:21 {said}" in refusal(train_file=file, **names).problem
    splits = load(train_file=file, on_bad_row="skip", **names)
    assert len(pairs_of(splits)) == 20
    assert [(skipped.line, said in skipped.reason) for skipped in splits.skipped] == [(21, True)]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_dot_names_a_key_of_the_objects_in_a_column(tmp_path: Path, kind: str) -> None:
    rows = [{"id": number, "translation": row} for number, row in enumerate(sentences(30))]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
        file = str(tmp_path / "a.parquet")
    else:
        file = lines(tmp_path / "a.jsonl", rows)
    expected = {(row["de"], row["en"]) for row in sentences(30)}
    named = load(train_file=file, source_column="translation.de", target_column="translation.en")
    assert pairs_of(named) == expected
    assert named.prompting == Prompting("completion", "{translation.de}<learn>{translation.en}")
    assert pairs_of(load(train_file=file, template="{translation.de}<learn>{translation.en}")) == expected
    language = causal_lm.load_splits(
        CausalData(train_file=file, prompt_column="translation.de", completion_column="translation.en"), seed=1
    )
    assert pairs_of(language) == {(f"{source}\n", target) for source, target in expected}
    error = refusal(train_file=file, source_column="translation.dee", target_column="translation.en")
    assert "did you mean translation.de?" in str(error.fix)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"de": "x"}, "no t.en in this row"),
        ({"de": "x", "en": None}, "t.en is null"),
        ("text", "t is a string instead of an object"),
        (None, "t is null instead of an object"),
    ],
)
def test_an_object_without_its_key_is_reported_with_its_line(tmp_path: Path, value: object, said: str) -> None:
    file = lines(tmp_path / "a.jsonl", [*({"t": row} for row in sentences(9)), {"t": value}])
    assert f"a.jsonl:10 {said}" in refusal(train_file=file, source_column="t.de", target_column="t.en").problem


def test_names_reach_any_depth_and_a_column_of_that_very_name_comes_first() -> None:
    row = {"a": {"b": {"c": "deep"}, "d.e": "dotted"}, "a.b.x": "own"}
    assert names_within([row]) == ["a", "a.b", "a.b.c", "a.d.e", "a.b.x"]
    assert [value_of(row, name) for name in ("a.b.c", "a.d.e", "a.b.x")] == ["deep", "dotted", "own"]
    assert [has(row, name) for name in ("a.b.c", "a.b.x", "a.b.z", "a.q.c", "z")] == [True, True, False, False, False]
    assert get(row, "a.b.z") is None


def test_rows_of_one_source_are_split_off_together(tmp_path: Path) -> None:
    rows = [{"de": f"Satz {number % 20}", "en": f"version {number}"} for number in range(200)]
    splits = load(train_file=lines(tmp_path / "a.jsonl", rows), source_column="de", target_column="en")
    assert not set(column(splits.train, "prompt")) & set(column(splits.validation, "prompt"))
    assert len(splits.validation) == 20


@pytest.mark.parametrize(
    ("name", "values", "template"),
    [
        ("prefix", ["ask", "sum"], "{prefix}: {input_text}<learn>{target_text}"),
        ("task", ["ask:", "sum:"], "{task} {input_text}<learn>{target_text}"),
        ("prefix", ["sum"], "{prefix}: {input_text}<learn>{target_text}"),
    ],
)
def test_a_column_with_what_is_to_be_done_is_read_named_away_or_refused(
    tmp_path: Path, name: str, values: list[str], template: str
) -> None:
    rows = [{name: values[n % len(values)], "input_text": f"cat {n}", "target_text": f"hat {n}"} for n in range(20)]
    file = lines(tmp_path / "a.jsonl", rows)
    error = refusal(train_file=file)
    assert f"column {name} says what is to be done" in error.problem
    assert template in str(error.fix)
    assert column(load(train_file=file, template=template).train, "prompt")[0].startswith(("ask: ", "sum: "))
    assert load(train_file=file, source_column="input_text", target_column="target_text")
    assert load(train_file=file, source_prefix="sum: ")


@pytest.mark.parametrize("rows", [{"task": "sum", "source": "cat {}"}, {"prefix": "sum:", "source": "sum: cat {}"}])
def test_a_task_that_all_rows_share_or_that_sources_begin_with_is_no_fault(
    tmp_path: Path, rows: dict[str, str]
) -> None:
    made = [{**rows, "source": rows["source"].format(n), "target": f"hat {n}"} for n in range(20)]
    assert load(train_file=lines(tmp_path / "a.jsonl", made))


def test_references_are_read_where_outputs_are_measured_and_are_in_every_table(tmp_path: Path) -> None:
    train = lines(tmp_path / "a.jsonl", sentences(9))
    listed = [{**row, "refs": [row["en"], f"another {row['en']}"]} for row in sentences(3)]
    splits = load(
        train_file=train,
        validation_file=lines(tmp_path / "b.jsonl", listed),
        test_file=train,
        source_column="de",
        target_column="en",
        references_column="refs",
    )
    assert splits.test is not None
    assert [json.loads(text) for text in column(splits.validation, "references")] == [row["refs"] for row in listed]
    assert group_by_prompt(splits.validation)[1] == [row["refs"] for row in listed]
    for split in (splits.train, splits.test):
        assert [json.loads(text) for text in column(split, "references")] == [[row["en"]] for row in sentences(9)]
    assert [note for note in splits.notes if "refs" in note] == [
        f"{train} has no column `refs`: its outputs are measured against its targets"
    ]


def test_references_of_training_rows_are_needed_only_where_some_become_the_validation_set(tmp_path: Path) -> None:
    broken = [*({**row, "refs": [row["en"]]} for row in sentences(20)), {"de": "x", "en": "y", "refs": []}]
    file = lines(tmp_path / "a.jsonl", broken)
    names = {"source_column": "de", "target_column": "en", "references_column": "refs"}
    assert "a.jsonl:21 refs is an empty list" in refusal(train_file=file, **names).problem
    whole = lines(tmp_path / "b.jsonl", broken[:20])
    assert len(load(train_file=file, validation_file=whole, **names).train) == 21
    split_off = load(train_file=whole, **names)
    assert group_by_prompt(split_off.validation)[1] == [[text] for text in column(split_off.validation, "completion")]


def test_a_reference_gets_the_words_that_the_template_writes_around_a_target(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", sentences(9, refs=["one", "two"]))
    splits = load(train_file=file, validation_file=file, template="{de}<learn>Answer: {en}.", references_column="refs")
    assert group_by_prompt(splits.validation)[1][0] == ["Answer: one.", "Answer: two."]


def test_a_column_of_references_is_found_by_its_name_with_source_and_target(tmp_path: Path) -> None:
    rows = [{"source": f"s {number}", "target": f"t {number}", "references": ["a", "b"]} for number in range(9)]
    plain = lines(tmp_path / "b.jsonl", [{"source": "s", "target": "t"}] * 3)
    file = lines(tmp_path / "a.jsonl", rows)
    found = load(train_file=file, validation_file=file)
    assert group_by_prompt(found.validation)[1][0] == ["a", "b"]
    unused = load(train_file=file, validation_file=plain)
    assert "references" not in unused.train.table.column_names
    assert any("in the training set only" in note for note in unused.notes)


def test_a_csv_file_holds_lists_of_references_as_json_text(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["de", "en", "refs"], *([f"s{n}", f"t{n}", '["a", "b, c"]'] for n in range(9))])
    path = str(tmp_path / "a.csv")
    splits = load(
        train_file=path, validation_file=path, source_column="de", target_column="en", references_column="refs"
    )
    assert group_by_prompt(splits.validation)[1][0] == ["a", "b, c"]


def test_rows_are_the_same_whatever_other_answers_are_right_but_their_data_are_not() -> None:
    tables = [
        pa.table({"prompt": ["p"], "completion": ["c"], "references": [f'["{word}"]']}) for word in ("one", "two")
    ]
    first, second = (Split("test", table, "a") for table in tables)
    assert first.keys.tolist() == second.keys.tolist()
    assert first.fingerprint != second.fingerprint


def test_of_a_trial_the_references_stay_whole(tmp_path: Path) -> None:
    rows = sentences(9, refs=["x" * 2 * CHARACTERS_KEPT])
    file = lines(tmp_path / "a.jsonl", rows)
    spec = Seq2SeqData(
        train_file=file, validation_file=file, source_column="de", target_column="en", references_column="refs"
    )
    few = few_rows(seq2seq.load_splits(spec, seed=1, narrow=FirstRows(spec)), train=4, evaluation=2)
    assert (len(few.train), len(few.validation)) == (4, 2)
    assert group_by_prompt(few.validation)[1] == [row["refs"] for row in rows[:2]]


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"source_column": "de", "target_column": "en", "source_prefix": "translate: "},
        {"source_column": "translation.de", "target_column": "translation.en", "references_column": "all.right"},
        {"template": "{title}: {body.text}<learn>{body.head}", "references_column": "heads", "test_split": "later"},
    ],
)
def test_rows_are_made_up_in_the_columns_that_a_recipe_names(tmp_path: Path, keys: dict[str, Any]) -> None:
    splits = seq2seq.load_splits(
        write_made_up(Seq2SeqData(dataset_name="a/b", **keys), tmp_path, seq2seq.made_up_row), seed=1
    )
    assert [len(split) for split in splits.all()] == [MADE_UP_ROWS] * (3 if "test_split" in keys else 2)
    assert ("references" in splits.validation.table.column_names) == ("references_column" in keys)
    assert splits.train.fingerprint != splits.validation.fingerprint
