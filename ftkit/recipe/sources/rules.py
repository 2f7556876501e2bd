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


def weights(facts: Facts[Recipe]) -> Iterator[Finding]:
    """Weights are of training sources: of all, of two at least, and with batches of so many examples."""
    for key in FILE_KEYS[1:]:
        for path, entry in _entries(facts, key):
            if entry.weight is not None:
                yield Finding(f"{path}.weight", "held-out rows are measured once each, not mixed", "remove it")
    if not facts.recipe.data.is_weighted:
        return
    entries = list(_entries(facts, FILE_KEYS[0]))
    lacking = [path for path, entry in entries if entry.weight is None]
    if lacking:
        fix = "give it one, or remove those of the others"
        yield Finding(lacking[0], f"it has no weight, and {len(entries) - len(lacking)} of {len(entries)} have", fix)
    if len(entries) == 1:
        yield Finding(f"{entries[0][0]}.weight", "there is no other source to be mixed with", "remove it")
    training = facts.recipe.training
    if training.token_budget() is not None:
        fix = "use per_device_train_batch_size, or remove the weights"
        problem = "sources with weights: other examples each epoch would make other numbers of steps"
        yield Finding("training.max_tokens_per_batch", problem, fix)
    strategy = training.extra.get("train_sampling_strategy", "random")
    if strategy not in ("random", "group_by_length"):
        fix = "remove it, or the weights"
        yield Finding("training.extra", f"train_sampling_strategy {strategy} takes every row once an epoch", fix)


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
