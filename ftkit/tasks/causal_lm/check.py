"""`ftkit check` of a language model's recipe: its data as the model will see it, and what the training will cost."""

from __future__ import annotations

import itertools
import sys
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ftkit.report.check import EXAMPLE_TOKENS, EXAMPLES, DataCheck, count_lines, listed, shown_rows, source_lines
from ftkit.report.tables import shortened, table_lines

if TYPE_CHECKING:
    from ftkit.data.audit import LanguageAudit
    from ftkit.data.dataset import Split, Splits
    from ftkit.inputs.sequences import Sequences, Tokenized
    from ftkit.tasks.causal_lm.audit import TokenReport
    from ftkit.tasks.causal_lm.recipe import CausalRecipe

MARKED_CHARACTERS = 600
KINDS_SHOWN = 4
"""Chats that are shown, each with something that none before it has."""
LEARNT_MARKS = ("⟦", "⟧")
"""What is learnt stands between them."""


def check_data(recipe: CausalRecipe) -> DataCheck:
    """Read and tokenize the data of a recipe, audit it and plan the run; no weight is read.

    Raises:
        UserError: the data or the base model cannot be had, or nothing is left to learn.
    """
    from ftkit.data.chat.rendering import ChatBase
    from ftkit.decoding.going_on import going_on_notes
    from ftkit.models.adapted.base import locate_base
    from ftkit.models.causal import load_tokenizer_for_lm, refuse_other_kinds
    from ftkit.tasks.causal_lm.audit import audit, token_report
    from ftkit.tasks.causal_lm.examples import (
        evaluation_stride,
        example_length,
        may_pack,
        tokenize_splits,
        unknown_in,
        window_notes,
    )
    from ftkit.tasks.causal_lm.form import load_splits
    from ftkit.tasks.causal_lm.plan import plan_language_model
    from ftkit.training.again.refit import refit_notes

    checkpoint = locate_base(recipe)
    chats = ChatBase(partial(load_tokenizer_for_lm, checkpoint, trust_remote_code=recipe.model.trust_remote_code))
    splits = load_splits(recipe.data, seed=recipe.training.seed, chats=chats)
    refuse_other_kinds(checkpoint)
    tokenizer = load_tokenizer_for_lm(checkpoint, trust_remote_code=recipe.model.trust_remote_code)
    max_length = example_length(recipe, checkpoint)
    packed = may_pack(recipe)
    limit = checkpoint.max_length(None, longest=sys.maxsize)
    stride = evaluation_stride(recipe, splits, max_length=max_length)
    tokens = tokenize_splits(tokenizer, splits, max_length=max_length, packed=packed, limit=limit, stride=stride)
    reports = {name: token_report(found, name, limit=limit) for name, found in tokens.items()}
    train = replace(tokens["train"].sequences, packed=packed)
    found, chats_found = audit(splits), count_splits(splits)
    examples = marked_examples(tokenizer, train, splits)
    return DataCheck(
        notes=[*splits.notes, *going_on_notes(recipe.model, checkpoint, splits), *refit_notes(recipe, splits)],
        skipped=len(splits.skipped),
        lines=[
            *_count_lines(found, chats_found),
            *source_lines(splits, train.rows, targets=train.num_learnt),
            *_token_lines(reports),
            *_learnt_by_role(tokens["train"]),
            *window_notes(tokens, stride),
            *(note for name, one in tokens.items() for note in one.chat_notes(name)),
        ],
        warnings=[
            *unknown_in(tokenizer, tokens),
            *found.warnings,
            *(warning for report in reports.values() for warning in report.warnings),
        ],
        examples=_example_lines(examples, of_sources=bool(splits.train.source_names)),
        figures={
            "audit": asdict(found),
            "tokens": {split: report.to_dict() for split, report in reports.items()},
            "examples": list(examples),
            **({"chats": chats_found} if chats_found else {}),
        },
        plan=plan_language_model(recipe, checkpoint, train, max_length=max_length),
    )


def count_splits(splits: Splits) -> dict[str, dict[str, int]]:
    """What the chats of each split are made of; nothing where they are none."""
    from ftkit.data.chat.counting import count_chats

    return {split.name: count_chats(chats) for split in splits.all() if (chats := _chats_of(split)) is not None}


def _chats_of(split: Split) -> Split | None:
    """The rows of a split that are chats; None where there are none."""
    return next((part for _, part in split.by_form() if "messages" in part.table.column_names), None)


def marked_examples(tokenizer: Any, sequences: Sequences, splits: Splits) -> dict[str, str]:
    """Examples as the model will see them, special tokens included, what is learnt between ⟦ and ⟧ -> what they show.

    The first ones; of several sources the first of each; of chats those of the first of each kind.
    """
    if splits.train.source_numbers is not None:
        names, numbers = splits.train.source_names, splits.train.source_numbers
        first = ((names[numbers[row]], (sequences.rows >= row).argmax()) for row in shown_rows(splits.train))
        return {_marked(tokenizer, sequences, int(place)): f"source {name}" for name, place in first}
    if splits.prompting is None or splits.prompting.kind != "chat":
        return {_marked(tokenizer, sequences, row): "" for row in range(min(EXAMPLES, len(sequences)))}
    from ftkit.data.chat.counting import first_of_each_kind

    shown = {}
    for row, kinds in first_of_each_kind(splits.train, most=KINDS_SHOWN).items():
        of_row = (sequences.rows == row).nonzero()[0].tolist()
        for part, index in enumerate(of_row[-EXAMPLES:], max(1, len(of_row) - EXAMPLES + 1)):
            whole = f"chat {row + 1}" + (f", example {part} of {len(of_row)}" if len(of_row) > 1 else "")
            told = f" ({', '.join(kinds)})" if kinds else ""
            shown[_marked(tokenizer, sequences, index)] = whole + told
    return shown


def _marked(tokenizer: Any, sequences: Sequences, row: int) -> str:
    import numpy as np

    start = int(sequences.offsets[row])
    stop = min(int(sequences.offsets[row + 1]), start + EXAMPLE_TOKENS)
    ids, learnt = sequences.ids[start:stop], sequences.learnt[start:stop]
    cuts = [0, *(np.flatnonzero(np.diff(learnt)) + 1).tolist(), len(ids)]
    parts = []
    for first, last in itertools.pairwise(cuts):
        text = tokenizer.decode(ids[first:last].tolist())
        parts.append(f"{LEARNT_MARKS[0]}{text}{LEARNT_MARKS[1]}" if learnt[first] else text)
    return "".join(parts) + (" ..." if stop < int(sequences.offsets[row + 1]) else "")


def _example_lines(examples: dict[str, str], *, of_sources: bool) -> list[str]:
    which = "chats of each kind" if any(examples.values()) else "the first examples"
    if of_sources:
        which = "an example of each source"
    lines = [f"{which} as the model will see them; what is learnt stands in ⟦ ⟧"]
    for example, what in examples.items():
        lines += [f"  {what}"] if what else []
        lines += ["  " + shortened(example, MARKED_CHARACTERS).replace("\n", "\n  "), ""]
    return lines


def _count_lines(found: LanguageAudit, chats: dict[str, dict[str, int]]) -> list[str]:
    from ftkit.data.audit import NOUNS

    counted = {
        f"{NOUNS[found.kind]}s": found.rows,
        "characters": found.characters,
        "duplicates": found.duplicates,
        "other repeated prompts": found.repeated_prompts,
        "empty": found.empty_texts,
    }
    made_of = dict.fromkeys(what for counts in chats.values() for what in counts)
    counted |= {what: {split: counts.get(what, 0) for split, counts in chats.items()} for what in made_of}
    lines = count_lines("", {name: counts for name, counts in counted.items() if counts})
    return [*lines, *([f"leaks: {listed(found.leaks)}"] if found.leaks else [])]


def _learnt_by_role(train: Tokenized) -> list[str]:
    if not train.num_chats:
        return []
    by_role = {"the assistant": train.num_answer_tokens}
    by_role["the others"] = int(train.sequences.learnt.sum()) - train.num_answer_tokens
    return [f"training tokens learnt by role: {listed(by_role)}"]


def _token_lines(reports: dict[str, TokenReport]) -> list[str]:
    lines = [["tokens", "in all", "learnt", "mean", "p50", "p95", "longest", "cut"]]
    for split, report in reports.items():
        lengths = report.lengths
        shown = [f"{lengths.mean:.0f}", f"{lengths.p50:,}", f"{lengths.p95:,}", f"{lengths.longest:,}"]
        all_of_them = [f"{report.num_tokens:,}", f"{report.percent_learnt:.1f}%"]
        lines.append([f"  {split}", *all_of_them, *shown, f"{lengths.percent_truncated:.1f}%"])
    return table_lines(lines, align="<>", widths=(14, 12, 12, 8, 8, 8, 10, 8), gap=0)
