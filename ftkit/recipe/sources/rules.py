"""What goes together in a list of sources; and the rules of one file, applied to each of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ftkit.methods.section import Finding
from ftkit.recipe.data_section import FILE_KEYS
from ftkit.recipe.schema import Recipe
from ftkit.recipe.sources.section import SourceSpec
from ftkit.recipe.task_rules import Facts, R


def sources(facts: Facts[Recipe]) -> Iterator[Finding]:
    """Each source is one file, or one split of a data set, with a name of its own."""
    for key in FILE_KEYS:
        names: set[str] = set()
        for path, entry in _entries(facts, key):
            yield from _one_place(entry, path)
            if entry.name is not None and entry.name in names:
                yield Finding(
                    f"{path}.name", f"{entry.name!r} is another source already", "give each a name of its own"
                )
            names |= {entry.name} if entry.name is not None else set()


def _one_place(entry: SourceSpec, path: str) -> Iterator[Finding]:
    if entry.file is None and entry.dataset_name is None:
        yield Finding(path, "it names no examples", "add file, or dataset_name")
    if entry.file is not None and entry.dataset_name is not None:
        yield Finding(f"{path}.dataset_name", "file is given as well", "make two sources of them, or keep one")
    for name in ("dataset_config_name", "split"):
        if entry.dataset_name is None and getattr(entry, name) is not None:
            yield Finding(f"{path}.{name}", "only a dataset_name has it", "remove it")


def _entries(facts: Facts[R], key: str) -> Iterator[tuple[str, SourceSpec]]:
    """Dotted path and entry of each source of a list."""
    for place, entry in enumerate(facts.recipe.data.entries(key)):
        yield f"data.{key}[{place}]", entry


def of_each_source(rule: Callable[[Facts[R]], Iterator[Finding]]) -> Callable[[Facts[R]], Iterator[Finding]]:
    """A rule about what an example is and where it lies, asked of every source where there are several.

    A key that a source takes from the data section is only in its way where it is in the way of all.
    """

    def found(facts: Facts[R]) -> Iterator[Finding]:
        if not facts.recipe.data.lists_sources:
            yield from rule(facts)
            return
        inherited: list[set[Finding]] = []
        for key in FILE_KEYS:
            for path, entry in _entries(facts, key):
                findings = list(rule(_alone(facts, entry)))
                for finding in findings:
                    if own := _own_key(entry, finding):
                        yield finding._replace(key=f"{path}.{own}")
                inherited.append({one for one in findings if not _own_key(entry, one)})
        for finding in sorted(set().union(*inherited)):
            of_some = finding.key.rpartition(".")[2] in facts.recipe.data.source_class.of_some
            if not of_some or all(finding in findings for findings in inherited):
                yield finding

    return found


def _own_key(entry: SourceSpec, finding: Finding) -> str:
    """What a source calls the key that is found fault with; empty where it takes that from the data section."""
    name = finding.key.rpartition(".")[2]
    called = {"train_file": "file", "train_split": "split"}.get(name, name)
    return called if called in entry.model_fields_set else ""


def _alone(facts: Facts[R], entry: SourceSpec) -> Facts[R]:
    """What the rules look at, of a recipe with that source alone."""
    data = facts.recipe.data.of_source(entry)
    dropped = set(entry.forms) if entry.given.keys() & set(entry.forms) else set()
    given = {key for key in facts.given if key.rpartition(".")[2] not in dropped and key not in _PLACES}
    given |= {f"data.{key}" for key, value in entry.given.items() if value is not None}
    given |= {"data.train_file"} if entry.file is not None else {"data.dataset_name"}
    return Facts(
        facts.recipe.model_copy(update={"data": data}), frozenset(given), facts.fields, facts.defaults, facts.tasks
    )


_PLACES = {f"data.{key}" for key in FILE_KEYS}
