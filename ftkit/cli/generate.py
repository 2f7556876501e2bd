"""`ftkit generate RUN_OR_MODEL`: what a language model writes after a prompt, or after each row of a file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ftkit.cli import rows as of_rows
from ftkit.cli.console import ConsoleReporter, Trusted, keys_as_options, leave_hub_alone_for
from ftkit.errors import UserError
from ftkit.progress import Silent
from ftkit.report.safe import printable

if TYPE_CHECKING:
    from ftkit.commands.asking.side_by_side import Answered
    from ftkit.commands.generate import Asked
    from ftkit.decoding.continuing import Continuation
    from ftkit.decoding.knobs import Decoding

Dtype = Literal["auto", "float32", "bfloat16", "float16"]

PROMPT_CHARACTERS = 60
OUT = "where the model has no more positions"


def generate(
    model: of_rows.ModelArgument,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", help="What to go on with; may be repeated.")] = None,
    field: Annotated[
        list[str] | None, typer.Option("--field", metavar="NAME=TEXT", help="A column of a prompt that has several.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="The system's turn of a chat.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Prompts: text, CSV, JSONL, ... as in training.")] = None,
    out: of_rows.OutOption = None,
    overwrite: of_rows.OverwriteOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a prompt.")] = False,
    adapter: of_rows.AdapterOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="Send prompts as they are, without any template.")] = False,
    no_adapter: Annotated[bool, typer.Option("--no-adapter", help="Ask the base of an adapter alone.")] = False,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Limit of what is written; default: 128, or as it was measured.")
    ] = None,
    sample: Annotated[
        bool | None, typer.Option("--sample/--greedy", help="Draw tokens, or take the likeliest.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Where tokens are drawn: below 1 nearer to the likeliest, above 1 more varied.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Where tokens are drawn: only the k likeliest.")] = None,
    top_p: Annotated[float | None, typer.Option(max=1.0, help="Where tokens are drawn: only the likeliest p.")] = None,
    min_p: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Where tokens are drawn: at least p of the best.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Where tokens are drawn: default 42.")] = None,
    num_samples: Annotated[int | None, typer.Option(min=1, help="Where tokens are drawn: for each prompt.")] = None,
    num_beams: Annotated[int | None, typer.Option(min=1, help="Sequences kept side by side.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1: what is there comes less again.")] = None,
    source_language: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="Of the prompts, where the tokenizer marks it (mBART, NLLB, ...)."),
    ] = None,
    target_language: Annotated[str | None, typer.Option(metavar="CODE", help="Of what is written.")] = None,
    encoding: of_rows.EncodingOption = None,
    delimiter: of_rows.DelimiterOption = None,
    quoting: of_rows.QuotingOption = None,
    table: of_rows.TableOption = None,
    on_bad_row: of_rows.OnBadRowOption = None,
    dtype: Annotated[Dtype, typer.Option(help="Precision of the weights.")] = "auto",
    use_cpu: of_rows.UseCpuOption = False,
    trust_remote_code: Trusted = False,
) -> None:
    """Let a language model write, in the form in which it was trained.

    The likeliest token each time unless --sample is given; an encoder-decoder (T5, BART) writes as it was measured
    unless options say otherwise. A new text goes to standard output as it comes.
    """
    _refuse_mixed(prompt, field, file, system=system, raw=raw, out=out, overwrite=overwrite)
    reading = of_rows.reading_of(
        file, encoding=encoding, delimiter=delimiter, quoting=quoting, table=table, on_bad_row=on_bad_row
    )
    leave_hub_alone_for(model)
    drawn = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "seed": seed}
    knobs = _drawing_knobs(model, drawn | {"num_samples": num_samples}, sample=sample)
    copies = int(knobs.pop("num_samples", 1))
    knobs |= _given(
        {
            "do_sample": sample,
            "max_new_tokens": max_new_tokens,
            "num_beams": num_beams,
            "repetition_penalty": repetition_penalty,
        }
    )
    from ftkit.commands.generate import Question, ask

    reporter = ConsoleReporter()
    question = Question(
        prompt or [],
        _pairs(field or []),
        system=system,
        file=file,
        reading=reading,
        raw=raw,
        num_samples=copies,
        source_language=source_language,
        target_language=target_language,
    )
    options: dict[str, Any] = {"dtype": dtype, "use_cpu": use_cpu, "trust_remote_code": trust_remote_code}
    in_rows = as_json or bool(file or out)
    if adapter is not None:
        if no_adapter:
            raise UserError("--no-adapter and --adapter exclude one another", fix="the base answers beside adapters")
        from ftkit.commands.asking.side_by_side import answers_of_each

        named = of_rows.named_adapters(adapter)
        with keys_as_options(), _knobs_as_options():
            each = answers_of_each(model, named, question, knobs, **options, say=reporter.say, reporter=reporter)
        _show_each(each, reporter, as_json=in_rows, out=out, overwrite=overwrite)
        return
    decoding = _decoding(model, knobs, reporter)
    with keys_as_options():
        asked = ask(model, question, with_adapter=not no_adapter, **options, say=reporter.say)
    _answer(asked, decoding, reporter, as_json=in_rows, out=out, overwrite=overwrite)


def _decoding(model: Path, knobs: dict[str, Any], reporter: ConsoleReporter) -> Decoding:
    """As `decoding_of`; a knob is called by its option."""
    from ftkit.commands.generate import decoding_of
    from ftkit.models.saved_folder import language_model_folder

    with _knobs_as_options():
        return decoding_of(language_model_folder(model), knobs, say=reporter.say)


@contextlib.contextmanager
def _knobs_as_options() -> Iterator[None]:
    """A knob with a value that it cannot have is called by its option."""
    from ftkit.decoding.knobs import KnobError

    try:
        yield
    except KnobError as error:
        raise UserError(f"--{str(error).replace('_', '-')}") from error


def _refuse_mixed(
    prompt: list[str] | None,
    field: list[str] | None,
    file: Path | None,
    *,
    system: str | None,
    raw: bool,
    out: Path | None,
    overwrite: bool,
) -> None:
    typed = prompt is not None or field is not None
    if typed == (file is not None):
        raise UserError(
            "ftkit generate takes either --prompt or --file, and one of them",
            fix="for example --prompt 'Once upon a time'",
        )
    if raw and (field or system is not None):
        raise UserError("--raw sends a prompt as it is", fix="leave --field and --system out")
    if file is not None and system is not None:
        raise UserError("--system goes with --prompt", fix="write the system's turn in the file's messages")
    of_rows.refuse_out(out, overwrite=overwrite)


def _drawing_knobs(model: Path, named: dict[str, Any], *, sample: bool | None) -> dict[str, Any]:
    """The options of draws that were given; where the likeliest token is taken they would be passed over."""
    from ftkit.commands.generate import draws
    from ftkit.models.saved_folder import language_model_folder

    given = _given(named)
    if given and not draws(language_model_folder(model), sample):
        option = f"--{next(iter(given)).replace('_', '-')}"
        raise UserError(f"{option} acts only where tokens are drawn", fix=f"add --sample, or leave {option} out")
    return given


def _given(named: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if value is not None}


def _pairs(fields: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for entry in fields:
        name, equals, text = entry.partition("=")
        if not equals or not name:
            raise UserError(f"--field {entry}: there is no name", fix="write --field name=text")
        if name in pairs:
            raise UserError(f"--field {name} is given twice", fix="give it once")
        pairs[name] = text
    return pairs


def _answer(
    asked: Asked, decoding: Decoding, reporter: ConsoleReporter, *, as_json: bool, out: Path | None, overwrite: bool
) -> None:
    from ftkit.commands.generate import answer_row
    from ftkit.decoding.writer import generate as let_generate

    asks = asked.asks
    let_write = partial(let_generate, asked.writer, asks, decoding, say=reporter.say)
    found: list[Continuation] = []
    if as_json:
        watcher = reporter if len(asks) > 1 else Silent()
        with watcher.track("generating", total=len(asks)) as advance, of_rows.rows_to(out, overwrite=overwrite) as put:
            for ask, answer in zip(asks, let_write(advance=advance), strict=True):
                found.append(answer)
                put(answer_row(ask, answer))
    else:
        streams = len(asks) == 1 and decoding.num_beams == 1
        for ask, answer in zip(asks, let_write(write=_show), strict=True):
            found.append(answer)
            if len(asks) > 1:
                _show(f"--- {_short(ask.shown)}\n")
            _show("\n" if streams else f"{answer.text}\n")
    _say_cut(found, decoding, reporter)
    if out is not None:
        reporter.say(f"{len(found):,} rows in {out}")


def _say_cut(found: Sequence[Continuation], decoding: Decoding, reporter: ConsoleReporter, *, whose: str = "") -> None:
    full = [answer.num_tokens >= decoding.max_new_tokens for answer in found if not answer.stopped]
    for reached, reason in ((True, f"at {decoding.max_new_tokens} new tokens (--max-new-tokens)"), (False, OUT)):
        if num_cut := full.count(reached):
            reporter.say(f"{whose}{'' if len(found) == 1 else f'{num_cut} of {len(found)} were '}cut {reason}")


def _show_each(
    each: Sequence[Answered], reporter: ConsoleReporter, *, as_json: bool, out: Path | None, overwrite: bool
) -> None:
    """The answers of several adapters side by side: rows, or on the terminal a paragraph for each prompt."""
    from ftkit.commands.asking.side_by_side import rows_beside
    from ftkit.report.tables import padded, widest

    if as_json:
        with of_rows.rows_to(out, overwrite=overwrite) as put:
            for row in rows_beside(each):
                put(row)
    else:
        (width,) = widest([[one.name] for one in each])
        for place, ask in enumerate(each[0].asks):
            if len(each[0].asks) > 1:
                _show(f"--- {_short(ask.shown)}\n")
            for one in each:
                text = one.found[place].text.strip("\n").replace("\n", f"\n{' ' * (width + 2)}")
                _show(f"{padded(one.name, width)}  {text}\n")
    for one in each:
        _say_cut(one.found, one.decoding, reporter, whose=f"{one.name}: ")
    if out is not None:
        reporter.say(f"{sum(len(one.found) for one in each):,} rows in {out}")


def _show(text: str) -> None:
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= PROMPT_CHARACTERS else line[: PROMPT_CHARACTERS - 1] + "…"
