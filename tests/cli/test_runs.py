from __future__ import annotations

import json

from ftkit.runs import folder as runs


def make(path, started, **scores):
    run = runs.create(path, recipe_text="", manifest={})
    run.update_manifest(started=started, state="finished")
    if scores:
        run.metrics_file.write_text(json.dumps(scores))
    return run


def test_runs_are_listed_newest_first_with_the_metric_that_was_asked_for(ftkit, workplace):
    accuracy = {"value": 0.75, "low": 0.5, "high": 1.0, "n": 8}
    make(workplace / "runs" / "old", "2026-01-01", validation={"loss": {"value": 0.1, "n": 8}, "accuracy": accuracy})
    make(workplace / "runs" / "new", "2026-02-01", validation={"accuracy": accuracy}, test={"f1": {"value": 1, "n": 9}})
    make(workplace / "runs" / "started", "2026-03-01")
    lines = ftkit("runs").out.splitlines()
    assert [line.split()[0] for line in lines] == ["started", "new", "old"]
    assert lines[1].endswith("test f1 1.0000")
    assert lines[2].endswith("validation accuracy 0.7500 (0.5000 to 1.0000)")


def test_json_is_one_object_a_run(ftkit, workplace):
    for name in "ab":
        make(workplace / "elsewhere" / name, f"2026-{name}")
    told = [json.loads(line) for line in ftkit("runs", "elsewhere", "--json").out.splitlines()]
    assert [run["name"] for run in told] == ["b", "a"]
    assert told[0]["state"] == "finished"


def test_a_damaged_run_does_not_hide_the_others(ftkit, workplace):
    make(workplace / "runs" / "whole", "2026-01-01")
    make(workplace / "runs" / "damaged", "2026-02-01").metrics_file.write_text("{")
    make(workplace / "runs" / "blank", None).manifest_file.write_text('{"ftkit_run_format": 1, "started": null}')
    done = ftkit("runs")
    assert done.code == 0
    assert {line.split()[0] for line in done.out.splitlines()} == {"whole", "damaged", "blank"}


def test_no_runs_is_no_error_where_runs_would_be_but_a_wrong_folder_is(ftkit, refused):
    assert ftkit("runs").out == "no runs in runs\n"
    assert "there is no folder nowhere" in refused("runs", "nowhere")
    assert "there is no folder messages.csv" in refused("runs", "messages.csv")


def test_a_trained_run_is_listed(ftkit, finished_run):
    (line,) = ftkit("runs", finished_run.parent).out.splitlines()
    assert line.startswith("run ")
    assert "finished" in line
    assert "validation accuracy" in line
