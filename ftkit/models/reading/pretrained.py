"""The one door through which a checkpoint's files reach transformers and peft, whoever wrote them.

What stands at the door is always a folder of this machine. Nothing is fetched, no question is asked on the terminal,
pickled weights are not read, and code that comes with the files runs only where the caller trusts it. Whatever the
libraries raise over odd files is one error that names the folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ftkit.disk import failure_of_disk
from ftkit.errors import UserError
from ftkit.methods.adapter_folder import ADAPTER_FILE
from ftkit.models.checkpoint import Checkpoint
from ftkit.models.download import TOKENIZER_FILES, refuse_damaged
from ftkit.models.placement import is_out_of_memory
from ftkit.models.reading.plausible import (
    WeightSizes,
    no_larger_than,
    refuse_implausible,
    refuse_odd_tokens,
    weight_sizes,
)
from ftkit.storage import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

READ_THE_CODE = "read that code; then --trust-remote-code, or model.trust_remote_code: true in a training, runs it"


class Loaded(NamedTuple):
    """A model, and the names of parameters that its files do not hold, or hold in another shape."""

    model: Any
    missing: list[str]
    mismatched: list[str]


@contextlib.contextmanager
def library_errors_told(problem: str, *, where: Path, fix: Callable[[Exception], str | None]) -> Iterator[None]:
    """Turn whatever a library raises over a file into one error.

    A disk that fails and memory that runs out are not the file's doing, and go on as they are.

    Args:
        problem: in words; the library's own follow.
        where: folder or file.
        fix: what to do about an error.

    Raises:
        UserError: the library raised something.
    """
    try:
        yield
    except UserError:
        raise
    # the library runs over files of strangers: there is no kind of error that they cannot cause
    except Exception as error:
        if is_out_of_memory(error) or failure_of_disk(error) is not None:
            raise
        advice = READ_THE_CODE if "trust_remote_code" in str(error) else fix(error)
        raise UserError(f"{problem}: {first_line(error)}", where=str(where), fix=advice) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text that says something, else its type."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    plain = isinstance(error, OSError | ValueError | RuntimeError | ImportError)
    return said[:300] if said and plain else f"{type(error).__name__} {said[:300]}".strip()


def read_config(checkpoint: Checkpoint, *, trust_remote_code: bool, **changes: Any) -> Any:
    """The configuration, as transformers has it; `changes` replace what stands there.

    Raises:
        UserError: it cannot be read, or is not that of the weights beside it.
    """
    from transformers import AutoConfig

    _refuse_implausible_config(checkpoint, trust_remote_code=trust_remote_code)
    where = checkpoint.folder / "config.json"
    with library_errors_told("config.json cannot be read", where=where, fix=lambda _: None):
        return AutoConfig.from_pretrained(checkpoint.folder, **_asked(trust_remote_code), **changes)


def _refuse_implausible_config(checkpoint: Checkpoint, *, trust_remote_code: bool) -> None:
    where = str(checkpoint.folder / "config.json")
    sizes = sizes_of(checkpoint.folder)
    refuse_implausible(checkpoint.config, sizes, where=where, trust_remote_code=trust_remote_code)


def read_tokenizer(checkpoint: Checkpoint, *, trust_remote_code: bool, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer, as it is.

    Raises:
        UserError: there is none, or it cannot be read, with the file where one can be named.
    """
    from transformers import AutoTokenizer

    # transformers reads the configuration too, to know of which kind the tokenizer is
    if (checkpoint.folder / "config.json").exists():
        _refuse_implausible_config(checkpoint, trust_remote_code=trust_remote_code)
    problem = f"the tokenizer of {checkpoint.name} cannot be loaded"
    try:
        with library_errors_told(problem, where=checkpoint.folder, fix=lambda _: None):
            folder = checkpoint.tokenizer_folder
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, **_asked(trust_remote_code), **options)
            # what is broken shows in the first text; one that needs more than a text says so itself
            tokenizer("a")
    except UserError:
        _name_broken_file(checkpoint.tokenizer_folder)
        raise
    loaded: PreTrainedTokenizerBase = tokenizer
    return loaded


def _name_broken_file(folder: Path) -> None:
    """Look which file of a tokenizer is no JSON, after it could not be loaded.

    Raises:
        UserError: naming the first.
    """
    for name in TOKENIZER_FILES:
        if name.endswith(".json") and (folder / name).is_file():
            read_json(folder / name)


def read_weights(
    auto: Any,
    checkpoint: Checkpoint,
    *,
    what: str,
    trust_remote_code: bool,
    config: Any = None,
    fix: Callable[[Exception], str | None] = lambda _: None,
    **options: Any,
) -> Loaded:
    """The model of a checkpoint, read by a class of transformers with the options of its `from_pretrained`.

    Args:
        what: it is read as, in words.
        config: its configuration where it is another than in the folder.
        fix: what to do about an error of transformers.

    Raises:
        UserError: it cannot be read, or its configuration is not that of its weights.
    """
    if (checkpoint.folder / ADAPTER_FILE).is_file():
        raise UserError(
            f"{checkpoint.name} holds a whole model and an adapter, and which of the two is meant is not said",
            where=str(checkpoint.folder),
            fix=f"move {ADAPTER_FILE} and its weights to a folder of their own",
        )
    refuse_damaged(checkpoint.folder)
    if (generation := checkpoint.folder / "generation_config.json").is_file():
        refuse_odd_tokens(generation)
    if config is None:
        config = read_config(checkpoint, trust_remote_code=trust_remote_code)
    problem = f"{checkpoint.name} cannot be loaded as {what}"
    with library_errors_told(problem, where=checkpoint.folder, fix=fix), _built_within(checkpoint):
        model, loading = auto.from_pretrained(
            checkpoint.folder,
            config=config,
            output_loading_info=True,
            use_safetensors=True,
            **_asked(trust_remote_code),
            **options,
        )
    return Loaded(model, sorted(loading["missing_keys"]), sorted(name for name, *_ in loading["mismatched_keys"]))


def read_gguf(auto: Any, file: Path) -> tuple[PreTrainedTokenizerBase, Loaded]:
    """The tokenizer and the model, in float32, that a GGUF file holds.

    Raises:
        UserError: transformers cannot read it.
    """
    import torch
    from transformers import AutoTokenizer, GgufConfig

    # a quantised number has two bits at least
    sizes = WeightSizes(_tensors_of_gguf(file), 4 * file.stat().st_size, 0)
    fix = "name the checkpoint that it was made of, in safetensors"
    with library_errors_told("transformers cannot read this GGUF file", where=file, fix=lambda _: fix):
        tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, **_asked(False))
        with no_larger_than(sizes, where=str(file)):
            model, loading = auto.from_pretrained(
                file.parent,
                gguf_file=file.name,
                # without it transformers keeps the blocks, and refuses to save them
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.float32,
                output_loading_info=True,
                **_asked(False),
            )
    return tokenizer, Loaded(model, sorted(loading["missing_keys"]), [])


def _tensors_of_gguf(file: Path) -> int:
    """By its header: magic and version, four bytes each, then how many tensors there are."""
    with file.open("rb") as stream:
        return int.from_bytes(stream.read(16)[8:], "little")


def sketch(auto: Any, checkpoint: Checkpoint, *, trust_remote_code: bool, **changes: Any) -> PreTrainedModel:
    """A model of the checkpoint's configuration without its numbers; `changes` replace what stands there.

    Raises:
        UserError: there is no such model, or its configuration is not that of its weights.
    """
    import torch

    config = read_config(checkpoint, trust_remote_code=trust_remote_code, **changes)
    problem = f"no model can be made of {checkpoint.name}"
    told = library_errors_told(problem, where=checkpoint.folder / "config.json", fix=lambda _: None)
    with told, _built_within(checkpoint), torch.device("meta"):
        model: PreTrainedModel = auto.from_config(config, trust_remote_code=trust_remote_code)
    return model


def _asked(trust_remote_code: bool) -> dict[str, Any]:
    # code that is trusted may lie in another repository; everything else is here
    return {"trust_remote_code": trust_remote_code, "local_files_only": not trust_remote_code}


def sizes_of(folder: Path) -> WeightSizes:
    """How much the weights of a folder can hold.

    Raises:
        UserError: their files are damaged.
    """
    with library_errors_told("the weights are damaged", where=folder, fix=lambda _: None):
        return weight_sizes(folder)


def _built_within(checkpoint: Checkpoint) -> contextlib.AbstractContextManager[None]:
    packed = checkpoint.config.get("quantization_config") is not None
    return no_larger_than(sizes_of(checkpoint.folder), where=str(checkpoint.folder), packed=packed)
