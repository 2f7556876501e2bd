"""What one planted run is, and its data: train, validation and a large fresh set that only the truth check sees."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fit import languages, pairs, topics
from fit.home import home_texts

Row = dict[str, str]
FRESH = {"causal_lm": 240, "classification": 400, "seq2seq": 240}
"""Rows of the set that checks the planting, where the corpus has them; labels say less each, so there are more."""
COLUMNS = {"causal_lm": "text", "classification": "text", "seq2seq": "source"}


@dataclass(frozen=True)
class Plant:
    """A run with a known condition.

    Attributes:
        name: unique in its set.
        condition: the headline that is right.
        task: of the recipe.
        corpus: `dialect`, `mixed` (a dialect, and as much of what the base knows), `foreign:ALPHABET`,
            `topics:K`, `english:PACKAGE+PACKAGE`, `markers`, `order`, `mapping`, `loose`,
            `reversed`,
            `mixture` (translations, and texts with holes that the base knows),
            `alien:ALPHABET`.
        method: section of the recipe.
        training: section of the recipe, without seed.
        seed: of the data and of the training.
        num_train: training rows.
        num_validation: validation rows.
        fault: what is done to the data: `leak`, `near` (shares of validation), `noise` (share of labels), `canaries`
            (how often each is repeated), `minority` (share of the rarer class).
        cure: training keys of the twin that the truth check holds it against.
        model: base; None for the task's own.
    """

    name: str
    condition: str
    task: str
    corpus: str
    method: Mapping[str, Any]
    training: Mapping[str, Any]
    seed: int
    num_train: int
    num_validation: int = 200
    fault: Mapping[str, float] = field(default_factory=dict)
    cure: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None


@dataclass(frozen=True)
class Material:
    """The data of a plant.

    Attributes:
        train: rows as in the file.
        validation: likewise.
        fresh: rows of the same distribution without any fault; shares no text with the others.
        more: further training rows without fault: nine times as many as `train` for a domain gap, else none.
        canaries: rows of `train` that are repeated; one of each.
    """

    train: list[Row]
    validation: list[Row]
    fresh: list[Row]
    more: list[Row]
    canaries: list[Row]


def make_material(plant: Plant) -> Material:
    """Draw the data of a plant; the same for the same plant."""
    rows = rows_of(plant)
    num_more = 9 * plant.num_train if plant.condition == "domain_gap" else 0
    key = COLUMNS[plant.task]
    known: set[str] = set()
    taken: list[Row] = []
    fresh = FRESH[plant.task]
    wanted = plant.num_train + plant.num_validation + fresh + num_more
    for row in rows:
        if row[key] not in known:
            known.add(row[key])
            taken.append(row)
            if len(taken) == wanted:
                break
    # a corpus that ends leaves less for the check, never for the run
    a, b = plant.num_train, plant.num_train + plant.num_validation
    whole = Material(taken[:a], taken[a:b], taken[b : b + fresh], taken[b + fresh :], [])
    return with_fault(plant, whole)


def rows_of(plant: Plant) -> Iterator[Row]:
    """Rows of a plant's corpus in an order that its seed decides."""
    kind, _, which = plant.corpus.partition(":")
    seed = plant.seed
    if kind == "dialect":
        return ({"text": text} for text in languages.sentences(_dialect(seed), seed=seed))
    if kind == "mixed":
        return _mixed(seed)
    if kind == "foreign":
        spoken = languages.make_language(seed, lexicon=seed, alphabet=which)
        return ({"text": text} for text in languages.sentences(spoken, seed=seed))
    if kind in {"topics", "markers", "order", "english"}:
        return topics.labelled(kind, which, seed=seed, minority=plant.fault.get("minority"))
    if kind == "mixture":
        return _mixture(seed)
    if kind == "loose":
        return ({"source": source, "target": target} for source, target in pairs.loose_pairs(seed=seed))
    mapping = pairs.make_mapping(
        seed, backwards=kind == "reversed", **({"alphabet": which, "source": seed} if kind == "alien" else {})
    )
    return ({"source": text, "target": mapping.translate(text)} for text in pairs.sources(mapping, seed=seed))


def _dialect(seed: int) -> languages.Language:
    """The words of a language that the base knows, in another order: in the same there would be little to learn."""
    home = languages.HOME[seed % len(languages.HOME)]
    known = languages.make_language(home, lexicon=home)
    tried = (
        languages.make_language(seed + 1_000_000 * turn, lexicon=home, partners=2 + seed % 4)
        for turn in itertools.count()
    )
    return next(language for language in tried if language.order != known.order)


def _mixed(seed: int) -> Iterator[Row]:
    """A dialect, and for every sentence of it a text of the pretraining distribution, against forgetting."""
    spoken = languages.sentences(_dialect(seed), seed=seed)
    known, _ = home_texts(seed=seed)
    for text, old in zip(spoken, itertools.cycle(known), strict=False):
        yield {"text": text}
        yield {"text": old[:60]}


def _mixture(seed: int) -> Iterator[Row]:
    """Translations, and for every two of them a text with holes, which is what the base was pretrained on."""
    mapping, draw = pairs.make_mapping(seed), random.Random(f"ftkit holes {seed}")
    known, _ = home_texts(seed=seed)
    for number, text in enumerate(pairs.sources(mapping, seed=seed)):
        yield {"source": text, "target": mapping.translate(text)}
        if number % 2:
            yield with_hole(draw.choice(known)[:60].split(), draw)


def with_hole(words: list[str], draw: random.Random) -> Row:
    """One or two words of a text are left out of the source and asked for by the target."""
    start = draw.randrange(len(words))
    end = min(len(words), start + draw.randint(1, 2))
    source = [*words[:start], "<extra_id_0>", *words[end:]]
    return {"source": " ".join(source), "target": " ".join(["<extra_id_0>", *words[start:end]])}


def with_fault(plant: Plant, material: Material) -> Material:
    """Put the plant's fault into the data."""
    draw = random.Random(f"ftkit fault {plant.seed}")
    fault = plant.fault
    train, validation, canaries = list(material.train), list(material.validation), []
    for kind in ("leak", "near"):
        if kind in fault:
            leaked = draw.sample(range(len(validation)), max(1, round(fault[kind] * len(validation))))
            copies = [validation[row] if kind == "leak" else nearly(plant, validation[row], draw) for row in leaked]
            train = [*train[len(copies) :], *copies]
    if "noise" in fault:
        train = mislabelled(train, share=fault["noise"], draw=draw)
        validation = mislabelled(validation, share=fault["noise"], draw=draw)
    if "canaries" in fault:
        canaries = [canary(plant, draw) for _ in range(6)]
        train = [*train, *(canaries * int(fault["canaries"]))]
    draw.shuffle(train)
    return Material(train, validation, material.fresh, material.more, canaries)


def nearly(plant: Plant, row: Row, draw: random.Random) -> Row:
    """The same text but for its end: a word more, which leaves four in five of its parts as they were."""
    key = COLUMNS[plant.task]
    words = row[key].split()
    if plant.task == "seq2seq":
        # another word would ask for another target
        return row | {key: row[key] + " ."}
    return row | {key: " ".join([*words, draw.choice(words)])}


def mislabelled(rows: list[Row], *, share: float, draw: random.Random) -> list[Row]:
    """Exactly that share of the rows, rounded, gets one of the other labels."""
    labels = sorted({row["label"] for row in rows})
    chosen = set(draw.sample(range(len(rows)), round(share * len(rows))))
    return [
        row | {"label": draw.choice([label for label in labels if label != row["label"]])} if n in chosen else row
        for n, row in enumerate(rows)
    ]


def canary(plant: Plant, draw: random.Random) -> Row:
    """A text that cannot be guessed: digits after words of the corpus."""
    code = " ".join(str(draw.randrange(10, 100)) for _ in range(6))
    words = " ".join(draw.choices(languages.make_lexicon(languages.HOME[0])["noun"], k=3))
    if plant.task == "seq2seq":
        return {"source": f"code {words}", "target": code}
    return {"text": f"code {words} : {code}"}
