"""A run that is replaced: kept until the new one is finished, whenever the process is killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ftkit.errors import UserError
from ftkit.interruption import Interrupted
from ftkit.runs import folder as runs
from ftkit.runs.replacing import kept_meanwhile, recover, replaced_by
from ftkit.runs.run import Run
from tests.fixtures.moments import killed_at_change


def finished(path: Path, text: str) -> Run:
    run = runs.create(path, recipe_text=text, manifest={})
    with run.new_model() as folder:
        (folder / "weights").write_text(text)
    run.update_manifest(state="finished")
    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def replaced(path: Path, outcome: Callable[[Run], object]) -> list[str]:
    """What was said while a finished run was replaced by one that ends so."""
    finished(path, "old")
    run, said = runs.create(path, recipe_text="new", manifest={}, overwrite=True), []
    assert (path.with_name("a.replaced") / "model" / "weights").read_text() == "old"
    with kept_meanwhile(run, say=said.append):
        outcome(run)
    return said


def learn(run: Run) -> None:
    run.append_history({"step": 1, "train_loss": 0.5})


def fail(*_run: Run) -> None:
    raise UserError("has positions for 512 tokens")


def test_what_is_replaced_goes_when_the_new_run_is_finished(tmp_path):
    said = replaced(tmp_path / "a", learn)
    assert said == [f"the run that this one replaces is kept in {tmp_path / 'a.replaced'} until this one is finished"]
    assert names(tmp_path) == ["a"]
    assert Run(tmp_path / "a").recipe_file.read_text() == "new"


def test_what_is_replaced_comes_back_where_the_new_run_fails_before_its_first_step(tmp_path):
    with pytest.raises(UserError, match="512"):
        replaced(tmp_path / "a", fail)
    assert names(tmp_path) == ["a"]
    assert (Run(tmp_path / "a").model_dir / "weights").read_text() == "old"
    assert Run(tmp_path / "a").state() == "finished"


@pytest.mark.parametrize("error", [UserError("later"), Interrupted(15)])
def test_what_is_replaced_stays_aside_where_the_new_run_has_learnt_something(tmp_path, error):
    def stop(run: Run) -> None:
        learn(run)
        raise error

    with pytest.raises(type(error)):
        replaced(tmp_path / "a", stop)
    assert names(tmp_path) == ["a", "a.replaced"]
    assert replaced_by(Run(tmp_path / "a")) == [tmp_path / "a.replaced"]


def test_a_stop_before_the_first_step_leaves_the_new_run_to_be_gone_on_with_and_names_the_old_one(tmp_path):
    def stop(_run: Run) -> None:
        raise Interrupted(15)

    with pytest.raises(Interrupted) as caught:
        replaced(tmp_path / "a", stop)
    assert str(tmp_path / "a.replaced") in caught.value.advice
    again = runs.create(tmp_path / "a", recipe_text="third", manifest={}, overwrite=True)
    assert names(tmp_path) == ["a", "a.replaced"], "what had learnt nothing is nobody's work"
    with pytest.raises(UserError), kept_meanwhile(again, say=print):
        fail()
    assert (Run(tmp_path / "a").model_dir / "weights").read_text() == "old"


def test_only_folders_beside_a_run_are_ever_let_go(tmp_path):
    other = finished(tmp_path / "other" / "b", "other")
    run = finished(tmp_path / "a", "new")
    run.update_manifest(replaces=["other/b", "../x", str(other.path)])
    with kept_meanwhile(run, say=print):
        learn(run)
    assert other.model_dir.is_dir()


REPLACING = """
import sys
from pathlib import Path
from ftkit.errors import UserError
from ftkit.runs import folder as runs
from ftkit.runs.replacing import kept_meanwhile
run = runs.create(Path(sys.argv[1]), recipe_text="new", manifest={}, overwrite=True)
try:
    with kept_meanwhile(run, say=print):
        if sys.argv[2] == "fails":
            raise UserError("it")
        run.append_history({"step": 1})
        run.update_manifest(state="finished")
except UserError:
    pass
"""


@pytest.mark.parametrize("end", ["fails", "is finished"])
def test_a_kill_at_any_moment_of_a_replacement_loses_neither_run(forge, tmp_path, end):
    """Killed before its first change of the file system, its second, and so on, until it comes through."""
    for moment in range(1, 60):
        path = tmp_path / str(moment) / "a"
        finished(path, "old")
        code = killed_at_change(forge, moment, REPLACING, path, end)
        recover(path)
        run = Run(path)
        assert runs.is_run(path)
        kept = [run, *map(Run, replaced_by(run))]
        whole = [one for one in kept if one.model_dir.is_dir() and (one.model_dir / "weights").read_text() == "old"]
        assert whole or run.state() == "finished", moment
        assert not path.with_name(".a.new").exists()
        if code == 0:
            break
    assert moment > 6, "the kills came too late"
    assert code == 0
