"""The code of a model tried on two examples before anything is trained, so that what fails, fails at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy.typing as npt
import torch

from ftkit.disk import failure_of_disk
from ftkit.errors import UserError
from ftkit.interruption import Interrupted
from ftkit.models.placement import is_out_of_memory
from ftkit.models.reading.pretrained import first_line
from ftkit.models.scoring import evaluating

ModelInputs = Mapping[str, npt.NDArray[Any]]
TOKENS_READ, TOKENS_WRITTEN = 4, 2


def refuse_what_cannot_run(model: Any, arrays: ModelInputs, *, name: str, writes: bool) -> None:
    """One pass forward and one backward, to the first weight that is trained, and a few tokens written.

    Architectures differ in what they can do, and their code says so by failing in any way. The model stays as it was,
    with torch's generators and all buffers.

    Args:
        model: as it will be trained, on the CPU.
        arrays: what it is called with for a few examples, labels among them.
        name: of the model, for the message.
        writes: whether it is a language model, which writes what it is asked for.

    Raises:
        UserError: its code fails, or its adapter would be read back as another.
    """
    inputs = tensors(model, arrays)
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    if hasattr(model, "peft_config"):
        _refuse_adapter_read_otherwise(model, name=name)
    try:
        with torch.random.fork_rng(devices=[]), evaluating(model):
            with code_failures_told(model, name=name, doing="trained"):
                model.train()
                weight = next(parameter for parameter in model.parameters() if parameter.requires_grad)
                torch.autograd.grad(model(**inputs).loss, weight, allow_unused=True)
            if writes:
                with code_failures_told(model, name=name, doing="asked to write"):
                    model.eval()
                    _write(model, inputs["input_ids"][:1, :TOKENS_READ])
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


def _refuse_adapter_read_otherwise(model: Any, *, name: str) -> None:
    """Let peft put an adapter back as it would read it from a file: it renames what an architecture renamed once.

    Raises:
        UserError: some of it is not where it was.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    trained = {key: weight for key, weight in model.named_parameters() if weight.requires_grad}
    before = {key: weight.detach().clone() for key, weight in trained.items()}
    with torch.no_grad():
        try:
            saved = get_peft_model_state_dict(model, save_embedding_layers=False)
            saved = {key: weight.clone() for key, weight in saved.items()}
            for weight in trained.values():
                weight.fill_(torch.nan)
            with code_failures_told(model, name=name, doing="read back by peft"):
                set_peft_model_state_dict(model, saved)
            astray = [key.partition(".lora_")[0] for key, weight in trained.items() if not weight.equal(before[key])]
        finally:
            for key, weight in trained.items():
                weight.copy_(before[key])
    if astray:
        ends = dict.fromkeys(key.partition(".lora_")[0].rpartition(".")[2] for key in trained)
        others = [end for end in ends if end not in {key.rpartition(".")[2] for key in astray}]
        raise UserError(
            f"{name}: peft would read {len(set(astray))} of the adapted layers back under other names, the first "
            f"{astray[0].removeprefix('base_model.model.')}, and what is loaded would not be what was trained",
            fix=f"leave them out: method.target_modules: [{', '.join(others)}]" if others else "use another method",
        )


def tensors(model: Any, arrays: ModelInputs) -> dict[str, torch.Tensor]:
    """ModelInputs as tensors, where a model lies."""
    device = next(model.parameters()).device
    return {name: torch.from_numpy(values).to(device) for name, values in arrays.items()}


@contextlib.contextmanager
def code_failures_told(model: Any, *, name: str, doing: str) -> Iterator[None]:
    """Tell in one message that the code of an architecture fails, in whatever way it does.

    Args:
        model: runs inside.
        name: of the model.
        doing: what is done with it, as it `cannot be` done.

    Raises:
        UserError: it fails.
    """
    try:
        yield
    except (UserError, Interrupted, OSError):
        raise
    except Exception as error:
        if is_out_of_memory(error) or failure_of_disk(error) is not None:
            raise
        kind = getattr(getattr(model, "config", None), "model_type", None)
        raise UserError(
            f"{name}{f' (model_type {kind})' if kind else ''} cannot be {doing}, its code in transformers fails: "
            f"{type(error).__name__}: {first_line(error)}",
            fix="name another checkpoint, another method, or another version of transformers",
        ) from error


def padding_matters(model: Any, beside: ModelInputs, alone: ModelInputs) -> bool:
    """Whether the answer of a classifier to a text changes with the longer ones beside it.

    Args:
        model: a classifier.
        beside: a batch (B, T) of which the text is the first.
        alone: the text by itself (1, T).
    """
    with evaluating(model), torch.inference_mode():
        one, other = (model(**tensors(model, arrays)).logits[0] for arrays in (beside, alone))
    return bool((one - other).abs().max() > 1e-3 * other.abs().max().clamp(min=1.0))


def _write(model: Any, ids: torch.Tensor) -> None:
    model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=TOKENS_WRITTEN,
        do_sample=False,
        num_beams=1,
        use_cache=True,
    )
