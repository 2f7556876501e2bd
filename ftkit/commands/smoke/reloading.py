"""A saved model read back, in this process or in a new one, where nothing of its training is in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ftkit.errors import UserError

if TYPE_CHECKING:
    import numpy.typing as npt

SECONDS = 300
"""After which a new process is given up."""

PROGRAM = "import sys; sys.path.append(sys.argv[1]); from ftkit.commands.smoke.reloading import answer; answer()"
"""Run with -P, so that a folder `datasets` or `evaluate` in the working directory is not taken for the library."""


@dataclass(frozen=True)
class ReadBack:
    """What a saved model says.

    Attributes:
        outputs: logits (N, K) of a classifier; nats a target of each row (N,) of a language model.
        said: the predicted label of each row; what a language model writes after the first row's prompt.
        label_names: K names; none of a language model.
    """

    outputs: npt.NDArray[Any]
    said: list[str]
    label_names: list[str]


def read_back(task: str, model: Path, rows: Sequence[Mapping[str, str]], *, max_length: int) -> ReadBack:
    """Load a saved model and ask it about some rows.

    Args:
        task: of the recipe that it was trained by.
        model: a run or a model folder.
        rows: N rows, their columns as in the table of a split.
        max_length: tokens kept of each row; a classifier knows its own.

    Raises:
        UserError: there is no model that can be loaded.
    """
    if task == "classification":
        return _read_classifier(model, rows)
    from ftkit.commands.smoke.reloading_language import read_language_model

    return read_language_model(model, rows, max_length=max_length)


def _read_classifier(model: Path, rows: Sequence[Mapping[str, str]]) -> ReadBack:
    import torch

    from ftkit.commands.predict import TOKENS_A_BATCH, TextRow, open_classifier, predict_rows
    from ftkit.inputs.batching import exact_length_batches
    from ftkit.inputs.text import tokenize_texts
    from ftkit.models.scoring import score_logits

    texts = [row["text"] for row in rows]
    pairs = [row["text_pair"] for row in rows] if rows and "text_pair" in rows[0] else None
    classifier = open_classifier(model, use_cpu=True)
    tokens = tokenize_texts(classifier.tokenizer, texts, pairs, max_length=classifier.max_length)
    logits = score_logits(
        classifier.module,
        ((batch, tokens.stack(batch)) for batch in exact_length_batches(tokens.lengths, max_tokens=TOKENS_A_BATCH)),
        num_rows=len(texts),
        num_labels=len(classifier.label_names),
        device=torch.device("cpu"),
    )
    predictions = predict_rows(classifier, (TextRow(row["text"], row.get("text_pair"), {}) for row in rows))
    return ReadBack(logits, [prediction["label"] for prediction in predictions], list(classifier.label_names))


class NewProcess:
    """Another Python that imports the libraries while this one trains, and then reads a saved model back.

    Args:
        folder: an existing folder for what the two exchange.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.errors = folder / "errors.txt"

    def __enter__(self) -> NewProcess:
        root = str(Path(__file__).resolve().parents[3])
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, root],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
                text=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def read_back(self, task: str, model: Path, rows: Sequence[Mapping[str, str]], *, max_length: int) -> ReadBack:
        """As the function of this name, in the new process.

        Raises:
            UserError: the model cannot be loaded there.
        """
        import numpy as np

        request = {"task": task, "model": str(model.absolute()), "rows": list(rows), "max_length": max_length}
        (self.folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        try:
            self.process.communicate(f"{self.folder}\n", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise UserError(f"the saved model could not be read back in a new process within {SECONDS} s") from None
        if self.process.returncode != 0:
            said = self.errors.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no reason given"]
            raise UserError(f"the saved model cannot be read back in a new process: {said[-1]}")
        answer = json.loads((self.folder / "answer.json").read_text(encoding="utf-8"))
        return ReadBack(np.load(self.folder / "outputs.npy"), answer["said"], answer["label_names"])


def answer() -> None:
    """What the new process does: import the libraries, wait for a request, answer it, end."""
    import numpy as np
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: F401

    import ftkit.commands.predict  # noqa: F401

    # the process that waits for the answer has a core to itself
    torch.set_num_threads(1)
    if not (line := sys.stdin.readline().strip()):
        return
    folder = Path(line)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    found = read_back(request["task"], Path(request["model"]), request["rows"], max_length=int(request["max_length"]))
    np.save(folder / "outputs.npy", found.outputs)
    said = {"said": found.said, "label_names": found.label_names}
    (folder / "answer.json").write_text(json.dumps(said), encoding="utf-8")
