"""Is a run what it was planted to be? Told by twins, fresh data, extraction or construction, never by ftkit eval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fit import probing
from fit.home import home_texts
from fit.plants import COLUMNS
from fit.training import Fit, Planted, train_twin

HOME_SEED = 77
"""Of the fresh text of the pretraining distribution; pretraining used seed 1."""
LEVELLED, STILL_LEARNING = 0.05, 0.15
"""Nats a target on the fresh set that twice the length gains at most where healthy, and that the normal length or rate
gains at least where training was not converged; a twentieth and a fifth of the gain over the base where that is
more."""
RISEN, FLAT = 0.10, 0.04
"""Nats by which the fresh loss ends above its minimum at least where overfitted, and at most where healthy."""
FORGOT, KEPT = 0.5, 0.2
"""Nats by which the loss on the base's own kind of text has risen at least, and at most where healthy."""
LEARNT = 0.12
"""Nats, or share of right answers over the majority, by which a healthy run is better than no training."""
ROOM = 0.1
"""Share of the fresh loss that eight times the rank gains at most where a healthy adapter is large enough."""
BEHIND = 0.05
"""Share of right answers by which a healthy classifier may be behind counts of words."""
FAR = 1.0
"""Nats a token by which the base is worse on a far domain than on its own kind of text."""


@dataclass(frozen=True)
class Truth:
    """What the check found.

    Attributes:
        confirmed: whether the run is what it was planted to be.
        figures: behind it.
    """

    confirmed: bool
    figures: Mapping[str, float] = field(default_factory=dict)


def check(planted: Planted, run: Fit) -> Truth:
    """Check a planting by the means of its condition."""
    return CHECKS[planted.plant.condition](planted, run)


def double_length(planted: Planted) -> dict[str, float]:
    """Training keys of a twin that is twice as long."""
    return _longer(planted, 2)


def _longer(planted: Planted, times: float) -> dict[str, float]:
    training = planted.plant.training
    key = "max_steps" if "max_steps" in training else "num_train_epochs"
    return {key: training[key] * times}


@cache
def _home(num: int = 240) -> tuple[str, ...]:
    return tuple(text[:300] for text in home_texts(seed=HOME_SEED)[1][:num])


def home_loss(planted: Planted, folder: Path) -> float:
    """Loss of a model on fresh text of the kind that the base was pretrained on."""
    return _loss_at_home(planted.plant.task, folder, planted.base)


def _loss_at_home(task: str, folder: Path, base: Path) -> float:
    if task == "causal_lm":
        return probing.text_loss(folder, _home())
    if task == "seq2seq":
        return probing.hole_loss(folder, _home())
    return probing.refitted_mask_loss(folder, base, _home())


def forgotten(planted: Planted, run: Fit) -> float:
    """Rise of that loss, in nats; nought where the base itself is not touched."""
    if planted.plant.method["type"] in {"frozen", "prompt_tuning"}:
        return 0.0
    return home_loss(planted, run.path / "model") - _base_home_loss(planted.plant.task, planted.base)


@cache
def _base_home_loss(task: str, base: Path) -> float:
    return _loss_at_home(task, base, base)


def base_loss(planted: Planted) -> float:
    """Loss on the fresh set without any training: of the base, or of the label frequencies."""
    plant, fresh = planted.plant, planted.material.fresh
    if plant.task == "causal_lm":
        return probing.text_loss(planted.base, [row["text"] for row in fresh])
    if plant.task == "seq2seq":
        return probing.pair_loss(planted.base, fresh)
    shares = np.array(list(Counter(row["label"] for row in fresh).values())) / len(fresh)
    return float(-(shares * np.log(shares)).sum())


def check_healthy(planted: Planted, run: Fit) -> Truth:
    """Twice the length or a wider adapter brings little, nothing turned, the base is beaten and its knowledge there."""
    before = base_loss(planted)
    # evaluated as often as the run, or an early turn would be overlooked
    same = train_twin(planted, "same")
    longer = train_twin(planted, "longer", training=double_length(planted), steps=2 * run.steps[-1])
    gain = before - same.last
    left, turned, lost = same.best - longer.best, same.last - same.best, forgotten(planted, run)
    figures = {"base": before, "fresh": same.last, "left": left, "turned": turned, "forgotten": lost}
    enough = gain > LEARNT
    if planted.plant.task == "classification":
        nats, predicted = probing.class_outputs(run.path, planted.material.fresh)
        labels = Counter(row["label"] for row in planted.material.fresh)
        names = sorted({row["label"] for row in planted.material.train})
        hits = [names[number] == row["label"] for number, row in zip(predicted, planted.material.fresh, strict=True)]
        ahead = float(np.mean(hits)) - max(labels.values()) / labels.total()
        figures |= {"ahead": ahead, "predicted classes": float(len(set(predicted))), "nats": float(nats.mean())}
        figures["by words"] = _by_words(planted)
        enough = ahead > LEARNT and figures["by words"] - ahead < BEHIND
    level = left < max(LEVELLED, 0.05 * gain)
    if planted.plant.method["type"] == "lora":
        figures["room"] = same.best - train_twin(planted, "wider", method=_wider(planted), steps=run.steps[-1]).best
        level = level and figures["room"] < max(LEVELLED, ROOM * same.best)
    return Truth(bool(enough and level and turned < FLAT and lost < KEPT), figures)


def _wider(planted: Planted) -> dict[str, Any]:
    """The method with eight times the rank."""
    method = dict(planted.plant.method)
    return method | {"r": 8 * method["r"], "lora_alpha": 8 * method["lora_alpha"]}


def _by_words(planted: Planted) -> float:
    """Share of the fresh set that words tell, by counts or by weights, over that of the commonest label."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    train, fresh = ([(row["text"], row["label"]) for row in rows] for rows in
                    (planted.material.train, planted.material.fresh))  # fmt: skip
    models = (
        make_pipeline(CountVectorizer(), MultinomialNB()),
        make_pipeline(TfidfVectorizer(), LogisticRegression(C=10.0, max_iter=1_000)),
    )
    texts, labels = zip(*fresh, strict=True)
    commonest = max(Counter(labels).values()) / len(labels)
    return max(float(model.fit(*zip(*train, strict=True)).score(texts, labels)) for model in models) - commonest


def check_not_converged(planted: Planted, run: Fit) -> Truth:
    """The usual rate or length learns much more of the fresh set."""
    before, same = base_loss(planted), train_twin(planted, "same", steps=run.steps[-1])
    cure = planted.plant.cure
    usual = train_twin(planted, "usual", training=cure, steps=max(24, run.steps[-1]))
    figures = {"base": before, "fresh": same.last, "usual": usual.best}
    missing = same.last - usual.best
    return Truth(missing > max(STILL_LEARNING, 0.2 * (before - usual.best)), figures)


def check_capacity(planted: Planted, run: Fit) -> Truth:
    """With more that is trained the training rows are learnt much better; with more time they are not."""
    rows = planted.material.train[:200]
    same = train_twin(planted, "same", validation=rows, steps=run.steps[-1])
    longer = train_twin(planted, "longer", training=double_length(planted), validation=rows, steps=2 * run.steps[-1])
    plant = planted.plant
    freed = train_twin(planted, "freed", training=plant.cure, method={"type": "full"}, validation=rows, steps=200)
    figures = {"train": same.last, "longer": longer.best, "freed": freed.best}
    level = same.best - longer.best < max(LEVELLED, 0.2 * (same.best - freed.best))
    return Truth(bool(level and same.last - freed.best > max(0.2, 0.15 * same.last)), figures)


def check_domain_gap(planted: Planted, run: Fit) -> Truth:
    """Far from what the base knows, and no training on so few rows comes near what ten times as many would give."""
    before, home = base_loss(planted), _own_loss(planted)
    longer = train_twin(planted, "longer", training=double_length(planted), steps=2 * run.steps[-1])
    data = planted.material
    # as many steps as the longer one
    rich = train_twin(
        planted, "rich", training=_longer(planted, 0.2), train=[*data.train, *data.more], steps=2 * run.steps[-1]
    )
    figures = {"base": before, "home": home, "longer": longer.best, "rich": rich.best}
    return Truth(before - home > FAR and longer.best - rich.best > 0.3, figures)


def _own_loss(planted: Planted) -> float:
    if planted.plant.task == "causal_lm":
        return _base_home_loss(planted.plant.task, planted.base)
    from fit.pairs import named_pairs

    stream = named_pairs(seed=HOME_SEED)
    rows = [dict(zip(("source", "target"), next(stream), strict=True)) for _ in range(200)]
    return probing.pair_loss(planted.base, rows)


def check_overfit(planted: Planted, _run: Fit) -> Truth:
    """On the fresh set the loss of the last weights lies well above the lowest on the way."""
    same = train_twin(planted, "same")
    return Truth(same.last - same.best > RISEN, {"best": same.best, "last": same.last})


def check_memorised(planted: Planted, run: Fit) -> Truth:
    """At least half of the canaries are written word for word."""
    plant, canaries = planted.plant, planted.material.canaries
    if plant.task == "seq2seq":
        prompts, wanted = [row["source"] for row in canaries], [row["target"] for row in canaries]
    else:
        parts = [row["text"].split(" : ") for row in canaries]
        prompts, wanted = [f"{prompt} :" for prompt, _ in parts], [code for _, code in parts]
    written = probing.greedy(run.path / "model", plant.task, prompts)
    hits = float(np.mean([text.startswith(code) for text, code in zip(written, wanted, strict=True)]))
    return Truth(hits >= 0.5, {"extracted": hits})


def check_forgetting(planted: Planted, run: Fit) -> Truth:
    """The loss on the base's own kind of text has risen by more than half a nat, and the data were learnt."""
    rise, before = forgotten(planted, run), base_loss(planted)
    gentle = train_twin(planted, "gentle", training={"learning_rate": planted.plant.training["learning_rate"] / 4},
                        steps=run.steps[-1])  # fmt: skip
    same = train_twin(planted, "same", steps=run.steps[-1])
    figures = {"forgotten": rise, "base": before, "fresh": same.best, "gentle": gentle.best}
    return Truth(rise > FORGOT and same.best - gentle.best < max(0.3, 0.05 * (before - gentle.best)), figures)


def check_leakage(planted: Planted, _run: Fit) -> Truth:
    """By construction: the share of validation whose text stands in train, or stands there with one word more."""
    key = COLUMNS[planted.plant.task]
    texts = [row[key] for row in planted.material.train]
    whole = set(texts) | {text.rsplit(" ", 1)[0] for text in texts}
    held_out = planted.material.validation
    share = float(np.mean([row[key] in whole for row in held_out]))
    return Truth(share >= 0.08, {"leaked": share})


def check_label_noise(planted: Planted, _run: Fit) -> Truth:
    """By construction: exactly that share was given another label."""
    return Truth(planted.plant.fault.get("noise", 0.0) >= 0.2, {"noise": planted.plant.fault.get("noise", 0.0)})


def check_class_collapse(planted: Planted, run: Fit) -> Truth:
    """On the fresh set all but a hundredth of the answers are the same, though both classes are there."""
    _, predicted = probing.class_outputs(run.path, planted.material.fresh)
    share = max(Counter(predicted.tolist()).values()) / len(predicted)
    return Truth(share >= 0.99, {"one answer": share})


def check_too_little_data(planted: Planted, _run: Fit) -> Truth:
    """By construction."""
    rows = len(planted.material.validation)
    return Truth(rows <= 40, {"validation rows": float(rows)})


CHECKS: dict[str, Callable[[Planted, Fit], Truth]] = {
    "healthy": check_healthy,
    "not_converged": check_not_converged,
    "capacity": check_capacity,
    "domain_gap": check_domain_gap,
    "overfit": check_overfit,
    "memorised": check_memorised,
    "forgetting": check_forgetting,
    "leakage": check_leakage,
    "label_noise": check_label_noise,
    "class_collapse": check_class_collapse,
    "too_little_data": check_too_little_data,
}
"""Condition -> its check."""
