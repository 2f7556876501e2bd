"""What a check has to clear. Chosen on planted runs of the tuning set (benchmarks/fit), never on those that judge."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Margins:
    """Margins in nats a target unless something else is said, and the least numbers of examples.

    Attributes:
        family_error: probability, over all checks of a run together, that one fires whose margin is not passed.
        leaked_share: of held-out rows that stand in the training set.
        collapse_share: of predictions that are one class.
        collapse_recall: by which balanced accuracy may lie over that of a constant answer.
        noise_share: of training labels that are wrong.
        conflict_share: of training rows whose text has another label elsewhere.
        pace: of learning at the end of the training, over its mean pace, by summed learning rate: 1 is a straight line.
        trial_gain: that a short trial has to bring on the probe.
        trial_share: of the validation loss, that a trial with a higher rate has to bring as well.
        longer_share: that a trial of three times the length has to bring.
        further_share: of what the run gained on validation, that any trial has to bring on top.
        levelled: share of what the run gained on validation that a trial of three times the length may bring where the
            training is called levelled although its pace was high at the end.
        capacity_share: that a trial with more trained weights has to bring on validation.
        room_share: of the training loss by which validation lies above it where an adapter has room for more than they
            share.
        loss_left: share of the base's loss on the train probe below which it counts as learnt.
        gap_nats: by which the base has to do worse on the data than on its reference.
        tokens_a_word: over that of the reference.
        gap_closed: share of the gap that a successful training closes.
        gap_mostly_closed: share of it from which on weights kept from before overfitting count as having learnt.
        letter_cost: of a far domain after training, over what a letter of the reference costs the base: once learnt, it
            is about 1 at the most.
        carried: nats by which validation may lie over the train probe where a far domain was learnt, for as much text
            as a token of the reference.
        membership: area under the curve by which the loss tells training examples from validation.
        memory_gap: by which training examples then were learnt better at least, in nats more below the base.
        reproduced: by which the share of training completions written word for word exceeds that of validation.
        risen: validation loss since the best checkpoint.
        above_train: validation loss over that of the train probe.
        forgotten: rise of the loss on the reference.
        readout_lost: share of an encoder's representation.
        baseline_ahead: share of right answers: by more than it an answer that looks at no text has to be beaten, and
            by no more than it a model fitted to the words of a text may be ahead.
        gain: that texts have to be predicted better than by the base.
        held_out: least validation rows for anything.
        leak_rows: least held-out rows for leakage.
        class_rows: least validation rows a class for collapse.
        noise_rows: least training rows of the commonest class for label noise.
        gap_rows: least validation rows for overfitting and the domain gap.
        membership_rows: least rows on each side.
        reference_rows: least documents of the reference.
        gain_rows: validation rows that the comparison with baselines asks for.
        probe_rows: least rows of the train probe for capacity.
    """

    family_error: float = 0.02
    leaked_share: float = 0.01
    collapse_share: float = 0.95
    collapse_recall: float = 0.05
    noise_share: float = 0.10
    conflict_share: float = 0.02
    pace: float = 0.8
    trial_gain: float = 0.05
    trial_share: float = 0.10
    longer_share: float = 0.25
    further_share: float = 0.05
    levelled: float = 0.2
    capacity_share: float = 0.07
    room_share: float = 0.25
    loss_left: float = 0.25
    gap_nats: float = 1.0
    tokens_a_word: float = 1.5
    gap_closed: float = 0.5
    gap_mostly_closed: float = 0.8
    letter_cost: float = 1.0
    carried: float = 0.5
    membership: float = 0.70
    memory_gap: float = 0.05
    reproduced: float = 0.05
    risen: float = 0.05
    above_train: float = 0.10
    forgotten: float = 0.25
    readout_lost: float = 0.5
    baseline_ahead: float = 0.02
    gain: float = 0.01
    held_out: int = 50
    leak_rows: int = 100
    class_rows: int = 20
    noise_rows: int = 50
    gap_rows: int = 100
    membership_rows: int = 200
    reference_rows: int = 300
    gain_rows: int = 200
    probe_rows: int = 200


MARGINS = Margins()
