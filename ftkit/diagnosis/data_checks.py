"""Checks of the data and of the run itself: is there anything to judge, and can it be trusted?"""

from __future__ import annotations

import numpy as np

from ftkit.diagnosis.advice import against_collapse, against_leakage, against_noise
from ftkit.diagnosis.intervals import Estimate, p_rate_above, percent, rate_bounds
from ftkit.diagnosis.label_noise import noise_rate
from ftkit.diagnosis.margins import Margins
from ftkit.diagnosis.measurements import Classes, Measurements, Overlap
from ftkit.diagnosis.verdict import Check, Evidence, State


def check_run(found: Measurements, _margins: Margins) -> Check:
    """Fires on a fault that makes every figure meaningless."""
    if found.faults:
        return Check("invalid_run", "fired", "; ".join(found.faults))
    return Check("invalid_run", "clear", "losses and weights are finite, and the trained weights moved")


def check_leakage(found: Measurements, margins: Margins) -> Check:
    """Fires when more of validation or test stands in the training set than the margin and chance allow."""
    sides = {"validation": found.overlap, "test": found.test_overlap}
    present = {name: overlap for name, overlap in sides.items() if overlap is not None}
    if not present:
        return Check("leakage", "cannot_tell", found.absent.get("overlap", "validation was not compared with train"))
    judged = [_one_leak(name, overlap, margins) for name, overlap in present.items()]
    # the graver of the two: fired before cannot_tell before clear, then the larger share
    order = ("fired", "cannot_tell", "clear")
    return min(judged, key=lambda check: (order.index(check.state), -float(check.evidence[0].value or 0)))


def _one_leak(name: str, overlap: Overlap, margins: Margins) -> Check:
    n, exact, near = len(overlap.exact), int(overlap.exact.sum()), int(overlap.near.sum())
    # what data made from templates have by nature is no leak
    by_chance = overlap.near_rate_of_chance
    margin = margins.leaked_share + by_chance
    count, (low, high) = exact + near, rate_bounds(exact + near, n)
    evidence = (Evidence(f"{name} rows that stand in train", count / max(1, n), low, high, margin, "share", n),)
    kinds = f"{exact} word for word, {near} nearly" if near else f"{exact} word for word"
    summary = f"{count} of {n} {name} rows ({percent(count / max(1, n))}) stand in the training set too ({kinds})"
    if by_chance > 0:
        summary += f"; {percent(by_chance)} of training rows have such a neighbour among themselves"
    if count / max(1, n) <= margin:
        return Check("leakage", "clear", summary, evidence, p=1.0)
    if n < margins.leak_rows:
        return Check("leakage", "cannot_tell", summary, evidence, needs=f"{margins.leak_rows} {name} rows")
    p = p_rate_above(count, n, margin)
    return Check("leakage", "fired", summary, evidence, changes=against_leakage(name, exact, near), p=p)


def check_collapse(found: Measurements, margins: Margins) -> Check:
    """Fires when nearly all predictions are one class and balanced accuracy is that of a constant answer."""
    classes = found.classes
    if classes is None:
        return Check("class_collapse", "not_applicable", "there are no classes")
    share = float(np.bincount(classes.predicted, minlength=len(classes.names)).max() / max(1, len(classes.labels)))
    counts = np.bincount(classes.labels, minlength=len(classes.names))
    told = int((counts >= margins.class_rows).sum())
    recall, chance = balanced_accuracy(classes, seed=found.seed), 1 / max(1, int((counts > 0).sum()))
    evidence = (
        Evidence("share of the commonest prediction", share, None, None, margins.collapse_share, "share", recall.n),
        recall.evidence("balanced accuracy", unit="share", margin=chance + margins.collapse_recall),
    )
    answer = classes.names[int(np.bincount(classes.predicted, minlength=1).argmax())]
    summary = f"{percent(share)} of the predictions are {answer!r}, balanced accuracy {percent(recall.value)}"
    if share < margins.collapse_share or recall.value > chance + margins.collapse_recall:
        return Check("class_collapse", "clear", summary, evidence)
    if told < 2 or recall.high >= chance + margins.collapse_recall:
        return Check("class_collapse", "cannot_tell", summary, evidence, needs=f"{margins.class_rows} rows a class")
    return Check("class_collapse", "fired", summary, evidence, changes=against_collapse(found))


def balanced_accuracy(classes: Classes, *, seed: int) -> Estimate:
    """Mean recall of the classes that occur, with an interval over rows resampled within each class."""
    random = np.random.default_rng([seed, 5])
    recalls, resampled = [], []
    for label in np.unique(classes.labels):
        hits = classes.predicted[classes.labels == label] == label
        recalls.append(hits.mean())
        resampled.append(random.binomial(len(hits), hits.mean(), size=1_000) / len(hits))
    drawn = np.mean(resampled, axis=0)
    low, high = (float(bound) for bound in np.percentile(drawn, [2.5, 97.5]))
    return Estimate(float(np.mean(recalls)), low, high, len(classes.labels), drawn)


def check_label_noise(found: Measurements, margins: Margins) -> Check:
    """Fires when classifiers that did not see a label contradict it where they are surest, or texts have two labels."""
    noise = found.noise
    if noise is None:
        state: State = "cannot_tell" if found.unit == "example" else "not_applicable"
        return Check("label_noise", state, found.absent.get("noise", "there are no class labels"))
    largest = int(np.bincount(noise.labels).max(initial=0))
    judged, errors = noise_rate(noise.out_of_fold, noise.labels)
    conflicts, rows = int(noise.conflicts.sum()), len(noise.labels)
    low, high = rate_bounds(errors, judged)
    conflict_low, conflict_high = rate_bounds(conflicts, rows)
    evidence = (
        Evidence("labels contradicted where it is surest", errors / max(1, judged), low, high, margins.noise_share,
                 "share", judged),
        Evidence("rows whose text has another label too", conflicts / max(1, rows), conflict_low, conflict_high,
                 margins.conflict_share, "share", rows),
    )  # fmt: skip
    contradicted = (
        f"where classifiers that did not see them are surest, {errors} of {judged} training labels "
        f"({percent(errors / judged)}) are contradicted"
        if judged
        else "no classifier is ever sure of a training label that it did not see: the labels are hard to tell, or wrong"
    )
    summary = f"{contradicted}; {conflicts} of {rows} texts have two labels"
    p = min(
        1.0,
        2 * min(
            p_rate_above(errors, judged, margins.noise_share) if judged else 1.0,
            p_rate_above(conflicts, rows, margins.conflict_share),
        ),
    )  # fmt: skip
    passed = errors > margins.noise_share * judged or conflicts > margins.conflict_share * rows
    if largest < margins.noise_rows:
        return Check("label_noise", "cannot_tell", summary, evidence, needs=f"{margins.noise_rows} rows a class")
    if passed:
        return Check("label_noise", "fired", summary, evidence, changes=against_noise(found, len(noise.suspects)), p=p)
    if not judged:
        if (predictable := _predictable(found.classes, margins)) is not None:
            return Check("label_noise", "clear", f"{summary}; {predictable}", evidence, p=p)
        needs = "more training rows, or a look at whether their labels are right"
        # labels that nothing can predict from the texts may be hard, or wrong
        return Check("label_noise", "cannot_tell", summary, evidence, needs=needs, essential=True)
    return Check("label_noise", "clear", summary, evidence, p=p)


def _predictable(classes: Classes | None, margins: Margins) -> str | None:
    """In words, that the tuned model predicts validation labels where it is surest of them; else None.

    It is stronger than classifiers of words. What contradicts it may be its own overfitting, so it only clears.
    """
    if classes is None:
        return None
    judged, errors = noise_rate(classes.probabilities, classes.labels)
    if not judged or errors > margins.noise_share * judged:
        return None
    return f"but where the model itself is surest, {errors} of {judged} validation labels are contradicted"


def check_size(found: Measurements, margins: Margins) -> Check:
    """Fires when there are too few validation rows to say anything."""
    kept = found.of(found.kept, "validation")
    if kept is None:
        return Check("too_little_data", "fired", found.absent.get("validation", "there is no validation set"))
    if len(kept) >= margins.held_out:
        return Check("too_little_data", "clear", found.rows(len(kept)))
    texts = found.validation_texts
    of_texts = "" if texts is None else f" of {texts:,} text{'' if texts == 1 else 's'}"
    more = "a larger data.validation_size" + ("" if texts is None else " or a smaller data.max_length")
    summary = (
        f"{found.rows(len(kept))}{of_texts} {'is' if len(kept) == 1 else 'are'} too few: nothing is judged with fewer "
        f"than {margins.held_out}; {more} gives more"
    )
    return Check("too_little_data", "fired", summary)
