"""Several adapters on one base, which is loaded once: each is put on it, asked, and taken off again."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError
from ftkit.methods.adapter_folder import ADAPTER_FILE, adapter_settings
from ftkit.methods.table import BY_PEFT_TYPE
from ftkit.models.adapted.base import refuse_other_base
from ftkit.models.causal import open_tokenizer
from ftkit.models.checkpoint import LONGEST_DEFAULT, Checkpoint
from ftkit.models.classifier import (
    Classifier,
    SequenceLogits,
    answers_of,
    label_names,
    read_base,
)
from ftkit.models.download import has_tokenizer
from ftkit.models.placement import keep_cache
from ftkit.models.reading.adapter import put_adapter, refuse_lacking
from ftkit.models.reading.pretrained import Loaded
from ftkit.models.saved_folder import model_folder, read_long_texts
from ftkit.models.saved_lm import SavedLM, find_base, load_tokenizer, prompting_of
from ftkit.runs.folder import is_run

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

BASE = "base"
"""Name of the model without any adapter, among those that are asked."""
LABELS_NAMED = 8


@dataclass(frozen=True)
class Beside:
    """Models that are asked side by side.

    Attributes:
        base: the checkpoint under all of them.
        adapters: name -> folder, in the order in which they are asked.
        runs: name -> what was named: a run, or the folder itself.
    """

    base: Checkpoint
    adapters: Mapping[str, Path]
    runs: Mapping[str, Path]


def find_beside(path: Path, adapters: Mapping[str, Path]) -> Beside:
    """The base that several adapters have in common; a run or a folder of an adapter is asked as the first of them.

    Raises:
        UserError: a folder holds no adapter, one is of another base, or a name stands for two.
    """
    own = model_folder(path)
    named = dict(adapters)
    if (own / ADAPTER_FILE).is_file():
        name = path.parent.name if own == path and own.name == "model" and is_run(path.parent) else path.name
        if name in named:
            raise UserError(f"two adapters are called {name}", fix=f"call the one of --adapter {name}=... otherwise")
        named = {name: path, **named}
        base = find_base(own, adapter_settings(own))
    else:
        base = Checkpoint(str(path), own)
    folders = {name: model_folder(place) for name, place in named.items()}
    for name, folder in folders.items():
        if name == BASE:
            raise UserError(f"the model without an adapter is called {BASE}", fix="call the adapter otherwise")
        if not (folder / ADAPTER_FILE).is_file():
            raise UserError(f"{named[name]} holds no adapter: it has no {ADAPTER_FILE}", fix="ask it alone")
        refuse_other_base(base, folder, fix="name that base, or an adapter of this one")
    return Beside(base, folders, named)


@contextlib.contextmanager
def with_adapter(saved: SavedLM, folder: Path, *, trust_remote_code: bool = False) -> Iterator[SavedLM]:
    """A language model of which the base lies in memory, with the adapter and the tokenizer of a folder.

    Raises:
        UserError: the adapter does not fit, or its run added tokens, so that it needs another base.
    """
    tokenizer = saved.tokenizer
    if has_tokenizer(folder):
        home = Checkpoint(str(folder), folder)
        tokenizer = load_tokenizer(home, saved.base, trust_remote_code=trust_remote_code)
    base: Any = saved.model
    if max(tokenizer.get_vocab().values()) >= int(base.get_input_embeddings().weight.shape[0]):
        raise UserError(
            "the adapter's run added tokens, for which the base has no embeddings beside other adapters",
            where=str(folder),
            fix="ask it alone",
        )
    method = BY_PEFT_TYPE[adapter_settings(folder)["peft_type"]]
    with put_on(base, folder, base_name=saved.base.name) as adapted:
        keep_cache(adapted, on=True)
        adapted.eval().to(saved.device)
        yield replace(saved, model=adapted, tokenizer=tokenizer, prompting=prompting_of(folder), method=method)


@contextlib.contextmanager
def put_on(base: Any, folder: Path, *, base_name: str) -> Iterator[PeftModel]:
    """A model with an adapter, which is taken off again: the base is then what it was."""
    adapted: Any = put_adapter(base, folder, base_name=base_name)
    try:
        yield adapted
    finally:
        if hasattr(adapted.base_model, "unload"):
            adapted.base_model.unload()
        del adapted
        gc.collect()


@dataclass(frozen=True)
class ClassifiersBeside:
    """Classifiers that are adapters on one base, for the same labels.

    Attributes:
        together: the base and the adapters.
        loaded: the base, with a head that each adapter replaces.
        device: where they are asked.
        trust_remote_code: whether code that comes with the base may run.
    """

    together: Beside
    loaded: Loaded
    device: torch.device
    trust_remote_code: bool = False

    @contextlib.contextmanager
    def one(self, name: str) -> Iterator[Classifier]:
        """The classifier of an adapter, as `load_classifier` has it, for as long as it is asked.

        Raises:
            UserError: the adapter does not fit.
        """
        folder, base = self.together.adapters[name], self.together.base
        home = Checkpoint(str(folder), folder)
        of_tokenizer = home if has_tokenizer(folder) else base
        tokenizer = open_tokenizer(of_tokenizer, trust_remote_code=self.trust_remote_code)
        with put_on(self.loaded.model, folder, base_name=base.name) as adapted:
            refuse_lacking(adapted, (*self.loaded.missing, *self.loaded.mismatched), folder, base_name=base.name)
            module = SequenceLogits(adapted).eval().to(self.device)
            names = label_names(home)
            answers = answers_of(home, num_labels=len(names))
            max_length = home.trained_length or LONGEST_DEFAULT
            yield Classifier(module, tokenizer, names, max_length, answers, read_long_texts(folder))


def load_beside(together: Beside, *, device: torch.device, trust_remote_code: bool = False) -> ClassifiersBeside:
    """Load the base of several adapters that classify.

    Raises:
        UserError: one of them is no classifier, or their labels differ.
    """
    labels = {name: label_names(Checkpoint(str(folder), folder)) for name, folder in together.adapters.items()}
    first, *others = labels
    for name in others:
        if set(labels[name]) != set(labels[first]):
            apart = sorted({*labels[name]} ^ {*labels[first]})
            shown = ", ".join(apart[:LABELS_NAMED]) + (", ..." if len(apart) > LABELS_NAMED else "")
            raise UserError(
                f"{first} and {name} are for other labels: one of them alone has {shown}", fix="ask them one by one"
            )
    folder = together.adapters[first]
    home = Checkpoint(str(folder), folder) if has_tokenizer(folder) else together.base
    tokenizer = open_tokenizer(home, trust_remote_code=trust_remote_code)
    loaded = read_base(together.base, labels[first], pad_id=tokenizer.pad_token_id, trust_remote_code=trust_remote_code)
    return ClassifiersBeside(together, loaded, device, trust_remote_code)
