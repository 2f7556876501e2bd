"""The check of the domain gap: data too far from what the base knows to be learnt from so few rows."""

from __future__ import annotations

from dataclasses import replace

from ftkit.diagnosis.advice import against_gap
from ftkit.diagnosis.intervals import above_train, difference, mean_loss, paired_rise, percent, plain, worst_of
from ftkit.diagnosis.margins import Margins
from ftkit.diagnosis.measurements import DomainGap, Measurements, Set
from ftkit.diagnosis.verdict import Check, Evidence, State
from ftkit.metrics.scores import Integers, Scores


def check_domain_gap(found: Measurements, margins: Margins) -> Check:
    """Fires when the base is far worse on the data than on its reference, and learning failed."""
    name, domain = "domain_gap", found.domain
    if domain is None:
        state: State = "not_applicable" if found.absent.get("domain", "").startswith("no ") else "cannot_tell"
        return Check(name, state, found.absent.get("domain", "the gap was not measured"))
    evidence, far, words = [], False, []
    ratio = domain.tokens_a_word
    if ratio is not None:
        evidence.append(
            Evidence("tokens a word, over the reference's", ratio, None, None, margins.tokens_a_word, "times")
        )
        words.append(f"its words take {plain(ratio)} times the tokens of the reference's")
        far = ratio > margins.tokens_a_word
    p = None if far else 1.0
    if len(domain.validation_nats) and len(domain.reference_nats):
        gap = difference(
            mean_loss(Scores(domain.validation_nats, domain.validation_units, domain.validation_units)),
            mean_loss(Scores(domain.reference_nats, domain.reference_units, domain.reference_units)),
        )
        evidence.append(gap.evidence("loss of the base on validation less the reference", unit=f"nat a {domain.unit}",
                                     margin=margins.gap_nats))  # fmt: skip
        words.append(f"the base loses {gap.words()} a {domain.unit} more on it than on its reference")
        if gap.value > margins.gap_nats and not far:
            far, p = True, gap.p_above(margins.gap_nats)
    summary = "; ".join(words) or "no figure of the gap"
    if not far:
        return Check(name, "clear", summary, evidence, p=p)
    learnt = _learning(found, margins)
    evidence.extend(learnt.evidence)
    summary = f"{summary}; {learnt.summary}"
    kept = found.of(found.kept, "validation")
    n = len(kept) if kept is not None else 0
    if learnt.state != "fired":
        return Check(name, learnt.state, summary, evidence, p=p)
    if n < margins.gap_rows:
        return Check(name, "cannot_tell", summary, evidence, needs=found.rows(margins.gap_rows))
    p = worst_of([value for value in (p, learnt.p) if value is not None])
    return Check(name, "fired", summary, evidence, changes=learnt.changes, p=p)


def _learning(found: Measurements, margins: Margins) -> Check:
    """Whether learning failed: `fired` where little of the gap was closed, or what closed it is worth little."""
    kept, base = found.of(found.kept, "validation"), found.of("base", "validation")
    domain = found.domain
    if kept is None or base is None or domain is None:
        return Check("domain_gap", "cannot_tell", "how much of it was learnt is not known")
    reference = domain.reference_nats.sum() / max(1, domain.reference_units.sum())
    floor = reference if found.unit == domain.unit and len(domain.reference_nats) else 0.0
    gap = base.loss - floor
    gain = paired_rise(base, kept, seed=found.seed)
    share = gain.value / gap if gap > 0 else float("nan")
    evidence = (Evidence("share of it that training closed", share, gain.low / gap if gap > 0 else None,
                         gain.high / gap if gap > 0 else None, margins.gap_closed, "share", gain.n),)  # fmt: skip
    summary = f"training closed {percent(share)} of it"
    if not gap > 0:
        return Check("domain_gap", "clear", summary, evidence)
    if share < margins.gap_closed:
        changes = against_gap(found, by_heart=False)
        return Check(
            "domain_gap", "fired", summary, evidence, changes=changes, p=gain.p_below(margins.gap_closed * gap)
        )
    cost, dear = _cost_of_a_letter(found, domain, kept, margins)
    carried = _not_carried(found, kept, through=share >= margins.gap_mostly_closed and not dear, margins=margins)
    if carried is not None and carried.state == "fired":
        return replace(carried, evidence=(*cost, *carried.evidence))
    return Check("domain_gap", "clear", summary, (*evidence, *cost, *(carried.evidence if carried else ())))


def _cost_of_a_letter(
    found: Measurements, domain: DomainGap, kept: Scores, margins: Margins
) -> tuple[tuple[Evidence, ...], bool]:
    """What a letter costs after training, over what one of the reference costs the base; whether that is much.

    A base that is far enough from the data gains nats at once, by learning which letters there are; so the share of the
    gap that was closed says little of it. Per letter, texts of all alphabets and tokenizers can be compared. A trial
    that brought the cost down shows that it was the setting and not the domain.
    """
    share = _letters_share(domain, kept)
    if share is None:
        return (), False
    cost = mean_loss(kept, groups=found.groups.get("validation"), seed=found.seed)
    tried = [trial.validation for trial in found.trials if len(trial.validation) == len(kept)]
    least = min([kept.loss, *(losses.loss for losses in tried)]) * share
    what = "cost of a letter after training, over that of the reference"
    evidence = Evidence(
        what, cost.value * share, cost.low * share, cost.high * share, margins.letter_cost, "times", cost.n
    )
    return (evidence,), least > margins.letter_cost


def _not_carried(found: Measurements, kept: Scores, *, through: bool, margins: Margins) -> Check | None:
    """Fired where what was learnt of the training rows does not carry over to others of the domain.

    Text that carries over was learnt, however much it costs: it may be harder than the reference. Where the gap was not
    closed through and through, weights that were kept from before the rows were learnt by heart do not hide it.

    Args:
        found: what was measured.
        kept: losses of the kept model on validation.
        through: whether most of the gap was closed, and a letter costs no more than one of the reference.
        margins: of the diagnosis.
    """
    train, domain = found.of(found.kept, "train"), found.domain
    if train is None or domain is None or found.unit == "example":
        return None
    # text in tokens of a letter each is four tokens for one of the reference
    margin = margins.carried / _tokens_for_one(domain)
    where, validation = "kept model", kept
    if found.curve and not through:
        where, validation, train = "at the end", found.curve[-1].validation, found.curve[-1].train
    above = above_train(
        validation,
        train,
        groups=_groups(found, "validation", validation),
        train_groups=_groups(found, "train", train),
        seed=found.seed,
    )
    evidence = (above.evidence(f"validation less train, {where}", unit=found.nats, margin=margin),)
    summary = f"what it learnt of the training rows does not carry over: validation lies {above.words()} a token above"
    state: State = "fired" if above.value > margin else "clear"
    changes = against_gap(found, by_heart=True)
    return Check("domain_gap", state, summary, evidence, changes=changes, p=above.p_above(margin))


def _letters_share(domain: DomainGap, kept: Scores) -> float | None:
    """What turns nats a target of validation into the cost of a letter, over that of the reference for the base."""
    reference = domain.reference_nats.sum() / max(1.0, domain.reference_letters)
    if not domain.validation_letters or not reference > 0:
        return None
    return float(kept.num_targets.sum() / domain.validation_letters / reference)


def _tokens_for_one(domain: DomainGap) -> float:
    """Tokens of the data that stand for as many letters as one of the reference; at least 1, and 1 where not known."""
    if not domain.validation_letters or not domain.reference_letters:
        return 1.0
    tokens = domain.validation_units.sum() / domain.validation_letters
    return float(max(1.0, tokens / max(1e-9, domain.reference_units.sum() / domain.reference_letters)))


def _groups(found: Measurements, which: Set, losses: Scores) -> Integers | None:
    groups = found.groups.get(which)
    return groups if groups is not None and len(groups) == len(losses) else None
