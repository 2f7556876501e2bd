from __future__ import annotations

import csv
import json
import random

import pytest

from ftkit.cli.eval import checks_named
from ftkit.diagnosis.verdict import CHECKS
from ftkit.errors import UserError
from ftkit.runs.run import Run
from ftkit.tasks.table import read_recipe

MORE_ROWS = """\
task: classification
model: {name_or_path: builtin:tiny-bert, dtype: float32}
method: {type: frozen}
data: {train_file: many.csv, validation_file: new.csv}
training: {num_train_epochs: 40, early_stopping_patience: 5}
evaluation: {metrics: [accuracy], num_resamples: 100}
"""


@pytest.fixture
def trained(ftkit, workplace):
    """A run of 200 training and 120 validation rows, of which 30 stand in the training set."""
    draw = random.Random(0)
    words = {"spam": ["win", "prize", "free", "cash"], "ham": ["lunch", "see", "you", "soon"]}
    rows = []
    for number in range(290):
        label = draw.choice(sorted(words))
        rows.append((" ".join(draw.choices(words[label], k=4)) + f" {number}", label))
    for name, part in (("many.csv", rows[:200]), ("new.csv", rows[200:] + rows[:30])):
        with (workplace / name).open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *part])
    (workplace / "many.yaml").write_text(MORE_ROWS)
    done = ftkit("train", "many.yaml")
    assert done.code == 0, done.err
    assert [line for line in done.out.splitlines() if line.startswith("verdict: ")]
    return Run(workplace / "runs" / "many")


def test_leaks_are_the_headline_and_the_three_files_are_written(ftkit, trained):
    done = ftkit("eval", "runs/many", "--quick")
    assert done.code == 0, done.err
    assert done.out.startswith("Leakage suspected: ")
    assert max(map(len, done.out.splitlines())) <= 110
    report = json.loads((trained.eval_dir / "report.json").read_text())
    assert report["version"] == 1
    assert report["verdict"]["headline"] == "leakage"
    assert {row["split"] for row in report["suspects"]} == {"validation"}
    # thirty training rows stand again below the ninety new ones of the file, and its header
    lines = {int(row["place"].removeprefix("line ")) for row in report["suspects"]}
    assert lines <= set(range(92, 122))
    assert {row["suggested"] for row in report["suspects"]} <= {f"train, line {line}" for line in range(2, 202)}
    assert "Leakage suspected" in (trained.eval_dir / "report.md").read_text()
    assert "Leakage suspected" in (trained.eval_dir / "report.html").read_text()


def test_losses_of_the_report_are_those_of_the_run(ftkit, trained):
    told = json.loads(ftkit("eval", "runs/many", "--quick", "--json").out)
    kept = told["table"]["best"]["validation"]
    scored = trained.metrics()["validation"]
    assert kept["loss"]["value"] == pytest.approx(scored["loss"]["value"], abs=1e-5)
    assert kept["accuracy"]["value"] == pytest.approx(scored["accuracy"]["value"])
    assert told["table"]["base"]["validation"]["accuracy"]["value"] <= kept["accuracy"]["value"]
    assert told["verdict"]["checks"][9]["name"] == "forgetting"
    assert "bit for bit" in told["verdict"]["checks"][9]["summary"]


def test_fail_on_ends_with_its_own_exit_code_only_for_what_was_named(ftkit, trained):
    assert ftkit("eval", "runs/many", "--quick", "--fail-on", "leakage").code == 4
    assert ftkit("eval", "runs/many", "--quick", "--fail-on", "forgetting").code == 0


def test_the_advised_recipe_can_be_read_and_says_why(ftkit, trained, workplace):
    assert ftkit("eval", "runs/many", "--quick", "--apply", "better.yaml").code == 0
    text = (workplace / "better.yaml").read_text()
    assert "# With the advice of ftkit eval:" in text
    assert "#   data.drop_duplicates: True (leaves the" in text
    assert read_recipe(workplace / "better.yaml").recipe.data.drop_duplicates


def test_a_model_alone_is_judged_with_a_recipe_and_says_what_cannot_be_known(ftkit, trained):
    done = ftkit("eval", "runs/many/model", "--recipe", "many.yaml", "--quick", "--json")
    assert done.code == 0, done.err
    states = {check["name"]: check["state"] for check in json.loads(done.out)["verdict"]["checks"]}
    assert states["overfit"] == states["not_converged"] == "cannot_tell"
    assert states["leakage"] == "fired"


def test_changed_data_are_refused_by_name(refused, trained, workplace):
    with (workplace / "new.csv").open("a") as file:
        file.write("win cash,spam\n")
    assert "validation" in refused("eval", "runs/many")


def test_nonsense_is_refused_in_one_line(refused, workplace):
    assert "does not exist" in refused("eval", "nowhere")
    assert "no run of ftkit" in refused("eval", ".")
    assert "--quick" in refused("eval", "nowhere", "--quick", "--thorough")
    assert "did you mean overfit" in refused("eval", "nowhere", "--fail-on", "overfitt")


def test_every_check_can_be_named_to_fail_on():
    named = checks_named("overfit,underfit,forgetting,leakage,label_noise,collapse,no_gain,invalid,too_little_data")
    assert named == set(CHECKS)
    assert checks_named("") == set()
    with pytest.raises(UserError):
        checks_named("everything")
