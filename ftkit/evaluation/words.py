"""The words of a report, explained where they apply."""

from __future__ import annotations

from ftkit.diagnosis.measurements import Measurements

UNDERFITTING = (
    "Finetuning data that lie too far from what the base model was trained on are not learnt: that is a "
    "domain gap. Too few or too small steps, and too few trained weights, leave data unlearnt as well. All "
    "three show as a loss on the training examples themselves that stays high; what tells them apart is the "
    "base's own loss on the data, the pace at which the loss still falls, and short trials with other "
    "settings."
)
OVERFITTING = (
    "Finetuning overwrites what the model learnt before. Seen from the task, it learns its training rows "
    "instead of what they have in common: the validation loss turns and rises while the training loss falls "
    "on. Seen from the base model, what it knew is lost: that is called forgetting here and measured apart, "
    "since a run can do the one without the other."
)
TERMS = {
    "nat": (
        "The unit of a loss: the natural logarithm of the probability that the model gave the right answer, "
        "with its sign turned. One nat less means that the right answer became 2.7 times as probable."
    ),
    "interval": (
        "The 95 % interval beside a figure tells how far it would move if other examples of the same kind had"
        " been drawn; differences between models are taken on the same examples, so their intervals are "
        "narrower than those of the figures."
    ),
    "fired, clear, cannot tell": (
        "A check fires when the whole interval of its figure lies beyond a margin that matters in practice, "
        "after a correction for making many checks (Holm, 2 % in all). It is clear when the figure stays "
        "within the margin. Otherwise it cannot tell, and says what it would take."
    ),
    "underfitting": UNDERFITTING,
    "overfitting": OVERFITTING,
}
FROZEN = (
    "A frozen encoder is not trained: its weights are those of the base, bit for bit. What it knew cannot be "
    "overwritten, so forgetting is zero by construction; only the head on top of it can overfit."
)
PROMPT = (
    "A tuned prompt leaves every weight of the base as it was. With the prompt in front the model answers "
    "otherwise; without it, it is the base again, so nothing is overwritten."
)
FORGETTING = {
    "kl": (
        "The base wrote the reference itself, token by token from its own distribution. On such text the mean "
        "rise of the loss is the Kullback-Leibler divergence from the base to the finetuned model: how much of "
        "what the base would say is no longer said."
    ),
    "masked": (
        "The same tokens of a reference text are masked for the base and for the tuned encoder, and the base's "
        "own head fills them from either. The old head may fail on outputs that have merely turned, so the share "
        "of the base's outputs that a linear map still finds in the new ones stands beside it; forgetting needs "
        "both."
    ),
    "denoising": (
        "Holes are cut into a reference text as in pretraining; the loss of filling them tells what is still known."
    ),
}
"""Kind of reference -> what its loss tells."""
CALIBRATION = (
    "A model is calibrated when of the answers it gives with a confidence of 80 % about 80 % are right. The "
    "expected calibration error is the mean distance from that. It is reported and decides nothing."
)


def words_for(measured: Measurements) -> dict[str, str]:
    """Term -> explanation, for those that a report of these measurements uses."""
    found = dict(TERMS)
    if measured.trains == "head":
        found["forgetting"] = FROZEN
    elif measured.trains == "prompt":
        found["forgetting"] = PROMPT
    elif measured.forgetting.kind in FORGETTING:
        found["forgetting"] = FORGETTING[measured.forgetting.kind]
    if measured.classes is not None:
        found["calibration"] = CALIBRATION
    return found
