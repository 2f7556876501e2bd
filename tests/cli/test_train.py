from __future__ import annotations

import json
import signal

import pytest

from ftkit.runs.run import Run


def test_a_recipe_becomes_a_run_that_is_named_at_the_end(ftkit, workplace):
    done = ftkit("train", "recipe.yaml")
    assert done.code == 0
    run = Run(workplace / "runs" / "recipe")
    assert done.out.splitlines()[-1] == f"run: {run.path}"
    assert "accuracy" in done.out
    assert "no validation set" in done.err
    assert run.manifest()["state"] == "finished"
    for path in (
        run.recipe_file,
        run.metrics_file,
        run.history_file,
        run.model_dir,
        run.predictions_file("validation"),
    ):
        assert path.exists(), path


def test_results_go_to_stdout_and_notes_to_stderr_of_a_real_process(ftkit_process, workplace):
    done = ftkit_process("train", "recipe.yaml", "--json")
    assert done.code == 0
    told = json.loads(done.out)
    assert told["run"] == str(workplace / "runs" / "recipe")
    assert set(told["metrics"]["validation"]["accuracy"]) >= {"value", "low", "high", "n"}
    again = ftkit_process("train", "recipe.yaml")
    assert (again.code, again.out) == (2, "")
    assert len(again.err.splitlines()) == 1


def test_an_existing_run_is_refused_before_the_data_are_read(refused, ftkit, workplace):
    ftkit("train", "recipe.yaml")
    (workplace / "messages.csv").write_text("now,broken\n")
    said = refused("train", "recipe.yaml")
    for way in ("--resume", "--overwrite", f"training.output_dir={workplace / 'runs' / 'recipe-2'}"):
        assert way in said


def test_overwrite_trains_again(ftkit, workplace):
    ftkit("train", "recipe.yaml")
    mark = workplace / "runs" / "recipe" / "mark"
    mark.touch()
    assert ftkit("train", "recipe.yaml", "--overwrite").code == 0
    assert not mark.exists()


def test_resuming_a_finished_run_says_so_and_shows_its_scores(ftkit):
    first = ftkit("train", "recipe.yaml")
    again = ftkit("train", "recipe.yaml", "--resume")
    assert again.code == 0
    assert "is finished already" in again.err
    assert again.out == first.out


def test_a_run_that_stopped_early_is_resumed_to_its_end(ftkit, workplace):
    first = ftkit("train", "recipe.yaml", "--json")
    run = Run(workplace / "runs" / "recipe")
    run.update_manifest(state="failed", error="killed")
    run.metrics_file.unlink()
    again = ftkit("train", "recipe.yaml", "--resume", "--json")
    assert json.loads(again.out) == json.loads(first.out)
    assert run.manifest()["state"] == "finished"


def test_a_changed_recipe_is_not_resumed(refused, ftkit):
    ftkit("train", "recipe.yaml")
    said = refused("train", "recipe.yaml", "training.learning_rate=0.5", "--resume")
    assert "training.learning_rate: 0.01 -> 0.5" in said
    assert "--allow-changed training.learning_rate" in said


def test_overrides_change_the_run_and_stand_in_its_recipe(ftkit, workplace):
    assert ftkit("train", "recipe.yaml", "training.output_dir=elsewhere", "training.seed=7").code == 0
    assert "seed: 7" in Run(workplace / "elsewhere").recipe_file.read_text()


def test_a_folder_that_is_no_run_survives_overwrite(refused, workplace):
    (workplace / "precious").mkdir()
    (workplace / "precious" / "thesis.txt").touch()
    said = refused("train", "recipe.yaml", "training.output_dir=precious", "--overwrite")
    assert "is left alone" in said
    assert (workplace / "precious" / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument 'recipe'"),
        (["nowhere.yaml"], "no such recipe; recipes there: recipe.yaml"),
        (["."], "is a folder, not a recipe"),
        (["messages.csv"], "a recipe is keys and values"),
        (["recipe.yaml", "nonsense"], "`nonsense` has no `=`"),
        (["recipe.yaml", "training.learning_rat=1"], "did you mean learning_rate?"),
        (["recipe.yaml", "--nonsense"], "No such option: --nonsense"),
        (["recipe.yaml", "--resume", "--overwrite"], "give one of the two"),
        (["recipe.yaml", "training.output_dir=messages.csv"], "is a file, not a folder for a run"),
        (["recipe.yaml", "training.output_dir=messages.csv/run"], "messages.csv is a file"),
        (["recipe.yaml", "model.name_or_path=builtin:tiny-bertt"], "builtin:tiny-bert"),
        (["recipe.yaml", "model.name_or_path=no/such-model", "--offline"], "the hub is switched off"),
        (["recipe.yaml", "data.label_column=nope"], "nope"),
    ],
)
def test_nonsense_is_answered_with_one_message(refused, workplace, words, said):
    assert said in refused("train", *words)
    assert not (workplace / "runs").exists()


def test_ctrl_c_ends_with_130_and_a_run_that_can_be_resumed(workplace, forge):
    process = forge.start("train", "recipe.yaml", "training.num_train_epochs=1000000", apart=True)
    process.wait_for("encoding validation", "stored by an earlier run")
    process.signal(signal.SIGINT)
    assert (process.wait(), process.output()) == (130, "")
    err = process.errors()
    assert err.splitlines()[-1].startswith("stopped by SIGINT")
    assert err.splitlines()[-1].endswith("goes on with --resume")
    assert Run(workplace / "runs" / "recipe").manifest()["state"] == "stopped"
