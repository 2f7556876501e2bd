"""What `ftkit check` found, whatever the task, as lines for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.report.tables import table_lines, widest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ftkit.data.dataset import Split, Splits
    from ftkit.training.plan import Plan

NAME_WIDTH, COUNT_WIDTH = 28, 12
FORM_NOUNS = {"text": "texts", "completion": "completions", "chat": "chats"}
EXAMPLES, EXAMPLE_TOKENS = 2, 400
"""Training examples that are shown, and tokens of each."""
WIDEST_VALUE = 48
"""Characters of a recipe's value that push where it came from no further."""


@dataclass(frozen=True)
class DataCheck:
    """What was found in the data and what the run will cost.

    Attributes:
        skipped: rows left out by `data.on_bad_row: skip`.
        lines: rows, repeats, leaks and tokens.
        warnings: one sentence each.
        examples: a heading, and the first training examples as the model will see them.
        figures: what the lines and the examples say, as JSON can hold it.
    """

    notes: Sequence[str]
    skipped: int
    lines: Sequence[str]
    warnings: Sequence[str]
    examples: Sequence[str]
    figures: Mapping[str, Any]
    plan: Plan


def count_lines(name: str, counted: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A table of what was counted -> split -> how much (absent is 0), the splits of the first row side by side."""
    splits = list(next(iter(counted.values())))
    rows = [[what, *(f"{counts.get(split, 0):,}" for split in splits)] for what, counts in counted.items()]
    return table_lines([[name, *splits], *rows], align="<>", widths=(NAME_WIDTH, COUNT_WIDTH), gap=0)


def source_lines(
    splits: Splits, examples: npt.NDArray[np.int64], *, targets: npt.NDArray[np.int64] | None = None
) -> list[str]:
    """A table of the sources: rows of each in each split, its share of an epoch, and how often each is learnt there.

    Args:
        splits: the data; of one source there is no table.
        examples: the training row that each example is made of (N,).
        targets: tokens of each example that are learnt (N,); None where a label is.
    """
    from ftkit.data.mixture.shares import mixing_of

    mixing = mixing_of(splits, examples)
    if mixing is None:
        return []
    of_tokens = [] if targets is None else [f"{share:.1%}" for share in mixing.of_targets(targets)]
    head = ["sources", *(split.name for split in splits.all()), "of epoch"]
    rows = [[*head, *(["of tokens"] if of_tokens else []), "times each"]]
    counts = [_rows_by_source(split) for split in splits.all()]
    for number, name in enumerate(mixing.names):
        counted = [f"{of_split[number]:,}" for of_split in counts]
        share = f"{mixing.an_epoch[number] / len(examples):.1%}"
        form = f" ({FORM_NOUNS[splits.promptings[number].kind]})" if splits.promptings else ""
        times = f"{mixing.passes[number]:.3g}"
        rows.append([f"  {name}{form}", *counted, share, *of_tokens[number : number + 1], times])
    return table_lines(rows, align="<>", widths=(NAME_WIDTH, COUNT_WIDTH), gap=0)


def _rows_by_source(split: Split) -> npt.NDArray[np.int64]:
    import numpy as np

    assert split.source_numbers is not None, "all splits have several sources, or none has"
    return np.bincount(split.source_numbers, minlength=len(split.source_names))


def shown_rows(split: Split) -> list[int]:
    """Numbers of the rows that are shown: the first ones, of several sources the first of each."""
    import numpy as np

    if split.source_numbers is None:
        return list(range(min(EXAMPLES, len(split))))
    return [int(row) for row in np.unique(split.source_numbers, return_index=True)[1]]


def listed(counts: Mapping[str, int]) -> str:
    """Counts on one line."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def recipe_lines(values: Sequence[tuple[str, Any, str]]) -> Iterator[str]:
    """Every value of the recipe with where it came from; what the user wrote stands out by its line number."""
    shown = [(key, _short(value), source) for key, value, source in values if value is not None or source != "default"]
    unset = [key for key, value, source in values if value is None and source == "default"]
    keys, texts, sources = widest(shown)
    yield "recipe"
    yield from table_lines(shown, widths=(keys, min(texts, WIDEST_VALUE), sources), indent=2)
    yield f"  not set: {', '.join(unset)}"


def data_lines(check: DataCheck) -> Iterator[str]:
    """Notes, counts, token lengths and two examples."""
    yield "data"
    yield from (f"  {note}" for note in check.notes)
    if check.skipped:
        yield f"  {check.skipped} rows left out (data.on_bad_row: skip)"
    yield from (f"  {line}" for line in check.lines)
    yield from (f"  warning: {warning}" for warning in dict.fromkeys(check.warnings))
    yield from check.examples


def plan_lines(plan: Plan) -> Iterator[str]:
    """Parameters, steps and memory."""
    share = plan.trained_parameters / plan.parameters
    yield "plan"
    yield f"  {plan.parameters:,} parameters, {plan.trained_parameters:,} of them trained ({share:.2%})"
    yield from (f"  {note}" for note in plan.notes)
    yield f"  {plan.steps:,} steps, {plan.placement}" + (f", pooling {plan.pooling}" if plan.pooling else "")
    yield f"  about {_mib(plan.weights_bytes)} for the weights and {_mib(plan.training_bytes)} for the work (estimate)"
    if plan.features_bytes:
        yield f"  {_mib(plan.features_bytes)} on disk for the stored features of the training set"


def check_json(values: Sequence[tuple[str, Any, str]], check: DataCheck | None) -> dict[str, Any]:
    """The same as one JSON object."""
    recipe = {key: {"value": value, "source": source} for key, value, source in values}
    if check is None:
        return {"recipe": recipe}
    data = {"notes": list(check.notes), "skipped": check.skipped, **check.figures}
    return {"recipe": recipe, "data": data, "plan": check.plan.to_dict()}


def _short(value: Any) -> str:
    return "true" if value is True else "false" if value is False else str(value)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB" if size >= 2**20 else f"{size / 2**10:,.0f} KiB"
