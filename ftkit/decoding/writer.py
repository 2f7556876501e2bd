"""A saved language model that answers: the prompt is sent in exactly the form that stood in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ftkit.data.chat.marking import end_of_turn
from ftkit.data.chat.rendering import ChatRenderer
from ftkit.data.chat.turns import Chat
from ftkit.data.dataset import LANGUAGE_COLUMNS
from ftkit.data.prompting import Prompting
from ftkit.data.unusable import Unusable
from ftkit.decoding.continuing import Continuation, continue_prompts, position_limit, stop_tokens
from ftkit.decoding.knobs import Decoding
from ftkit.decoding.outputs import source_positions, write_outputs
from ftkit.decoding.prompts import Ask
from ftkit.errors import UserError
from ftkit.inputs.encoding import special_tokens
from ftkit.inputs.unknown import unknown_warning
from ftkit.models.languages import in_languages, listed, marks_languages, refuse_language
from ftkit.models.placement import DTYPES, choose_device, computes_in_bfloat16
from ftkit.models.saved_folder import PROMPTING_FILE, model_folder
from ftkit.models.saved_lm import SavedLM, load_saved_lm
from ftkit.models.scoring import is_encoder_decoder
from ftkit.models.trial import code_failures_told
from ftkit.progress import Advance

CHUNK = 64
"""Prompts that are answered together: as many as are lost when somebody stops a long file."""
FIRST_WORDS, NEW_TOKENS = 8, 16
"""Words of a text that a model which is read back goes on from, and tokens that it writes."""


@dataclass(frozen=True)
class Writer:
    """A saved language model, the form of its inputs, and the tokens that end what it writes."""

    saved: SavedLM
    prompting: Prompting
    stop_ids: frozenset[int]

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether an encoder reads the prompt and a decoder writes something new, not on."""
        return is_encoder_decoder(self.saved.model)

    @property
    def source_limit(self) -> int | None:
        """Tokens that an encoder reads of a source: as many as in training, and no more than it has positions for."""
        limits = []
        if not self.saved.base.counts_distances and (positions := source_positions(self.saved.model)) is not None:
            limits.append(positions)
        if self.saved.prompting is not None:
            limits.append(self.saved.tokenizer.model_max_length)
        return min(limits, default=None)


def open_writer(
    folder: Path,
    prompting: Prompting,
    *,
    use_cpu: bool = False,
    dtype: str = "auto",
    with_adapter: bool = True,
    trust_remote_code: bool = False,
) -> Writer:
    """Load a saved language model to write with; without its adapter: the base alone, asked in the same form.

    `dtype` is that of the weights: `auto` is bfloat16 on an accelerator that computes in it, else float32.

    Raises:
        UserError: it cannot be loaded.
    """
    device, precision = writing_placement(dtype, use_cpu=use_cpu)
    saved = load_saved_lm(
        folder, dtype=precision, device=device, with_adapter=with_adapter, trust_remote_code=trust_remote_code
    )
    return make_writer(saved, prompting)


def writing_placement(dtype: str, *, use_cpu: bool = False) -> tuple[torch.device, torch.dtype]:
    """Where a model writes, and the precision of its weights: `auto` as `open_writer` has it."""
    device = choose_device(use_cpu=use_cpu)
    half = device.type != "cpu" and computes_in_bfloat16(device)
    return device, DTYPES.get(dtype, torch.bfloat16 if half else torch.float32)


def make_writer(saved: SavedLM, prompting: Prompting) -> Writer:
    """Put a loaded model and the form of its inputs together.

    Raises:
        UserError: its tokenizer has no chat template, and chats are its form.
    """
    turn = end_of_turn(saved.tokenizer, prompting) if prompting.kind == "chat" else None
    return Writer(saved, prompting, stop_tokens(saved.model, saved.tokenizer, turn))


def prompt_ids(writer: Writer, ask: Ask) -> list[int]:
    """The tokens that are sent: those that stood before the learnt part in training.

    Begin tokens come first where training put them, and never twice; an empty text is the begin token alone. What an
    encoder reads has the special tokens that its tokenizer adds, and is whole.

    Raises:
        UserError: there is nothing to send, or more than the model has positions for.
    """
    tokenizer: Any = writer.saved.tokenizer
    prefix: list[int] = []
    if writer.is_encoder_decoder:
        assert ask.text is not None, "encoder-decoders are not trained on chats"
        return _source_ids(tokenizer, ask)
    if ask.chat is not None:
        try:
            renderer = ChatRenderer(tokenizer, writer.prompting)
            text = renderer.written(ask.chat).text(generation=True)
        except Unusable as error:
            raise UserError(error.reason, fix=error.fix) from error
    else:
        text, prefix = ask.text or "", list(special_tokens(tokenizer).prefix)
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if ids[: len(prefix)] != prefix:
        ids = prefix + ids
    if not ids and tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id]
    if not ids:
        raise UserError("the prompt is empty, and this tokenizer has no begin token to start from", fix="write one")
    limit = None if writer.saved.base.counts_distances else position_limit(writer.saved.model)
    if limit is not None and len(ids) >= limit:
        raise UserError(
            f"the prompt has {len(ids):,} tokens, and the model has positions for {limit:,}", fix="shorten it"
        )
    return ids


def refuse_languages(writer: Writer, asks: Sequence[Ask]) -> None:
    """Refuse prompts in no language of a tokenizer that marks them, and a language for one that does not.

    Raises:
        UserError: names the language, or says that there is none.
    """
    tokenizer: Any = writer.saved.tokenizer
    marks = writer.is_encoder_decoder and marks_languages(tokenizer)
    for side, own in zip(LANGUAGE_COLUMNS, ("src_lang", "tgt_lang"), strict=True):
        what = f"the {side.replace('_', ' ')}"
        for code in dict.fromkeys(getattr(ask, side) for ask in asks):
            if code is not None:
                refuse_language(tokenizer, code, what=what)
            elif marks and (tokenizer.init_kwargs.get(own) is None or writer.prompting.language_columns.get(side)):
                column = writer.prompting.language_columns.get(side)
                there = f", or let a file name it in column {column}" if column else ""
                fix = f"add --{side.replace('_', '-')}{there}; {listed(tokenizer)}"
                raise UserError(f"{what} is not named, and this model knows several", fix=fix)


def _source_ids(tokenizer: Any, ask: Ask, limit: int | None = None) -> list[int]:
    """What an encoder reads, in its language, cut where there is a limit."""
    with in_languages(tokenizer, source=ask.source_language):
        cut = {} if limit is None else {"truncation": True, "max_length": limit}
        ids: list[int] = tokenizer(ask.text, verbose=False, **cut)["input_ids"]
    return ids


def _cut(writer: Writer, asks: Sequence[Ask], prompts: list[list[int]], say: Callable[[str], None]) -> None:
    """Cut the sources that are too long, in place, where training cut them."""
    tokenizer: Any = writer.saved.tokenizer
    limit = writer.source_limit
    long = [row for row, ids in enumerate(prompts) if limit is not None and len(ids) > limit]
    for row in long:
        prompts[row] = _source_ids(tokenizer, asks[row], limit)
    if long:
        those = "the source is" if len(prompts) == 1 else f"{len(long):,} of {len(prompts):,} sources are"
        say(
            f"{those} longer than {limit:,} tokens and cut there"
            + (", as in training" if writer.saved.prompting else "")
        )


def generate(
    writer: Writer,
    asks: Sequence[Ask],
    decoding: Decoding,
    *,
    write: Callable[[str], None] | None = None,
    advance: Advance = lambda _prompts: None,
    say: Callable[[str], None] = lambda _note: None,
) -> Iterator[Continuation]:
    """Let the model answer, in the order of the prompts.

    A source that is longer than those that an encoder was trained on is cut where they were, as it was when the model
    was measured.

    Args:
        asks: all of them are read as tokens before the first is answered.
        write: called with new text as it comes, when there is one prompt and one beam.
        advance: called with the number of prompts just answered.
        say: hears how many sources were cut, and of prompts that the tokenizer hardly knows.

    Raises:
        UserError: a prompt is empty, or too long for a decoder.
    """
    prompts = [prompt_ids(writer, ask) for ask in asks]
    tokenizer: Any = writer.saved.tokenizer
    speaks = writer.is_encoder_decoder and marks_languages(tokenizer)
    if warning := unknown_warning(tokenizer, prompts, whose="of what is asked"):
        say(f"warning: {warning}")
    if writer.is_encoder_decoder:
        _cut(writer, asks, prompts, say)
    for start in range(0, len(prompts), CHUNK):
        chunk = prompts[start : start + CHUNK]
        let_write = write_outputs if writer.is_encoder_decoder else continue_prompts
        seed = int(np.random.SeedSequence([decoding.seed, start]).generate_state(1)[0]) if start else decoding.seed
        options: dict[str, Any] = {}
        if speaks:
            asked = asks[start : start + CHUNK]
            options["languages"] = [ask.target_language or tokenizer.tgt_lang for ask in asked]
        with code_failures_told(writer.saved.model, name=str(tokenizer.name_or_path), doing="asked to write"):
            answers = let_write(
                writer.saved.model,
                tokenizer,
                chunk,
                replace(decoding, seed=seed),
                stop_ids=writer.stop_ids,
                write=write if len(prompts) == 1 else None,
                **options,
            )
        yield from answers
        advance(len(chunk))


def load_with_form(path: Path) -> SavedLM:
    """Load the language model of a run or a model folder on the CPU, in float32, to see what it became.

    Raises:
        UserError: there is none, or its folder does not say how examples are written.
    """
    folder = model_folder(path)
    saved = load_saved_lm(folder, dtype=torch.float32, device=torch.device("cpu"))
    if saved.prompting is None:
        raise UserError(f"{folder} does not say how examples are written", fix=f"it lacks {PROMPTING_FILE}")
    return saved


def first_words(saved: SavedLM, row: Mapping[str, str], *, max_new_tokens: int = NEW_TOKENS) -> str:
    """What a loaded model writes after the prompt of a row of its data; of a text, after its first words.

    The row has columns as in the table of a split: `text`, `prompt`, or `messages` as JSON.
    """
    prompting = Prompting(**saved.prompting) if saved.prompting is not None else Prompting("text")
    if prompting.kind == "chat":
        chat = Chat.from_json(row["messages"])
        first = next(place for place, turn in enumerate(chat.messages) if turn["role"] == "assistant")
        ask = Ask(chat=replace(chat, messages=chat.messages[: max(1, first)]))
    elif prompting.kind == "completion":
        ask = Ask(row["prompt"], source_language=row.get("source_language"), target_language=row.get("target_language"))
    else:
        ask = Ask(" ".join(row["text"].split()[:FIRST_WORDS]))
    writer = make_writer(saved, prompting)
    return next(generate(writer, [ask], Decoding(max_new_tokens=max_new_tokens))).text
