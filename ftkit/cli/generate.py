"""`ftkit generate RUN_OR_MODEL`: what a language model writes after a prompt, or after each row of a file."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ftkit.cli.console import ConsoleReporter, go_offline, quiet_libraries
from ftkit.errors import UserError

if TYPE_CHECKING:
    from ftkit.commands.generate import Writer
    from ftkit.data.prompting import Prompting
    from ftkit.decoding.continuing import Continuation
    from ftkit.decoding.knobs import Decoding
    from ftkit.decoding.prompts import Ask, Form
    from ftkit.recipe.schema import Recipe

Dtype = Literal["auto", "float32", "bfloat16", "float16"]

SHOWN_CHARACTERS = 60
OUT = "where the model has no more positions"


def generate(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run directory or a model folder.")],
    prompt: Annotated[list[str] | None, typer.Option("--prompt", help="What to go on with; may be repeated.")] = None,
    field: Annotated[
        list[str] | None, typer.Option("--field", metavar="NAME=TEXT", help="A column of a prompt that has several.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="The system's turn of a chat.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Prompts: text, CSV, JSONL, ... as in training.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="JSON lines; default: standard output.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a prompt.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Send prompts as they are, without any template.")] = False,
    no_adapter: Annotated[bool, typer.Option("--no-adapter", help="Ask the base of an adapter alone.")] = False,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Limit of what is written; default: 128, or as it was measured.")
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Draw tokens; default: the likeliest.")] = False,
    temperature: Annotated[float | None, typer.Option(help="With --sample: below 1 is bolder.")] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="With --sample: only the k likeliest.")] = None,
    top_p: Annotated[float | None, typer.Option(max=1.0, help="With --sample: only the likeliest p.")] = None,
    min_p: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="With --sample: at least p of the best.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="With --sample: of the draws; default 42.")] = None,
    num_samples: Annotated[int | None, typer.Option(min=1, help="With --sample: for each prompt.")] = None,
    num_beams: Annotated[int | None, typer.Option(min=1, help="Sequences kept side by side.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1: what is there comes less again.")] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of --file.")] = "utf-8",
    delimiter: Annotated[str | None, typer.Option(help="Field separator of --file.")] = None,
    dtype: Annotated[Dtype, typer.Option(help="Precision of the weights.")] = "auto",
    use_cpu: Annotated[bool, typer.Option("--use-cpu", help="Leave an accelerator alone.")] = False,
) -> None:
    """Let a language model write, in the form in which it was trained.

    Greedy unless --sample is given; an encoder-decoder (T5, BART) writes as it was measured unless options say
    otherwise. A new text goes to standard output as it comes.
    """
    _refuse_mixed(prompt, field, file, system=system, raw=raw, out=out, overwrite=overwrite, delimiter=delimiter)
    drawn = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "seed": seed}
    knobs = _drawing_knobs(drawn | {"num_samples": num_samples}, sample=sample)
    copies = int(knobs.pop("num_samples", 1))
    always = {"max_new_tokens": max_new_tokens, "num_beams": num_beams, "repetition_penalty": repetition_penalty}
    knobs |= _given(always)
    folder = _prepare(model)
    from ftkit.decoding import prompts

    decoding = _decoding(folder, knobs | ({"do_sample": True} if sample else {}))
    form, recipe = _form(folder, raw=raw), prompts.recipe_of(model)
    if file is not None:
        asks = _asks_of_file(form.prompting, file, recipe, encoding=encoding, delimiter=delimiter)
    else:
        asks = prompts.typed_prompts(form.prompting, prompt or [], _pairs(field or []), system=system)
    from ftkit.commands import generate as generation

    trusted = recipe is not None and recipe.model.trust_remote_code
    writer = generation.open_writer(
        folder, form.prompting, use_cpu=use_cpu, dtype=dtype, with_adapter=not no_adapter, trust_remote_code=trusted
    )
    asks = [ask for ask in asks for _ in range(copies)]
    _answer(writer, asks, decoding, as_json=as_json or bool(file or out), out=out)


def _form(folder: Path, *, raw: bool) -> Form:
    from ftkit.decoding import prompts

    form = prompts.form_of(folder, raw=raw)
    if form.note:
        ConsoleReporter().say(form.note)
    return form


def _asks_of_file(
    prompting: Prompting, file: Path, recipe: Recipe | None, *, encoding: str, delimiter: str | None
) -> list[Ask]:
    from ftkit.decoding import prompts

    column = None if recipe is None else recipe.data.messages_column or recipe.data.text_column
    return prompts.file_prompts(prompting, file, column=column, encoding=encoding, delimiter=delimiter)


def _prepare(model: Path) -> Path:
    """Find the model's folder, and settle what libraries read when they are imported."""
    quiet_libraries()
    from ftkit.models.download import needs_hub
    from ftkit.models.saved_folder import language_model_folder

    folder = language_model_folder(model)
    if not needs_hub(folder):
        go_offline()
    return folder


def _decoding(folder: Path, knobs: dict[str, Any]) -> Decoding:
    """What the options say, and for the rest what an encoder-decoder was measured with."""
    from ftkit.commands.generate import measured_decoding
    from ftkit.decoding.knobs import Decoding

    measured = measured_decoding(folder)
    usual = Decoding()
    shown = [name for name, value in measured.items() if name not in knobs and value != getattr(usual, name)]
    if taken := [f"{name} {measured[name]}" for name in shown]:
        ConsoleReporter().say(f"as it was measured: {', '.join(taken)}")
    try:
        return Decoding(**(measured | knobs))
    except ValueError as error:
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
    delimiter: str | None,
) -> None:
    typed = prompt is not None or field is not None
    if typed == (file is not None):
        raise UserError("ftkit generate needs either --prompt or --file", fix="for example --prompt 'Once upon a time'")
    if raw and (field or system is not None):
        raise UserError("--raw sends a prompt as it is", fix="leave --field and --system out")
    if file is not None and system is not None:
        raise UserError("--system goes with --prompt", fix="write the system's turn in the file's messages")
    if file is None and delimiter is not None:
        raise UserError("--delimiter is about a --file", fix="leave it out")
    if out is None and overwrite:
        raise UserError("--overwrite is about an --out", fix="leave it out, or name the file")
    if out is not None:
        from ftkit.storage import refuse_place

        refuse_place(out, overwrite=overwrite)


def _drawing_knobs(named: dict[str, Any], *, sample: bool) -> dict[str, Any]:
    """The options of --sample that were given; greedy decoding would pass over them."""
    given = _given(named)
    if given and not sample:
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


def _answer(writer: Writer, asks: list[Ask], decoding: Decoding, *, as_json: bool, out: Path | None) -> None:
    from ftkit.commands import generate as generation

    reporter = ConsoleReporter()
    let_write = partial(generation.generate, writer, asks, decoding, say=reporter.say)
    found: list[Continuation] = []
    if as_json:
        tracked = reporter.track("generating", total=len(asks)) if len(asks) > 1 else contextlib.nullcontext(_nothing)
        with tracked as advance, _lines(out) as put:
            for ask, answer in zip(asks, let_write(advance=advance), strict=True):
                found.append(answer)
                put(json.dumps(generation.answer_row(ask, answer), ensure_ascii=False, default=str) + "\n")
    else:
        streams = len(asks) == 1 and decoding.num_beams == 1
        for ask, answer in zip(asks, let_write(write=_show), strict=True):
            found.append(answer)
            if len(asks) > 1:
                _show(f"--- {_short(ask.shown)}\n")
            _show("\n" if streams else f"{answer.text}\n")
    full = [answer.num_tokens >= decoding.max_new_tokens for answer in found if not answer.stopped]
    for reached, reason in ((True, f"at {decoding.max_new_tokens} new tokens (--max-new-tokens)"), (False, OUT)):
        if num_cut := full.count(reached):
            reporter.say(f"{'' if len(found) == 1 else f'{num_cut} of {len(found)} were '}cut {reason}")
    if out is not None:
        reporter.say(f"{len(found):,} rows in {out}")


def _nothing(_units: int) -> None:
    """Progress that nobody follows."""


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"


@contextlib.contextmanager
def _lines(out: Path | None) -> Iterator[Any]:
    if out is None:
        yield sys.stdout.write
        return
    from ftkit.storage import atomic_path

    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as target:
        yield target.write
