"""What `ftkit check` found, as lines for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.tasks.causal_lm.check_tables import LanguageCheck, language_data_lines
from ftkit.tasks.seq2seq.check_tables import Seq2seqCheck, seq2seq_data_lines

if TYPE_CHECKING:
    from ftkit.data.audit import TokenStatistics
    from ftkit.tasks.classification.audit import DataAudit
    from ftkit.training.plan import Plan

MOST_LABELS = 20
EXAMPLE_CHARACTERS = 300


@dataclass(frozen=True)
class DataCheck:
    """What was found in the data and what the run will cost.

    Attributes:
        notes: what was assumed when the data was read.
        skipped: rows left out by `data.on_bad_row: skip`.
        audit: counts and warnings.
        tokens: statistics of token lengths by split.
        rows_tokenized: rows of each split behind them.
        examples: two training examples as the model will see them.
        plan: parameters, steps, memory.
    """

    notes: tuple[str, ...]
    skipped: int
    audit: DataAudit
    tokens: dict[str, TokenStatistics]
    rows_tokenized: dict[str, int]
    examples: tuple[dict[str, str], ...]
    plan: Plan

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it, without the plan."""
        return {
            "notes": list(self.notes),
            "skipped": self.skipped,
            "audit": self.audit.to_dict(),
            "tokens": {split: found.to_dict() for split, found in self.tokens.items()},
            "rows_tokenized": self.rows_tokenized,
            "examples": list(self.examples),
        }


AnyCheck = DataCheck | LanguageCheck | Seq2seqCheck
"""What was found, by the task of the recipe."""


def recipe_lines(values: Sequence[tuple[str, Any, str]]) -> Iterator[str]:
    """Every value of the recipe with where it came from; what the user wrote stands out by its line number."""
    shown = [(key, _short(value), source) for key, value, source in values if value is not None or source != "default"]
    unset = [key for key, value, source in values if value is None and source == "default"]
    keys, texts = (max(len(row[column]) for row in shown) for column in (0, 1))
    yield "recipe"
    for key, text, source in shown:
        yield f"  {key:<{keys}}  {text:<{min(texts, 48)}}  {source}"
    yield f"  not set: {', '.join(unset)}"


def data_lines(check: AnyCheck) -> Iterator[str]:
    """Notes, counts, token lengths and two examples."""
    if isinstance(check, LanguageCheck):
        return language_data_lines(check)
    return seq2seq_data_lines(check) if isinstance(check, Seq2seqCheck) else _labelled_lines(check)


def _labelled_lines(check: DataCheck) -> Iterator[str]:
    yield "data"
    yield from (f"  {note}" for note in check.notes)
    if check.skipped:
        yield f"  {check.skipped} rows left out (data.on_bad_row: skip)"
    audit = check.audit
    splits = list(audit.rows)
    yield "  " + f"{'rows':<28}" + "".join(f"{split:>12}" for split in splits)
    yield "  " + f"{'':<28}" + "".join(f"{audit.rows[split]:>12,}" for split in splits)
    for label in list(audit.label_counts["train"])[:MOST_LABELS]:
        counts = "".join(f"{audit.label_counts[split].get(label, 0):>12,}" for split in splits)
        yield f"  {'  ' + label:<28}" + counts
    if (hidden := len(audit.label_counts["train"]) - MOST_LABELS) > 0:
        yield f"    and {hidden} more labels"
    for name, counted in (("duplicates", audit.duplicates), ("labelled in two ways", audit.conflicts)):
        yield f"  {name:<28}" + "".join(f"{counted[split]:>12,}" for split in splits)
    yield f"  {'empty texts':<28}" + "".join(f"{audit.empty_texts[split]:>12,}" for split in splits)
    leaks = ", ".join(f"{name} {number:,}" for name, number in audit.leaks.items())
    yield f"  leaks: {leaks}"
    yield from _token_lines(check)
    yield from (f"  warning: {warning}" for warning in audit.warnings)
    yield "two examples as the model will see them"
    for example in check.examples:
        text = example["input"]
        cut = f"{text[:EXAMPLE_CHARACTERS]} ..." if len(text) > EXAMPLE_CHARACTERS else text
        yield f"  {cut}  ->  {example['label']}"


def _token_lines(check: DataCheck) -> Iterator[str]:
    yield f"  {'tokens':<28}{'mean':>8}{'p50':>8}{'p95':>8}{'longest':>9}{'truncated':>11}"
    for split, found in check.tokens.items():
        of = (
            ""
            if check.rows_tokenized[split] == check.audit.rows[split]
            else f"  first {check.rows_tokenized[split]:,} rows"
        )
        yield (
            f"  {'  ' + split:<28}{found.mean:>8.1f}{found.p50:>8}{found.p95:>8}{found.longest:>9}"
            f"{found.percent_truncated:>10.1f}%{of}"
        )
    train = check.tokens["train"]
    if train.percent_truncated > 1:
        yield (
            f"  warning: {train.percent_truncated:.1f} % of the training texts are cut at {train.max_length} tokens; "
            f"data.max_length: {train.length_for_99_percent} would cut less than 1 %"
        )


def plan_lines(check: AnyCheck) -> Iterator[str]:
    """Parameters, steps and memory."""
    plan = check.plan
    share = plan.trained_parameters / plan.parameters
    yield "plan"
    yield f"  {plan.parameters:,} parameters, {plan.trained_parameters:,} of them trained ({share:.2%})"
    yield f"  {plan.steps:,} steps on {plan.placement}" + (f", pooling {plan.pooling}" if plan.pooling else "")
    yield f"  about {_mib(plan.weights_bytes)} for the weights and {_mib(plan.training_bytes)} for the work (estimate)"
    if plan.features_bytes:
        yield f"  {_mib(plan.features_bytes)} on disk for the stored features of the training set"


def check_json(values: Sequence[tuple[str, Any, str]], check: AnyCheck | None) -> dict[str, Any]:
    """The same as one JSON object."""
    recipe = {key: {"value": value, "source": source} for key, value, source in values}
    if check is None:
        return {"recipe": recipe}
    return {"recipe": recipe, "data": check.to_dict(), "plan": check.plan.to_dict()}


def _short(value: Any) -> str:
    return "true" if value is True else "false" if value is False else str(value)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB" if size >= 2**20 else f"{size / 2**10:,.0f} KiB"
