"""What `ftkit check` found in a language model's data, as lines for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftkit.data.audit import LanguageAudit
    from ftkit.tasks.causal_lm.audit import TokenReport
    from ftkit.training.plan import Plan

EXAMPLE_CHARACTERS = 600


@dataclass(frozen=True)
class LanguageCheck:
    """What was found in the data and what the run will cost.

    Attributes:
        notes: what was assumed when the data was read.
        skipped: rows left out by `data.on_bad_row: skip`.
        audit: counts and warnings.
        tokens: what the tokens of each split come to.
        examples: the first training examples as the model will see them, what is learnt between ⟦ and ⟧.
        plan: parameters, steps, memory.
    """

    notes: tuple[str, ...]
    skipped: int
    audit: LanguageAudit
    tokens: dict[str, TokenReport]
    examples: tuple[str, ...]
    plan: Plan

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it, without the plan."""
        return {
            "notes": list(self.notes),
            "skipped": self.skipped,
            "audit": self.audit.to_dict(),
            "tokens": {split: found.to_dict() for split, found in self.tokens.items()},
            "examples": list(self.examples),
        }


def language_data_lines(check: LanguageCheck) -> Iterator[str]:
    """Notes, counts, tokens and two examples."""
    yield "data"
    yield from (f"  {note}" for note in check.notes)
    if check.skipped:
        yield f"  {check.skipped} rows left out (data.on_bad_row: skip)"
    audit = check.audit
    splits = list(audit.rows)
    yield f"  {'':<28}" + "".join(f"{split:>12}" for split in splits)
    counted = {
        {"text": "documents", "completion": "examples", "chat": "chats"}[audit.kind]: audit.rows,
        "characters": audit.characters,
        "duplicates": audit.duplicates,
        "other repeated prompts": audit.repeated_prompts,
        "empty": audit.empty_texts,
    }
    for name, counts in counted.items():
        if counts:
            yield f"  {name:<28}" + "".join(f"{counts[split]:>12,}" for split in splits)
    yield f"  leaks: {', '.join(f'{pair} {count:,}' for pair, count in audit.leaks.items())}"
    yield f"  {'tokens':<14}{'in all':>12}{'learnt':>12}{'mean':>8}{'p50':>8}{'p95':>8}{'longest':>10}{'cut':>8}"
    for split, found in check.tokens.items():
        yield (
            f"    {split:<12}{found.num_tokens:>12,}{found.percent_learnt:>11.1f}%{found.mean:>8.0f}{found.p50:>8,}"
            f"{found.p95:>8,}{found.longest:>10,}{found.percent_truncated:>7.1f}%"
        )
    warnings = [*audit.warnings, *(warning for found in check.tokens.values() for warning in found.warnings)]
    yield from (f"  warning: {warning}" for warning in dict.fromkeys(warnings))
    yield "the first examples as the model will see them; what is learnt stands in ⟦ ⟧"
    for example in check.examples:
        cut = f"{example[:EXAMPLE_CHARACTERS]} ..." if len(example) > EXAMPLE_CHARACTERS else example
        yield "  " + cut.replace("\n", "\n  ")
        yield ""
