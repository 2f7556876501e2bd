from __future__ import annotations

import json

import pytest


def test_every_value_is_shown_with_where_it_comes_from(ftkit):
    done = ftkit("check", "recipe.yaml", "training.seed=7", "--no-data")
    assert done.code == 0
    sources = {line.split()[0]: line for line in done.out.splitlines() if line.startswith("  ")}
    assert sources["model.name_or_path"].split()[1:] == ["builtin:tiny-bert", "line", "3"]
    assert sources["training.seed"].split()[1:] == ["7", "override", "1"]
    assert sources["training.learning_rate"].endswith("default of method frozen")
    assert sources["training.max_grad_norm"].endswith("default")


def test_no_data_stops_after_the_recipe(ftkit, workplace):
    (workplace / "messages.csv").write_text("broken\n")
    done = ftkit("check", "recipe.yaml", "--no-data")
    assert done.code == 0
    assert "plan" not in done.out.split()


def test_the_data_are_audited_and_the_run_is_planned_but_not_made(ftkit, workplace):
    with (workplace / "messages.csv").open("a") as file:
        file.write("24,see you at lunch 0,ham\n")
    done = ftkit("check", "recipe.yaml")
    assert done.code == 0
    rows = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line.strip()}
    # the repeated text and its twin are on one side of the split
    assert sum(map(int, rows["duplicates"])) == 1
    assert sum(map(int, rows["ham"])) == 13
    assert sum(map(int, rows["spam"])) == 12
    assert "two examples as the model will see them" in done.out
    assert "[CLS]" in done.out
    assert " parameters, " in done.out
    assert not (workplace / "runs").exists()


def test_json_holds_the_same_for_machines(ftkit):
    short = json.loads(ftkit("check", "recipe.yaml", "--no-data", "--json").out)
    assert set(short) == {"recipe"}
    assert short["recipe"]["data.train_file"]["source"] == "line 7"
    told = json.loads(ftkit("check", "recipe.yaml", "--json").out)
    assert set(told) == {"recipe", "data", "plan"}
    assert sum(told["data"]["audit"]["rows"].values()) == 24
    assert {example["label"] for example in told["data"]["examples"]} <= {"ham", "spam"}


def test_every_problem_of_a_recipe_is_told_at_once_each_with_its_line(ftkit, workplace):
    (workplace / "recipe.yaml").write_text(
        "task: classification\nmodel:\n  name_or_path: builtin:tiny-bert\nmethod:\n  type: frozn\n"
        "data:\n  train_file: message.csv\ntraining:\n  learning_rate: fast\n"
    )
    done = ftkit("check", "recipe.yaml", "--no-data")
    assert (done.code, done.out) == (2, "")
    for said in ("recipe.yaml:5:", "recipe.yaml:7:", "did you mean messages.csv?", "recipe.yaml:9:"):
        assert said in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument 'recipe'"),
        (["nowhere.yaml"], "no such recipe"),
        (["recipe.yaml", "=1"], "override 1"),
        (["recipe.yaml", "--json=1"], "json"),
        (["recipe.yaml", "--no-data", "model.dtype=float8"], "float8"),
    ],
)
def test_nonsense_is_answered_with_one_message(refused, words, said):
    assert said in refused("check", *words)


def test_a_broken_row_is_named_with_its_line(ftkit, workplace):
    with (workplace / "messages.csv").open("a") as file:
        file.write("25,one,two,three\n")
    done = ftkit("check", "recipe.yaml")
    assert done.code == 2
    assert "messages.csv:26" in done.err
    assert "Traceback" not in done.err


def test_a_language_model_s_data_are_shown_as_the_model_will_see_them(ftkit, workplace):
    rows = [{"q": f"What is {number}?", "a": f"The number {number}."} for number in range(20)]
    (workplace / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (workplace / "tune.yaml").write_text(
        "task: causal_lm\nmodel: {name_or_path: 'builtin:tiny-olmo2'}\n"
        "data: {train_file: pairs.jsonl, template: 'Q: {q} A:<learn> {a}'}\n"
    )
    done = ftkit("check", "tune.yaml")
    assert done.code == 0, done.err
    shown = done.out[done.out.index("the first examples") : done.out.index("plan")]
    assert shown.count("⟦ The number ") == 2
    assert shown.count("<|endoftext|>⟧") == 2
    assert "label_column" not in done.out
    told = json.loads(ftkit("check", "tune.yaml", "--json", "method.type=prompt_tuning").out)
    assert told["plan"]["trained_parameters"] == 20 * 32
    assert told["data"]["audit"]["kind"] == "completion"
    assert sum(told["data"]["audit"]["rows"].values()) == 20
    assert 0 < told["data"]["tokens"]["train"]["percent_learnt"] < 60


def test_sources_and_targets_are_shown_as_the_model_will_see_them(ftkit, workplace):
    rows = [{"q": f"What is {number}?", "a": f"The number {number}."} for number in range(20)]
    (workplace / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (workplace / "tune.yaml").write_text(
        "task: seq2seq\nmodel: {name_or_path: 'builtin:tiny-t5'}\n"
        "data: {train_file: pairs.jsonl, source_column: q, target_column: a, source_prefix: 'say: '}\n"
    )
    done = ftkit("check", "tune.yaml")
    assert done.code == 0, done.err
    shown = done.out[done.out.index("the first examples") : done.out.index("plan")]
    assert shown.count("source  say: What is ") == 2
    assert shown.count("target  The number ") == 2
    assert shown.count("</s>") == 4
    assert "train sources" in done.out
    assert "outputs have at most " in done.out
    assert not (workplace / "runs").exists()
    told = json.loads(ftkit("check", "tune.yaml", "--json", "method.type=prefix_tuning").out)
    assert told["plan"]["trained_parameters"] == 20 * 2 * 3 * 32
    assert sum(told["data"]["audit"]["rows"].values()) == 20
    assert told["data"]["max_new_tokens"] > 3


def test_a_metric_or_a_label_that_cannot_be_had_is_told_before_anything_is_trained(refused):
    assert "no such metric" in refused("check", "recipe.yaml", "evaluation.metrics=[accuracy, 'evaluate:./nothing']")
    of_one_class = ("evaluation.metrics=[f1]", "evaluation.positive_label=maybe")
    assert "maybe" in refused("check", "recipe.yaml", *of_one_class)
