"""What a tokenizer and a prefix do to sources and targets that a row does not show."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ftkit.data.dataset import Split, Splits
from ftkit.models.checkpoint import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WHITE_SPACE = {"\n": "line breaks", "\t": "tabs", "  ": "runs of spaces"}
_BEGINS = re.compile(r"[^\s:][^:\n]{0,80}:")
"""What may say what is to be done with a source."""
_TWICE = re.compile(rf"({_BEGINS.pattern})\s*\1")
_MOST, _NEARLY_ALL = 0.5, 0.95


def text_warnings(
    splits: Splits, tokenizer: PreTrainedTokenizerBase, checkpoint: Checkpoint, *, prefix: str | None
) -> list[str]:
    """White space that a tokenizer drops, counted in training rows; a prefix that is doubled or may be forgotten.

    Args:
        splits: with the columns prompt and completion.
        tokenizer: of the base.
        checkpoint: the base, which may say what prefixes it was taught tasks by.
        prefix: data.source_prefix.
    """
    return [*_white_space(splits.train, tokenizer), *_prefixes(splits, checkpoint, prefix)]


def _white_space(train: Split, tokenizer: Any) -> list[str]:
    def written(space: str) -> str:
        text: str = tokenizer.decode(tokenizer(f"a{space}b")["input_ids"], skip_special_tokens=True)
        return text

    lost = [space for space in WHITE_SPACE if space not in written(space)]
    found = []
    for what, column in (("sources", "prompt"), ("targets", "completion")):
        counts = dict.fromkeys(lost, 0)
        for (texts,) in train.columns(column):
            for space in lost:
                counts[space] += sum(space in text.strip() for text in texts)
        kinds = [f"{WHITE_SPACE[space]} ({count:,})" for space, count in counts.items() if count]
        if kinds:
            end = "; they cannot be written" if what == "targets" else ""
            found.append(
                f"of {len(train):,} training {what} some have white space that the tokenizer turns into single spaces:"
                f" {', '.join(kinds)}{end}"
            )
    return found


def _prefixes(splits: Splits, checkpoint: Checkpoint, prefix: str | None) -> list[str]:
    again = re.compile(rf"({re.escape(prefix.strip())})\s*\1") if prefix and prefix.strip() else _TWICE
    doubled = [split.name for split in splits.all() if _share(split, lambda text: again.match(text.strip())) > _MOST]
    if doubled:
        twice = again.match(next(text for (texts,) in splits.train.columns("prompt") for text in texts).strip())
        shown = f", such as {twice[1]!r}" if twice else ""
        return [f"most sources of {', '.join(doubled)} begin twice with what stands before a source{shown}"]
    if lacking := _lacking(splits):
        return lacking
    if prefix:
        return []
    taught = [known for known in _taught_prefixes(checkpoint) if known.strip()]
    if not taught or _share(splits.train, lambda text: text.startswith(tuple(taught))) > 0:
        return []
    return [
        f"{checkpoint.name} was taught its tasks by what stands before a source, such as {taught[0]!r}, and nothing"
        " does here: data.source_prefix writes it"
    ]


def _lacking(splits: Splits) -> list[str]:
    """Other sets whose sources do not begin as nearly all of the training set do."""
    begins = Counter(
        found[0] for (texts,) in splits.train.columns("prompt") for text in texts if (found := _BEGINS.match(text))
    )
    start, count = begins.most_common(1)[0] if begins else ("", 0)
    if count < _NEARLY_ALL * len(splits.train):
        return []
    others = [split.name for split in splits.all()[1:] if not _share(split, lambda text: text.startswith(start))]
    return [f"the sources of {name} do not begin with {start!r}, as those of train do" for name in others]


def _taught_prefixes(checkpoint: Checkpoint) -> Iterable[str]:
    tasks = checkpoint.config.get("task_specific_params")
    settings = tasks.values() if isinstance(tasks, dict) else ()
    return [str(task["prefix"]) for task in settings if isinstance(task, dict) and task.get("prefix")]


def _share(split: Split, fits: Any) -> float:
    return sum(sum(map(bool, map(fits, prompts))) for (prompts,) in split.columns("prompt")) / max(1, len(split))
