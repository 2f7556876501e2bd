"""`ftkit generate` as it is typed: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftkit.report.safe import printable
from tests.fixtures.tiers import slow

Runs = Callable[[str], Path]


def test_a_prompt_is_answered_on_stdout_and_the_limit_is_told_on_stderr(ftkit: Any, language_runs: Runs) -> None:
    outcome = ftkit("generate", language_runs("completion"), "--prompt", "How far?", "--max-new-tokens", 4)
    assert outcome.code == 0, outcome
    assert outcome.out.endswith("\n")
    assert "How far?" not in outcome.out
    assert "cut at 4 new tokens (--max-new-tokens)" in outcome.err


def test_json_says_the_same_with_the_number_of_tokens(ftkit: Any, language_runs: Runs) -> None:
    words = ("generate", language_runs("completion"), "--prompt", "How far?", "--max-new-tokens", 4)
    row = json.loads(ftkit(*words, "--json").out)
    assert row == {"prompt": "How far?", "generated": ftkit(*words).out[:-1], "new_tokens": 4, "stopped": False}


def test_several_prompts_are_told_apart(ftkit: Any, language_runs: Runs) -> None:
    outcome = ftkit("generate", language_runs("text"), "--prompt", "a", "--prompt", "b", "--max-new-tokens", 3)
    lines = outcome.out.splitlines()
    assert "--- a" in lines
    assert "--- b" in lines
    assert "2 of 2 were cut at 3 new tokens" in outcome.err


def test_the_same_seed_gives_the_same_samples_and_each_sample_is_another(ftkit: Any, language_runs: Runs) -> None:
    words = ("generate", language_runs("text"), "--prompt", "the", "--sample", "--num-samples", 3, "--json")
    first, again = (ftkit(*words, "--seed", 5, "--max-new-tokens", 6).out for _ in range(2))
    assert first == again
    assert len(set(first.splitlines())) == 3
    assert ftkit(*words, "--seed", 6, "--max-new-tokens", 6).out != first


def test_a_file_is_answered_row_by_row_beside_its_columns(ftkit: Any, language_runs: Runs, workplace: Path) -> None:
    (workplace / "ask.csv").write_text("id,question,place\n1,How far?,sea\n2,How deep?,lake\n")
    run = language_runs("fields")
    outcome = ftkit("generate", run, "--file", "ask.csv", "--out", "said.jsonl", "--max-new-tokens", 3)
    assert outcome.code == 0, outcome
    assert outcome.out == ""
    assert "2 rows in said.jsonl" in outcome.err
    rows = [json.loads(line) for line in (workplace / "said.jsonl").read_text().splitlines()]
    assert [(row["id"], row["question"], row["place"]) for row in rows] == [
        ("1", "How far?", "sea"),
        ("2", "How deep?", "lake"),
    ]
    alone = ftkit(
        "generate", run, "--field", "question=How far?", "--field", "place=sea", "--max-new-tokens", 3, "--json"
    )
    assert json.loads(alone.out)["generated"] == rows[0]["generated"]


def test_rows_of_the_training_data_are_asked_as_they_stand(ftkit: Any, language_runs: Runs) -> None:
    for kind in ("completion", "chat", "text", "fields"):
        rows = language_runs(kind).parent / "rows.jsonl"
        outcome = ftkit("generate", language_runs(kind), "--file", rows, "--max-new-tokens", 1)
        assert outcome.code == 0, outcome
        assert len(outcome.out.splitlines()) == 40


def test_a_chat_takes_a_systems_turn(ftkit: Any, language_runs: Runs) -> None:
    words = ("generate", language_runs("chat"), "--prompt", "How far?", "--max-new-tokens", 5, "--json")
    plain, told = (json.loads(ftkit(*words, *more).out) for more in ((), ("--system", "Be terse.")))
    assert told["system"] == "Be terse."
    assert plain["prompt"] == told["prompt"] == "How far?"


def test_the_base_alone_is_asked_with_the_same_prompt(ftkit: Any, language_runs: Runs) -> None:
    words = ("generate", language_runs("completion"), "--prompt", "How far is pier 3?", "--max-new-tokens", 12)
    assert ftkit(*words).out != ftkit(*words, "--no-adapter").out


def test_a_model_folder_that_does_not_say_its_form_is_asked_as_it_is_and_that_is_said(
    ftkit: Any, workplace: Path
) -> None:
    from ftkit.models.builtin.builtin import resolve

    outcome = ftkit("generate", resolve("builtin:tiny-llama"), "--prompt", "the", "--max-new-tokens", 2)
    assert "does not say how it was trained: prompts are sent as they are" in outcome.err
    outcome = ftkit("generate", resolve("builtin:tiny-qwen3"), "--prompt", "the", "--max-new-tokens", 2)
    assert "prompts are the user's turn in its chat template (--raw: as they are)" in outcome.err
    outcome = ftkit("generate", resolve("builtin:tiny-qwen3"), "--prompt", "the", "--max-new-tokens", 2, "--raw")
    assert "template" not in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "takes either --prompt or --file"),
        (("--prompt", "x", "--file", "y"), "takes either --prompt or --file"),
        (("--prompt", "x", "--temperature", "0.5"), "--temperature acts only where tokens are drawn; add --sample"),
        (("--prompt", "x", "--top-k", "5"), "--top-k acts only where tokens are drawn"),
        (("--prompt", "x", "--top-p", "0.5"), "--top-p acts only where"),
        (("--prompt", "x", "--min-p", "0.5"), "--min-p acts only where"),
        (("--prompt", "x", "--seed", "5"), "--seed acts only where"),
        (("--prompt", "x", "--num-samples", "2"), "--num-samples acts only where"),
        (("--prompt", "x", "--sample", "--temperature", "0"), "--temperature is above 0"),
        (("--prompt", "x", "--sample", "--top-p", "0"), "--top-p is above 0 and at most 1"),
        (("--prompt", "x", "--repetition-penalty", "0"), "--repetition-penalty is above 0"),
        (("--prompt", "x", "--raw", "--system", "y"), "--raw sends a prompt as it is"),
        (("--field", "question=x", "--raw"), "--raw sends a prompt as it is"),
        (("--file", "x", "--system", "y"), "--system goes with --prompt"),
        (("--prompt", "x", "--delimiter", ";"), "--delimiter is about a --file"),
        (("--prompt", "x", "--encoding", "utf-8"), "--encoding is about a --file"),
        (("--prompt", "x", "--overwrite"), "--overwrite is about an --out"),
        (("--prompt", "x", "--out", "recipe.yaml"), "recipe.yaml exists already"),
        (("--prompt", ""), "the prompt is empty"),
        (("--field", "question"), "--field question: there is no name"),
        (("--field", "question=a", "--field", "question=b"), "--field question is given twice"),
        (("--field", "colour=a"), "the prompt has no field colour; ask with --field question=..."),
        (("--prompt", "x", "--system", "y"), "have no system's turn"),
        (("--file", "absent.csv"), "absent.csv"),
        (("--file", "messages.csv"), "there is no column question, nor one called prompt"),
        (("--prompt", "x", "--max-new-tokens", "0"), "Invalid value"),
    ],
)
def test_what_cannot_be_done_is_one_message(
    words: tuple[str, ...], message: str, refused: Any, language_runs: Runs, workplace: Path
) -> None:
    (workplace / "messages.csv").write_text("a,b\nc,d\n")
    assert message in refused("generate", language_runs("completion"), *words)


def test_a_prompt_of_several_columns_names_them(refused: Any, language_runs: Runs) -> None:
    assert "--field question=... --field place=..." in refused("generate", language_runs("fields"), "--prompt", "x")


def test_a_classifier_is_sent_to_predict_and_a_run_without_a_model_is_told(
    refused: Any, finished_run: Path, workplace: Path
) -> None:
    assert "holds a classifier, which writes no text; ask it with `ftkit predict`" in refused(
        "generate", finished_run, "--prompt", "x"
    )
    assert "there is neither a run nor a model folder at nowhere" in refused("generate", "nowhere", "--prompt", "x")
    (workplace / "half").mkdir()
    (workplace / "half" / "manifest.json").write_text(json.dumps({"ftkit_run_format": 1, "state": "failed"}))
    assert "the run half has no model yet (failed)" in refused("generate", "half", "--prompt", "x")


def test_an_adapter_whose_base_is_gone_is_one_message(refused: Any, language_runs: Runs, workplace: Path) -> None:
    shutil.copytree(language_runs("completion"), workplace / "moved")
    file = workplace / "moved" / "model" / "adapter_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps(settings | {"base_model_name_or_path": "/gone/base"}))
    message = refused("generate", "moved", "--prompt", "x")
    assert "the base model of this adapter is gone: there is no folder /gone/base" in message
    assert "adapter_config.json" in message


def test_a_file_is_read_whole_before_the_first_row_is_answered(
    refused: Any, language_runs: Runs, workplace: Path
) -> None:
    (workplace / "ask.jsonl").write_text('{"question": "x"}\n{"question": null}\n')
    message = refused("generate", language_runs("completion"), "--file", "ask.jsonl", "--out", "said.jsonl")
    assert "ask.jsonl:2 question is null" in message
    assert not (workplace / "said.jsonl").exists()


def written_in(run: Path, what: str = "output") -> dict[str, str]:
    """What the model of a run, or its base, wrote for the sources of its validation set."""
    lines = (run / "predictions" / "validation.jsonl").read_text().splitlines()
    return {row["source"]: row[what] for row in map(json.loads, lines)}


@pytest.mark.parametrize(
    ("method", "family"),
    [slow("full", "t5"), slow("lora", "bart"), slow("prompt_tuning", "t5"), slow("prefix_tuning", "bart")],
)
def test_an_encoder_decoder_writes_what_was_measured_from_a_run_and_from_a_model_folder(
    method: str, family: str, ftkit: Any, pair_runs: Runs
) -> None:
    run = pair_runs(method, family)
    measured = written_in(run)
    assert len(measured) > 1
    for place in (run, run / "model"):
        outcome = ftkit("generate", place, "--file", run.parent / "rows.jsonl")
        assert outcome.code == 0, outcome
        rows = [json.loads(line) for line in outcome.out.splitlines()]
        found = {f"answer: {row['question']}": row["generated"] for row in rows}
        assert len(found) == 24
        assert {source: found[source] for source in measured} == measured
        beams = ", num_beams 2" if family == "bart" else ""
        assert f"as it was measured: max_new_tokens 7{beams}\n" in outcome.err


def test_options_come_before_what_was_measured(ftkit: Any, pair_runs: Runs) -> None:
    words = ("generate", pair_runs("full", "t5"), "--prompt", "How far is pier 3?", "--json")
    short = ftkit(*words, "--max-new-tokens", 3)
    assert json.loads(short.out)["new_tokens"] == 3
    assert "as it was measured" not in short.err
    assert "cut at 3 new tokens" in short.err
    plain, first, again = (ftkit(*words, *more).out for more in ((), *[("--sample", "--seed", 5)] * 2))
    assert first == again
    assert first != plain
    words = ("generate", pair_runs("lora", "bart"), "--prompt", "How far is pier 3?")
    assert "as it was measured: max_new_tokens 7\n" in ftkit(*words, "--num-beams", 1).err


def test_a_model_that_was_measured_by_drawing_takes_every_knob_and_goes_back_to_greedy(
    ftkit: Any, refused: Any, pair_runs: Runs, workplace: Path
) -> None:
    run = shutil.copytree(pair_runs("full", "t5"), workplace / "drawn")
    settings = run / "model" / "generation_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"do_sample": True, "temperature": 3.0}))
    words = ("generate", run, "--prompt", "How far is pier 3?", "--json")
    drawn, cooler, greedy = (ftkit(*words, *more) for more in ((), ("--temperature", "1e-6"), ("--greedy",)))
    assert "do_sample True, temperature 3.0" in drawn.err
    assert "temperature" not in cooler.err
    assert "do_sample" not in greedy.err
    assert drawn.out != cooler.out == greedy.out == ftkit("generate", pair_runs("full", "t5"), *words[2:]).out
    assert "--seed acts only where tokens are drawn" in refused(*words, "--greedy", "--seed", 3)


def test_a_source_of_several_columns_is_asked_by_their_names(ftkit: Any, refused: Any, pair_runs: Runs) -> None:
    run = pair_runs("lora", "t5", "fields")
    source, output = next(iter(written_in(run).items()))
    question = source.removesuffix(" (sea)")
    words = ("--field", f"question={question}", "--field", "place=sea")
    assert ftkit("generate", run, *words).out == f"{output}\n"
    assert "--field question=... --field place=..." in refused("generate", run, "--prompt", question)


def test_the_base_of_an_encoder_decoder_writes_what_was_measured_of_it(ftkit: Any, pair_runs: Runs) -> None:
    for method, family in (("lora", "bart"), ("prompt_tuning", "t5"), ("prefix_tuning", "bart")):
        run = pair_runs(method, family)
        source, output = next(iter(written_in(run, "base_output").items()))
        words = ("generate", run, "--prompt", source.removeprefix("answer: "))
        assert ftkit(*words, "--no-adapter").out == f"{printable(output)}\n"
        assert ftkit(*words).out == f"{printable(written_in(run)[source])}\n"
        assert written_in(run)[source] != output


def test_an_output_comes_piece_by_piece(ftkit: Any, pair_runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    import ftkit.cli.generate as command

    pieces: list[str] = []
    monkeypatch.setattr(command, "_show", pieces.append)
    for method in ("full", "prompt_tuning"):
        run, pieces[:] = pair_runs(method, "t5"), []
        source, output = next(iter(written_in(run).items()))
        assert ftkit("generate", run, "--prompt", source.removeprefix("answer: ")).code == 0
        assert "".join(pieces) == f"{output}\n"
        assert len(pieces) > 3


def test_a_source_is_cut_where_training_cut_it_and_that_is_said(ftkit: Any, pair_runs: Runs, workplace: Path) -> None:
    for method, family in (("lora", "bart"), ("full", "t5")):
        words = ("generate", pair_runs(method, family))
        cut = ftkit(*words, "--prompt", "so it went on " * 300)
        assert cut.code == 0
        assert "the source is longer than 512 tokens and cut there, as in training" in cut.err
        assert cut.out == ftkit(*words, "--prompt", "so it went on " * 400).out
    (workplace / "ask.csv").write_text(f"question\nHow far?\n{'so it went on ' * 300}\n")
    outcome = ftkit(*words, "--file", "ask.csv")
    assert "1 of 2 sources are longer than 512 tokens" in outcome.err
    assert json.loads(outcome.out.splitlines()[1])["generated"] == cut.out[:-1]


def test_a_prompt_that_the_tokenizer_does_not_know_is_told(ftkit: Any, pair_runs: Runs) -> None:
    words = ("generate", pair_runs("full", "t5"), "--max-new-tokens", "1", "--prompt")
    assert "of the tokens of what is asked are <unk>" in ftkit(*words, "\u0e09\u0e31\u0e19").err
    assert "<unk>" not in ftkit(*words, "a short text").err


def test_the_quoting_of_a_file_can_be_said(ftkit: Any, language_runs: Runs, workplace: Path) -> None:
    (workplace / "ask.csv").write_text('question,id\n"x,1\ny",2\n')
    words = ("generate", language_runs("completion"), "--file", "ask.csv", "--max-new-tokens", "1")
    assert [len(ftkit(*words, "--quoting", how).out.splitlines()) for how in ("none", "minimal")] == [2, 1]


def test_what_an_encoder_decoder_cannot_be_asked_is_one_message(refused: Any, pair_runs: Runs) -> None:
    run = pair_runs("full", "t5")
    assert "have no system's turn" in refused("generate", run, "--prompt", "x", "--system", "y")
    assert "the prompt is empty" in refused("generate", run, "--prompt", "")
    assert "every weight was trained, so its base is not in it" in refused(
        "generate", run, "--prompt", "x", "--no-adapter"
    )


def test_a_source_fills_all_positions_where_a_prefix_stands_before_the_output(ftkit: Any, pair_runs: Runs) -> None:
    from transformers import AutoTokenizer

    run = pair_runs("prefix_tuning", "bart")
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    text = "so it went on"
    while len(tokenizer(f"answer: {text} on").input_ids) <= 512:
        text += " on"
    assert len(tokenizer(f"answer: {text}").input_ids) > 512 - 20
    outcome = ftkit("generate", run, "--prompt", text)
    assert outcome.code == 0
    assert "longer than" not in outcome.err


def test_answers_of_several_adapters_stand_below_one_another_and_a_run_is_called_by_its_name(
    ftkit: Any, lm_runs: Callable[..., Any]
) -> None:
    run, other = (lm_runs(method__type=kind, training__max_steps=2).run.path for kind in ("lora", "ia3"))
    words = ("generate", run, "--adapter", f"factors={other}", "--prompt", "What of it?", "--max-new-tokens", 3)
    rows = [json.loads(line) for line in ftkit(*words, "--json").out.splitlines()]
    assert [row["adapter"] for row in rows] == ["base", run.name, "factors"]
    outcome = ftkit(*words)
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["base", run.name, "factors"]
    assert "factors: cut at 3 new tokens" in outcome.err
    assert "exclude one another" in ftkit(*words, "--no-adapter").err
    assert "--temperature is above 0" in ftkit(*words, "--sample", "--temperature", 0).err
