"""Two reports with invented figures, as an evaluation gives them: an overfitted classifier, a forgetful text model."""

import json
import math

import pytest

from ftkit.diagnosis.report import Bin, DocumentLoss, Point, Report, Score, SuspectRow
from ftkit.diagnosis.verdict import CHECKS, HEADLINES, Change, Check, Evidence, Verdict

SCRIPT = "<script>alert('x')</script> & \"quoted\" | `code` *bold* $x_1$ <b>"
LABELS = ("refund", "delivery", "login & password", "cancel_order", "complaint", "opening $hours$")


def around(value, width, n=200):
    return Score(value, max(0.0, value - width / 2), value + width * 0.6, n)


def row(train, validation, test=None, reference=None, *, extra=None):
    losses = {"train": train, "validation": validation, "test": test, "reference": reference}
    sets = {name: {"loss": around(loss, 0.1 + loss / 9)} for name, loss in losses.items() if loss is not None}
    for name, scores in (extra or {}).items():
        sets[name].update(scores)
    return sets


def accuracies(train, validation, test=None):
    found = {"train": train, "validation": validation, "test": test}
    return {
        name: {"accuracy": Score(value, value - 0.04, min(1.0, value + 0.03), 200)}
        for name, value in found.items()
        if value is not None
    }


def overfit_checks():
    rise = Evidence("validation, end less step 240", 0.312, 0.221, 0.405, 0.05, "nat a example", 200)
    gap = Evidence("validation less train, at the end", 0.876, 0.742, 1.021, 0.10, "nat a example", 200)
    shorter = (
        Change("training.num_train_epochs", 8.0, "validation was best at step 240 (of 900)"),
        Change("training.early_stopping_patience", 3, "nothing stopped the training after that"),
        Change("training.weight_decay", 0.1, "it was 0.01"),
    )
    noise = Evidence("labels contradicted where it is surest", 0.017, 0.007, 0.035, 0.05, "share", 412)
    lost = Evidence("rise of the loss of masked tokens", 0.431, 0.371, 0.502, 0.25, "nat a token", 300)
    slower = Change(
        "training.learning_rate", 1.4e-5, "the rise of 0.43 nat a token asks for smaller steps; it was 5e-05"
    )
    return (
        Check("invalid_run", "clear", "losses and weights are finite, and the trained weights moved"),
        Check("leakage", "clear", "0 of 200 validation rows (0.0 %) stand in the training set too",
              (Evidence("validation rows that stand in train", 0.0, 0.0, 0.018, 0.01, "share", 200),), p=1.0),
        Check("class_collapse", "clear", "24 % of the predictions are 'refund', balanced accuracy 81 %",
              (Evidence("share of the commonest prediction", 0.24, None, None, 0.95, "share", 200),
               Evidence("balanced accuracy", 0.813, 0.76, 0.86, 0.217, "share", 200))),
        Check("label_noise", "clear", "7 of 412 training labels (1.7 %) are contradicted", (noise,)),
        Check("not_converged", "clear", "after 50 % of the steps the loss still fell at 12 % of its pace",
              (Evidence("pace of learning at the end, train", 0.12, 0.05, 0.21, 0.6, "of the mean pace", 500),)),
        Check("capacity", "not_applicable", "every weight is trained already"),
        Check("domain_gap", "not_applicable", "no text model whose loss could be compared"),
        Check("memorised", "cannot_tell", "the area by which the loss tells train from validation is 0.72",
              (Evidence("membership, area under the curve", 0.72, 0.66, 0.78, 0.70, "share", 200),),
              needs="about 600 validation rows"),
        Check("overfit", "fired", "the validation loss has risen 0.31 nat (95 % 0.22 to 0.41) since step 240 and lies "
              "0.88 nat (95 % 0.74 to 1.02) above train", (rise, gap), changes=shorter, p=0.0005),
        Check("forgetting", "fired", "rise of the loss of masked tokens: 0.43 nat (95 % 0.37 to 0.50) a token", (lost,),
              changes=(slower,), p=0.0005),
        Check("no_gain", "clear", "82 % of validation are right, 74 % by the best baseline (tfidf)",
              (Evidence("share right on validation, more than tfidf by", 0.08, 0.02, 0.14, -0.02, "share", 200),)),
        Check("too_little_data", "clear", "200 validation rows"),
    )  # fmt: skip


def verdict_of(headline, checks, good_for):
    sentence = next(check.summary for check in checks if check.name == headline)
    changes = tuple(change for check in checks if check.state == "fired" for change in check.changes)
    return Verdict(headline, sentence[0].upper() + sentence[1:], good_for, checks, changes)


def falling(start, floor, speed, *, turn=None, rise=0.0, width=0.1):
    def at(step):
        loss = floor + (start - floor) * math.exp(-step / speed)
        return around(loss + (max(0, step - turn) * rise if turn else 0), width * (0.3 + loss / 3))

    return at


def overfit_classifier():
    train, validation = falling(1.81, 0.012, 110), falling(1.83, 0.5, 75, turn=200, rise=0.00056, width=0.4)
    confusion = [[30, 1, 2, 3, 1, 0], [2, 28, 0, 4, 1, 1], [1, 0, 33, 0, 0, 1],
                 [4, 5, 0, 22, 2, 0], [2, 1, 1, 1, 26, 1], [0, 1, 0, 0, 1, 25]]  # fmt: skip
    bins = [(0.37, 0.3, 6), (0.44, 0.5, 9), (0.57, 0.45, 14), (0.69, 0.6, 21), (0.82, 0.7, 30), (0.97, 0.9, 120)]
    checks = overfit_checks()
    return Report(
        run="runs/intents-full", created="2026-05-04T10:20:30+00:00", seconds=41.3, effort="standard",
        task="classification", method="full", base="google/bert_uncased_L-4_H-256_A-4", best_step=240, last_step=900,
        kept="best", unit="example", rows={"train": 500, "validation": 200, "test": 400, "reference": 300},
        table={
            "base": row(1.812, 1.834, 1.829, 2.31, extra=accuracies(0.161, 0.158, 0.171)),
            "best": row(0.211, 0.587, 0.602, 2.741, extra=accuracies(0.954, 0.823, 0.817)),
            "final": row(0.0204, 0.896, extra=accuracies(0.998, 0.811)),
            "majority": row(1.781, 1.79, 1.785, extra=accuracies(0.183, 0.185, 0.182)),
            "tfidf": row(None, 0.81, 0.822, extra=accuracies(None, 0.742, 0.731)),
        },
        absent={"final/test": "only the kept model is scored on test",
                "final/reference": "only the kept model reads the reference",
                "tfidf/train": "fitted on these rows", "trials": "no trial was made, since it would take long"},
        curve=[Point(step, step / 30, train(step), validation(step)) for step in range(0, 901, 60)],
        verdict=verdict_of("overfit", checks, "data like these: 82 % of the answers right on validation; the kept "
                           "weights are those from before it turned"),
        calibration=[Bin(*one) for one in bins], ece=Score(0.087, 0.052, 0.131, 200),
        confusion=confusion, label_names=LABELS,
        suspects=[SuspectRow("train", 17, f"where is my parcel {SCRIPT}", "refund", "delivery", 0.91,
                             "classifiers that did not see this label expect another one")],
        worst=[SuspectRow("validation", 3 + place, f"{SCRIPT} I want my money back, number {place}", "refund",
                          "cancel_order", 4.2 - place / 10, "") for place in range(8)],
        drift={"embeddings": 0.004, "layer 0": 0.021, "layer 3": 0.083},
        notes=["500 of 3,120 training examples were scored, drawn with the seed"],
        words={"nat": "The unit of a loss.", "calibration": "It is as often right as it says."},
    )  # fmt: skip


def forgetful_checks():
    lost = Evidence(
        "divergence from the base, on text that it wrote itself", 0.642, 0.571, 0.718, 0.25, "nat a token", 300
    )
    adapters = Change("method.type", "lora", "adapters change less of what the base knows, and can be taken off")
    slower = Change("training.learning_rate", 2e-5, "the rise of 0.64 nat a token asks for smaller steps")
    found = {
        "class_collapse": Check("class_collapse", "not_applicable", "there are no classes"),
        "label_noise": Check("label_noise", "not_applicable", "there are no class labels"),
        "capacity": Check("capacity", "cannot_tell", "no trial with more trained weights was made", needs="--thorough"),
        "forgetting": Check("forgetting", "fired", "divergence from the base, on text that it wrote itself: 0.64 nat "
                            "(95 % 0.57 to 0.72) a token", (lost,), changes=(adapters, slower), p=0.0005),
    }  # fmt: skip
    return tuple(found.get(name, Check(name, "clear", f"{name} stays below its margin")) for name in CHECKS)


def forgetful_lm():
    train, validation = falling(3.41, 2.2, 130), falling(3.46, 2.47, 120, width=0.2)
    text = "The river bends north past the old mill, where Ana kept bees until the winter of 1912."
    pieces = [(f" {word}", 0.1 + 2.4 * math.sin(place) ** 2 * (place % 3 != 0) - 0.4 * (place % 5 == 0))
              for place, word in enumerate(text.split())]  # fmt: skip
    bits = {name: {"bits_per_byte": around(value, 0.05)} for name, value in (("train", 0.81), ("validation", 0.902))}
    checks = forgetful_checks()
    documents = [
        DocumentLoss(f"Document {place} {SCRIPT}", 2.1 + 0.01 * place, 2.1 + 0.01 * place + 1.9 * math.exp(-place / 14),
                     [*pieces, (SCRIPT, 1.2), ("\n", 0.2)] if place < 5 else ())
        for place in range(40)
    ]  # fmt: skip
    return Report(
        run="runs/recipes-lm", created="2026-05-04T11:20:30+00:00", seconds=128.0, effort="standard",
        task="causal_lm", method="full", base="HuggingFaceTB/SmolLM2-135M", best_step=600, last_step=600, kept="final",
        unit="token", rows={"train": 300, "validation": 240, "reference": 300},
        table={
            "base": row(3.41, 3.46, None, 2.231),
            "final": row(2.214, 2.478, None, 2.873, extra=bits),
        },
        absent={"test": "the recipe names no test set", "best": "the last step was the best one",
                "overlap": "rows were not compared with --quick"},
        curve=[Point(step, step / 200, train(step), validation(step)) for step in range(0, 601, 50)],
        verdict=verdict_of("forgetting", checks, "data like these: 51 % of the tokens right on validation; for this "
                           "task alone: what the base could do besides is partly gone"),
        forgetting=documents,
        worst=[SuspectRow("validation", 8, "Whisk the eggs until pale.\n\tThen fold in", SCRIPT, "the flour", 5.1, "")],
        drift={"embed_tokens": 0.01, "layers.0": 0.11}, notes=["the reference was sampled from the base, seed 0"],
        words={"forgetting": "The base wrote the reference itself.", "nat": "The unit of a loss."},
    )  # fmt: skip


SAMPLES = {"classifier": overfit_classifier, "language_model": forgetful_lm}


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_the_samples_are_reports_as_the_contract_has_them(make):
    report = make()
    assert report.verdict.headline in HEADLINES
    assert tuple(check.name for check in report.verdict.checks) == CHECKS
    assert {check.state for check in report.verdict.checks} == {"fired", "clear", "cannot_tell", "not_applicable"}
    json.dumps(report.to_dict())
