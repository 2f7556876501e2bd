"""Model folders and runs with a damaged, odd or hostile file: one error that says where, or an answer; no traceback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ftkit as api
from ftkit.errors import UserError
from tests.fixtures.strangers import change_json, handed_over
from tests.fixtures.tiers import slow, slow_but

DEEP = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
TEXTS = {
    "deep": DEEP,
    "list": "[1, 2]",
    "null": "null",
    "cut": '{"a": ',
    "empty": "",
    "no UTF-8": "\udcff",
    "number": "7",
}
"""What a whole file is made to hold."""
VALUES: tuple[Any, ...] = ("x", -1, 0, 10**9, 1.5, True, None, [], [1], {}, {"a": 1}, "os.system", [None])
"""What the value of a key is made to be."""
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "adapter_config.json")
OF_RUNS = ("label_names.json", "prompting.json", "special_tokens_map.json")
BASES = (
    "../..",
    "https://example.org/model",
    "somebody/model",
    "",
    None,
    5,
    "/etc",
    "builtin:",
    "builtin:nothing",
    [],
    {},
)


def opened(run: Path, out: Path) -> Iterator[Callable[[], object]]:
    """What opens a run to use its model."""
    model = run / "model"
    if (model / "prompting.json").exists():
        yield lambda: api.generate(run, "How far?", max_new_tokens=2, use_cpu=True)
    else:
        yield lambda: list(api.predict(run, "the ship", use_cpu=True))
    merge = (model / "adapter_config.json").exists()
    yield lambda: api.export(run, out / "out", merge=merge, overwrite=True)


def answers_or_says_where(run: Path, tmp_path: Path, *, told: bool = False) -> None:
    """Each command answers, or is refused with the place of what is wrong; `told`: all are refused."""
    for use in opened(run, tmp_path):
        refused = None
        with contextlib.suppress(UserError):
            try:
                use()
            except UserError as error:
                refused = error
                raise
        assert refused is not None or not told
        assert refused is None or str(tmp_path) in str(refused), refused


@pytest.mark.parametrize("kind", ["full classifier", "lora classifier", "full lm", "lora lm"])
@pytest.mark.parametrize("holds", slow_but(["deep", "list"], TEXTS))
def test_a_file_that_holds_something_else_is_named(honest: Any, tmp_path: Path, kind: str, holds: str) -> None:
    run = handed_over(honest(kind), tmp_path)
    for file in (run / "model" / name for name in (*FILES, *OF_RUNS)):
        if file.exists():
            before = file.read_bytes()
            file.write_text(TEXTS[holds], encoding="utf-8", errors="surrogateescape")
            answers_or_says_where(run, tmp_path)
            file.write_bytes(before)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("kind", ["full classifier", "lora classifier", "full lm", "lora lm"])
def test_a_value_of_another_type_ends_in_no_traceback(honest: Any, tmp_path: Path, kind: str) -> None:
    run = handed_over(honest(kind), tmp_path)
    homes = [home for home in (run / "model", tmp_path / "base") if home.is_dir()]
    for file in (home / name for home in homes for name in (*FILES, *OF_RUNS) if (home / name).exists()):
        before = file.read_text()
        for key in json.loads(before):
            for value in VALUES:
                change_json(file, lambda config, key=key, value=value: config.update({key: value}))
                began = time.process_time()
                answers_or_says_where(run, tmp_path)
                assert time.process_time() - began < 20, (file, key, value)
                file.write_text(before)


@pytest.mark.parametrize("named", ["x", ["x", 3], slow({}), slow([None])])
def test_an_end_that_is_no_token_is_refused_by_the_file_that_names_it(
    honest: Any, tmp_path: Path, named: object
) -> None:
    run = handed_over(honest("lora lm"), tmp_path)
    file = tmp_path / "base" / "generation_config.json"
    change_json(file, lambda config: config.update(eos_token_id=named))
    answers_or_says_where(run, tmp_path, told=True)
    with pytest.raises(UserError, match="eos_token_id") as caught:
        api.export(run, tmp_path / "out", merge=True)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("kind", ["lora classifier", "lora lm"])
def test_a_base_that_is_none_is_refused(honest: Any, tmp_path: Path, kind: str) -> None:
    run = handed_over(honest(kind), tmp_path)
    for base in BASES:
        change_json(
            run / "model" / "adapter_config.json", lambda named, base=base: named.update(base_model_name_or_path=base)
        )
        answers_or_says_where(run, tmp_path, told=True)


@pytest.mark.parametrize("tokens", [[1], slow("x"), slow([None])])
def test_an_adapter_that_loads_and_cannot_be_merged_is_told(honest: Any, tmp_path: Path, tokens: object) -> None:
    run = handed_over(honest("lora lm"), tmp_path)
    change_json(run / "model" / "adapter_config.json", lambda named: named.update(alora_invocation_tokens=tokens))
    with pytest.raises(UserError, match="cannot be asked and merged") as caught:
        api.export(run, tmp_path / "out", merge=True)
    assert str(run) in str(caught.value)


def test_a_classifier_whose_tokenizer_pads_with_nothing_is_told_when_it_is_merged(honest: Any, tmp_path: Path) -> None:
    run = handed_over(honest("lora classifier"), tmp_path)
    change_json(run / "model" / "tokenizer_config.json", lambda named: named.update(pad_token=None))
    with pytest.raises(UserError, match="cannot be asked and merged") as caught:
        api.export(run, tmp_path / "out", merge=True)
    assert str(run) in str(caught.value)


@pytest.mark.parametrize("kind", ["lora classifier", "lora lm"])
def test_a_base_of_pickled_weights_is_not_read(honest: Any, tmp_path: Path, kind: str) -> None:
    run = handed_over(honest(kind), tmp_path)
    (tmp_path / "base" / "model.safetensors").rename(tmp_path / "base" / "pytorch_model.bin")
    for use in opened(run, tmp_path):
        with pytest.raises(UserError, match="pickled"):
            use()


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 1_000_000},
        {"num_hidden_layers": 9_000},
        {"hidden_size": 1_000_000},
        {"vocab_size": 10**10},
        {"max_position_embeddings": 10**10},
        {"num_labels": 10**9},
        slow({"intermediate_size": 10**9}),
        slow({"num_attention_heads": 10**7}),
    ],
)
@pytest.mark.parametrize("kind", ["full classifier", slow("full lm"), "lora lm"])
def test_a_configuration_larger_than_its_weights_is_refused_at_once(
    honest: Any, tmp_path: Path, kind: str, changes: dict[str, int]
) -> None:
    import psutil

    run = handed_over(honest(kind), tmp_path)
    home = tmp_path / "base" if (tmp_path / "base").is_dir() else run / "model"
    change_json(home / "config.json", lambda config: config.update(changes))
    before, began = psutil.Process().memory_info().rss, time.process_time()
    with pytest.raises(UserError) as caught:
        next(opened(run, tmp_path))()
    assert str(home) in str(caught.value)
    assert time.process_time() - began < 1.0
    assert psutil.Process().memory_info().rss - before < 200 * 2**20


@pytest.mark.parametrize("name", ["manifest.json", "metrics.json"])
def test_a_run_whose_record_is_odd_is_told_and_hides_no_other(
    ftkit: Any, finished_run: Path, tmp_path: Path, name: str
) -> None:
    for number, text in enumerate(
        (DEEP, "[]", '{"ftkit_run_format": 1, "hashes": [], "data": 5}', '{"test": {"loss": 5}}')
    ):
        run = shutil.copytree(finished_run, tmp_path / f"run-{number}")
        (run / name).write_text(text)
        for words in (
            ("predict", run, "--text", "a"),
            ("compare", run, finished_run),
            ("runs", tmp_path),
        ):
            outcome = ftkit(*words)
            assert outcome.code in (0, 2), (words, text[:60], outcome)
            assert "Traceback" not in outcome.err
    shutil.copytree(finished_run, tmp_path / "whole")
    assert "whole" in ftkit("runs", tmp_path).out


@pytest.mark.parametrize("name", ["recipe.yaml", "model/model.safetensors", slow("model/tokenizer.json")])
def test_a_pipe_among_the_files_of_a_run_is_not_waited_for(honest: Any, tmp_path: Path, name: str) -> None:
    run = handed_over(honest("full classifier"), tmp_path)
    (run / name).unlink()
    os.mkfifo(run / name)
    for use in opened(run, tmp_path):
        with pytest.raises(UserError, match=f"{(run / name).name} is no ordinary file"):
            use()


def test_a_card_that_is_odd_is_written_anew_with_an_export(honest: Any, tmp_path: Path) -> None:
    run = handed_over(honest("full classifier"), tmp_path)
    (run / "model" / "card.json").write_text(DEEP)
    answers_or_says_where(run, tmp_path)
