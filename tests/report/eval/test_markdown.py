"""The report as markdown: everything is in it, and nothing of a user's text is rendered."""

from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from ftkit.diagnosis.verdict import TITLES
from ftkit.report.eval.markdown import MARKDOWN_ROWS, code, escaped, report_markdown
from ftkit.report.eval.wording import STATES, number, score_text
from tests.report.eval.test_samples import LABELS, SAMPLES, SCRIPT, forgetful_lm, overfit_classifier

every_sample = pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)


def rendered(markdown):
    return MarkdownIt("commonmark").enable("table").render(markdown)


@every_sample
def test_every_score_and_every_piece_of_evidence_stands_in_it(make):
    report = make()
    text = report_markdown(report)
    for sets in report.table.values():
        for scores in sets.values():
            assert all(score_text(score) in text for score in scores.values())
    for check in report.verdict.checks:
        assert f"### {TITLES[check.name]} ({STATES[check.state]})" in text
        assert check.needs in text
        for one in check.evidence:
            assert f"| {one.what} | {score_text(one)} |" in text


@every_sample
def test_every_reason_note_and_word_stands_in_it(make):
    report = make()
    text = report_markdown(report)
    for told in (*report.absent.values(), *report.notes, *report.words.values()):
        assert escaped(told) in text


@every_sample
def test_texts_of_users_are_shown_and_not_rendered(make):
    html = rendered(report_markdown(make()))
    assert "&lt;script&gt;alert" in html
    for made in ("<script", "<b>", "<em>bold", "<strong>bold"):
        assert made not in html


@every_sample
def test_every_row_of_a_table_has_the_cells_of_its_head(make):
    html = rendered(report_markdown(make()))
    assert "<p>|" not in html
    for table in html.split("<table>")[1:]:
        head, body = table.split("</table>")[0].split("</thead>")
        widths = {row.count("<td>") for row in body.split("<tr>")[1:]}
        assert widths <= {head.count("<th>")}


@pytest.mark.parametrize("text", ["a|b", "a\\|b", "`", "``x` |", "ends in \\", SCRIPT])
def test_code_in_a_table_shows_the_text_that_it_was_given(text):
    html = rendered(f"| a | b |\n| --- | --- |\n| {code(text)} | end |")
    assert html.count("<td>") == 2
    shown = html.split("<code>")[1].split("</code>")[0]
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(entity, char)
    assert shown.replace(" ", "") == text.replace(" ", "")


def test_the_confusion_matrix_is_whole_when_small_and_told_by_its_mistakes_when_large():
    report = overfit_classifier()
    assert f"| {code(LABELS[3])} | 4 | 5 | 0 | 22 | 2 | 0 |" in report_markdown(report)
    large = [[9 if row == column else 0 for column in range(20)] for row in range(20)]
    large[7][11] = 5
    text = report_markdown(replace(report, confusion=large, label_names=[f"label{place}" for place in range(20)]))
    assert "| `label7` | `label11` | 5 |" in text


def test_long_lists_are_cut_and_say_so():
    report = forgetful_lm()
    text = report_markdown(replace(report, worst=report.worst * (MARKDOWN_ROWS + 5)))
    assert f"The first {MARKDOWN_ROWS} of {MARKDOWN_ROWS + 5} rows" in text
    assert "The first" not in report_markdown(report)


def test_the_rise_of_each_document_is_given():
    report = forgetful_lm()
    text = report_markdown(report)
    assert all(f"| {number(one.tuned - one.base)} |" in text for one in report.forgetting)
