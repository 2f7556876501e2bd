"""The report on a terminal: all of it, on one screen, no line too long."""

from dataclasses import replace

import pytest

from ftkit.diagnosis.report import Score
from ftkit.diagnosis.verdict import TITLES, Change
from ftkit.report.eval.terminal import METRICS_SHOWN, report_lines
from ftkit.report.eval.view import view_of
from ftkit.report.eval.wording import number, score_text
from tests.report.eval.test_samples import SAMPLES, forgetful_lm, overfit_classifier

every_sample = pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)


def flat(lines):
    return " ".join(" ".join(lines).split())


@every_sample
@pytest.mark.parametrize("width", [40, 57, 80, 110, 200])
def test_no_line_is_wider_than_asked_for_and_none_breaks(make, width):
    lines = list(report_lines(make(), width=width))
    assert max(map(len, lines)) <= width
    assert all("\n" not in line and line == line.rstrip() for line in lines)


@every_sample
def test_it_fits_one_screen(make):
    assert len(list(report_lines(make()))) <= 40


@every_sample
@pytest.mark.parametrize("width", [60, 110])
def test_every_figure_of_the_table_stands_in_it_at_any_width(make, width):
    report = make()
    text = "\n".join(report_lines(report, width=width))
    for sets in report.table.values():
        for scores in sets.values():
            for metric in [table.metric for table in view_of(report).tables[:METRICS_SHOWN]]:
                if metric in scores:
                    assert score_text(scores[metric]) in text


@every_sample
def test_the_headline_comes_first_and_every_check_is_named_in_its_state(make):
    report = make()
    text = flat(report_lines(report))
    assert text.startswith(f"{TITLES[report.verdict.headline]}: {report.verdict.sentence}")
    assert report.verdict.good_for in text
    for check in report.verdict.checks:
        if check.state == "fired":
            assert f"FIRED {TITLES[check.name]}" in text
            assert check.summary.lower() in text.lower()
        else:
            assert check.name.replace("_", " ") in text
        if check.state == "cannot_tell":
            assert check.needs in text
            assert check.summary in text
        if check.state == "not_applicable":
            assert check.summary in text


@every_sample
def test_what_is_missing_from_the_table_has_its_reason_beneath_it(make):
    report = make()
    text, others = flat(report_lines(report)), dict(view_of(report).absences)
    assert set(others) < set(report.absent)
    for key, reason in report.absent.items():
        assert key in others or f"{key}: {reason}" in text


def test_each_change_stands_as_a_line_of_the_recipe_with_its_reason():
    text = flat(report_lines(overfit_classifier()))
    assert "training.num_train_epochs: 8.0 validation was best at step 240 (of 900)" in text
    assert text.index("training.num_train_epochs") < text.index("training.learning_rate")


def test_of_a_change_whose_value_a_person_has_to_choose_only_the_reason_is_given():
    report = overfit_classifier()
    choice = Change("data.train_file", None, "look at the suspect rows")
    text = flat(report_lines(replace(report, verdict=replace(report.verdict, changes=(choice,)))))
    assert "What to change look at the suspect rows" in text
    assert "data.train_file" not in text


def test_a_report_with_nothing_measured_is_still_one():
    bare = replace(forgetful_lm(), table={}, absent={}, rows={}, curve=(), forgetting=(), worst=(), notes=())
    text = "\n".join(report_lines(bare))
    assert "loss" in text
    assert "full report" not in text


def test_an_undefined_score_says_so():
    table = {"final": {"validation": {"loss": Score(None, None, None, 3)}}}
    assert "undefined" in "\n".join(report_lines(replace(forgetful_lm(), table=table)))


def test_lines_that_could_hold_no_cell_are_refused():
    with pytest.raises(ValueError, match="at least 40"):
        list(report_lines(forgetful_lm(), width=39))


def test_control_characters_do_not_reach_the_terminal():
    report = replace(overfit_classifier(), run="runs/\x1b[2Jgone")
    assert "\x1b" not in "\n".join(report_lines(report))


@pytest.mark.parametrize("exponent", range(-12, 13))
def test_a_figure_takes_at_most_six_characters(exponent):
    assert len(number(-9.999 * 10.0**exponent)) <= 7
    assert len(number(9.999 * 10.0**exponent)) <= 6
