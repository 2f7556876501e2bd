"""What counts as standing in the training set: copies and near copies do, relatives of one template count as chance."""

import numpy as np
import pytest

from ftkit.evaluation.overlap import find_overlap, find_text_overlap

SENTENCE = "the committee decided on Monday to postpone the final vote until next spring"
CHANGED = "the committee decided on Tuesday to postpone the final vote until next spring"
OTHERS = ["rain is expected over the northern hills tonight", "she sold her bicycle to a neighbour for forty pounds"]


def words(count, *, seed, vocabulary=2000):
    return " ".join(f"w{number}" for number in np.random.default_rng(seed).integers(0, vocabulary, count))


def compare(held_out, train, held_out_targets=None, train_targets=None):
    return find_overlap(held_out, train, held_out_targets=held_out_targets, train_targets=train_targets)


def test_a_copied_row_is_exact_and_knows_its_partner():
    overlap = compare([OTHERS[1], "something else"], [SENTENCE, *OTHERS])
    assert overlap.exact.tolist() == [True, False]
    assert overlap.partners.tolist() == [2, -1]
    assert not overlap.near.any()


def test_case_spacing_and_width_of_letters_do_not_matter():
    overlap = compare(
        [f"  {SENTENCE.upper()} ", SENTENCE.replace(" ", "\t\n"), "ｆｒｅｅ entry"], [SENTENCE, "Free entry"]
    )
    assert overlap.exact.all()


def test_a_copy_is_exact_whatever_its_label():
    assert compare([SENTENCE], [SENTENCE], [1], [0]).exact.all()


@pytest.mark.parametrize("edit", [CHANGED, SENTENCE.replace("final ", ""), SENTENCE.replace("vote", "vote -") + "!!"])
def test_an_edited_sentence_is_near_only_if_its_label_is_the_same(edit):
    train = [*OTHERS, SENTENCE]
    same, other = compare([edit], train, [1], [0, 0, 1]), compare([edit], train, [2], [0, 0, 1])
    assert same.near.all()
    assert same.partners.tolist() == [2]
    assert not same.exact.any()
    assert not other.near.any()


def test_targets_that_are_texts_may_differ_a_little():
    target = "der Ausschuss verschob die Abstimmung auf das Frühjahr"
    for wanted, near in ((target.upper(), True), (target + ".", True), ("etwas ganz anderes", False)):
        assert compare([CHANGED], [SENTENCE], [wanted], [target]).near.tolist() == [near]


def test_another_sentence_of_a_template_is_not_near():
    train = ["please book a flight from Paris to London", "please play a song by Madonna"]
    overlap = compare(
        ["please book a flight from Oslo to Madrid", "please play a song by Beyonce"], train, [0, 1], [0, 1]
    )
    assert not (overlap.near | overlap.exact).any()


def test_rows_of_a_template_have_near_neighbours_by_chance_and_copies_do_not_count():
    rows = [f"walk around the old house left and then jump to the right {a} times" for a in ("two", "three", "four")]
    assert compare([], rows).near_rate_of_chance == 1.0
    assert compare([], [SENTENCE] * 5 + OTHERS).near_rate_of_chance == 0.0


def test_near_copies_planted_in_random_text_are_found_and_nothing_else():
    train = [words(14, seed=seed) for seed in range(400)]
    copies = [" ".join(["other", *text.split()[1:]]) for text in train[:40]]
    fresh = [words(14, seed=1000 + seed) for seed in range(60)]
    overlap = compare(copies + fresh, train)
    assert overlap.near.tolist() == [True] * 40 + [False] * 60
    assert overlap.partners[:40].tolist() == list(range(40))
    assert overlap.near_rate_of_chance == 0.0


def test_without_the_commonest_shingles_near_copies_are_still_found(monkeypatch):
    monkeypatch.setattr("ftkit.evaluation.shingles.MAX_PRODUCTS", 30_000)
    train = [words(14, seed=seed) for seed in range(200)]
    assert compare([" ".join(["other", *text.split()[1:]]) for text in train[:20]], train).near.mean() > 0.8


def test_nothing_and_texts_without_letters_are_no_neighbours():
    assert len(compare([], []).exact) == 0
    overlap = compare(["!!!", ""], ["???", "text"])
    assert not (overlap.near | overlap.exact).any()
    assert compare(["text"], []).partners.tolist() == [-1]


def test_the_same_seed_gives_the_same_rate_of_chance():
    rows = [f"{words(12, seed=seed // 2)} {seed}" for seed in range(2400)]
    first, second = (find_overlap([], rows, held_out_targets=None, train_targets=None, seed=4) for _ in range(2))
    assert first.near_rate_of_chance == second.near_rate_of_chance == 1.0


def test_a_document_most_of_whose_word_runs_stand_in_training_is_near():
    train = [words(200, seed=seed) for seed in range(30)]
    middle = " ".join(train[7].split()[50:150])
    half = " ".join(train[7].split()[:50]) + " " + words(50, seed=99)
    overlap = find_text_overlap([train[3].upper(), middle + ".", half, words(100, seed=98)], train)
    assert overlap.exact.tolist() == [True, False, False, False]
    assert overlap.near.tolist() == [False, True, False, False]
    assert overlap.partners.tolist() == [3, 7, -1, -1]
    assert overlap.near_rate_of_chance == 0.0


def test_short_documents_are_judged_by_equality_alone():
    train = [words(200, seed=1)]
    short, long = (" ".join(train[0].split()[:count]) for count in (12, 13))
    assert find_text_overlap([short, long], train).near.tolist() == [False, True]


def test_documents_that_share_their_runs_have_a_rate_of_chance_and_copies_do_not_count():
    licence = words(100, seed=1)
    assert find_text_overlap([], [f"{licence} {seed}" for seed in range(5)]).near_rate_of_chance == 1.0
    assert find_text_overlap([], [licence] * 5).near_rate_of_chance == 0.0


def test_documents_read_in_parts_are_judged_as_in_one(monkeypatch):
    train = [words(60, seed=seed // 2) + f" {seed}" for seed in range(40)]
    whole = find_text_overlap([*train[:5], train[9] + " more"], train[5:])
    monkeypatch.setattr("ftkit.evaluation.overlap.PART_LETTERS", 500)
    parts = find_text_overlap([*train[:5], train[9] + " more"], train[5:])
    assert (whole.near == parts.near).all()
    assert (whole.partners == parts.partners).all()
    assert whole.near_rate_of_chance == parts.near_rate_of_chance > 0.9
