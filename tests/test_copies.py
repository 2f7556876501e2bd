"""What is copied out of a stranger's folder lies in it: no link, pipe or loop of it brings anything else along."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftkit.copies import copy_files, copy_folder
from ftkit.errors import UserError


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("a key")
    return tmp_path / "secret"


@pytest.mark.parametrize("how", ["link", "chain", "folder", "loop", "pipe", "nothing"])
def test_what_leads_out_of_a_folder_is_not_copied(tmp_path: Path, secret: Path, how: str) -> None:
    home, odd = tmp_path / "home", tmp_path / "home" / "below" / "vocab.txt"
    odd.parent.mkdir(parents=True)
    (home / "config.json").write_text("{}")
    if how == "chain":
        (home / "first").symlink_to(secret)
        odd.symlink_to(home / "first")
    elif how == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"link": secret, "folder": tmp_path, "loop": home, "nothing": tmp_path / "none"}[how])
    with pytest.raises(UserError, match="not copied") as caught:
        copy_folder(home, tmp_path / "copy")
    assert str(home) in str(caught.value)
    assert not (tmp_path / "copy").exists()
    copy_files(home, ["config.json", "other.json"], tmp_path)
    assert (tmp_path / "config.json").read_text() == "{}"
    if how != "nothing":
        with pytest.raises(UserError, match="not copied"):
            copy_files(odd.parent, ["vocab.txt"], tmp_path)


def test_links_within_a_folder_and_those_of_the_hubs_cache_are_copied_as_files(tmp_path: Path) -> None:
    home, blob = tmp_path / "models--x" / "snapshots" / "abc", tmp_path / "models--x" / "blobs" / "digest"
    home.mkdir(parents=True)
    blob.parent.mkdir()
    blob.write_text("{}")
    (home / "config.json").symlink_to("../../blobs/digest")
    (home / "same.json").symlink_to("config.json")
    copy_folder(home, tmp_path / "copy", leave_out=["none*"])
    assert [(file.name, file.is_symlink()) for file in sorted((tmp_path / "copy").iterdir())] == [
        ("config.json", False),
        ("same.json", False),
    ]
