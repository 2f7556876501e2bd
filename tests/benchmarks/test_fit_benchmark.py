"""Plantings and the arithmetic of the fit benchmark; nothing is trained."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from fit.conditions import SETS, make_set
from fit.pairs import SLOTS, make_mapping, sources
from fit.plants import COLUMNS, Plant, make_material, mislabelled, nearly, rows_of
from fit.prose import LOCKED_PAIRS, TUNING_PAIRS
from fit.scoring import NAIVE, cleared, confusion, is_half_right, naive_score, own_score, share, upper_bound
from fit.table import render

from ftkit.diagnosis.verdict import HEADLINES


def plant(task: str = "classification", corpus: str = "topics:3", **fields: Any) -> Plant:
    settings: dict[str, Any] = {"method": {"type": "full"}, "training": {"learning_rate": 1.0}, "seed": 5}
    return Plant("one", "healthy", task, corpus, **(settings | {"num_train": 120, "num_validation": 60} | fields))


@pytest.mark.parametrize("name", SETS)
def test_every_plant_has_a_name_of_its_own_and_a_headline_that_exists(name: str) -> None:
    plants = make_set(name)
    assert len({one.name for one in plants}) == len(plants)
    assert {one.condition for one in plants} <= set(HEADLINES)
    assert len({one.seed for one in plants}) == len(plants)


def test_the_two_sets_share_no_seed_no_alphabet_and_no_package() -> None:
    tuning, locked = make_set("tuning"), make_set("locked")
    assert not {one.seed for one in tuning} & {one.seed for one in locked}
    assert not set(SETS["tuning"].alphabets) & set(SETS["locked"].alphabets)
    assert not set(itertools.chain(*TUNING_PAIRS)) & set(itertools.chain(*LOCKED_PAIRS))


def test_the_locked_set_has_enough_healthy_runs_for_a_bound_of_two_percent() -> None:
    assert sum(one.condition == "healthy" for one in make_set("locked")) >= 149


@pytest.mark.parametrize("one", [plant(), plant("causal_lm", "dialect"), plant("seq2seq", "mapping")])
def test_without_a_fault_no_text_is_in_two_sets(one: Plant) -> None:
    data = make_material(one)
    key = COLUMNS[one.task]
    sets = [{row[key] for row in rows} for rows in (data.train, data.validation, data.fresh, data.more)]
    assert sum(map(len, sets)) == len(set().union(*sets))
    assert (len(data.train), len(data.validation)) == (120, 60)


@pytest.mark.parametrize("part", [0.1, 0.3, 1.0])
def test_a_leak_puts_exactly_that_share_of_validation_into_train(part: float) -> None:
    data = make_material(plant(fault={"leak": part}))
    train = {row["text"] for row in data.train}
    assert sum(row["text"] in train for row in data.validation) == round(part * 60)
    assert len(data.train) == 120


def test_a_near_copy_is_no_copy_and_differs_by_one_word() -> None:
    one = plant(fault={"near": 1.0})
    data = make_material(one)
    assert not {row["text"] for row in data.train} & {row["text"] for row in data.validation}
    beginnings = {row["text"].rsplit(" ", 1)[0] for row in data.train}
    assert all(row["text"] in beginnings for row in data.validation)


def test_noise_changes_exactly_that_share_of_the_labels_and_no_text() -> None:
    import random

    rows = make_material(plant()).train
    noisy = mislabelled(rows, share=0.4, draw=random.Random(1))
    assert [row["text"] for row in noisy] == [row["text"] for row in rows]
    assert sum(a["label"] != b["label"] for a, b in zip(rows, noisy, strict=True)) == 48


def test_each_canary_stands_as_often_in_train_as_it_was_planted() -> None:
    data = make_material(plant("causal_lm", "dialect", fault={"canaries": 50}))
    counts = Counter(row["text"] for row in data.train)
    assert {counts[row["text"]] for row in data.canaries} == {50}


def test_the_same_plant_is_the_same_rows_and_another_seed_is_others() -> None:
    assert make_material(plant()).train == make_material(plant()).train
    assert make_material(plant()).train != make_material(plant(seed=6)).train


def test_a_target_names_one_word_of_every_slot() -> None:
    mapping = make_mapping(3)
    source = next(sources(mapping, seed=1))
    assert len(mapping.translate(source).split()) == SLOTS


def test_an_unseen_alphabet_shares_no_letter_with_latin() -> None:
    row = next(iter(rows_of(plant("causal_lm", "foreign:georgian"))))
    assert not any(letter.isascii() for letter in row["text"] if letter != " ")


@pytest.mark.slow
@pytest.mark.parametrize("pair", [*TUNING_PAIRS, *LOCKED_PAIRS])
def test_packages_have_prose_enough_for_the_largest_of_their_runs_and_its_check(pair: tuple[str, str]) -> None:
    corpus = f"english:{'+'.join(pair)}"
    largest = max(
        (one for name in SETS for one in make_set(name) if one.corpus == corpus), key=lambda one: one.num_train
    )
    assert len(make_material(largest).fresh) >= 150


def test_a_near_pair_keeps_its_target() -> None:
    import random

    row = {"source": "a b", "target": "c"}
    assert nearly(plant("seq2seq", "mapping"), row, random.Random(1))["target"] == "c"


def record(condition: str, headline: str, *fired: str, confirmed: bool = True, **more: Any) -> dict[str, Any]:
    names = {"name": f"{condition}-{headline}", "condition": condition, "headline": headline, "fired": list(fired)}
    return {**names, "confirmed": confirmed, **more}


def test_the_bound_of_a_share_solves_its_binomial_tail() -> None:
    from scipy.stats import binom

    found = share(57, 60)
    assert binom.sf(56, 60, found.low) == pytest.approx(0.025)
    assert binom.cdf(57, 60, found.high) == pytest.approx(0.025)
    assert upper_bound(0, 149) == pytest.approx(1 - 0.05 ** (1 / 149))


def test_runs_whose_planting_failed_are_counted_and_not_scored() -> None:
    records = [record("overfit", "overfit", "overfit"), record("overfit", "healthy", confirmed=False)]
    assert confusion(records) == {"overfit": Counter({"overfit": 1})}
    assert "overfit             2    1    1    0" in render(records)


def test_what_fired_behind_another_headline_is_half_right() -> None:
    assert is_half_right(record("forgetting", "overfit", "overfit", "forgetting"))
    assert not is_half_right(record("forgetting", "forgetting", "forgetting"))


def test_advice_that_no_key_carries_out_is_counted_apart() -> None:
    assert cleared(record("leakage", "leakage", "leakage", advised={"keys": []})) is None
    assert cleared(record("overfit", "overfit", "overfit", advised={"keys": ["a"], "fired": []})) is True
    assert cleared(record("overfit", "overfit", "overfit", advised={"keys": ["a"], "fired": ["overfit"]})) is False


@pytest.mark.parametrize(
    ("rule", "validation", "train", "metric", "said"),
    [
        ("val > 1.1 x train", [1.0, 1.2], [1.0, 1.0], [0.5, 0.5], "overfit"),
        ("val > 1.1 x train", [1.0, 1.05], [1.0, 1.0], [0.5, 0.5], "healthy"),
        ("eval > 1.2 x its minimum", [1.0, 1.3], [1.0, 1.0], [0.5, 0.5], "overfit"),
        ("metric 10 % below its best", [1.0, 1.0], [1.0, 1.0], [0.5, 0.44], "overfit"),
        ("always healthy", [1.0, 9.0], [1.0, 0.0], [0.5, 0.0], "healthy"),
    ],
)
def test_naive_rules_say_what_their_names_say(
    rule: str, validation: list[float], train: list[float], metric: list[float], said: str
) -> None:
    assert NAIVE[rule]({"validation": validation, "train": train, "metric": metric}) == said


def test_always_healthy_raises_no_alarm_and_notices_no_fault() -> None:
    naive = {"naive": {"always healthy": "healthy"}}
    found = naive_score(
        [record("healthy", "healthy", **naive), record("overfit", "overfit", **naive)], "always healthy"
    )
    assert (found.right.value, found.told_faulty.value, found.false_alarms.value) == (0.5, 0.0, 0.0)


def test_what_cannot_be_told_is_neither_noticed_nor_a_false_alarm() -> None:
    found = own_score([
        record("healthy", "healthy"), record("healthy", "cannot_tell"), record("healthy", "overfit"),
        record("overfit", "overfit"), record("overfit", "forgetting"), record("overfit", "cannot_tell"),
    ])  # fmt: skip
    assert [(part.count, part.total) for part in found] == [(2, 6), (2, 3), (1, 3)]
