from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftkit.commands.predict import FileColumns, text_rows
from ftkit.commands.train import train
from ftkit.models.builtin.builtin import resolve
from ftkit.models.classifier import open_classifier
from ftkit.runs import folder as runs
from ftkit.runs.run import Run
from ftkit.tasks.classification.scores import ROWS_AT_A_TIME, TextRow, predict_rows


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="session")
def classifier(finished_run: Path):
    return open_classifier(finished_run)


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier as transformers saves it, with nothing of ftkit in it."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    folder = tmp_path_factory.mktemp("plain") / "model"
    base = resolve("builtin:tiny-bert")
    set_seed(0)
    names = {0: "no", 1: "maybe", 2: "yes"}
    AutoModelForSequenceClassification.from_pretrained(
        base, id2label=names, label2id={name: index for index, name in names.items()}
    ).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def run_of_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "label"])
        writer.writerows(
            [f"first {number}", f"second {number}", "same" if number % 2 else "other"] for number in range(20)
        )
    (folder / "recipe.yaml").write_text(
        "task: classification\nmodel: {name_or_path: builtin:tiny-bert}\nmethod: {type: frozen}\n"
        "data: {train_file: pairs.csv, text_column: a, text_pair_column: b}\n"
        "training: {num_train_epochs: 1}\nevaluation: {metrics: [accuracy], num_resamples: 100}\n"
    )
    return train(folder / "recipe.yaml", [f"training.output_dir={folder / 'run'}"]).run.path


def test_texts_are_labelled_in_the_order_they_are_given(ftkit, finished_run):
    done = ftkit("predict", finished_run, "--text", "win a prize", "--text", "")
    assert done.code == 0
    first, second = records(done.out)
    assert [first["text"], second["text"]] == ["win a prize", ""]
    assert "warning: empty texts: 1" in done.err
    assert list(first) == ["text", "label", "score", "scores"]
    assert set(first["scores"]) == {"ham", "spam"}
    assert sum(first["scores"].values()) == pytest.approx(1, abs=1e-5)
    assert first["score"] == max(first["scores"].values()) == first["scores"][first["label"]]


@pytest.mark.slow
def test_a_real_process_writes_its_predictions_and_nothing_else(finished_run, workplace):
    # a Python that has nothing imported yet: what libraries say when they are would be seen
    words = [sys.executable, "-m", "ftkit", "predict", str(finished_run), "--text", "win a prize"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["text"] for row in records(done.stdout)] == ["win a prize"]


def test_a_run_predicts_what_it_predicted_when_it_was_trained(ftkit, workplace):
    # in folds, what is told of a row is another head's answer
    run = train(workplace / "recipe.yaml", ["data.validation=split", f"training.output_dir={workplace / 'run'}"]).run
    told = [json.loads(line) for line in run.predictions_file("validation").open()]
    assert told
    words = [word for row in told for word in ("--text", row["text"])]
    for again, before in zip(records(ftkit("predict", run.path, *words).out), told, strict=True):
        assert again["label"] == before["label"]
        # training may have run its encoder in bfloat16
        assert again["score"] == pytest.approx(before["score"], abs=0.01)


def test_a_file_keeps_its_order_and_its_columns_and_loses_none_to_a_collision(ftkit, finished_run, workplace):
    (workplace / "in.csv").write_text('id,text,label,score,input_score\n7,"a ""b"", c",x,1,2\n3,NA,y,3,4\n')
    done = ftkit("predict", finished_run, "--file", "in.csv", "--out", "deep/out.jsonl")
    assert (done.code, done.out) == (0, "")
    assert "2 rows in deep/out.jsonl" in done.err
    rows = records((workplace / "deep" / "out.jsonl").read_text())
    assert [row["id"] for row in rows] == ["7", "3"]
    assert [row["text"] for row in rows] == ['a "b", c', "NA"]
    assert [row["input_label"] for row in rows] == ["x", "y"]
    assert [(row["input_input_score"], row["input_score"]) for row in rows] == [("1", "2"), ("3", "4")]
    assert all(row["label"] in {"ham", "spam"} and 0.5 <= row["score"] <= 1 for row in rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.jsonl", '{"text": "a", "n": 1}\n{"text": "b", "n": [2]}\n'),
        ("in.tsv", "text\tn\na\t1\nb\t2\n"),
        ("in.txt", "a\nb\n"),
    ],
)
def test_other_formats_are_read_as_well(ftkit, finished_run, workplace, name, content):
    (workplace / name).write_text(content)
    done = ftkit("predict", finished_run, "--file", name)
    assert [row["text"] for row in records(done.out)] == ["a", "b"]


def test_an_encoding_and_a_delimiter_can_be_named(ftkit, finished_run, workplace):
    (workplace / "in.csv").write_bytes("text;n\nGrüße, alle;1\n".encode("cp1252"))
    done = ftkit("predict", finished_run, "--file", "in.csv", "--encoding", "cp1252", "--delimiter", ";")
    assert records(done.out)[0]["text"] == "Grüße, alle"


def test_rows_stream_through_and_stay_in_order_across_chunks(classifier):
    read = 0

    def rows():
        nonlocal read
        for number in range(ROWS_AT_A_TIME + 100):
            read += 1
            yield TextRow(f"win {number}" if number % 3 else "lunch", None, {"n": number})

    predictions = predict_rows(classifier, rows())
    first = next(predictions)
    assert read == ROWS_AT_A_TIME, "more of the file is held than one chunk"
    found = [first, *predictions]
    assert [row["n"] for row in found] == list(range(ROWS_AT_A_TIME + 100))
    chosen = [0, 1, ROWS_AT_A_TIME - 1, ROWS_AT_A_TIME, ROWS_AT_A_TIME + 99]
    alone = [TextRow(f"win {number}" if number % 3 else "lunch", None, {}) for number in chosen]
    for number, expected in zip(chosen, predict_rows(classifier, alone), strict=True):
        assert found[number]["scores"] == pytest.approx(expected["scores"], abs=1e-5)
    assert len({row["score"] for row in found}) > 100, "all rows look the same: order was not tested"


def test_a_broken_row_is_named_and_nothing_is_left_where_the_output_would_be(refused, finished_run, workplace):
    lines = ["text,n"] + [f"row {number},1" for number in range(300)]
    (workplace / "in.csv").write_text("\n".join([*lines, "one,two,three"]) + "\n")
    before = set(workplace.iterdir())
    said = refused("predict", finished_run, "--file", "in.csv", "--out", "out.jsonl")
    assert "in.csv:302 3 fields where the header has 2" in said
    assert set(workplace.iterdir()) == before


def test_an_output_is_replaced_only_when_asked_and_only_by_a_whole_one(ftkit, refused, finished_run, workplace):
    (workplace / "out.jsonl").write_text("precious\n")
    words = ["predict", finished_run, "--out", "out.jsonl"]
    assert "exists already" in refused(*words, "--file", "messages.csv")
    (workplace / "broken.jsonl").write_text('{"text": "a"}\n{"text": \n')
    assert "broken.jsonl:2" in refused(*words, "--file", "broken.jsonl", "--overwrite")
    assert (workplace / "out.jsonl").read_text() == "precious\n"
    assert ftkit(*words, "--file", "messages.csv", "--overwrite").code == 0
    assert len(records((workplace / "out.jsonl").read_text())) == 24


def test_a_plain_transformers_folder_gives_what_its_own_pipeline_gives(ftkit, plain_folder):
    from transformers import pipeline

    text = "a text that transformers labels too"
    (told,) = records(ftkit("predict", plain_folder, "--text", text).out)
    (expected,) = pipeline("text-classification", model=str(plain_folder), device="cpu")([text], top_k=None)
    assert told["scores"] == pytest.approx({entry["label"]: entry["score"] for entry in expected}, abs=1e-5)


def test_a_model_folder_of_a_run_is_enough(ftkit, finished_run, workplace):
    shutil.copytree(Run(finished_run).model_dir, workplace / "model")
    words = ["--text", "win a prize"]
    assert ftkit("predict", "model", *words).out == ftkit("predict", finished_run, *words).out


def test_pairs_are_predicted_from_options_and_from_the_columns_of_the_recipe(ftkit, refused, run_of_pairs, workplace):
    (from_options,) = records(ftkit("predict", run_of_pairs, "--text", "first 1", "--text-pair", "second 1").out)
    assert from_options["text_pair"] == "second 1"
    (workplace / "in.csv").write_text("b,a\nsecond 1,first 1\nother,first 1\n")
    same, other = records(ftkit("predict", run_of_pairs, "--file", "in.csv").out)
    assert same["scores"] == from_options["scores"]
    assert other["scores"] != same["scores"]
    assert "was trained on pairs" in refused("predict", run_of_pairs, "--text", "alone")
    assert "no such column: a" in refused("predict", run_of_pairs, "--file", "messages.csv")
    renamed = ["--file", "messages.csv", "--text-column", "text", "--text-pair-column", "label"]
    assert len(records(ftkit("predict", run_of_pairs, *renamed).out)) == 24


def test_a_run_without_a_model_says_what_became_of_it(refused, workplace):
    (workplace / "recipe-of-run.yaml").write_text((workplace / "recipe.yaml").read_text())
    run = runs.create(workplace / "run", recipe_text=(workplace / "recipe.yaml").read_text(), manifest={})
    run.update_manifest(state="failed")
    assert "has no model yet (failed)" in refused("predict", "run", "--text", "a")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "takes either --text or --file"),
        (["--text", "a", "--file", "messages.csv"], "takes either --text or --file"),
        (["--text", "a", "--text-pair", "b", "--text-pair", "c"], "1 --text and 2 --text-pair"),
        (["--file", "messages.csv", "--text-pair", "b"], "0 --text and 1 --text-pair"),
        (["--text", "a", "--text-column", "b"], "--text has no columns"),
        (["--text", "a", "--encoding", "cp1252"], "--encoding is about a --file"),
        (["--text", "a", "--on-bad-row", "skip"], "--on-bad-row is about a --file"),
        (["--text", "a", "--overwrite"], "--overwrite is about an --out"),
        (["--file", "nowhere.csv"], "nowhere.csv no such file"),
        (["--file", "."], "is a folder"),
        (["--file", "empty.csv"], "empty.csv the file is empty"),
        (["--file", "header.csv"], "header.csv there is no row in it"),
        (["--file", "numbers.csv"], "no such column: text; name another with --text-column; columns here: a, b"),
        (["--file", "null.jsonl"], "null.jsonl:2 text is null"),
        (["--file", "lacks.jsonl"], "lacks.jsonl:2 no text in this row"),
        (["--file", "bad.csv"], "bad.csv:2 3 fields where the header has 2"),
        (["--file", "messages.csv", "--text-column", "nope"], "no such column: nope; name another with --text-column"),
        (["--file", "messages.csv", "--encoding", "klingon"], "no such encoding: klingon"),
        (["--file", "messages.csv", "--delimiter", "xx"], "'xx' cannot separate fields"),
        (["--file", "messages.csv", "--delimiter", "\n"], "cannot separate fields"),
        (["--file", "messages.csv", "--out", ".", "--overwrite"], ". is a folder; name a file"),
        (["--file", "messages.csv", "--out", "messages.csv/out.jsonl"], "messages.csv is a file"),
        (["--file", "messages.csv", "--nonsense"], "No such option: --nonsense"),
    ],
)
def test_nonsense_is_answered_with_one_message(refused, finished_run, workplace, words, said):
    contents = {
        "empty.csv": "",
        "header.csv": "text,n\n",
        "numbers.csv": "a,b\n1,2\n",
        "null.jsonl": '{"text": "a"}\n{"text": null}\n',
        "lacks.jsonl": '{"text": "a"}\n{"other": "b"}\n',
        "bad.csv": "text,n\n1,2,3\n",
    }
    for name, content in contents.items():
        (workplace / name).write_text(content)
    assert said in refused("predict", finished_run, *words)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere", "neither a run nor a model folder"),
        ("messages.csv", "neither a run nor a model folder"),
        (".", "holds no model"),
        ("base", "no classifier|finetuned"),
        ("builtin:tiny-bert", "names no labels"),
    ],
)
def test_what_is_no_classifier_is_refused(refused, workplace, place, said):
    shutil.copytree(resolve("builtin:tiny-bert"), workplace / "base")
    message = refused("predict", place, "--text", "a")
    assert any(part in message for part in said.split("|")), message


def test_a_base_model_that_only_names_labels_is_refused(refused, workplace):
    shutil.copytree(resolve("builtin:tiny-bert"), workplace / "base")
    config = json.loads((workplace / "base" / "config.json").read_text())
    names = {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}
    (workplace / "base" / "config.json").write_text(json.dumps(config | names))
    assert "its weights lack classifier" in refused("predict", "base", "--text", "a")


def test_columns_are_found_once_and_rows_are_read_one_by_one(workplace):
    rows = text_rows(workplace / "messages.csv", FileColumns())
    assert next(rows) == TextRow("see you at lunch 0", None, {"id": "0", "text": "see you at lunch 0", "label": "ham"})


def test_advice_about_a_file_names_the_options_of_predict(refused, finished_run, workplace):
    (workplace / "latin.csv").write_bytes(b"text,label\ncaf\xe9,a\n")
    assert "--encoding cp1252 would fit" in refused("predict", str(finished_run), "--file", "latin.csv")


def test_a_file_is_read_with_the_quoting_of_the_run_or_of_the_option(ftkit, finished_run, workplace):
    run = shutil.copytree(finished_run, workplace / "run")
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("quoting: minimal", "quoting: none"))
    (workplace / "loose.csv").write_text('text,id\n"one,1\ntwo",2\n')
    outcome = ftkit("predict", run, "--file", "loose.csv")
    assert [row["text"] for row in records(outcome.out)] == ['"one', 'two"']
    assert "quotes are letters, as in the training data" in outcome.err
    outcome = ftkit("predict", run, "--file", "loose.csv", "--quoting", "minimal")
    assert [row["text"] for row in records(outcome.out)] == ["one,1\ntwo"]


def test_what_is_written_is_json_whatever_numbers_there_are_and_what_is_none_is_said(ftkit, plain_folder, workplace):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors.torch import load_file, save_file

    rows = {"text": ["one text", "another"], "weight": [float("nan"), 1.0], "vector": [[float("inf")], [0.5]]}
    pq.write_table(pa.table(rows), workplace / "rows.parquet")
    outcome = ftkit("predict", plain_folder, "--file", "rows.parquet")
    first, second = (json.loads(line, parse_constant=pytest.fail) for line in outcome.out.splitlines())
    assert (first["weight"], first["vector"], second["weight"]) == (None, [None], 1.0)
    assert "1 rows hold numbers that are none" in outcome.err
    broken = shutil.copytree(plain_folder, workplace / "broken") / "model.safetensors"
    save_file({name: tensor * float("nan") for name, tensor in load_file(broken).items()}, broken, {"format": "pt"})
    outcome = ftkit("predict", workplace / "broken", "--text", "one text")
    assert json.loads(outcome.out, parse_constant=pytest.fail)["label"] is None
    assert "warning: 1 of 1 rows have no label" in outcome.err
