"""What `ftkit check` found in sources and targets, as lines for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftkit.data.audit import LanguageAudit
    from ftkit.tasks.seq2seq.audit import PairTokenReport, SideReport
    from ftkit.training.plan import Plan

EXAMPLE_CHARACTERS = 400


@dataclass(frozen=True)
class PairExample:
    """One example as the model will see it, special tokens included.

    Attributes:
        source: what the encoder reads.
        target: what the decoder learns to write.
    """

    source: str
    target: str


@dataclass(frozen=True)
class Seq2seqCheck:
    """What was found in the data and what the run will cost.

    Attributes:
        notes: what was assumed when the data was read.
        skipped: rows left out by `data.on_bad_row: skip`.
        audit: counts and warnings.
        label_counts: label -> training rows, where labels are the targets.
        tokens: what the tokens of each split come to.
        max_new_tokens: tokens of an output at most.
        examples: the first training examples.
        plan: parameters, steps, memory.
    """

    notes: tuple[str, ...]
    skipped: int
    audit: LanguageAudit
    label_counts: dict[str, int]
    tokens: dict[str, PairTokenReport]
    max_new_tokens: int
    examples: tuple[PairExample, ...]
    plan: Plan

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it, without the plan."""
        return {
            "notes": list(self.notes),
            "skipped": self.skipped,
            "audit": self.audit.to_dict(),
            "label_counts": self.label_counts,
            "tokens": {split: found.to_dict() for split, found in self.tokens.items()},
            "max_new_tokens": self.max_new_tokens,
            "examples": [{"source": example.source, "target": example.target} for example in self.examples],
        }


def seq2seq_data_lines(check: Seq2seqCheck) -> Iterator[str]:
    """Notes, counts, tokens of both sides and two examples."""
    yield "data"
    yield from (f"  {note}" for note in check.notes)
    if check.skipped:
        yield f"  {check.skipped} rows left out (data.on_bad_row: skip)"
    audit = check.audit
    splits = list(audit.rows)
    yield f"  {'':<28}" + "".join(f"{split:>12}" for split in splits)
    counted = {
        "examples": audit.rows,
        "characters": audit.characters,
        "duplicates": audit.duplicates,
        "other repeated sources": audit.repeated_prompts,
    }
    for name, counts in counted.items():
        yield f"  {name:<28}" + "".join(f"{counts[split]:>12,}" for split in splits)
    yield f"  leaks of sources: {', '.join(f'{pair} {count:,}' for pair, count in audit.prompt_leaks.items())}"
    if check.label_counts:
        yield f"  labels: {', '.join(f'{label} {count:,}' for label, count in check.label_counts.items())}"
    yield f"  {'tokens':<20}{'in all':>12}{'mean':>8}{'p50':>8}{'p95':>8}{'longest':>10}{'cut':>8}"
    for split, found in check.tokens.items():
        yield _side_line(f"{split} sources", found.num_source_tokens, found.sources)
        yield _side_line(f"{split} targets", found.num_target_tokens, found.targets)
    yield f"  outputs have at most {check.max_new_tokens:,} tokens (generation.max_new_tokens)"
    warnings = [*audit.warnings, *(warning for found in check.tokens.values() for warning in found.warnings)]
    yield from (f"  warning: {warning}" for warning in dict.fromkeys(warnings))
    yield "the first examples as the model will see them"
    for example in check.examples:
        yield f"  source  {_shown(example.source)}"
        yield f"  target  {_shown(example.target)}"
        yield ""


def _side_line(name: str, num_tokens: int, side: SideReport) -> str:
    return (
        f"    {name:<18}{num_tokens:>12,}{side.mean:>8.0f}{side.p50:>8,}{side.p95:>8,}{side.longest:>10,}"
        f"{side.percent_cut:>7.1f}%"
    )


def _shown(text: str) -> str:
    cut = text if len(text) <= EXAMPLE_CHARACTERS else f"{text[:EXAMPLE_CHARACTERS]} ..."
    return cut.replace("\n", "\n          ")
