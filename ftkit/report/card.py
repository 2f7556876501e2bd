"""The card of a finetuned model: README.md of its folder, and card.json with the values that it is rendered from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ftkit.errors import UserError
from ftkit.report.safe import code, escaped, printable
from ftkit.report.tables import markdown_table, shortened
from ftkit.report.templates import rendered
from ftkit.storage import read_json_object, write_json, write_text

CARD_FILE, VALUES_FILE = "README.md", "card.json"
EXAMPLE_CHARACTERS = 400
"""Of each part of an example that a card shows."""
Prompt = str | Sequence[Mapping[str, str]]
"""A text, the messages of a chat up to an answer, or texts to classify, each under `text`, some with a `text_pair`."""


@dataclass(frozen=True)
class CardFacts:
    """What a task says of what came out; the text around it is that of every card.

    Attributes:
        pipeline_tag: what the hub calls such models.
        what: the model in words, such as `A language model`.
        rows: what the examples are called.
        over: what the intervals of its scores are over.
        trained: what of the model was trained, where that is to be said.
        reads: Markdown on what it reads and writes.
        scored: what the scores were measured on, in sentences.
        explained: what some of them mean.
        beside_base: whether they stand beside those of the untrained base.
        prompt: what the lines that load it ask it.
        shows_row: whether a row of the data is shown, which the prompt is then made of.
    """

    pipeline_tag: str
    what: str
    rows: str
    over: str
    training: Sequence[tuple[str, object]]
    trained: str = ""
    labels: Sequence[str] = ()
    reads: str = ""
    scored: str = ""
    explained: str = ""
    beside_base: bool = False
    prompt: Prompt = ""
    shows_row: bool = False


@dataclass(frozen=True)
class Card:
    """The values of a card.

    Attributes:
        library: which reads the folder, as the hub calls it.
        base: name of the base model, or of its folder.
        data: source of the training set and the rows of each split.
        scores: rows of cells, the first is their head.
        chose_best: whether the validation set chose among checkpoints.
        loading: Python that loads the folder and asks it.
        made: what was done to the model since, the last first.
        began: what the training went on from, one sentence; empty where that was the base alone.
        refitted: what scores are not of the model that is kept, one sentence; empty where all are.
        base_is_folder: whether the base lay in a folder, which a reader of the card does not have.
    """

    task: str
    name: str
    library: str
    base: str
    method: str
    version: str
    data: str
    scores: Sequence[Sequence[str]]
    chose_best: bool
    loading: str
    recipe: str
    told: CardFacts
    made: Sequence[str] = ()
    base_is_folder: bool = False
    began: str = ""
    refitted: str = ""


def write_card(card: Card, folder: Path) -> None:
    """Write README.md, and card.json, from which `read_card` reads the card back."""
    is_on_hub = not card.base_is_folder and not card.base.startswith(("/", "builtin:"))
    head = metadata(
        card.library,
        card.told.pipeline_tag,
        base=card.base if is_on_hub else None,
        widget=[_widget(card.told.prompt)] if card.told.shows_row else None,
    )
    text = card_text("report/card.md.jinja", card=card, told=card.told, metadata=head)
    write_text(folder / CARD_FILE, f"{text}\n")
    write_json(folder / VALUES_FILE, asdict(card))


def _widget(prompt: Prompt) -> dict[str, Any]:
    """What the hub shows beside a model to be asked: a text, a chat, or the first of several texts."""
    if isinstance(prompt, str):
        return {"text": prompt}
    return dict(prompt[0]) if "text" in prompt[0] else {"messages": prompt}


def card_text(name: str, /, **values: Any) -> str:
    """A card, or a part of one, rendered from a template of ftkit."""
    filters: dict[str, Callable[..., str]] = {
        "fenced": fenced,
        "escaped": lambda value: escaped(str(value)),
        "code": code,
        "table": markdown_table,
        "shortened": partial(shortened, most=EXAMPLE_CHARACTERS),
        "json": partial(json.dumps, ensure_ascii=False),
    }
    return rendered(name, filters=filters, **values).rstrip("\n")


def read_card(folder: Path) -> Card | None:
    """The card of a model folder; None where ftkit left none that it understands."""
    try:
        values = read_json_object(folder / VALUES_FILE)
        return Card(**{**values, "told": CardFacts(**values["told"])})
    except (UserError, KeyError, TypeError):
        return None


def library_of(folder: Path) -> str:
    """The library that reads a model folder."""
    if (folder / "modules.json").is_file():
        return "sentence-transformers"
    return "peft" if (folder / "adapter_config.json").is_file() else "transformers"


def metadata(
    library: str,
    pipeline_tag: str,
    *,
    base: str | None = None,
    widget: list[dict[str, Any]] | None = None,
) -> str:
    """The head of a card, YAML; `widget`: what the hub's page of the model offers to ask it."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        library_name=library, pipeline_tag=pipeline_tag, tags=["ftkit"], base_model=base, widget=widget
    )
    return data.to_yaml()


def plain_facts(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """Numbers and words among facts, those of a part named `part.name`."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from plain_facts(value, f"{above}{name}.")
        elif isinstance(value, bool):
            yield above + name, "yes" if value else "no"
        elif isinstance(value, str | int):
            yield above + name, value
        elif isinstance(value, float):
            yield above + name, f"{value:.6g}"


def fenced(text: str, language: str = "text") -> str:
    """A block of code that shows any text as it is, one with fences of its own too.

    Example:
        >>> print(fenced("a ``` b"))
        ````text
        a ``` b
        ````
    """
    text = printable(text)
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.removesuffix(chr(10))}\n{fence}"
