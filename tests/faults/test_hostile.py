"""Files from strangers: nothing in them is run, whatever they are called and however well they are sealed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.runs.seals import SEAL_FILE, read_seal, seal_folder
from tests.faults.experiments import Ground
from tests.faults.tiny_runs import SHORT


class Canary:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_the_canary_of_these_tests_sings(tmp_path: Path):
    torch.save({"x": Canary(tmp_path / "sung")}, tmp_path / "file.pt")
    torch.load(tmp_path / "file.pt", weights_only=False)
    assert (tmp_path / "sung").exists()


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth"])
def test_a_poisoned_file_in_a_checkpoint_that_is_sealed_again_runs_nothing(ground: Ground, tmp_path: Path, name: str):
    run = ground.stopped()
    newest = max((run / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    facts = read_seal(newest).facts
    torch.save({"state": Canary(tmp_path / "sung")}, newest / name)
    seal_folder(newest, facts)
    child = ground.start("classification", run, "--resume")
    assert child.wait() == 2, child.output()
    assert not (tmp_path / "sung").exists()
    assert "asks for code to be run" in child.output()
    assert "Traceback" not in child.output()


def test_a_checkpoint_that_is_a_link_or_holds_one_does_not_count(ground: Ground, tmp_path: Path):
    run = ground.stopped()
    steps = sorted((run / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    newest = steps[-1]
    shutil.move(newest, tmp_path / newest.name)
    newest.symlink_to(tmp_path / newest.name)
    expected, _ = ground.whole("classification")
    child, same = ground.finish("classification", run)
    assert f"{newest.name} is skipped: it is a symbolic link" in child.output()
    assert same, child.output()
    assert (tmp_path / newest.name / SEAL_FILE).exists(), "what lies outside of the run is left alone"
    assert expected


def local_model(tmp_path: Path) -> Path:
    """A copy of a tiny model, as a folder of its own."""
    from ftkit.models.builtin.builtin import resolve

    folder = tmp_path / "model"
    shutil.copytree(resolve("builtin:tiny-bert"), folder)
    return folder


def trained_on(ground: Ground, folder: Path) -> Any:
    return ground.start("classification", ground.new_run(), f"model.name_or_path={folder}")


def test_pickled_weights_are_not_read(ground: Ground, tmp_path: Path):
    folder = local_model(tmp_path)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    torch.save({"x": Canary(tmp_path / "sung")}, folder / "pytorch_model.bin")
    child = trained_on(ground, folder)
    assert child.wait() == 2
    assert "pickled" in child.output()
    assert not (tmp_path / "sung").exists()


def test_code_that_comes_with_a_checkpoint_is_not_run(ground: Ground, tmp_path: Path):
    folder = local_model(tmp_path)
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'sung')!r})\nclass M: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.M", "AutoConfig": "evil.M", "AutoModelForSequenceClassification": "evil.M"}
    (folder / "config.json").write_text(json.dumps(config))
    child = trained_on(ground, folder)
    child.wait()
    assert not (tmp_path / "sung").exists()


def test_shards_outside_of_their_folder_are_refused(ground: Ground, tmp_path: Path):
    folder = local_model(tmp_path)
    shutil.copy(next(folder.glob("*.safetensors")), tmp_path / "stray.safetensors")
    index = {"metadata": {}, "weight_map": {"x": "../stray.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    child = trained_on(ground, folder)
    assert child.wait() == 2, child.output()
    assert "../stray.safetensors" in child.output()


@pytest.fixture(scope="module")
def tuned(ground: Ground) -> Path:
    """A finished run with an adapter, to be copied."""
    run = ground.new_run()
    assert ground.start("causal_lm", run, *SHORT).wait() == 0
    return run


def test_a_pickled_adapter_is_not_read(ground: Ground, tmp_path: Path, tuned: Path):
    run = shutil.copytree(tuned, ground.new_run())
    (run / "model" / "adapter_model.safetensors").unlink()
    torch.save({"x": Canary(tmp_path / "sung")}, run / "model" / "adapter_model.bin")
    child = ground.forge.run("generate", str(run), "--prompt", "the lamp", "--max-new-tokens", "2")
    assert child.code == 2, child.output()
    assert not (tmp_path / "sung").exists()


def test_an_adapter_that_names_a_module_to_import_runs_nothing(ground: Ground, tmp_path: Path, tuned: Path):
    run = shutil.copytree(tuned, ground.new_run())
    (ground.forge.folder / "evil_library.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'sung')!r})\n")
    file = run / "model" / "adapter_config.json"
    config = json.loads(file.read_text())
    config["auto_mapping"] = {"base_model_class": "M", "parent_library": "evil_library"}
    file.write_text(json.dumps(config))
    child = ground.forge.run("generate", str(run), "--prompt", "the lamp", "--max-new-tokens", "2")
    assert child.code in (0, 2), child.output()
    assert not (tmp_path / "sung").exists()
