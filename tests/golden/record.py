"""A golden record of what every command prints and writes, to compare two states of the code.

    python -m tests.golden.record --out DIR [--only PATTERN] [--work NAME]
    python -m tests.golden.record --compare DIR_A DIR_B

Commands are typed as a user types them, into ftkit.cli.app.main() of this process: no other module of ftkit is named
here, for all may move. What differs from one recording to the next (times, versions, hardware, the work folder) is
replaced by marks. Every recording has a work folder of its own, /tmp/gold_NAME, so that two may be made at once; NAME
has four letters or digits and comes from --work, or FTKIT_GOLDEN_WORK, or the process.
"""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import os
import shutil
import sys
import time
from pathlib import Path

from tests.golden.parts import parts
from tests.golden.tape import ROOT, Recorder, surround

NAME_LENGTH = 4
"""Work folders have short names of one length: how a path is wrapped, and what stands beside it, depends on it."""
LINES_A_FILE = 40
EVERYTHING = "*"
MARK = "RECORDING.txt"
"""Every recording has this file, which says what was recorded."""


def record(out: Path, *, only: str, work_name: str) -> None:
    """Record into a new folder, or in the place of an older recording."""
    if len(work_name) != NAME_LENGTH or not work_name.isalnum():
        sys.exit(f"--work {work_name}: a work folder's name has {NAME_LENGTH} letters or digits")
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        sys.exit(f"--out {out} holds something else than a recording")
    work = Path(f"/tmp/gold_{work_name}")
    for folder in (work, out):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    (out / MARK).write_text(f"parts: {only}\n", encoding="utf-8")
    # the recipes that come with ftkit too lie where paths have the same length for everybody
    shutil.copytree(ROOT / "recipes", work / "recipes")
    surround(work)
    tape = Recorder(out.absolute(), work)
    try:
        for name, part in parts().items():
            if fnmatch.fnmatch(name, only) or name.startswith(only):
                began = time.process_time()
                part(tape)
                print(f"{name}: {time.process_time() - began:.1f} s", flush=True)
    finally:
        shutil.rmtree(work)
    seconds = sum(os.times()[:4])
    print(f"recorded {sum(1 for path in out.rglob('*') if path.is_file())} files in {seconds:.0f} s of processor")


def compare(one: Path, two: Path) -> int:
    """Print what differs between two recordings; gives the number of files that do."""
    names = set.union(*map(_names, (one, two)))
    for folder in (one, two):
        if (folder / MARK).read_text(encoding="utf-8") != f"parts: {EVERYTHING}\n":
            names &= _names(folder)
            print(f"{folder} is a part: only what it has is compared")
    different = 0
    for name in sorted(names):
        old, new = _lines(one / name), _lines(two / name)
        if old == new and (one / name).exists() and (two / name).exists():
            continue
        different += 1
        lines = list(difflib.unified_diff(old, new, f"{one}/{name}", f"{two}/{name}", n=1, lineterm=""))
        print("\n".join(lines[:LINES_A_FILE] or [f"only in one of the two: {name}"]))
        if len(lines) > LINES_A_FILE:
            print(f"... and {len(lines) - LINES_A_FILE} more lines")
    print(f"different: {different} of {len(names)} files" if different else f"equal: {len(names)} files")
    return different


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != MARK}


def _lines(path: Path) -> list[str]:
    """Lines of a file, none if it is not there; the objects of a long line of JSON stand by themselves."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    split = (line.replace(', "', ',\n "').split("\n") if len(line) > 200 else [line] for line in lines)
    return [part for parts_of_line in split for part in parts_of_line]


def main() -> None:
    """The command line."""
    own = f"{os.getpid() % 10**NAME_LENGTH:0{NAME_LENGTH}}"
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="record into this folder")
    what.add_argument("--compare", type=Path, nargs=2, metavar="DIR", help="show what differs between two recordings")
    parser.add_argument(
        "--only", default=EVERYTHING, help="with --out: parts of this name or pattern, such as 'seq2seq/*'"
    )
    parser.add_argument("--work", default=os.environ.get("FTKIT_GOLDEN_WORK", own), help="name of the work folder")
    asked = parser.parse_args()
    if asked.compare:
        sys.exit(1 if compare(*asked.compare) else 0)
    record(asked.out, only=asked.only, work_name=asked.work)


if __name__ == "__main__":
    main()
