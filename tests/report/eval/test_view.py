"""One view of a report: every form of it shows the same sections from the same values."""

from dataclasses import replace

import pytest

from ftkit.report.eval.html import report_html
from ftkit.report.eval.markdown import report_markdown
from ftkit.report.eval.terminal import METRICS_SHOWN, report_lines
from ftkit.report.eval.view import NUMBERED_CLASSES, view_of
from ftkit.report.eval.wording import STATES
from ftkit.report.safe import escaped
from tests.report.eval.test_samples import SAMPLES, forgetful_lm, overfit_classifier

every_sample = pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)


@every_sample
def test_every_form_shows_every_cell_footnote_change_and_fact(make):
    report = make()
    view = view_of(report)
    terminal = " ".join(" ".join(report_lines(report, width=400)).split())
    forms = {"markdown": report_markdown(report), "html": report_html(report), "terminal": terminal}
    for form, text in forms.items():
        tables = view.tables[:METRICS_SHOWN] if form == "terminal" else view.tables
        told = [
            *(name for table in tables for name, _ in table.rows),
            *(cell for table in tables for _, cells in table.rows for cell in cells if "[" not in cell),
            *(setting for setting, _ in view.changes),
            report.run,
        ]
        assert [one for one in told if one not in text and escaped(one) not in text] == [], form


@every_sample
def test_a_cell_without_a_score_has_the_number_of_its_reason(make):
    report = make()
    view = view_of(report)
    cells = [cell for table in view.tables for _, row in table.rows for cell in row if "[" in cell]
    assert cells
    assert set(cells) == {f"- [{place}]" for place in range(1, len(view.footnotes) + 1)}


def test_checks_stand_by_their_state_and_none_is_lost():
    report = overfit_classifier()
    view = view_of(report)
    assert list(view.checks) == list(STATES)
    assert sum(map(len, view.checks.values())) == len(report.verdict.checks)
    assert [check.name for check in view.checks["fired"]] == ["overfit", "forgetting"]


def test_a_large_matrix_is_told_by_its_commonest_mistakes_and_rows_without_a_name_by_their_number():
    size = NUMBERED_CLASSES + 1
    matrix = [[1 if row == column else 0 for column in range(size)] for row in range(size)]
    matrix[2][0], matrix[0][3] = 4, 7
    view = view_of(replace(overfit_classifier(), confusion=matrix, label_names=["first"]))
    assert not view.shows_matrix
    assert view.mistakes == [("first", "3", 7), ("2", "first", 4)]
    assert view_of(overfit_classifier()).mistakes == []


def test_a_run_whose_steps_are_not_known_says_so():
    assert ("best", "unknown") in view_of(replace(forgetful_lm(), best_step=None)).facts
