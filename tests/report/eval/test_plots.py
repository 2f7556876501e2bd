"""Figures: well-formed, the same every time, whole whatever the labels, and left out where there is nothing to draw."""

import re
import warnings
from dataclasses import replace
from functools import cache
from xml.etree import ElementTree

import matplotlib
import pytest

from ftkit.diagnosis.report import Point, Score
from ftkit.report.eval.class_plots import confusion_figure
from ftkit.report.eval.plots import curve_figure, fit_figure, forgetting_figure, svg_plots
from tests.report.eval.test_samples import LABELS, SAMPLES, forgetful_lm, overfit_classifier

every_sample = pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
DRAWN = {
    "classifier": ["curve", "fit", "reliability", "confusion"],
    "language_model": ["curve", "fit", "forgetting"],
}


@cache
def drawn(make):
    """The drawings of a sample, made once for all who only look at them."""
    return svg_plots(make())


def texts_of(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", SAMPLES)
def test_what_the_report_has_numbers_for_is_drawn_with_a_caption_that_says_how_many(name):
    plots = drawn(SAMPLES[name])
    assert [plot.name for plot in plots] == DRAWN[name]
    for plot in plots:
        ElementTree.fromstring(plot.svg)
        assert re.search(r"\d", plot.caption)


@every_sample
def test_the_same_report_gives_the_same_drawings_whatever_a_user_set(make):
    first = drawn(make)
    with matplotlib.rc_context({"font.size": 22, "axes.grid": False, "svg.fonttype": "path", "text.usetex": True}):
        assert svg_plots(make()) == first


@every_sample
def test_drawing_leaves_the_settings_of_matplotlib_alone(make):
    before = dict(matplotlib.rcParams)
    svg_plots(make())
    assert dict(matplotlib.rcParams) == before


@every_sample
def test_figures_of_one_page_share_no_id_and_load_nothing(make):
    plots = drawn(make)
    ids = [found for plot in plots for found in re.findall(r'\bid="([^"]+)"', plot.svg)]
    assert len(ids) == len(set(ids))
    for plot in plots:
        assert set(re.findall(r"url\(#(.+?)\)", plot.svg)) <= set(ids)
        for target in re.findall(r'(?:href|src)="([^"]+)"', plot.svg):
            assert target.startswith("data:image/png") or target.removeprefix("#") in ids


def test_axes_carry_their_units():
    plots = {plot.name: texts_of(plot.svg) for plot in drawn(overfit_classifier)}
    assert "loss (nats per example)" in plots["curve"]
    assert "train loss (nats per example)" in plots["fit"]
    assert "best, step 240" in plots["curve"]


def test_the_confusion_matrix_shows_labels_as_they_are_and_every_count():
    report = overfit_classifier()
    texts = texts_of(next(plot.svg for plot in drawn(overfit_classifier) if plot.name == "confusion"))
    assert all(texts.count(label) == 2 for label in LABELS)
    counts = sorted(str(count) for row in report.confusion for count in row)
    assert sorted(text for text in texts if text.isdigit()) == counts


@pytest.mark.parametrize("classes", [16, 77, 200])
def test_many_classes_are_drawn_without_numbers_and_with_thin_labels(classes):
    matrix = [[3 if row == column else 0 for column in range(classes)] for row in range(classes)]
    names = [f"a label with a long name {place}" for place in range(classes)]
    report = replace(overfit_classifier(), confusion=matrix, label_names=names)
    figure = confusion_figure(report)
    axes = figure.axes[0]
    assert not axes.texts
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert classes // 4 < len(labels) <= 80
    assert len(set(labels)) == len(labels), "cut labels are still told apart"
    assert max(figure.get_size_inches()) <= 11


def test_labels_in_any_script_and_with_control_characters_are_drawn_without_a_warning():
    names = ["退款", "доставка", "a\x00b", "$", "<svg>", "$\\frac{"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots = svg_plots(replace(overfit_classifier(), label_names=names))
    texts = texts_of(plots[-1].svg)
    assert {"退款", "доставка", "a\ufffdb", "$", "<svg>", "$\\frac{"} <= set(texts)


def test_points_without_a_value_are_left_out_of_the_curve():
    nothing = Score(None, None, None, 0)
    report = overfit_classifier()
    assert curve_figure(replace(report, curve=[*report.curve, Point(960, 32.0, nothing, nothing)])) is not None
    assert curve_figure(replace(report, curve=[Point(1, 1.0, nothing, nothing)] * 5)) is None


def test_nothing_is_drawn_from_nothing():
    empty = replace(forgetful_lm(), curve=(), table={}, forgetting=())
    assert svg_plots(empty) == []


def test_fit_holds_the_models_that_were_scored_on_both_sets():
    labels = [text.get_text() for text in fit_figure(forgetful_lm()).axes[0].get_legend().get_texts()]
    assert labels == ["as good on both", "base", "final"]


def test_models_that_are_equal_are_both_seen():
    report = overfit_classifier()
    figure = fit_figure(replace(report, table=dict.fromkeys(("best", "final"), report.table["best"])))
    sizes = [line.get_markersize() for line in figure.axes[0].lines if line.get_marker() in {"o", "^"}]
    assert sizes == sorted(set(sizes), reverse=True), "what is drawn later is smaller"


def test_documents_that_were_picked_for_their_rise_are_told_to_be_so():
    plots = {plot.name: plot for plot in drawn(forgetful_lm)}
    assert "picked for their rise" in plots["forgetting"].caption
    assert "mean of all 300, 0.642" in texts_of(plots["forgetting"].svg)
    every = replace(forgetful_lm(), rows={"reference": 40})
    assert "picked" not in next(plot.caption for plot in svg_plots(every) if plot.name == "forgetting")


def test_bars_of_forgetting_are_as_high_as_the_rises_and_sorted():
    report = forgetful_lm()
    heights = [bar.get_height() for bar in forgetting_figure(report).axes[0].patches]
    assert heights == sorted((one.tuned - one.base for one in report.forgetting), reverse=True)
