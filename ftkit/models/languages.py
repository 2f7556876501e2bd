"""Languages of a tokenizer that marks with a token what is read and what is written: mBART, mBART-50, M2M100, NLLB."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.recipe.nearest import nearest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CODE = re.compile(r"[a-z]{2,3}(_[A-Za-z]{2,4})?")
_ALIKE_SHOWN = 5


def marks_languages(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer sets a token for the language of a text; transformers gives no other sign of it."""
    return isinstance(getattr(type(tokenizer), "src_lang", None), property)


def language_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The codes of its languages, each with the id of its token, in the tokenizer's order; none where it marks none.

    NLLB keeps no list: there they are the special tokens that look like a code, as are languages that somebody added.
    """
    if not marks_languages(tokenizer):
        return {}
    given: Any = tokenizer
    ids: dict[str, int] = dict(getattr(given, "lang_code_to_id", {}))
    tokens = [str(token) for token in given.all_special_tokens]
    return ids | {token: int(given.convert_tokens_to_ids(token)) for token in tokens if _CODE.fullmatch(token)}


def refuse_language(tokenizer: PreTrainedTokenizerBase, code: str, *, what: str, where: str | None = None) -> None:
    """Refuse a code that is none of the tokenizer's languages; `what` names it, such as a key of the recipe.

    Raises:
        UserError: with those that it may have been meant for, or all of them.
    """
    ids = language_ids(tokenizer)
    if code in ids:
        return
    if not ids:
        raise UserError(
            f"{what} is {code}, and {type(tokenizer).__name__} marks no languages",
            where=where,
            fix="remove it; mBART, M2M100 and NLLB have such marks, T5 is told its task by data.source_prefix",
        )
    near = nearest(code, ids)
    alike = [near] if near else [known for known in ids if known[:2].lower() == code[:2].lower()][:_ALIKE_SHOWN]
    fix = f"did you mean {' or '.join(alike)}?" if alike else listed(tokenizer)
    raise UserError(f"{what} is {code}, no language of {type(tokenizer).__name__}", where=where, fix=fix)


def listed(tokenizer: PreTrainedTokenizerBase) -> str:
    """All codes, for a message."""
    return f"its codes: {', '.join(language_ids(tokenizer))}"


def set_languages(tokenizer: PreTrainedTokenizerBase, source: str, target: str) -> None:
    """What is read and what is written from now on; both are saved with the tokenizer."""
    given: Any = tokenizer
    given.src_lang, given.tgt_lang = source, target


def own_languages(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str] | None:
    """The two languages that the tokenizer's files name; None where they name fewer.

    transformers fills in English for both as soon as a target was tokenized without a word on it, and saves that; so
    two that are the same say nothing.
    """
    source, target = (tokenizer.init_kwargs.get(name) for name in ("src_lang", "tgt_lang"))
    return (source, target) if source and target and source != target else None


@contextmanager
def in_languages(
    tokenizer: PreTrainedTokenizerBase, *, source: str | None = None, target: str | None = None
) -> Iterator[None]:
    """Other languages for a while; None leaves one as it is."""
    given: Any = tokenizer
    if source is None and target is None:
        yield
        return
    before = given.src_lang, given.tgt_lang
    set_languages(tokenizer, source or before[0], target or before[1])
    try:
        yield
    finally:
        set_languages(tokenizer, *before)


def target_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens that are set before, and behind, what is written in the tokenizer's target language."""
    whole: list[int] = list(tokenizer(text_target="a")["input_ids"])
    bare: list[int] = list(tokenizer(text_target="a", add_special_tokens=False)["input_ids"])
    starts = (start for start in range(len(whole)) if whole[start : start + len(bare)] == bare)
    start = next(starts, 0)
    return whole[:start], whole[start + len(bare) :]
