"""A finetuned model as one folder to take along: merged and plain, or an adapter with its base named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ftkit.copies import copy_files, copy_folder
from ftkit.disk import refuse_folder, writing_told
from ftkit.errors import UserError
from ftkit.methods.adapter_folder import ADAPTER_FILE, adapter_settings
from ftkit.methods.table import BY_PEFT_TYPE
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.download import TOKENIZER_FILES
from ftkit.models.placement import DTYPES
from ftkit.models.saved_folder import (
    GENERATION_FILE,
    LONG_TEXTS_FILE,
    PROMPTING_FILE,
    add_end_tokens,
    holds_model,
    model_folder,
)
from ftkit.models.seq2seq import is_seq2seq
from ftkit.runs.folder import is_run
from ftkit.storage import StrPath, sync_tree
from ftkit.unfinished import unfinished

ELSEWHERE = "free some space there, or name a folder on another disk"


class Exported(NamedTuple):
    """Where the model lies now, and what is to be said of it."""

    folder: Path
    notes: list[str]


class Original(NamedTuple):
    """What is exported.

    Attributes:
        path: a run or a model folder, as it was named.
        folder: of the model.
        settings: adapter_config.json; None for a whole model.
        is_classifier: else it is a language model.
    """

    path: Path
    folder: Path
    settings: dict[str, Any] | None
    is_classifier: bool


def export(
    path: StrPath,
    out: StrPath | None = None,
    *,
    merge: bool = False,
    dtype: str | None = None,
    overwrite: bool = False,
    trust_remote_code: bool = False,
) -> Exported:
    """Write the model of a run as a folder that needs neither ftkit nor, when merged, peft.

    The folder appears whole under its name, or not at all.

    Args:
        path: a run or a model folder.
        out: the new folder; by default beside `path`, called like it with -merged or -exported.
        merge: fold a LoRA adapter into its base; the logits are compared after reading the folder back.
        dtype: of the weights that are written; None leaves them, or float32 for what is merged.
        overwrite: replace a model folder that is there.
        trust_remote_code: let code that comes with the model run; what a run's own recipe says of it does not count.

    Raises:
        UserError: there is no model, it cannot be merged, or the place is taken.
    """
    path = Path(path)
    folder = model_folder(path)
    settings = adapter_settings(folder) if (folder / ADAPTER_FILE).is_file() else None
    source = Original(path, folder, settings, Checkpoint(str(folder), folder).is_classifier)
    rewrites = _rewrites(source, merge=merge, dtype=dtype)
    ending = "merged" if merge and settings is not None else "exported"
    usual = path.absolute().with_name(f"{path.absolute().name}-{ending}")
    target = usual if out is None else Path(out).absolute()
    refuse_target(target, source, overwrite=overwrite)
    with _staged(target, overwrite=overwrite) as staging:
        if rewrites:
            notes = _write_plain(source, staging, dtype=dtype or "float32", trust_remote_code=trust_remote_code)
            notes += _take_along(source, staging, name=target.name)
        else:
            notes = _copy(source, staging, target)
    if merge and settings is None:
        notes.insert(0, "every weight was trained, so there is nothing to merge: the model is exported as it is")
    return Exported(target, notes)


def _rewrites(source: Original, *, merge: bool, dtype: str | None) -> bool:
    """Whether weights are written anew, by merging or by rounding; else files are copied."""
    from ftkit.models.merging import refuse_unmergeable

    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"there is no dtype {dtype}", fix=f"one of {', '.join(DTYPES)}")
    if merge and source.settings is not None and (method := BY_PEFT_TYPE.get(str(source.settings.get("peft_type")))):
        refuse_unmergeable(method)
    if source.settings is not None:
        if dtype is not None and not merge:
            raise UserError("--dtype is about a model that is written whole", fix="add --merge, or leave it out")
        return merge
    if dtype is not None and source.is_classifier:
        raise UserError("--dtype rounds language models and merged ones", fix="leave it out")
    return dtype is not None


def refuse_target(target: Path, source: Original, *, overwrite: bool) -> None:
    """Refuse a place for the export; called before any work.

    Raises:
        UserError: it cannot be written, holds something that is no model, or is what is exported.
    """
    if target.is_file():
        raise UserError(f"{target} is a file", fix="name a new folder")
    refuse_folder(target.parent, wanted=target)
    if not target.exists() or not any(target.iterdir()):
        return
    origin = source.path.absolute()
    if origin.is_relative_to(target) or source.folder.absolute().is_relative_to(target) or is_run(target):
        raise UserError(f"{target} holds what is exported or another run", fix="name a new folder")
    if not holds_model(target):
        raise UserError(f"{target} is not empty and holds no model, so it is left alone", fix="name a new folder")
    if not overwrite:
        raise UserError(f"{target} exists already", fix="name a new folder, or add --overwrite")


@contextmanager
def _staged(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder beside the target, which takes its name when all went well, and is removed otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with writing_told(target, fix=ELSEWHERE), unfinished(target.name, target.parent, folder=True) as scratch:
        staging = scratch / "new"
        staging.mkdir()
        yield staging
        _open_up(staging)
        sync_tree(staging)
        _put(staging, target, aside=scratch / "old", overwrite=overwrite)


def _put(staging: Path, target: Path, *, aside: Path, overwrite: bool) -> None:
    """Give the export its name; what it replaces comes back where that fails."""
    if target.exists() and any(target.iterdir()) and not overwrite:
        raise UserError(f"{target} was made meanwhile, and is left alone", fix="name a new folder, or add --overwrite")
    if target.exists():
        target.rename(aside)
    try:
        staging.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise


def _open_up(folder: Path) -> None:
    """Give files the permissions that the user's umask asks for; safetensors makes them private."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def _write_plain(source: Original, staging: Path, *, dtype: str, trust_remote_code: bool) -> list[str]:
    from ftkit.models.merging import merge_classifier, merge_saved_lm

    precision = DTYPES[dtype]
    if source.is_classifier:
        merged = merge_classifier(source.folder, staging, dtype=precision, trust_remote_code=trust_remote_code)
    else:
        merged = merge_saved_lm(source.folder, staging, dtype=precision, trust_remote_code=trust_remote_code)
    made_of = "base and adapter" if source.settings is not None else "the model"
    differ = f"read back, its logits differ from those of {made_of} by {merged.difference:.1e} at most"
    notes = [f"{differ}; the largest is {merged.largest:.1f}"]
    if dtype != "float32":
        notes.append(f"rounding to {dtype} moved the logits by {merged.rounding:.1e} at most")
    return notes


def _take_along(source: Original, staging: Path, *, name: str) -> list[str]:
    """Put everything but the weights into a folder of new weights; says what could not come along."""
    home = source.folder
    if source.settings is not None and not _has_tokenizer(home):
        from ftkit.models.saved_lm import find_base

        home = find_base(source.folder, source.settings).folder
    copy_files(home, TOKENIZER_FILES, staging)
    copy_files(source.folder, [PROMPTING_FILE, LONG_TEXTS_FILE], staging)
    if (source.folder / GENERATION_FILE).is_file() and is_seq2seq(Checkpoint(str(staging), staging)):
        copy_files(source.folder, [GENERATION_FILE], staging)
    elif not source.is_classifier:
        _say_where_to_stop(staging)
    writes = "text2text-generation" if is_seq2seq(Checkpoint(name, staging)) else "text-generation"
    return write_card_anew(
        source.folder,
        staging,
        name=name,
        pipeline_tag="text-classification" if source.is_classifier else writes,
        made=f"{'The adapter is merged into its base' if source.settings else 'The weights are rounded'} "
        "here by `ftkit export`.",
    )


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / file).is_file() for file in TOKENIZER_FILES)


def _say_where_to_stop(staging: Path) -> None:
    """Name every token that ends an answer in generation_config.json, where every library looks."""
    from ftkit.data.chat.marking import end_of_turn
    from ftkit.decoding.prompts import form_of
    from ftkit.models.causal import load_tokenizer_for_lm

    tokenizer = load_tokenizer_for_lm(Checkpoint(str(staging), staging))
    prompting = form_of(staging).prompting
    turn = end_of_turn(tokenizer, prompting) if prompting.kind == "chat" else None
    add_end_tokens(staging, [index for index in (tokenizer.eos_token_id, turn) if index is not None])


def write_card_anew(home: Path, folder: Path, *, name: str, pipeline_tag: str, made: str) -> list[str]:
    """Write the card of a model that was written anew: that of its home, with the lines that load what lies here now.

    Args:
        home: the folder that the model comes from; where it has no card of ftkit, a head and a title are written.
        folder: of the new model.
        name: that the folder will have.
        pipeline_tag: of the hub, where there was no card.
        made: what was done, one sentence.

    Returns:
        A word on a README.md that is left behind, since its values are not known.
    """
    from ftkit.report.card import CARD_FILE, library_of, metadata

    if _write_card_of(home, folder, name=name, made=[made]):
        return []
    text = f"---\n{metadata(library_of(folder), pipeline_tag)}\n---\n\n# {name}\n\n{made}\n"
    (folder / CARD_FILE).write_text(text, encoding="utf-8")
    left = (home / CARD_FILE).is_file()
    return [f"{home / CARD_FILE} has no card.json beside it: the new card says only what was done"] if left else []


def _write_card_of(home: Path, folder: Path, *, name: str, made: Sequence[str] = ()) -> bool:
    """Write the card of a model for a folder that will have another name; False where there is none of ftkit's."""
    from ftkit.report.card import library_of, read_card, write_card
    from ftkit.tasks.table import task_of

    card = read_card(home)
    if card is None:
        return False
    loading = task_of(card.task).loading_lines(folder, at=name, name=name, prompt=card.told.prompt)
    write_card(replace(card, library=library_of(folder), loading=loading, made=[*made, *card.made]), folder)
    return True


def _copy(source: Original, staging: Path, target: Path) -> list[str]:
    copy_folder(source.folder, staging)
    if source.settings is None:
        _write_card_of(source.folder, staging, name=target.name)
        return []
    base = str(source.settings.get("base_model_name_or_path"))
    if Path(base).is_absolute() and not Path(base).is_dir():
        raise UserError(f"the base model of this adapter is gone: {base}", where=str(source.folder), fix="put it back")
    notes = [f"an adapter: peft loads it with its base, {base}"]
    writes_on = not source.is_classifier and source.settings.get("task_type") != "SEQ_2_SEQ_LM"
    if writes_on and not (staging / GENERATION_FILE).is_file() and _has_tokenizer(staging):
        _say_where_to_stop(staging)
    _write_card_of(source.folder, staging, name=target.name)
    if writes_on:
        from ftkit.report import serving

        refusal = serving.refusal(source.settings)
        command = serving.command
        notes.append(refusal or f"served: {command(source.settings, name=target.name, folder=staging, at=target)}")
    return notes
