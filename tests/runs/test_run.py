from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ftkit.errors import UserError
from ftkit.runs import folder as runs
from ftkit.runs.run import Run
from tests.fixtures.moments import killed_at_change


def make(path: Path, **manifest: object) -> Run:
    run = runs.create(path, recipe_text="task: classification\n", manifest=manifest)
    run.update_manifest(state="finished")
    return run


def put_model(run: Run, text: str) -> None:
    with run.new_model() as folder:
        (folder / "weights").write_text(text)


def test_a_new_run_tells_its_format_its_state_and_when_it_started(tmp_path):
    run = runs.create(tmp_path / "runs" / "a", recipe_text="task: x\n", manifest={"seed": 7})
    manifest = run.manifest()
    assert manifest["ftkit_run_format"] == runs.RUN_FORMAT
    assert (manifest["state"], manifest["seed"]) == ("running", 7)
    assert manifest["started"].endswith("+00:00")
    assert run.recipe_file.read_text() == "task: x\n"
    assert run.metrics() == {}
    assert runs.is_run(run.path)


def test_an_existing_run_is_refused_and_the_error_names_every_way_on(tmp_path):
    path = make(tmp_path / "a").path
    make(tmp_path / "a-2")
    with pytest.raises(UserError) as refused:
        runs.refuse_taken(path, overwrite=False)
    said = str(refused.value)
    assert "exists already (finished)" in said
    for way in ("--resume", "--overwrite", f"training.output_dir={tmp_path / 'a-3'} for a new one"):
        assert way in said
    assert (path / "recipe.yaml").exists()


def test_overwrite_of_a_run_that_had_learnt_nothing_removes_it(tmp_path):
    runs.create(tmp_path / "a", recipe_text="old\n", manifest={"seed": 1})
    again = runs.create(tmp_path / "a", recipe_text="new\n", manifest={"seed": 2}, overwrite=True)
    assert again.manifest()["seed"] == 2
    assert sorted(path.name for path in again.path.iterdir()) == ["manifest.json", "recipe.yaml"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_overwrite_left_goes_with_the_next_run_of_the_name(tmp_path):
    doomed = tmp_path / ".a.removed.abcd1234" / "run"
    doomed.mkdir(parents=True)
    other = tmp_path / ".ab.removed.abcd1234"
    other.mkdir()
    make(tmp_path / "a")
    assert not doomed.parent.exists()
    assert other.exists()


@pytest.mark.parametrize("content", ["{}", "[1]", "not json", None], ids=["empty", "list", "broken", "absent"])
def test_a_folder_that_is_no_run_is_never_deleted_even_with_overwrite(tmp_path, content):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.txt").write_text("years of work")
    if content is not None:
        (folder / "manifest.json").write_text(content)
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"is not a run of ftkit, so it is left alone.*output_dir=.*thesis-2"):
            runs.create(folder, recipe_text="", manifest={}, overwrite=overwrite)
    assert (folder / "chapter1.txt").read_text() == "years of work"


def test_a_file_in_the_way_or_above_the_run_is_an_error_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file, not a folder for a run"):
        runs.refuse_taken(tmp_path / "file", overwrite=True)
    with pytest.raises(UserError, match=r"cannot be made: .*file is a file"):
        runs.refuse_taken(tmp_path / "file" / "runs" / "a", overwrite=True)


def test_an_empty_folder_is_a_place_for_a_run(tmp_path):
    (tmp_path / "a").mkdir()
    assert runs.is_run(make(tmp_path / "a").path)


KILLED_AT_THE_START = """
import os, signal, sys
from pathlib import Path
from ftkit.runs import folder as runs
from ftkit import storage
def die(handle):
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = die
runs.create(Path(sys.argv[1]), recipe_text="", manifest={})
"""


def test_a_kill_before_the_manifest_was_whole_does_not_take_the_name(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED_AT_THE_START, str(tmp_path / "a")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name.startswith(".manifest.json.") for path in (tmp_path / "a").iterdir()] == [True]
    assert runs.is_run(make(tmp_path / "a").path)


def test_runs_are_listed_newest_first_and_other_folders_are_left_out(tmp_path):
    for name, started in [("old", "2026-01-01"), ("new", "2026-03-01"), ("middle", "2026-02-01")]:
        make(tmp_path / name).update_manifest(started=started)
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text('{"ftkit_run_format": 1,')
    assert [run.path.name for run in runs.list_runs(tmp_path)] == ["new", "middle", "old"]
    assert runs.list_runs(tmp_path / "nowhere") == []


def test_finding_a_run_where_there_is_none_says_what_is_there(tmp_path):
    with pytest.raises(UserError, match="exists but is no run of ftkit"):
        runs.find_run(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        runs.find_run(tmp_path / "a")


def test_a_manifest_is_updated_field_by_field(tmp_path):
    run = make(tmp_path / "a", seed=1)
    run.update_manifest(state="failed", error="x")
    assert run.manifest() | {"seed": 1, "state": "failed", "error": "x"} == run.manifest()


def test_history_grows_by_whole_lines_and_is_cut_where_a_run_goes_on(tmp_path):
    run = make(tmp_path / "a")
    run.cut_history(step=0)
    run.append_history({"step": 1, "loss": 0.5})
    run.append_history({"step": 2})
    assert [json.loads(line) for line in run.history_file.open()] == [{"step": 1, "loss": 0.5}, {"step": 2}]
    with run.history_file.open("a") as file:
        file.write('{"step": 3, "lo')  # what a kill in the middle of a write leaves
    run.cut_history(step=2)
    assert [json.loads(line)["step"] for line in run.history_file.open()] == [1, 2]
    run.cut_history(step=1)
    assert [json.loads(line)["step"] for line in run.history_file.open()] == [1]
    run.cut_history(step=0)
    assert run.history_file.read_text() == ""


def test_a_run_that_begins_again_keeps_nothing_of_its_record_and_one_that_goes_on_what_came_before(tmp_path):
    run = make(tmp_path / "a")
    run.probes_dir.mkdir()
    others = (run.probe_rows_file, run.final_test_file)
    for file in (*map(run.probe_file, (0, 4, 8)), *others):
        file.touch()
    run.cut_history(step=4)
    assert run.probe_files() == [run.probe_file(0), run.probe_file(4)]
    assert [file.exists() for file in others] == [True, False]
    run.append_history({"step": 0, "validation_loss": 2.0})
    run.cut_history(step=0)
    assert list(run.probes_dir.iterdir()) == []
    assert run.history_file.read_text() == ""


def test_an_evaluation_that_is_done_once_more_leaves_the_other_lines_of_its_step(tmp_path):
    run = make(tmp_path / "a")
    lines = [{"step": 4, "train_loss": 1.0}, {"step": 4, "validation_loss": 2.0}, {"step": 0, "validation_loss": 3.0}]
    for line in lines:
        run.append_history(line)
    run.drop_evaluation(step=4)
    assert [json.loads(line) for line in run.history_file.open()] == [lines[0], lines[2]]


def test_rows_that_fail_half_way_leave_the_earlier_predictions(tmp_path):
    run = make(tmp_path / "a")
    target = run.predictions_file("test")
    run.write_jsonl(target, [{"text": "\u2028 ä"}])
    with pytest.raises(ValueError, match="Out of range float"):
        run.write_jsonl(target, [{"a": 1}, {"a": float("inf")}])
    assert target.read_text(encoding="utf-8") == '{"text": "\u2028 ä"}\n'
    assert [path.name for path in target.parent.iterdir()] == ["test.jsonl"]


def test_a_model_is_replaced_whole(tmp_path):
    run = make(tmp_path / "a")
    put_model(run, "first")
    put_model(run, "second")
    assert (run.model_dir / "weights").read_text() == "second"
    assert [path.name for path in run.path.glob(".model.*")] == []
    assert run.model_dir.stat().st_mode & 0o777 == 0o755


REPLACING = """
import sys
from pathlib import Path
from ftkit.runs.run import Run
with Run(Path(sys.argv[1])).new_model() as folder:
    (folder / "weights").write_text(sys.argv[2])
"""


def test_a_kill_at_any_moment_of_a_replacement_leaves_a_whole_model_to_be_had(forge, tmp_path):
    """Killed before its first change of the file system, its second, and so on, until it comes through."""
    for moment in range(1, 20):
        run = make(tmp_path / str(moment))
        put_model(run, "old")
        code = killed_at_change(forge, moment, REPLACING, run.path, "new")
        run.clear_staging()
        assert (run.model_dir / "weights").read_text() in {"old", "new"}
        assert list(run.path.glob(".model.*")) == []
        if code == 0:
            break
    assert moment > 3, "the kills came too late"
    assert code == 0
    assert (run.model_dir / "weights").read_text() == "new"


def test_a_place_where_no_folder_can_be_made_is_one_message(monkeypatch, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "loop")
    (tmp_path / "loop").symlink_to(tmp_path / "link")
    with pytest.raises(UserError, match=r"cannot be made|cannot be written|not a folder"):
        make(tmp_path / "link" / "run")
