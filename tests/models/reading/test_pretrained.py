"""The one door for checkpoints: nothing is read past it, and what is odd about a folder is said there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import ftkit

PACKAGE = Path(ftkit.__file__).parent
DOOR = {PACKAGE / "models" / "reading" / name for name in ("pretrained.py", "adapter.py")}
"""For models, and for what is put on them."""
READERS = {"from_pretrained", "from_config", "load_adapter", "snapshot_download", "hf_hub_download", "unpickle"}
"""What reads a checkpoint, or fetches one, by the names of the libraries."""
FETCHES = {PACKAGE / "models" / "download.py"}


def called(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            pickled = name in ("torch.load", "pickle.load", "pickle.loads", "joblib.load")
            yield "unpickle" if pickled else name.rpartition(".")[2]


def test_checkpoints_are_read_through_one_door_alone():
    past_it = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in PACKAGE.rglob("*.py")
        for name in called(path)
        if name in READERS and path not in DOOR and path not in FETCHES
    }
    assert past_it == set()
    assert all("from_pretrained" in called(path) for path in DOOR)
