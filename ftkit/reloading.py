"""A saved model read back, in this process or in a new one, where nothing of its training is in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ftkit.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SECONDS = 300
"""After which a new process is given up."""

PROGRAM = "import sys; sys.path.append(sys.argv[1]); from ftkit.reloading import answer; answer()"
"""Run with -P, so that a folder `datasets` or `evaluate` in the working directory is not taken for the library."""


@dataclass(frozen=True)
class ReadBack:
    """What a saved model says.

    Attributes:
        logits: (N, K).
        labels: the predicted label of each text, N.
        label_names: K names.
    """

    logits: npt.NDArray[np.float32]
    labels: list[str]
    label_names: list[str]


def read_back(model: Path, texts: Sequence[str], pairs: Sequence[str] | None = None) -> ReadBack:
    """Load a saved classifier and predict.

    Args:
        model: a run or a model folder.
        texts: N texts.
        pairs: N second texts, or None.

    Raises:
        UserError: there is no model that can be loaded.
    """
    import torch

    from ftkit.data.batching import exact_length_batches
    from ftkit.data.tokenize import tokenize_texts
    from ftkit.prediction import TOKENS_A_BATCH, TextRow, open_classifier, predict_rows
    from ftkit.scoring import score_logits

    classifier = open_classifier(model, use_cpu=True)
    tokens = tokenize_texts(classifier.tokenizer, texts, pairs, max_length=classifier.max_length)
    logits = score_logits(
        classifier.module,
        ((rows, tokens.stack(rows)) for rows in exact_length_batches(tokens.lengths, max_tokens=TOKENS_A_BATCH)),
        num_rows=len(texts),
        num_labels=len(classifier.label_names),
        device=torch.device("cpu"),
    )
    seconds: Sequence[str | None] = pairs or [None] * len(texts)
    rows = (TextRow(text, pair, {}) for text, pair in zip(texts, seconds, strict=True))
    labels = [prediction["label"] for prediction in predict_rows(classifier, rows)]
    return ReadBack(logits, labels, list(classifier.label_names))


class NewProcess:
    """Another Python that imports the libraries while this one trains, and then reads a saved model back.

    Args:
        folder: an existing folder for what the two exchange.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.errors = folder / "errors.txt"

    def __enter__(self) -> NewProcess:
        root = str(Path(__file__).resolve().parents[1])
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

    def read_back(self, model: Path, texts: Sequence[str], pairs: Sequence[str] | None = None) -> ReadBack:
        """As the function of this name, in the new process.

        Raises:
            UserError: the model cannot be loaded there.
        """
        import numpy as np

        request = {
            "model": str(model.absolute()),
            "texts": list(texts),
            "pairs": None if pairs is None else list(pairs),
        }
        (self.folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        try:
            self.process.communicate(f"{self.folder}\n", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise UserError(f"the saved model could not be read back in a new process within {SECONDS} s") from None
        if self.process.returncode != 0:
            said = self.errors.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no reason given"]
            raise UserError(f"the saved model cannot be read back in a new process: {said[-1]}")
        answer = json.loads((self.folder / "answer.json").read_text(encoding="utf-8"))
        return ReadBack(np.load(self.folder / "logits.npy"), answer["labels"], answer["label_names"])


def answer() -> None:
    """What the new process does: import the libraries, wait for a request, answer it, end."""
    import numpy as np
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: F401

    import ftkit.prediction  # noqa: F401

    # the process that waits for the answer has a core to itself
    torch.set_num_threads(1)
    if not (line := sys.stdin.readline().strip()):
        return
    folder = Path(line)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    found = read_back(Path(request["model"]), request["texts"], request["pairs"])
    np.save(folder / "logits.npy", found.logits)
    said = {"labels": found.labels, "label_names": found.label_names}
    (folder / "answer.json").write_text(json.dumps(said), encoding="utf-8")
