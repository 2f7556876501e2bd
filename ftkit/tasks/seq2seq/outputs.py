"""What an encoder-decoder writes for a split: one output for each distinct source, held against all that is right."""

from __future__ import annotations

import json
from collections.abc import Collection
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.data.dataset import LANGUAGE_COLUMNS, SOURCE_COLUMN, Split, Splits
from ftkit.decoding.knobs import Decoding
from ftkit.decoding.outputs import write_outputs
from ftkit.inputs.pairs import Pairs
from ftkit.inputs.written import as_written
from ftkit.metrics.scores import Outputs
from ftkit.models.placement import keep_cache
from ftkit.progress import Reporter
from ftkit.recipe.generative import GenerationSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def decoding_of(spec: GenerationSpec, train: Pairs, *, seed: int) -> Decoding:
    """How outputs are generated: as the recipe says, no longer than the longest target that was learnt.

    Args:
        spec: the recipe's generation section.
        train: the training set.
        seed: of draws.
    """
    knobs = spec.model_dump()
    knobs["max_new_tokens"] = spec.max_new_tokens or int(train.target_lengths.max())
    return Decoding(**knobs, seed=seed)


def grouped_sources(splits: Splits) -> list[str]:
    """A sentence for each measured split in which rows share a source, and so an output; none for labels."""
    if splits.label_names:
        return []
    found = []
    for split in splits.all()[1:]:
        num_sources = len(group_by_prompt(split)[0])
        if num_sources < len(split):
            found.append(
                f"{split.name}: {len(split):,} rows have {num_sources:,} sources; an output is measured against the "
                "targets of all rows of its source"
            )
    return found


def write_split(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    pairs: Pairs,
    decoding: Decoding,
    *,
    stop_ids: Collection[int],
    reporter: Reporter,
    what: str,
) -> Outputs:
    """Generate for every distinct source of a split.

    Args:
        model: an encoder-decoder; it generates in eval mode and is left in the mode it was in.
        tokenizer: of the model.
        split: with columns prompt and completion.
        pairs: of the split.
        decoding: how.
        stop_ids: tokens that end an output.
        reporter: hears of progress.
        what: is done, for the progress.
    """
    first_rows, references = group_by_prompt(split)
    pairs, languages = pairs.take(first_rows), split.languages(targets=True)
    was_training, cached = model.training, model.config.use_cache
    model.eval()
    keep_cache(model, on=True)
    try:
        with reporter.track(what, total=len(pairs)) as advance:
            written = write_outputs(
                model,
                tokenizer,
                sources_of(pairs),
                decoding,
                stop_ids=stop_ids,
                languages=None if languages is None else [languages[row] for row in first_rows],
                advance=advance,
            )
    finally:
        model.train(was_training)
        keep_cache(model, on=cached)
    return Outputs(
        first_rows,
        [[as_written(tokenizer, text) for text in texts] for texts in references],
        [one.text for one in written],
        np.array([one.num_tokens for one in written], dtype=np.int64),
        np.array([not one.stopped for one in written], dtype=np.bool_),
    )


def texts_of_rows(outputs: Outputs, split: Split) -> list[str]:
    """The output of each row of a split, (N,): rows with one source share theirs."""
    asked = list(zip(*(split.table.column(name).to_pylist() for name in _asked_columns(split)), strict=True))
    by_source = {asked[row]: text for row, text in zip(outputs.first_rows.tolist(), outputs.texts, strict=True)}
    return [by_source[source] for source in asked]


def _asked_columns(split: Split) -> list[str]:
    """Columns of what is asked for in each row: its prompt, and languages and source where rows have several."""
    several = (*LANGUAGE_COLUMNS, SOURCE_COLUMN)
    return ["prompt", *(name for name in several if name in split.table.column_names)]


def sources_of(pairs: Pairs) -> list[list[int]]:
    """The sources as lists of token ids."""
    ids: list[int] = pairs.source_ids.tolist()
    return [ids[start:stop] for start, stop in pairwise(pairs.source_offsets.tolist())]


def group_by_prompt(split: Split) -> tuple[npt.NDArray[np.int64], list[list[str]]]:
    """The distinct prompts of a split, and languages where rows have them, each with everything that is a right answer.

    Args:
        split: with columns prompt, completion and perhaps references, N rows.

    Returns:
        The first row (G,) of each of G prompts, ascending, and for each the references of its rows (where there are
        none, their completions): each text once, in the order in which they occur.

    Example:
        >>> import pyarrow as pa
        >>> table = pa.table({"prompt": ["a", "b", "a"], "completion": ["1", "2", "3"]})
        >>> rows, texts = group_by_prompt(Split("test", table, "example"))
        >>> rows.tolist(), texts
        ([0, 1], [['1', '3'], ['2']])
    """
    first: list[int] = []
    groups: dict[tuple[str, ...], dict[str, None]] = {}
    lists = "references" in split.table.column_names
    start = 0
    for batch in split.table.select(["references" if lists else "completion", *_asked_columns(split)]).to_batches():
        answers, *asked = (column.to_pylist() for column in batch.columns)
        for row, (answer, *parts) in enumerate(zip(answers, *asked, strict=True), start):
            prompt = tuple(parts)
            if prompt not in groups:
                groups[prompt] = {}
                first.append(row)
            groups[prompt] |= dict.fromkeys(json.loads(answer) if lists else [answer])
        start += batch.num_rows
    return np.array(first, dtype=np.int64), [list(texts) for texts in groups.values()]
