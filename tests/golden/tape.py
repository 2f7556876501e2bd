"""Types a command of ftkit in this process, and keeps what it prints and writes, without what differs every time."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 120
TEXTS = {".csv", ".html", ".jinja", ".json", ".jsonl", ".md", ".txt", ".yaml"}
HASHED = {"tokenizer.json"}
"""Texts that are too long to keep; their hash is in the listing."""
TRACES = (
    # of texts with the work folder in them; the texts themselves are recorded
    (r"(\"recipe\": |\"bytes\": \d+,\s*\"sha256\": )\"[0-9a-f]{64}\"", r"\1<hash of paths>"),
    (r"ftkit-smoke-\w+", "ftkit-smoke-<name>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:?\d\d|Z)?( UTC)?", "<date>"),
    (r",\s+\d+(\.\d+)?\s+s\)", ", <time>)"),
    (r"\b\d+(\.\d+)? (s|ms|min|h)\b", "<time>"),
    (r"(\"\w*seconds\": )[\d.e-]+", r"\1<time>"),
    (r"(\"eval_(runtime|samples_per_second|steps_per_second)\": )[\d.]+", r"\1<time>"),
    (r"(\"trainer_state.json\": \{\s*\"bytes\": )\d+", r"\1<as long as its times>"),
    (r"(pid|process) \d+", r"\1 <pid>"),
    (r"[\d.,]+ (KiB|MiB|GiB|TiB)(/s| are free| of memory)", r"<size> \2"),
)
"""Pattern -> mark, in this order, in everything that is recorded."""


class Recorder:
    """Types commands and keeps what they print and write.

    Args:
        out: folder of the recording.
        work: working directory of the commands.
    """

    def __init__(self, out: Path, work: Path) -> None:
        self.out, self.work = out, work
        # one pair of streams for the whole process: libraries keep hold of the stderr that they first see
        self.buffers = io.BytesIO(), io.BytesIO()
        self.streams = [io.TextIOWrapper(buffer, encoding="utf-8", write_through=True) for buffer in self.buffers]

    def keep(self, name: str, text: str) -> None:
        """One text of the recording, without what differs from one recording to the next."""
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.normal(text), encoding="utf-8")

    def normal(self, text: str) -> str:
        """A text with marks for whatever is not the code's doing."""
        for folder, mark in ((self.work, "<work>"), (ROOT, "<code>")):
            text = text.replace(str(folder), mark)
        text = re.sub(r'"(versions|hardware)": \{[^}]*\}', _unversioned, text)
        text = re.sub(r'"target_modules": \[[^\]]*\]', _in_order, text)
        for pattern, mark in TRACES:
            text = re.sub(pattern, mark, text)
        return text

    def type(self, name: str, *words: object) -> str:
        """Run one command and record it; gives its standard output."""
        from ftkit.cli.app import main

        for stream in self.streams:
            stream.seek(0)
            stream.truncate()
        line, code = [str(word) for word in words], "none: it came back"
        arguments, sys.argv = sys.argv, ["ftkit", *line]
        # a usage message names the program: `ftkit`, not the module that this process was started with
        started_as, sys.modules["__main__"].__package__ = sys.modules["__main__"].__package__, ""
        try:
            with contextlib.redirect_stdout(self.streams[0]), contextlib.redirect_stderr(self.streams[1]):
                main()
        except SystemExit as stop:
            code = repr(stop.code)
        except Exception as error:  # a traceback is what a user would see: one more thing that must not change
            code = f"{type(error).__name__}: {error}"
        finally:
            sys.argv, sys.modules["__main__"].__package__ = arguments, started_as
        out, err = (buffer.getvalue().decode() for buffer in self.buffers)
        self.keep(f"{name}.txt", f"$ ftkit {' '.join(line)}\nexit {code}\n--- stdout\n{out}--- stderr\n{err}")
        return out

    def files(self, name: str, folder: Path) -> None:
        """The files below a folder: texts as they are, and a listing with the hash of each."""
        listing = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            inside, content = path.relative_to(folder), path.read_bytes()
            if path.suffix in TEXTS:
                text = self.normal(content.decode())
                content = text.encode()
                if path.name not in HASHED:
                    self.keep(f"{name}/{inside}", text)
            listing.append(f"{hashlib.sha256(content).hexdigest()}  {inside}\n")
        self.keep(f"{name}/FILES.txt", "".join(listing))


def _unversioned(block: re.Match[str]) -> str:
    return re.sub(r': (".*?"|\d+)(?=[,\s])', ": <version>", block[0])


def _in_order(block: re.Match[str]) -> str:
    """PEFT keeps the names of layers as a set, and writes them in the order of their hashes, another one every time."""
    return f'"target_modules": {json.dumps(sorted(json.loads(block[0].partition(":")[2])))}'


def surround(work: Path) -> None:
    """An environment of which nothing comes from outside; set before any library is imported."""
    temporary = work / "tmp"
    temporary.mkdir()
    for name in [name for name in os.environ if name.startswith(("FTKIT", "HF_", "XDG_", "TRANSFORMERS_"))]:
        del os.environ[name]
    os.environ |= {"HOME": str(work / "home"), "FTKIT_CACHE": str(work / "cache"), "XDG_CACHE_HOME": str(work / "xdg")}
    os.environ |= {"HF_HOME": str(work / "hf"), "HF_HUB_OFFLINE": "1", "TMPDIR": str(temporary), "COLUMNS": str(WIDTH)}
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "TERM": "dumb"}
    import ftkit.cli.app

    found = Path(str(ftkit.cli.app.__file__))
    assert found.is_relative_to(ROOT), f"ftkit comes from {found}; type this in {ROOT}"
