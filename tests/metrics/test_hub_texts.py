"""Metrics of `evaluate` on generated texts, with the real library and metrics that lie in a folder."""

from __future__ import annotations

import numpy as np
import pytest

from ftkit.errors import UserError
from ftkit.metrics.texts import evaluate_texts

MODULE = """
import datasets
import evaluate

TEXT = datasets.Value("string")
TEXTS = datasets.Sequence(TEXT)
LABEL = datasets.Value("int64")


class Local(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features={FEATURES})

    def _compute(self, **inputs):
        return {COMPUTE}
"""
PLAIN = "datasets.Features(predictions=TEXT, references=TEXT)"
LISTS = "datasets.Features(predictions=TEXT, references=TEXTS)"
OUTPUTS = ["a b", "über 猫", ""]
SEVERAL = [["a"], ["x", "über 猫"], ["", "y", "z"]]
HITS = '{"hits": sum(p in r for p, r in zip(inputs["predictions"], inputs["references"]))}'
EQUALS = '{"hits": sum(p == r for p, r in zip(inputs["predictions"], inputs["references"]))}'


@pytest.fixture
def run(tmp_path):
    """Function of a metric's features, code and references: its entry on OUTPUTS."""

    def write_and_run(features, compute, references):
        folder = tmp_path / "local"
        folder.mkdir()
        (folder / "local.py").write_text(MODULE.replace("{FEATURES}", features).replace("{COMPUTE}", compute))
        name = f"evaluate:{folder}"
        scores = evaluate_texts(
            OUTPUTS,
            references,
            at_limit=np.zeros(3, dtype=bool),
            metrics=["exact_match", name],
            num_resamples=10,
            seed=0,
        )
        assert list(scores) == ["exact_match", name]
        return scores[name]

    return write_and_run


def test_a_metric_of_lists_gets_all_references_however_many_a_row_has(run):
    assert run(LISTS, HITS, SEVERAL) == {"value": 2.0, "n": 3}


def test_a_metric_of_plain_texts_gets_the_reference_of_each_row(run):
    assert run(PLAIN, EQUALS, [["a"], ["über 猫"], [""]]) == {"value": 2.0, "n": 3}


def test_a_metric_of_plain_texts_gets_the_first_of_several_and_the_entry_says_so(run):
    entry = run(PLAIN, EQUALS, SEVERAL)
    assert entry == {"value": 1.0, "n": 3, "note": "it takes one reference a row, and got the first of each"}


@pytest.mark.parametrize("features", [f"[{PLAIN}, {LISTS}]", f"[{LISTS}, {PLAIN}]"])
def test_a_metric_that_takes_either_gets_lists(run, features):
    lengths = (
        '{"references": sum(len(r) for r in inputs["references"]), "lists": isinstance(inputs["references"][0], list)}'
    )
    assert run(features, lengths, SEVERAL)["values"] == {"references": 6.0, "lists": 1.0}


def test_a_metric_of_outputs_alone_needs_no_references(run):
    entry = run("datasets.Features(predictions=TEXT)", '{"length": sum(map(len, inputs["predictions"]))}', SEVERAL)
    assert entry == {"value": 9.0, "n": 3}


@pytest.mark.parametrize(
    "features",
    [
        "datasets.Features(predictions=LABEL, references=LABEL)",
        "datasets.Features(predictions=TEXTS, references=TEXTS)",
        "datasets.Features(predictions=TEXT, references=datasets.Sequence(LABEL))",
        "datasets.Features(predictions=TEXT, references={'text': TEXT})",
    ],
)
def test_a_metric_of_something_else_than_texts_is_refused_and_says_what_it_asks_for(run, features):
    with pytest.raises(UserError, match=r"asks for .*predictions.*, not for texts") as error:
        run(features, "{}", SEVERAL)
    assert "references are strings or lists of them" in str(error.value)


def test_a_metric_that_needs_the_sources_is_refused(run):
    with pytest.raises(UserError, match="asks for sources, which generated texts do not give"):
        run("datasets.Features(sources=TEXT, predictions=TEXT, references=TEXT)", "{}", SEVERAL)


def test_a_metric_that_fails_on_the_texts_is_named(run):
    with pytest.raises(UserError, match="failed: ZeroDivisionError"):
        run(PLAIN, "1 / 0", SEVERAL)
