"""From the lists of sources in the `data` part of a recipe to the rows of each, split by split."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ftkit.data.columns.names import listing
from ftkit.data.gather import Source
from ftkit.data.sources import find_sources
from ftkit.errors import UserError
from ftkit.recipe.data_section import SPLIT_NAMES, DataSpec
from ftkit.recipe.sources.section import SourceSpec, names_of

Spec = TypeVar("Spec", bound=DataSpec)
Found = TypeVar("Found")


@dataclass(frozen=True)
class Component(Generic[Spec]):
    """A source of the rows of a split, alone or beside others.

    Attributes:
        source: where the rows are.
        spec: the data section as it counts for it.
        name: what its metrics are called by; empty where the recipe lists no sources.
        weight: of its examples in an epoch; 0 where nobody gave one.
        given: keys of the data section that the recipe gives for it alone.
    """

    source: Source
    spec: Spec
    name: str = ""
    weight: float = 0.0
    given: frozenset[str] = frozenset()

    @property
    def may_lack_answers(self) -> bool:
        """Whether it is the test split of a data set that nobody asked for; what the recipe lists, it asks for."""
        return not self.name and self.source.may_lack_answers(self.spec)


Components = Mapping[str, Sequence[Component[Spec]]]
"""Split -> its sources; train always, validation and test where there are any."""


def find_components(
    spec: Spec, *, documents: bool = False, narrow: Callable[[Source], Source] | None = None
) -> tuple[dict[str, list[Component[Spec]]], list[str]]:
    """The sources of each split, and notes on how they were found.

    With `documents` a row of a text file is a document and not a line; `narrow` makes each source one that is read in
    part.

    Raises:
        UserError: nothing or two things named, no such file, folder or data set, or no such split.
    """
    if spec.lists_sources:
        found, notes = _listed(spec, documents=documents)
    else:
        sources, notes = find_sources(spec, documents=documents)
        found = {split: [Component(source, spec)] for split, source in sources.items()}
        if spec.validation_size == 0 and "validation" in sources:
            notes.append(
                f"{sources['validation'].name} is measured all the same: data.validation_size: 0 splits nothing off,"
                " and the last step is kept"
            )
    if narrow is not None:
        found = {split: [replace(one, source=narrow(one.source)) for one in some] for split, some in found.items()}
    return found, notes


def source_names(components: Components[Spec]) -> tuple[str, ...]:
    """What the sources are called, in the order of their numbers; none where the data have one source."""
    names = tuple(dict.fromkeys(one.name for some in components.values() for one in some))
    return names if len(names) > 1 else ()


def source_weights(components: Components[Spec]) -> tuple[float, ...]:
    """Weights of the sources in an epoch, in the order of their numbers; none where nobody gave any."""
    weights = {one.name: one.weight for one in components["train"]}
    return tuple(weights.get(name, 0.0) for name in source_names(components)) if any(weights.values()) else ()


def chosen_for_each(
    components: Components[Spec],
    choose: Callable[[Component[Spec], list[str]], Found],
    *,
    keys: Collection[str],
    notes: list[str],
) -> dict[str, list[Found]]:
    """How the rows of each source are read: held-out ones as the training source of their name, unless they say it.

    Args:
        components: the sources.
        choose: (source, notes on what was assumed) -> how its rows are read.
        keys: of the data section that say so.
        notes: those on each source are added here, with its name where there are several.
    """
    several = len(components["train"]) > 1
    found: dict[str, list[Found]] = {}
    by_name: dict[str, Found] = {}
    for split, some in components.items():
        for one in some:
            name = one.name if several else ""
            if split != "train" and name in by_name and not one.given & set(keys):
                chosen = by_name[name]
            else:
                assumed: list[str] = []
                chosen = choose(one, assumed)
                notes += [f"{one.name}: {note}" if one.name else note for note in assumed]
                by_name.setdefault(name, chosen)
            found.setdefault(split, []).append(chosen)
    return found


def found_splits(components: Components[Spec]) -> dict[str, object]:
    """Keys of the data section that name the splits of a data set -> what they are called there."""
    called = {split: some[0].source.called for split, some in components.items()}
    return {f"{split}_split": name for split, name in called.items() if name is not None}


def _listed(spec: Spec, *, documents: bool) -> tuple[dict[str, list[Component[Spec]]], list[str]]:
    notes: list[str] = []
    found: dict[str, list[Component[Spec]]] = {}
    entries = {split: _entries(spec, split) for split in SPLIT_NAMES}
    names = {split: names_of(some) for split, some in entries.items()}
    trained = dict(zip(names["train"], entries["train"], strict=True))
    only = next(iter(trained.values())) if len(trained) == 1 else None
    for split in SPLIT_NAMES:
        for name, entry in zip(names[split], entries[split], strict=True):
            # held-out rows are read as the training rows that they are called like
            like = trained.get(name, only) if split != "train" else None
            alone = (spec if like is None else spec.of_source(like)).of_source(entry)
            source = _source_of(alone, entry, split, documents=documents, notes=notes)
            source = replace(source, split=split, called=None)
            found.setdefault(split, []).append(
                Component(source, alone, name, entry.weight or 0.0, frozenset(entry.given))
            )
    return found, notes


def _entries(spec: DataSpec, split: str) -> list[SourceSpec]:
    file = getattr(spec, f"{split}_file")
    return [spec.source_class(file=file)] if isinstance(file, str) else spec.entries(f"{split}_file")


def _source_of(alone: DataSpec, entry: SourceSpec, split: str, *, documents: bool, notes: list[str]) -> Source:
    """The one split of a file or data set that is a source of a split."""
    sources, found = find_sources(alone, documents=documents)
    notes += found
    wanted = split if entry.dataset_name is not None and entry.split is None else "train"
    if wanted not in sources:
        raise UserError(
            f"the data set has no {split} split that is called so", where=str(entry.dataset_name), fix="name its split"
        )
    if unused := [str(source.called) for name, source in sources.items() if name != wanted]:
        notes.append(f"splits of {entry.dataset_name} that are not used: {listing(unused)}")
    return sources[wanted]
