"""`ftkit generate`: what a model is asked, in the form in which it was trained, and with which knobs it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as knobs_of
from pathlib import Path
from typing import Any, NamedTuple

from ftkit.data.prompting import Prompting
from ftkit.data.reading.asked import AS_TRAINED, FileReading
from ftkit.data.reading.rows import beside
from ftkit.decoding.continuing import Continuation
from ftkit.decoding.knobs import SAMPLING, Decoding, KnobError
from ftkit.decoding.prompts import Ask, file_prompts, form_of, in_its_languages, typed_prompts
from ftkit.decoding.writer import Writer, open_writer, refuse_languages
from ftkit.decoding.writer import generate as let_write
from ftkit.errors import UserError
from ftkit.models.saved_folder import GENERATION_FILE, PROMPTING_FILE, language_model_folder
from ftkit.recipe.schema import Recipe
from ftkit.storage import StrPath, read_json_object
from ftkit.tasks.table import recipe_of_run

MEASURED_WITH = tuple(knob.name for knob in knobs_of(Decoding) if knob.name != "seed")
"""Settings of a generation_config.json that are knobs here."""

ANSWERED = ("generated", "new_tokens", "stopped")


def measured_decoding(folder: Path) -> dict[str, Any]:
    """The knobs with which an encoder-decoder was measured, as they lie beside it; none for a decoder.

    A decoder's generation_config.json is its maker's, and says how a chat is drawn; that of an encoder-decoder trained
    here says how its scores came about.
    """
    file = folder / GENERATION_FILE
    settings = read_json_object(file) if file.exists() else {}
    if "decoder_start_token_id" not in settings or not (folder / PROMPTING_FILE).is_file():
        return {}
    return {name: settings[name] for name in MEASURED_WITH if settings.get(name) is not None}


def draws(folder: Path, asked: bool | None) -> bool:
    """Whether a model draws tokens: as it is asked, else as it was measured."""
    return bool(measured_decoding(folder).get("do_sample")) if asked is None else asked


def decoding_of(folder: Path, knobs: Mapping[str, Any], *, say: Callable[[str], None]) -> Decoding:
    """The knobs that are named, and for the rest those that an encoder-decoder was measured with.

    Args:
        folder: a model folder.
        knobs: those that are named.
        say: hears of the others, where they are not the usual ones.

    Raises:
        KnobError: a value is out of its range, or acts on draws and none are made.
    """
    measured, usual = measured_decoding(folder), Decoding()
    if not draws(folder, knobs.get("do_sample")):
        if idle := [name for name in (*SAMPLING, "seed") if name in knobs]:
            raise KnobError(f"{idle[0]} acts only where tokens are drawn: do_sample=True")
        measured = {name: value for name, value in measured.items() if name not in SAMPLING}
    taken = [name for name, value in measured.items() if name not in knobs and value != getattr(usual, name)]
    if taken:
        say(f"as it was measured: {', '.join(f'{name} {measured[name]}' for name in taken)}")
    return Decoding(**{**measured, **knobs})


class Asked(NamedTuple):
    """A model, and what it is asked."""

    writer: Writer
    asks: list[Ask]


@dataclass(frozen=True)
class Question:
    """What models are asked, whatever the form in which each was trained.

    Attributes:
        prompts: to go on with, where no file is named.
        fields: columns of a prompt that has several, instead of `prompts`.
        system: the system's turn of a chat.
        file: of prompts; text, CSV, JSONL, ... as in training.
        reading: how the file is read.
        raw: send prompts as they are, without any template.
        num_samples: how often each is asked.
        source_language: of the prompts, where a tokenizer marks it; None: as trained, or as a file's column says.
        target_language: the same of the answers.
    """

    prompts: Sequence[str] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    system: str | None = None
    file: Path | None = None
    reading: FileReading = AS_TRAINED
    raw: bool = False
    num_samples: int = 1
    source_language: str | None = None
    target_language: str | None = None

    def asks(self, prompting: Prompting, recipe: Recipe | None, *, say: Callable[[str], None]) -> list[Ask]:
        """The prompts in the form of a model, each once; a file is read as the data of a run's recipe were.

        Raises:
            UserError: there are no prompts of this form.
        """
        if self.file is None:
            asks = typed_prompts(prompting, self.prompts, self.fields, system=self.system)
        else:
            asks = file_prompts(
                prompting,
                self.file,
                column=None if recipe is None else recipe.data.column_of_prompts(),
                reading=self.reading,
                trained="minimal" if recipe is None else recipe.data.quoting,
                say=say,
            )
        source, target = self.source_language, self.target_language
        return [in_its_languages(ask, prompting, source=source, target=target) for ask in asks]

    def put_to(self, writer: Writer, asks: Sequence[Ask]) -> Asked:
        """The prompts for a model, each as often as it is asked.

        Raises:
            UserError: a prompt is in no language that the model marks.
        """
        refuse_languages(writer, asks)
        return Asked(writer, [ask for ask in asks for _ in range(self.num_samples)])


def ask(
    path: Path,
    question: Question,
    *,
    with_adapter: bool = True,
    dtype: str = "auto",
    use_cpu: bool = False,
    trust_remote_code: bool = False,
    say: Callable[[str], None] = lambda _note: None,
) -> Asked:
    """Put prompts into the form in which a model was trained, and load it.

    Args:
        path: a run or a model folder.
        question: what it is asked.
        with_adapter: else the base of an adapter alone.
        dtype: of the weights; see `open_writer`.
        use_cpu: leave an accelerator alone.
        trust_remote_code: let code that comes with the model run; what a run's own recipe says of it does not count.
        say: hears what was assumed.

    Raises:
        UserError: there is no language model, or there are no prompts of its form.
    """
    folder = language_model_folder(path)
    prompting, note = form_of(folder, raw=question.raw)
    if note:
        say(note)
    asks = question.asks(prompting, recipe_of_run(path), say=say)
    writer = open_writer(
        folder,
        prompting,
        use_cpu=use_cpu,
        dtype=dtype,
        with_adapter=with_adapter,
        trust_remote_code=trust_remote_code,
    )
    return question.put_to(writer, asks)


def answer_row(ask: Ask, continuation: Continuation) -> dict[str, Any]:
    """A prompt's own columns, then `generated`, `new_tokens` and `stopped` (by itself, not by the limit).

    A column that is called like one of those three gets `input_` before its name.
    """
    answer = (continuation.text, continuation.num_tokens, continuation.stopped)
    return beside(ask.values, ANSWERED) | dict(zip(ANSWERED, answer, strict=True))


def generate(
    path: StrPath,
    prompts: str | Sequence[str] = (),
    *,
    adapters: Mapping[str, StrPath] | None = None,
    system: str | None = None,
    file: StrPath | None = None,
    raw: bool = False,
    num_samples: int = 1,
    source_language: str | None = None,
    target_language: str | None = None,
    use_cpu: bool = False,
    trust_remote_code: bool = False,
    say: Callable[[str], None] = lambda _note: None,
    **knobs: Any,
) -> list[dict[str, Any]]:
    """Let a model go on with prompts: `generate(run, "Once", max_new_tokens=40, do_sample=True, top_p=0.9)`.

    Args:
        path: a run or a model folder.
        prompts: one or several, where no file is named.
        adapters: name -> run or folder, of adapters on this base (or on that of this adapter): each is asked, and
            the base without any.
        system, file, raw, num_samples, source_language, target_language: as of `Question`.
        use_cpu: leave an accelerator alone.
        trust_remote_code: let code that comes with the model run.
        say: hears what was assumed.
        knobs: of `ftkit.decoding.knobs.Decoding`; what is not named is as the model was measured, else greedy.

    Returns:
        For each prompt its own columns, `generated`, `new_tokens` and `stopped`; of several adapters a row each, with
        its name as `adapter`.

    Raises:
        UserError: there is no language model, there are no prompts of its form, or a knob does not exist.
        ValueError: the value of a knob is out of its range.
    """
    unknown = [name for name in knobs if name not in (*MEASURED_WITH, "seed")]
    if unknown:
        raise UserError(f"generate has no knob {unknown[0]}", fix=f"knobs: {', '.join((*MEASURED_WITH, 'seed'))}")
    place = Path(path)
    question = Question(
        [prompts] if isinstance(prompts, str) else prompts,
        system=system,
        file=None if file is None else Path(file),
        raw=raw,
        num_samples=num_samples,
        source_language=source_language,
        target_language=target_language,
    )
    options: dict[str, Any] = {"use_cpu": use_cpu, "trust_remote_code": trust_remote_code, "say": say}
    if adapters is not None:
        from ftkit.commands.asking.side_by_side import answers_of_each, rows_beside

        named = {name: Path(one) for name, one in adapters.items()}
        return list(rows_beside(answers_of_each(place, named, question, knobs, **options)))
    decoding = decoding_of(language_model_folder(place), knobs, say=say)
    writer, asks = ask(place, question, **options)
    found = let_write(writer, asks, decoding, say=say)
    return [answer_row(asked, answer) for asked, answer in zip(asks, found, strict=True)]
