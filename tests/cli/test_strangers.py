"""Somebody else's run: it is opened as any other, and nothing that comes with it runs, is asked for or is believed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import ftkit as api
from ftkit.errors import UserError
from tests.fixtures.strangers import handed_over, put_canary
from tests.fixtures.tiers import slow_but

KINDS = ("full classifier", "lora classifier", "full lm", "lora lm")


def commands_on(run: Path, out: Path) -> list[tuple[object, ...]]:
    """Every command that opens a run, as it is typed."""
    opened: list[tuple[object, ...]] = [
        ("runs", run.parent),
        ("export", run, out / "whole"),
    ]
    if (run / "model" / "prompting.json").is_file():
        opened.append(("generate", run, "--prompt", "How far?", "--max-new-tokens", 2))
        if not (run / "model" / "adapter_config.json").is_file():
            opened.append(("export", run, out / "rounded", "--dtype", "bfloat16"))
    else:
        opened.append(("predict", run, "--text", "the ship"))
    if (run / "model" / "adapter_config.json").is_file():
        opened.append(("export", run, out / "merged", "--merge"))
    return opened


@pytest.mark.parametrize("kind", KINDS)
def test_code_that_comes_with_a_run_runs_in_no_command_whatever_the_runs_recipe_says(
    ftkit: Any, honest: Any, tmp_path: Path, kind: str
) -> None:
    sung = tmp_path / "sung"
    run = handed_over(honest(kind), tmp_path, sung=sung)
    assert "trust_remote_code: true" in (run / "recipe.yaml").read_text()
    shutil.copytree(run, tmp_path / "other")
    for words in (*commands_on(run, tmp_path), ("compare", run, tmp_path / "other")):
        outcome = ftkit(*words)
        assert outcome.code == 0, (words, outcome)
        assert not sung.exists(), words


@pytest.mark.parametrize("kind", slow_but(["lora lm"], KINDS))
def test_an_evaluation_runs_code_where_the_one_who_types_trusts_it_alone(
    ftkit: Any, honest: Any, tmp_path: Path, kind: str
) -> None:
    sung = tmp_path / "sung"
    run = handed_over(honest(kind), tmp_path, sung=sung)
    words = ("eval", run, "--quick", "--out", tmp_path / "report")
    assert ftkit(*words).code == 0
    assert not sung.exists()
    assert ftkit(*words, "--trust-remote-code").code == 2
    assert sung.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_code_runs_where_the_one_who_types_trusts_it(ftkit: Any, honest: Any, tmp_path: Path, kind: str) -> None:
    run = handed_over(honest(kind), tmp_path)
    model = tmp_path / "base" if (tmp_path / "base").is_dir() else run / "model"
    opened = [words for words in commands_on(run, tmp_path) if words[0] != "runs" and words[2] != tmp_path / "whole"]
    for number, words in enumerate(opened):
        # code that was imported once is not run again, so each command gets its own
        put_canary(model, sung := tmp_path / f"sung-{number}")
        outcome = ftkit(*words, "--trust-remote-code")
        assert outcome.code == 2, (words, outcome)
        assert sung.exists(), words


@pytest.mark.parametrize(("kind", "merge"), [("full classifier", False), ("lora lm", True)])
def test_an_export_brings_nothing_along_that_a_stranger_links_to(
    honest: Any, tmp_path: Path, kind: str, merge: bool
) -> None:
    run, secret = handed_over(honest(kind), tmp_path), tmp_path / "secret"
    secret.write_text("a key")
    name = "chat_template.jinja" if merge else "notes.txt"
    (run / "model" / name).symlink_to(secret)
    with pytest.raises(UserError, match=rf"{name} is a link to .*secret"):
        api.export(run, tmp_path / "out", merge=merge)
    assert not (tmp_path / "out").exists()
