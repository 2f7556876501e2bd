"""Several adapters of one base, asked the same side by side: what each writes, or how each labels a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from ftkit.commands.generate import ANSWERED, Question, decoding_of
from ftkit.data.prompting import Prompting
from ftkit.data.reading.rows import beside
from ftkit.decoding.continuing import Continuation
from ftkit.decoding.knobs import Decoding
from ftkit.decoding.prompts import Ask, form_of
from ftkit.decoding.writer import generate, make_writer, writing_placement
from ftkit.models.adapted.in_turn import BASE, find_beside, with_adapter
from ftkit.models.saved_folder import refuse_other_folders
from ftkit.models.saved_lm import SavedLM, load_saved_lm
from ftkit.progress import Reporter, Silent
from ftkit.tasks.table import recipe_of_run


class Answered(NamedTuple):
    """What one of several models answered.

    Attributes:
        name: of its adapter; `base` for none.
        asks: the prompts, in its own form.
        found: an answer each.
        decoding: with which it wrote.
    """

    name: str
    asks: list[Ask]
    found: list[Continuation]
    decoding: Decoding


def answers_of_each(
    path: Path,
    adapters: Mapping[str, Path],
    question: Question,
    knobs: Mapping[str, Any],
    *,
    dtype: str = "auto",
    use_cpu: bool = False,
    trust_remote_code: bool = False,
    say: Callable[[str], None] = lambda _note: None,
    reporter: Reporter | None = None,
) -> list[Answered]:
    """Let a base answer, and each of several adapters on it, in the form in which each was trained.

    The base is loaded once, and is asked in the form of the first adapter. Adapters may be of different kinds.

    Args:
        path: the base, or a run or a folder of an adapter, which is then asked beside the others.
        adapters: name -> run or folder.
        question: what they are asked.
        knobs: that are named; the others are as each was measured.
        dtype: of the base's weights; see `open_writer`.
        use_cpu: leave an accelerator alone.
        trust_remote_code: let code that comes with the base run.
        say: hears what was assumed.
        reporter: hears of progress.

    Raises:
        UserError: an adapter is of another base, or there are no prompts of its form.
    """
    together, reporter = find_beside(path, adapters), reporter or Silent()
    told = {
        name: _in_own_form(folder, together.runs[name], question, knobs, say=say)
        for name, folder in together.adapters.items()
    }
    first = next(iter(told))
    if any(one.prompting != told[first].prompting for one in told.values()):
        say(f"the adapters were taught in different forms: each is asked in its own, the base in that of {first}")
    device, precision = writing_placement(dtype, use_cpu=use_cpu)
    base = load_saved_lm(together.base.folder, dtype=precision, device=device, trust_remote_code=trust_remote_code)
    found = []
    for name, own in {BASE: told[first], **told}.items():
        folder, total = together.adapters.get(name), len(own.asks) * question.num_samples
        with (
            _of(base, folder, trust=trust_remote_code) as saved,
            reporter.track(f"{name} writes", total=total) as advance,
        ):
            asked = question.put_to(make_writer(saved, own.prompting), own.asks)
            written = list(generate(asked.writer, asked.asks, own.decoding, advance=advance, say=say))
        found.append(Answered(name, asked.asks, written, own.decoding))
    return found


class OwnForm(NamedTuple):
    """The form of a model's inputs, the prompts in it, and how it writes."""

    prompting: Prompting
    asks: list[Ask]
    decoding: Decoding


def _in_own_form(
    folder: Path, run: Path, question: Question, knobs: Mapping[str, Any], *, say: Callable[[str], None]
) -> OwnForm:
    refuse_other_folders(folder)
    prompting, note = form_of(folder, raw=question.raw)
    if note:
        say(note)
    return OwnForm(
        prompting, question.asks(prompting, recipe_of_run(run), say=say), decoding_of(folder, knobs, say=say)
    )


def _of(base: SavedLM, folder: Path | None, *, trust: bool) -> AbstractContextManager[SavedLM]:
    """The base alone, or with the adapter of a folder."""
    return nullcontext(base) if folder is None else with_adapter(base, folder, trust_remote_code=trust)


def rows_beside(answers: Sequence[Answered]) -> Iterator[dict[str, Any]]:
    """For each prompt a row of each model: its own columns, `adapter`, `generated`, `new_tokens` and `stopped`."""
    taken = ("adapter", *ANSWERED)
    for row in range(len(answers[0].asks)):
        for one in answers:
            found = one.found[row]
            said = (one.name, found.text, found.num_tokens, found.stopped)
            yield beside(one.asks[row].values, taken) | dict(zip(taken, said, strict=True))
