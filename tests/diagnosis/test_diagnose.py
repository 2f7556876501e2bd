"""Each rule of the diagnosis, by measurements whose verdict is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ftkit.diagnosis.diagnose import diagnose
from ftkit.diagnosis.measurements import (
    DomainGap,
    Forgetting,
    LabelNoise,
    Measurements,
    Overlap,
    Reproduction,
    Setting,
    Trial,
    TrialKind,
)
from ftkit.diagnosis.verdict import CHECKS, Check, Verdict
from ftkit.metrics.scores import Scores
from tests.diagnosis.conftest import curve, falling, losses, with_predictions


def check(verdict: Verdict, name: str) -> Check:
    return next(one for one in verdict.checks if one.name == name)


def keys(verdict: Verdict) -> dict[str, object]:
    return {change.key: change.value for change in verdict.changes}


def test_a_run_that_learnt_levelled_off_and_forgot_nothing_is_healthy(healthy: Measurements):
    verdict = diagnose(healthy)
    assert verdict.headline == "healthy"
    assert verdict.fired == ()
    assert verdict.changes == []


def test_a_healthy_run_of_which_something_is_not_known_says_what(healthy: Measurements):
    assert "forgetting" not in diagnose(healthy).sentence
    verdict = diagnose(replace(healthy, forgetting=Forgetting("unknown", "not measured")))
    assert verdict.headline == "healthy"
    told, untold = verdict.sentence.split("; not told: ")
    assert "no check fired" in told.lower()
    assert "forgetting" in untold.split(", ")


def test_every_check_is_listed_once_in_the_order_of_gravity(healthy: Measurements):
    assert tuple(one.name for one in diagnose(healthy).checks) == CHECKS


def test_a_validation_loss_that_rises_after_its_best_step_is_overfit_and_the_best_step_is_the_advice(
    healthy: Measurements,
):
    points = curve(falling, lambda share: falling(share) + max(0.0, share - 0.4))
    last = {(model, "validation"): points[-1].validation for model in ("best", "final")}
    verdict = diagnose(replace(healthy, curve=points, losses={**healthy.losses, **last}))
    assert "overfit" in verdict.fired
    # 0.6 nat up from step 400 on, from which the curve still falls a little by itself
    rise = check(verdict, "overfit").evidence[0]
    assert rise.value == pytest.approx(0.5, abs=0.11)
    best = min(points[1:], key=lambda point: point.validation.loss)
    assert keys(verdict)["training.num_train_epochs"] == pytest.approx(4 * best.step / 1_000)


def test_a_run_that_was_never_better_than_its_base_on_validation_is_advised_smaller_steps_and_not_fewer(
    healthy: Measurements,
):
    base = healthy.losses["base", "validation"].loss
    points = curve(falling, lambda share: base + (0.5 + share if share > 0 else 0.0))
    last = {(model, "validation"): points[-1].validation for model in ("best", "final")}
    verdict = diagnose(replace(healthy, curve=points, losses={**healthy.losses, **last}))
    assert "overfit" in verdict.fired
    rate = healthy.setting.learning_rate
    assert rate is not None
    assert keys(verdict)["training.learning_rate"] == pytest.approx(rate / 10)
    assert "training.num_train_epochs" not in keys(verdict)


def test_validation_that_rises_by_less_than_the_margin_is_not_overfit(healthy: Measurements):
    points = curve(falling, lambda share: falling(share) + 0.2 + max(0.0, share - 0.96))
    assert check(diagnose(replace(healthy, curve=points)), "overfit").state == "clear"


def test_a_straight_line_is_not_converged_however_small_the_gain_and_asks_for_a_higher_rate(healthy: Measurements):
    points = curve(lambda share: 3 - 0.001 * share, lambda share: 3.05 - 0.001 * share)
    sets = {key: points[-1].train if key[1] == "train" else value for key, value in healthy.losses.items()}
    verdict = diagnose(replace(healthy, curve=points, losses=sets))
    assert verdict.headline == "not_converged"
    assert keys(verdict)["training.learning_rate"] == pytest.approx(1e-1)


def test_a_loss_that_is_nearly_gone_has_converged_however_straight_its_curve(healthy: Measurements):
    points = curve(lambda share: 3 - 2.8 * share, lambda share: 3.05 - 2.8 * share)
    assert check(diagnose(replace(healthy, curve=points)), "not_converged").state == "clear"


def test_a_curve_of_four_time_constants_has_converged(healthy: Measurements):
    points = curve(lambda s: falling(s, constants=4.0), lambda s: falling(s, constants=4.0) + 0.05)
    assert check(diagnose(replace(healthy, curve=points)), "not_converged").state == "clear"


@pytest.mark.parametrize("kind", ["rate", "faster"])
def test_a_flat_curve_is_caught_by_a_trial_that_learns_more(healthy: Measurements, kind: TrialKind):
    points = curve(lambda _share: 3.0, lambda _share: 3.05)
    flat = {(model, which): losses(3.0, seed=1 if which == "train" else 2) for model in ("best", "final", "base")
            for which in ("train", "validation")}  # fmt: skip
    trial = Trial(kind, "a trial", losses(2.0, seed=1), losses(2.1, seed=2), {"training.learning_rate": 1e-2})
    verdict = diagnose(replace(healthy, curve=points, losses={**healthy.losses, **flat}, trials=[trial]))
    assert verdict.headline == "not_converged"
    assert keys(verdict)["training.learning_rate"] == 1e-2


def tried_for_longer(found: Measurements, *, train: float, validation: float) -> Measurements:
    """The run with a trial of three times the length that ended at these losses."""
    changed: dict[str, object] = {"training.num_train_epochs": 12.0}
    trial = Trial("longer", "a trial", losses(train, seed=1), losses(validation, seed=2), changed)
    return replace(found, trials=[*found.trials, trial])


@pytest.mark.parametrize(("after", "factor"), [(2.06, 7.5), (1.5, 20.0), (2.2, 6.2)])
def test_how_much_longer_is_advised_follows_from_what_three_times_the_length_brought(
    healthy: Measurements, after: float, factor: float
):
    # from 4 to 3 nats; 2.06 is reached with exp(-t / tau) = 0.59: four time constants are 7.5 t
    points = curve(lambda share: 4 - share, lambda share: 4 - share)
    last = {(model, which): losses(3.0, seed=1 if which == "train" else 2) for model in ("best", "final")
            for which in ("train", "validation")}  # fmt: skip
    found = replace(healthy, curve=points, losses={**healthy.losses, **last})
    verdict = diagnose(tried_for_longer(found, train=after, validation=after))
    assert verdict.headline == "not_converged"
    assert keys(verdict)["training.num_train_epochs"] == pytest.approx(4.0 * factor, rel=0.02)


def test_of_two_trials_that_learnt_more_the_better_is_advised(healthy: Measurements):
    points = curve(lambda _share: 3.0, lambda _share: 3.05)
    flat = {(model, which): losses(3.0, seed=1 if which == "train" else 2) for model in ("best", "final", "base")
            for which in ("train", "validation")}  # fmt: skip
    trials = [
        Trial("rate", "ten", losses(2.6, seed=1), losses(2.6, seed=2), {"training.learning_rate": 1e-2}),
        Trial("faster", "hundred", losses(1.0, seed=1), losses(1.0, seed=2), {"training.learning_rate": 1e-1}),
    ]
    for order in (trials, trials[::-1]):
        found = replace(healthy, curve=points, losses={**healthy.losses, **flat}, trials=order)
        assert keys(diagnose(found))["training.learning_rate"] == 1e-1


def fell_late(found: Measurements) -> Measurements:
    """A run whose loss stayed at 3 nats for half of the time, then fell to 1 in a straight line."""
    points = curve(lambda share: 3 - 4 * max(0.0, share - 0.5), lambda share: 3.03 - 4 * max(0.0, share - 0.5))
    sets = {(model, which): getattr(points[-1], which) for model in ("best", "final")
            for which in ("train", "validation")}  # fmt: skip
    return replace(found, curve=points, losses={**found.losses, **sets})


def test_a_loss_that_fell_late_has_converged_where_three_times_the_length_brings_nothing(healthy: Measurements):
    assert diagnose(fell_late(healthy)).headline == "not_converged"
    assert diagnose(tried_for_longer(fell_late(healthy), train=0.98, validation=1.01)).headline == "healthy"


def test_a_straight_line_has_not_converged_because_three_times_of_hardly_anything_is_little(healthy: Measurements):
    points = curve(lambda share: 3 - 0.001 * share, lambda share: 3.05 - 0.001 * share)
    sets = {(model, which): getattr(points[-1], which) for model in ("best", "final")
            for which in ("train", "validation")}  # fmt: skip
    found = replace(healthy, curve=points, losses={**healthy.losses, **sets})
    assert diagnose(tried_for_longer(found, train=2.997, validation=3.047)).headline == "not_converged"


def test_a_trial_that_gains_little_of_what_the_run_gained_is_no_sign_of_underfitting(healthy: Measurements):
    # 0.08 nat of the 0.08 that are left on validation, but the run gained 1.97
    points = curve(lambda share: 2.05 - 1.97 * min(1.0, 3 * share), lambda share: 2.05 - 1.97 * min(1.0, 3 * share))
    sets = {(model, which): getattr(points[-1], which) for model in ("best", "final")
            for which in ("train", "validation")}  # fmt: skip
    found = replace(healthy, curve=points, losses={**healthy.losses, **sets})
    assert "not_converged" not in diagnose(tried_for_longer(found, train=0.0, validation=0.0)).fired
    assert "not_converged" in diagnose(tried_for_longer(found, train=-0.06, validation=-0.06)).fired


def test_a_trial_that_a_few_rows_alone_speak_for_leaves_a_levelled_curve_as_it_is(healthy: Measurements):
    # 0.2 nat a token on average, but of three documents alone
    kept, gain = healthy.losses["best", "validation"], np.zeros(400)
    gain[:3] = 0.2 * 400 / 3
    few = replace(kept, nll=kept.nll - gain * kept.num_targets)
    trial = Trial("longer", "a trial", losses(0.5, seed=1), few, {"training.num_train_epochs": 12.0})
    verdict = diagnose(replace(healthy, trials=[trial]))
    assert check(verdict, "not_converged").state == "clear"
    assert verdict.headline == "healthy"


def test_a_model_that_saw_its_rows_less_than_once_is_advised_three_passes(healthy: Measurements):
    points = curve(lambda s: 3 - 0.59 * s - 0.41 * s**0.5, lambda s: 3.03 - 0.59 * s - 0.41 * s**0.5)
    sets = {key: points[-1].train if key[1] == "train" else value for key, value in healthy.losses.items()}
    setting = replace(healthy.setting, num_train_epochs=0.4, num_epochs_done=0.4)
    verdict = diagnose(replace(healthy, curve=points, losses=sets, setting=setting))
    assert verdict.headline == "not_converged"
    assert keys(verdict) == {"training.num_train_epochs": pytest.approx(3.0)}


def test_an_adapter_that_full_training_outdoes_on_train_and_validation_lacks_capacity(healthy: Measurements):
    trial = Trial("unfrozen", "a trial", losses(0.5, seed=1), losses(0.7, seed=2), {"method.type": "full"})
    found = replace(healthy, trains="adapter", trials=[trial])
    assert diagnose(found).headline == "capacity"
    assert keys(diagnose(found))["method.type"] == "full"


def test_a_trial_that_learns_train_alone_is_no_sign_of_lacking_capacity(healthy: Measurements):
    trial = Trial("unfrozen", "a trial", losses(0.2, seed=1), losses(1.4, seed=2), {"method.type": "full"})
    assert check(diagnose(replace(healthy, trains="adapter", trials=[trial])), "capacity").state == "clear"


def test_an_adapter_that_learns_train_much_better_than_validation_has_room_and_one_a_little_better_may_not(
    healthy: Measurements,
):
    def adapter(train: float, validation: float) -> str:
        sets = {(model, "train"): losses(train, seed=1) for model in ("best", "final")}
        sets |= {(model, "validation"): losses(validation, seed=2) for model in ("best", "final")}
        found = replace(healthy, trains="adapter", losses={**healthy.losses, **sets})
        return check(diagnose(found), "capacity").state

    assert adapter(1.6, 2.2) == "clear"
    assert adapter(1.6, 1.8) == "cannot_tell"


def test_what_more_time_brings_as_well_is_not_for_want_of_trained_weights(healthy: Measurements):
    trial = Trial("rank", "a trial", losses(0.7, seed=1), losses(0.8, seed=2), {"method.r": 64})
    found = replace(healthy, trains="adapter", trials=[trial])
    assert "capacity" in diagnose(found).fired
    assert "capacity" not in diagnose(tried_for_longer(found, train=0.75, validation=0.79)).fired


def test_capacity_does_not_apply_where_every_weight_is_trained(healthy: Measurements):
    assert check(diagnose(healthy), "capacity").state == "not_applicable"


def test_a_base_far_from_the_data_that_learnt_little_of_them_has_a_domain_gap(healthy: Measurements):
    far, near = losses(6.0, seed=2), losses(2.0, seed=3)
    domain = DomainGap(far.nll, far.num_targets, near.nll, near.num_targets, 1.0)
    little = {("base", "validation"): far, ("best", "validation"): losses(5.5, seed=2)}
    verdict = diagnose(replace(healthy, domain=domain, losses={**healthy.losses, **little}))
    assert "domain_gap" in verdict.fired


def test_a_domain_gap_that_training_closed_is_no_fault(healthy: Measurements):
    far, near = losses(6.0, seed=2), losses(2.0, seed=3)
    domain = DomainGap(far.nll, far.num_targets, near.nll, near.num_targets, 1.0)
    much = {("base", "validation"): far, ("best", "validation"): losses(2.2, seed=2), ("best", "train"): losses(2.1)}
    verdict = diagnose(replace(healthy, domain=domain, losses={**healthy.losses, **much}))
    assert check(verdict, "domain_gap").state == "clear"


def far_domain(*, validation_letters: int = 0, reference_letters: int = 0) -> DomainGap:
    """A base that loses 6 nats a token on the data and 2 on the reference."""
    far, near = losses(6.0, seed=2), losses(2.0, seed=3)
    return DomainGap(
        far.nll, far.num_targets, near.nll, near.num_targets, 1.0,
        validation_letters=validation_letters, reference_letters=reference_letters,
    )  # fmt: skip


def far_run(found: Measurements, domain: DomainGap, *, train: float, validation: float) -> Measurements:
    """A run on it whose kept model gives these mean losses."""
    sets = {("base", "validation"): losses(6.0, seed=2)}
    for model in ("best", "final"):
        sets |= {(model, "train"): losses(train, seed=1), (model, "validation"): losses(validation, seed=2)}
    return replace(found, domain=domain, losses={**found.losses, **sets})


def test_far_data_that_are_learnt_by_heart_and_not_carried_over_have_a_domain_gap(healthy: Measurements):
    verdict = diagnose(far_run(healthy, far_domain(), train=1.0, validation=2.2))
    assert "domain_gap" in verdict.fired
    assert keys(verdict).keys() >= {"model.name_or_path", "data.train_file"}
    assert "domain_gap" not in diagnose(far_run(healthy, far_domain(), train=1.9, validation=2.2)).fired


def test_weights_kept_from_before_that_count_as_well_while_a_letter_costs_more_than_one_of_the_reference(
    healthy: Measurements,
):
    points = curve(falling, lambda share: falling(share) + 1.0)
    domain = far_domain(validation_letters=8_000, reference_letters=8_000)
    dearer = far_run(replace(healthy, curve=points), domain, train=2.1, validation=2.2)
    cheaper = far_run(replace(healthy, curve=points), domain, train=1.8, validation=1.9)
    assert "domain_gap" in diagnose(dearer).fired
    assert "domain_gap" not in diagnose(cheaper).fired


def test_weights_kept_from_before_that_count_as_well_while_the_gap_is_half_open(healthy: Measurements):
    points = curve(falling, lambda share: falling(share) + 1.0)
    half = far_run(replace(healthy, curve=points), far_domain(), train=3.4, validation=3.5)
    closed = far_run(replace(healthy, curve=points), far_domain(), train=2.3, validation=2.4)
    assert "domain_gap" in diagnose(half).fired
    assert "domain_gap" not in diagnose(closed).fired


def test_far_data_that_carry_over_were_learnt_however_much_a_letter_costs(healthy: Measurements):
    # 8,000 targets each: a token is one letter of the data and two of the reference
    domain = far_domain(validation_letters=8_000, reference_letters=16_000)
    points = curve(lambda share: 6 - 3.9 * share, lambda share: 6.1 - 3.9 * share)
    dear = far_run(replace(healthy, curve=points), domain, train=2.1, validation=2.2)
    assert check(diagnose(dear), "domain_gap").state == "clear"


def test_text_in_tokens_of_a_letter_each_need_lie_less_above_train_a_token(healthy: Measurements):
    # 8,000 targets each: a token is one letter of the data and four of the reference
    domain = far_domain(validation_letters=8_000, reference_letters=32_000)
    run = far_run(healthy, domain, train=0.25, validation=0.5)
    assert "domain_gap" in diagnose(run).fired
    assert "domain_gap" not in diagnose(replace(run, domain=replace(domain, validation_letters=32_000))).fired


def test_pairs_whose_gap_shows_in_tokens_a_word_alone_are_judged_too(healthy: Measurements):
    nothing, none = np.zeros(0), np.zeros(0, dtype=np.int64)
    few = replace(healthy, curve=())
    run = far_run(few, DomainGap(nothing, none, nothing, none, 3.9), train=1.0, validation=2.4)
    assert "domain_gap" in diagnose(run).fired
    near = DomainGap(nothing, none, nothing, none, 1.2)
    assert "domain_gap" not in diagnose(replace(run, domain=near)).fired


def test_a_trial_that_makes_far_data_cheap_shows_that_the_setting_was_at_fault(healthy: Measurements):
    points = curve(falling, lambda share: falling(share) + 1.0)
    domain = far_domain(validation_letters=8_000, reference_letters=8_000)
    dear = far_run(replace(healthy, curve=points), domain, train=2.1, validation=2.2)
    slower = Trial("slower", "a trial", losses(0.8, seed=1), losses(0.9, seed=2), {"training.learning_rate": 1e-4})
    assert "domain_gap" in diagnose(dear).fired
    assert "domain_gap" not in diagnose(replace(dear, trials=[slower])).fired


def test_a_rise_of_half_a_nat_on_the_reference_is_forgetting_and_a_tenth_is_not(healthy: Measurements):
    def after(mean: float) -> Measurements:
        return replace(healthy, losses={**healthy.losses, ("best", "reference"): losses(mean, seed=3)})

    assert diagnose(after(2.5)).headline == "forgetting"
    assert keys(diagnose(after(2.5)))["method.type"] == "lora"
    assert check(diagnose(after(2.1)), "forgetting").state == "clear"


def test_what_keeps_from_learning_is_not_advised_while_too_little_is_learnt(healthy: Measurements):
    forgot = replace(healthy, losses={**healthy.losses, ("best", "reference"): losses(2.5, seed=3)})
    assert "method.type" in keys(diagnose(forgot))
    changed: dict[str, object] = {"training.learning_rate": 1e-2}
    verdict = diagnose(
        replace(forgot, trials=[Trial("rate", "a trial", losses(0.2, seed=1), losses(0.3, seed=2), changed)])
    )
    assert verdict.headline == "not_converged"
    assert "forgetting" in verdict.fired
    assert keys(verdict) == {"training.learning_rate": 1e-2, "": None}
    assert "forgetting" in verdict.changes[-1].why


def test_what_a_prompt_changes_is_not_forgotten(healthy: Measurements):
    gone = {("best", "reference"): losses(4.0, seed=3)}
    found = replace(
        healthy, losses={**healthy.losses, **gone}, forgetting=Forgetting("kl", removable=True), trains="prompt"
    )
    assert check(diagnose(found), "forgetting").state == "clear"


def test_a_turned_representation_alone_is_not_forgetting(healthy: Measurements):
    gone = {("best", "reference"): losses(4.0, seed=3)}
    turned = Forgetting("masked", readout_lost=0.02)
    lost = Forgetting("masked", readout_lost=0.6)
    base = replace(healthy, losses={**healthy.losses, **gone})
    assert check(diagnose(replace(base, forgetting=turned)), "forgetting").state == "clear"
    assert check(diagnose(replace(base, forgetting=lost)), "forgetting").state == "fired"


@pytest.mark.parametrize(("leaked", "state"), [(0, "clear"), (4, "clear"), (40, "fired")])
def test_leakage_needs_more_than_a_hundredth_of_validation(healthy: Measurements, leaked: int, state: str):
    exact = np.arange(400) < leaked
    overlap = Overlap(exact, np.zeros(400, dtype=bool), 0.0, np.where(exact, 0, -1))
    assert check(diagnose(replace(healthy, overlap=overlap)), "leakage").state == state


@pytest.mark.parametrize(("exact", "near", "wanted"), [
    (40, 0, {"data.drop_duplicates": True}),
    (0, 40, {"data.validation_file": None}),
    (20, 20, {"data.drop_duplicates": True, "data.validation_file": None}),
])  # fmt: skip
def test_a_key_leaves_out_what_leaks_word_for_word_and_people_tell_what_leaks_nearly(
    healthy: Measurements, exact: int, near: int, wanted: dict[str, object]
):
    rows = np.arange(400)
    overlap = Overlap(rows < exact, (rows >= exact) & (rows < exact + near), 0.0, np.where(rows < exact + near, 0, -1))
    assert keys(diagnose(replace(healthy, overlap=overlap))) == wanted


def test_neighbours_that_data_have_by_nature_are_no_leak(healthy: Measurements):
    near = np.arange(400) < 200
    overlap = Overlap(np.zeros(400, dtype=bool), near, 0.5, np.where(near, 0, -1))
    assert check(diagnose(replace(healthy, overlap=overlap)), "leakage").state == "clear"


def test_one_answer_for_everything_is_class_collapse(classifier: Measurements):
    assert classifier.classes is not None
    found = with_predictions(replace(classifier, losses={**classifier.losses, ("base", "train"): losses(3.0)}),
                             classifier.classes.labels, right=0.0, answer=0)  # fmt: skip
    verdict = diagnose(found)
    assert verdict.headline == "class_collapse"
    assert keys(verdict)["training.learning_rate"] == pytest.approx(1e-3 / 3, rel=0.02)


def test_a_collapse_at_many_times_the_usual_rate_is_advised_the_usual_one(classifier: Measurements):
    assert classifier.classes is not None
    found = with_predictions(replace(classifier, losses={**classifier.losses, ("base", "train"): losses(3.0)}),
                             classifier.classes.labels, right=0.0, answer=0)  # fmt: skip
    found = replace(found, setting=replace(found.setting, learning_rate=0.3, usual_rate=0.002))
    assert keys(diagnose(found))["training.learning_rate"] == 0.002


def test_few_steps_become_two_hundred_when_collapse_asks_for_smaller_ones(classifier: Measurements):
    assert classifier.classes is not None
    found = with_predictions(replace(classifier, losses={**classifier.losses, ("base", "train"): losses(3.0)}),
                             classifier.classes.labels, right=0.0, answer=0)  # fmt: skip
    for steps, passes in ((50, 16.0), (1_000, None)):
        setting = replace(found.setting, num_steps=steps, num_epochs_done=4.0)
        assert keys(diagnose(replace(found, setting=setting))).get("training.num_train_epochs") == passes


def test_labels_that_no_text_predicts_are_not_called_healthy(classifier: Measurements):
    assert classifier.classes is not None
    labels = np.random.default_rng(9).integers(0, 3, size=300)
    guesses = np.full((300, 3), 1 / 3)
    nowhere = np.zeros(300, dtype=bool)
    noise = LabelNoise(labels, guesses, np.zeros(0, dtype=np.int64), nowhere, np.arange(300))
    points = [replace(p, train=classifier.losses["best", "train"]) for p in curve(falling, falling)]
    classifier = replace(
        classifier,
        classes=replace(classifier.classes, probabilities=np.random.default_rng(3).dirichlet([1, 1, 1], 400)),
    )
    told = diagnose(replace(classifier, curve=points, noise=None))
    untold = diagnose(replace(classifier, curve=points, noise=noise))
    assert "label_noise" not in {told.headline, untold.headline}
    assert untold.headline == "cannot_tell"
    assert "label noise" in untold.sentence.lower()
    twice = diagnose(replace(classifier, curve=points, noise=replace(noise, conflicts=np.arange(300) < 30)))
    assert twice.headline == "label_noise"


def test_one_answer_of_a_model_that_has_hardly_learnt_is_not_converged_and_no_collapse(classifier: Measurements):
    assert classifier.classes is not None
    found = with_predictions(replace(classifier, losses={**classifier.losses, ("base", "train"): losses(3.0)}),
                             classifier.classes.labels, right=0.0, answer=0)  # fmt: skip
    kept = found.losses["best", "validation"]
    better = Scores(kept.nll * 0.2, kept.num_targets, kept.num_correct)
    trial = Trial("rate", "a trial", better, better, {"training.learning_rate": 1e-2})
    verdict = diagnose(replace(found, trials=[trial]))
    assert verdict.headline == "not_converged"
    assert check(verdict, "class_collapse").state == "cannot_tell"
    assert "training.class_weights" not in keys(verdict)


@pytest.mark.parametrize(("won", "lost", "state"), [(38, 0, "fired"), (38, 13, "cannot_tell"), (20, 16, "clear")])
def test_a_model_of_words_that_is_ahead_by_more_than_chance_alone_leaves_the_gain_open(
    classifier: Measurements, won: int, lost: int, state: str
):
    kept = classifier.losses["best", "validation"]
    right = kept.num_correct.copy()
    right[np.flatnonzero(kept.num_correct == 0)[:won]] = 1
    right[np.flatnonzero(kept.num_correct)[:lost]] = 0
    words = {"tfidf": {"validation": replace(kept, num_correct=right)}}
    assert check(diagnose(replace(classifier, baselines=words)), "no_gain").state == state


def test_labels_that_only_the_tuned_model_predicts_are_right_enough_to_be_healthy(classifier: Measurements):
    assert classifier.classes is not None
    random, given = np.random.default_rng(9), np.random.default_rng(8).integers(0, 3, size=300)
    noise = LabelNoise(given, np.full((300, 3), 1 / 3), np.zeros(0, dtype=np.int64), given < 0, np.arange(300))
    # the surer the model is of a label, the oftener it is right
    labels, sure = classifier.classes.labels, random.uniform(0.4, 0.99, size=400)
    answers = np.where(random.random(400) < sure, labels, (labels + 1) % 3)
    probabilities = np.tile((1 - sure)[:, None] / 2, (1, 3))
    probabilities[np.arange(400), answers] = sure
    points = [replace(p, train=classifier.losses["best", "train"]) for p in curve(falling, falling)]
    found = replace(
        classifier, curve=points, noise=noise, classes=replace(classifier.classes, probabilities=probabilities)
    )
    assert check(diagnose(found), "label_noise").state == "clear"
    wrong = np.where(random.random(400) < 0.4, (labels + 2) % 3, labels)
    found = replace(found, classes=replace(found.classes, labels=wrong))
    assert check(diagnose(found), "label_noise").state == "cannot_tell"


def test_a_good_classifier_collapses_nowhere(classifier: Measurements):
    assert check(diagnose(classifier), "class_collapse").state == "clear"
    assert check(diagnose(classifier), "no_gain").state == "clear"


def test_training_completions_written_word_for_word_and_validation_ones_not_are_memorised(healthy: Measurements):
    copied = Reproduction(np.arange(400) < 80, np.arange(400) < 2)
    verdict = diagnose(replace(healthy, reproduction=copied))
    assert verdict.headline == "memorised"


def test_rows_that_are_learnt_by_heart_because_they_repeat_are_to_be_seen_once(healthy: Measurements):
    copied = Reproduction(np.arange(400) < 80, np.arange(400) < 2)
    once = keys(diagnose(replace(healthy, reproduction=copied)))
    often = keys(diagnose(replace(healthy, reproduction=copied, repeats=0.5)))
    assert "training.num_train_epochs" in once
    assert often == {"data.drop_duplicates": True}


def test_what_is_easy_to_write_for_validation_too_is_not_memorised(healthy: Measurements):
    copied = Reproduction(np.arange(400) < 300, np.arange(400) < 296)
    assert check(diagnose(replace(healthy, reproduction=copied)), "memorised").state == "clear"


def test_a_loss_that_tells_training_from_validation_is_memory(healthy: Measurements):
    low = {("best", "train"): losses(0.2, seed=1)}
    assert "memorised" in diagnose(replace(healthy, losses={**healthy.losses, **low})).fired


def test_rows_that_were_hard_for_the_base_and_are_not_any_more_were_learnt_by_heart(healthy: Measurements):
    # train is no easier than validation now, but the base found it six nats harder
    sets = {("base", "train"): losses(9.0, seed=1), ("best", "train"): losses(1.02, seed=1, spread=0.1)}
    assert "memorised" in diagnose(replace(healthy, losses={**healthy.losses, **sets})).fired


def test_a_model_that_is_no_better_than_its_base_gains_nothing(healthy: Measurements):
    same = {("best", "validation"): healthy.losses["base", "validation"]}
    verdict = diagnose(replace(healthy, losses={**healthy.losses, **same}))
    assert "no_gain" in verdict.fired


def test_faults_come_before_everything(healthy: Measurements):
    verdict = diagnose(replace(healthy, faults=["the weights of a are not finite"]))
    assert verdict.headline == "invalid_run"
    assert "nothing" in verdict.good_for


def test_below_fifty_validation_rows_nothing_fires_but_their_number(healthy: Measurements):
    few = np.arange(30)

    def cut(one: Scores) -> Scores:
        return one.take(few)

    points = curve(falling, lambda share: falling(share) + max(0.0, share - 0.4))
    points = [replace(point, validation=cut(point.validation)) for point in points]
    sets = {key: cut(value) if key[1] == "validation" else value for key, value in healthy.losses.items()}
    verdict = diagnose(replace(healthy, curve=points, losses=sets, overlap=None))
    assert verdict.headline == "too_little_data"
    assert verdict.fired == ("too_little_data",)


def test_a_run_without_a_record_says_that_overfitting_cannot_be_told(healthy: Measurements):
    found = replace(healthy, curve=(), losses={k: v for k, v in healthy.losses.items() if k[0] != "final"})
    verdict = diagnose(found)
    assert check(verdict, "overfit").state == "cannot_tell"
    assert verdict.headline == "cannot_tell"


def test_evidence_that_chance_gives_easily_does_not_fire(healthy: Measurements):
    # 0.30 on average, but of a few documents alone
    rise = np.zeros(400)
    rise[:3] = 40.0
    before = healthy.losses["base", "reference"]
    after = Scores(before.nll + rise * before.num_targets, before.num_targets, before.num_correct)
    verdict = diagnose(replace(healthy, losses={**healthy.losses, ("best", "reference"): after}))
    assert check(verdict, "forgetting").state == "cannot_tell"


def test_advice_on_steps_names_steps_where_the_recipe_counts_them(healthy: Measurements):
    points = curve(falling, lambda share: falling(share) + max(0.0, share - 0.4))
    setting = Setting(num_steps=1_000, max_steps=1_000, num_train_epochs=3.0, learning_rate=1e-3, load_best=False)
    last = {(model, "validation"): points[-1].validation for model in ("best", "final")}
    changed = keys(diagnose(replace(healthy, curve=points, setting=setting, losses={**healthy.losses, **last})))
    assert "training.num_train_epochs" not in changed
    assert changed["training.load_best_model_at_end"] is True
    assert 300 <= int(str(changed["training.max_steps"])) <= 500


def test_too_little_is_counted_in_pieces_where_a_text_was_cut_and_says_how_to_get_more(healthy: Measurements):
    few = {key: scores.take(np.arange(9)) for key, scores in healthy.losses.items()}
    rows = diagnose(replace(healthy, losses=few)).sentence
    assert rows.startswith("9 validation rows are too few")
    assert "data.validation_size" in rows
    verdict = diagnose(replace(healthy, losses=few, validation_texts=1))
    assert verdict.sentence.startswith("9 validation pieces of 1 text are too few")
    assert "data.max_length gives more" in verdict.sentence
    assert not any("validation rows" in one.needs for one in verdict.checks)
