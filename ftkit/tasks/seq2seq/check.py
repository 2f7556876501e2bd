"""`ftkit check` of a recipe of task seq2seq: sources and targets as the model will see them, and what it will cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ftkit.report.check import EXAMPLE_TOKENS, DataCheck, count_lines, listed, shown_rows, source_lines
from ftkit.report.tables import shortened, table_lines

if TYPE_CHECKING:
    from ftkit.data.audit import LanguageAudit
    from ftkit.data.dataset import Splits
    from ftkit.inputs.pairs import Pairs
    from ftkit.tasks.seq2seq.audit import SidesReport
    from ftkit.tasks.seq2seq.recipe import Seq2SeqRecipe

SIDE_CHARACTERS = 400


def check_data(recipe: Seq2SeqRecipe) -> DataCheck:
    """Read and tokenize the data of a recipe, audit it and plan the run; no weight is read.

    Raises:
        UserError: the data or the base model cannot be had, or do not fit.
    """
    from ftkit.decoding.going_on import going_on_notes
    from ftkit.models.adapted.base import locate_base
    from ftkit.tasks.seq2seq.audit import audit, token_report
    from ftkit.tasks.seq2seq.examples import pair_lengths, tokenize_splits, unknown_in
    from ftkit.tasks.seq2seq.form import load_splits
    from ftkit.tasks.seq2seq.outputs import decoding_of, grouped_sources
    from ftkit.tasks.seq2seq.plan import plan_encoder_decoder
    from ftkit.tasks.seq2seq.texts import text_warnings
    from ftkit.tasks.seq2seq.tokenizer import languages_in_words, task_tokenizer
    from ftkit.tasks.seq2seq.train import rehearse
    from ftkit.training.again.refit import refit_notes

    checkpoint = locate_base(recipe)
    splits = load_splits(recipe.data, seed=recipe.training.seed)
    rehearse(recipe, splits, checkpoint)
    tokenizer = task_tokenizer(recipe.data, splits, checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    languages = languages_in_words(tokenizer, recipe.data)
    lengths = pair_lengths(recipe, checkpoint)
    tokens = tokenize_splits(tokenizer, splits, lengths=lengths)
    reports = {name: token_report(found, name, lengths) for name, found in tokens.items()}
    pairs = tokens["train"].pairs
    longest = decoding_of(recipe.generation, pairs, seed=recipe.training.seed).max_new_tokens
    labels, examples = _label_counts(splits), _examples(tokenizer, pairs, shown_rows(splits.train))
    found = audit(splits)
    unseen = text_warnings(splits, tokenizer, checkpoint, prefix=recipe.data.source_prefix)
    return DataCheck(
        notes=[
            *splits.notes,
            *going_on_notes(recipe.model, checkpoint, splits),
            *refit_notes(recipe, splits),
            *grouped_sources(splits),
        ],
        skipped=len(splits.skipped),
        lines=[
            *_count_lines(found),
            *source_lines(splits, pairs.rows, targets=pairs.target_lengths),
            *([f"labels: {listed(labels)}"] if labels else []),
            *([f"languages: {languages}"] if languages else []),
            *_token_lines(reports),
            f"outputs have at most {longest:,} tokens (generation.max_new_tokens)",
        ],
        warnings=[
            *unknown_in(tokenizer, tokens),
            *found.warnings,
            *unseen,
            *(warning for report in reports.values() for warning in report.warnings),
        ],
        examples=_example_lines(examples),
        figures={
            "audit": asdict(found),
            "label_counts": labels,
            "tokens": {split: report.to_dict() for split, report in reports.items()},
            "max_new_tokens": longest,
            "examples": examples,
        },
        plan=plan_encoder_decoder(recipe, checkpoint, pairs, max_length=lengths.source),
    )


def _label_counts(splits: Splits) -> dict[str, int]:
    """label -> training rows, where labels are the targets."""
    if not splits.label_names:
        return {}
    import numpy as np

    counts = np.bincount(splits.train.labels, minlength=len(splits.label_names))
    return dict(zip(splits.label_names, counts.tolist(), strict=True))


def _examples(tokenizer: Any, pairs: Pairs, rows: Sequence[int]) -> list[dict[str, str]]:
    def shown(ids: Any, offsets: Any, row: int) -> str:
        start, stop = int(offsets[row]), int(offsets[row + 1])
        text: str = tokenizer.decode(ids[start : min(stop, start + EXAMPLE_TOKENS)].tolist())
        return text + (" ..." if stop - start > EXAMPLE_TOKENS else "")

    return [
        {
            "source": shown(pairs.source_ids, pairs.source_offsets, row),
            "target": shown(pairs.target_ids, pairs.target_offsets, row),
        }
        for row in rows
    ]


def _example_lines(examples: list[dict[str, str]]) -> list[str]:
    lines = ["the first examples as the model will see them"]
    for example in examples:
        for side, text in example.items():
            lines.append(f"  {side}  " + shortened(text, SIDE_CHARACTERS).replace("\n", "\n          "))
        lines.append("")
    return lines


def _count_lines(found: LanguageAudit) -> list[str]:
    counted = {
        "examples": found.rows,
        "characters": found.characters,
        "duplicates": found.duplicates,
        "other repeated sources": found.repeated_prompts,
    }
    leaks = [f"leaks of sources: {listed(found.prompt_leaks)}"] if found.prompt_leaks else []
    return [*count_lines("", counted), *leaks]


def _token_lines(reports: dict[str, SidesReport]) -> list[str]:
    lines = [["tokens", "in all", "mean", "p50", "p95", "longest", "cut"]]
    for split, report in reports.items():
        sides = (
            ("sources", report.num_source_tokens, report.sources),
            ("targets", report.num_target_tokens, report.targets),
        )
        for name, num_tokens, side in sides:
            shown = [f"{side.mean:.0f}", f"{side.p50:,}", f"{side.p95:,}", f"{side.longest:,}"]
            lines.append([f"  {split} {name}", f"{num_tokens:,}", *shown, f"{side.percent_truncated:.1f}%"])
    return table_lines(lines, align="<>", widths=(20, 12, 8, 8, 8, 10, 8), gap=0)
