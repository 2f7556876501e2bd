"""A saved model read back in a new process, where nothing of its training is in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from ftkit.errors import UserError
from ftkit.tasks.table import task_of
from ftkit.tasks.task import ReadBack

SECONDS = 300
"""After which a new process is given up."""

PROGRAM = "import sys; sys.path.append(sys.argv[1]); from ftkit.commands.smoke.reloading import answer; answer()"
"""Run with -P, so that a folder `datasets` or `evaluate` in the working directory is not taken for the library."""


class NewProcess:
    """Another Python that imports the libraries while this one trains, and then reads a saved model back.

    The two exchange files in a folder, which does not exist before.
    """

    def __init__(self, task: str, folder: Path) -> None:
        self.task = task
        self.folder = folder
        folder.mkdir()
        self.errors = folder / "errors.txt"

    def __enter__(self) -> NewProcess:
        root = str(Path(__file__).resolve().parents[3])
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, root, self.task],
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

    def read_back(self, model: Path, rows: Sequence[Mapping[str, str]], *, max_length: int) -> ReadBack:
        """As the task does it, in the new process.

        Raises:
            UserError: the model cannot be loaded there.
        """
        import numpy as np

        request = {"model": str(model.absolute()), "rows": list(rows), "max_length": max_length}
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
    from transformers import AutoModel, AutoTokenizer  # noqa: F401

    # looked up before the request comes, so that the task's own imports are done by then
    read_back = task_of(sys.argv[2]).read_back
    # the process that waits for the answer has a core to itself
    torch.set_num_threads(1)
    if not (line := sys.stdin.readline().strip()):
        return
    folder = Path(line)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    found = read_back(Path(request["model"]), request["rows"], max_length=int(request["max_length"]))
    np.save(folder / "outputs.npy", found.outputs)
    said = {"said": found.said, "label_names": found.label_names}
    (folder / "answer.json").write_text(json.dumps(said), encoding="utf-8")
