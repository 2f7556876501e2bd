"""The report as one HTML file: whole, escaped, and on its own."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from ftkit.diagnosis.report import Bin, DocumentLoss, Point, Score
from ftkit.diagnosis.verdict import TITLES, Evidence
from ftkit.report.eval.html import HTML_ROWS, TOKENS_SHOWN, report_html
from ftkit.report.eval.markdown import report_markdown
from ftkit.report.eval.strips import STRIP_WIDTH, coloured_tokens, strip_of
from ftkit.report.eval.terminal import report_lines
from ftkit.report.eval.wording import STATES, score_text
from tests.report.eval.test_samples import SAMPLES, SCRIPT, forgetful_lm, overfit_classifier

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Tags, attributes and visible text of a page; complains where tags do not match."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module", params=SAMPLES)
def sample(request):
    """A report, its HTML, and the page that a browser makes of it."""
    report = SAMPLES[request.param]()
    html = report_html(report)
    return report, html, Page(html)


def squeezed(text):
    return " ".join(text.split())


def test_headline_good_for_and_changes_are_there(sample):
    report, _, page = sample
    assert TITLES[report.verdict.headline] in page.text
    assert report.verdict.sentence in page.text
    assert report.verdict.good_for in page.text
    assert all(change.key in page.text and change.why in page.text for change in report.verdict.changes)


def test_every_score_and_every_piece_of_evidence_stands_in_it(sample):
    report, _, page = sample
    for sets in report.table.values():
        assert all(score_text(score) in page.text for scores in sets.values() for score in scores.values())
    for check in report.verdict.checks:
        assert all(f"{score_text(one)}" in page.text and one.what in page.text for one in check.evidence)


def test_every_check_stands_in_it_with_its_state(sample):
    report, _, page = sample
    assert {check.state for check in report.verdict.checks} == set(STATES)
    for check in report.verdict.checks:
        assert f"{TITLES[check.name]}{STATES[check.state]}" in page.text
        assert check.summary[1:] in page.text
        assert check.needs in page.text


def test_every_reason_note_and_word_stands_in_it(sample):
    report, _, page = sample
    for told in (*report.absent.values(), *report.notes, *report.words, *report.words.values()):
        assert told in page.text


def test_texts_of_users_are_shown_and_are_no_markup(sample):
    report, html, page = sample
    assert "<script" not in html
    assert "script" not in page.tags
    assert squeezed(SCRIPT) in page.text
    for row in (*report.worst, *report.suspects):
        assert squeezed(row.text) in page.text


def test_it_loads_nothing_and_runs_nothing(sample):
    _, html, page = sample
    for _tag, name, value in page.attributes:
        assert not name.startswith("on"), name
        if name in {"src", "href", "xlink:href", "action", "data", "poster", "srcset"}:
            assert value.startswith(("#", "data:image/png;base64,"))
    assert not {"script", "link", "iframe", "object", "embed", "base", "img"} & set(page.tags)
    assert not re.search(r"url\((?!#)|@import|@font-face", html)
    # names of XML, which nobody fetches
    assert set(re.findall(r"https?://[^\"'\s<>]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_every_drawing_is_well_formed_and_ids_are_its_own(sample):
    _, html, page = sample
    drawings = re.findall(r"<svg\b.*?</svg>", html, re.DOTALL)
    assert len(drawings) >= 4
    for drawing in drawings:
        ElementTree.fromstring(drawing)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_same_report_gives_the_same_page(sample):
    report, html, _ = sample
    assert report_html(report) == html


def test_what_is_not_shown_is_said_with_the_reason():
    empty = replace(
        forgetful_lm(), curve=(), forgetting=(), worst=(), drift={}, absent={"curve": "no history was kept"}
    )
    text = Page(report_html(empty)).text
    assert "Learning curve: no history was kept" in text
    assert "Confusion: only classifiers confuse labels" in text
    assert "Suspect rows: no row is suspected" in text
    assert "Worst errors: no error on validation was kept" in text


def test_documents_whose_tokens_were_not_kept_are_not_passed_over_in_silence():
    text = Page(report_html(replace(forgetful_lm(), forgetting=[DocumentLoss("d", 1.0, 2.0)]))).text
    assert "Forgetting token by token: the losses of single tokens were not kept" in text


def test_large_reports_are_cut_and_say_so():
    report = forgetful_lm()
    document = DocumentLoss("d", 1.0, 2.0, [("piece ", 0.1)] * (TOKENS_SHOWN + 7))
    text = Page(report_html(replace(report, worst=report.worst * 60, forgetting=[document]))).text
    assert f"The first {HTML_ROWS} of 60 rows" in text
    assert "7 more tokens are left out" in text
    assert text.count("piece") == TOKENS_SHOWN


NOTHING = Score(None, None, None, 0)
ODD = {
    "no names, no steps, one document": {
        "confusion": [[3, 1], [0, 2]],
        "label_names": [],
        "curve": (),
        "best_step": 240,
        "last_step": None,
        "forgetting": [DocumentLoss("", 1.0, 1.0)],
    },
    "empty matrix, one sure bin, no losses, no drift, same step, broken weights": {
        "confusion": [[0, 0], [0, 0]],
        "label_names": ["a", "b"],
        "calibration": [Bin(1.0, 1.0, 3)],
        "ece": NOTHING,
        "table": {"base": {"train": {"loss": NOTHING}, "validation": {"loss": NOTHING}}},
        "drift": {"all": 0.0, "head": float("nan")},
        "curve": [Point(5, 1.0, Score(1.0, None, None, 1), Score(0.0, 0.0, 0.0, 1))] * 3,
        "forgetting": [DocumentLoss("d", 1.0, float("nan"), [("x", float("inf"))])],
    },
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_odd_reports_are_shown_all_the_same(change):
    report = replace(overfit_classifier(), **change)
    Page(report_html(report))
    assert report_markdown(report)
    assert list(report_lines(report))


def test_characters_that_no_document_may_hold_are_replaced():
    report = overfit_classifier()
    row = replace(report.worst[0], text="a\x00\x1b\ud800b", given="\x07")
    html = report_html(replace(report, worst=[row], label_names=["\x01", "\ud800", *report.label_names[2:]]))
    html.encode("utf-8")
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", html)


def test_labels_are_no_markup_in_drawings_either():
    names = [SCRIPT, "--><script>", "]]>", "</svg><script>", '" onload="x', "</text>"]
    page = Page(html := report_html(replace(overfit_classifier(), label_names=names)))
    assert "<script" not in html
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert all(page.text.count(name) == 2 for name in names[1:])


def test_a_strip_keeps_the_order_of_its_figures_and_stays_within():
    found = strip_of(Evidence("", 0.31, 0.22, 0.41, 0.05))
    assert 0 < found.zero < found.margin < found.low < found.value < found.high < STRIP_WIDTH
    below = strip_of(Evidence("", -0.31, -0.41, None, 0.05))
    assert 0 < below.low < below.value == below.high < below.zero < below.margin < STRIP_WIDTH
    assert strip_of(Evidence("", 0.0)).value == strip_of(Evidence("", 0.0)).zero


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_figure_without_a_place_has_no_strip(value):
    assert strip_of(Evidence("", value, margin=0.1)) is None


def test_tokens_are_the_stronger_the_more_their_loss_moved():
    rose, little, fell, broke = coloured_tokens([("a", 3.0), ("b", 0.2), ("c", -1.0), ("d", float("nan"))])
    assert rose.background == broke.background == "rgba(213,94,0,0.65)"
    assert fell.background.startswith("rgba(0,114,178,")
    opacities = [float(token.background.rstrip(")").split(",")[-1]) for token in (little, fell, rose)]
    assert opacities == sorted(opacities)
    assert (rose.marked, little.marked, fell.marked) == (True, False, False)
