"""The checkpoints of a run: sealed before they get their name, rotated only behind a newer seal, verified before use.

checkpoints/
  checkpoint-120/   sealed; the name is the number of the step
  .writing/         what a save is filling; nothing in here counts until it is sealed and moved out
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ftkit.progress import Reporter
from ftkit.runs.seals import BrokenSeal, read_seal, seal_folder
from ftkit.storage import sync_folder

_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Progress:
    """How far a training had come when a checkpoint was written, in updates done.

    Attributes:
        best_step: the step whose checkpoint scored best so far, None before the first evaluation.
        evaluation_due: whether the validation set was still to be scored at this step when the run was stopped.
        stopped_early: whether early stopping had decided that this step is the last.
    """

    step: int
    best_step: int | None = None
    evaluation_due: bool = False
    stopped_early: bool = False


@dataclass(frozen=True)
class SealedCheckpoint:
    """A checkpoint that has been verified."""

    path: Path
    progress: Progress


@dataclass(frozen=True)
class Checkpoints:
    """The folder checkpoints/ of one run.

    Attributes:
        hashes: what the run is made of, as in its manifest; a checkpoint of something else does not count.
        former: what it was made of before changes to it were allowed; checkpoints of that count too.
        limit: how many are kept, the best one among them; one more while the newest is being written.
    """

    folder: Path
    hashes: Mapping[str, Any] = field(default_factory=dict)
    former: Sequence[Mapping[str, Any]] = ()
    limit: int = 2

    @property
    def staging(self) -> Path:
        """Where a save writes before its seal."""
        return self.folder / ".writing"

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.folder / f"checkpoint-{step}"

    def steps(self) -> list[int]:
        """Steps of which there is a folder, newest first; none has been verified."""
        if not self.folder.is_dir():
            return []
        names = (_NAME.fullmatch(entry.name) for entry in self.folder.iterdir() if entry.is_dir())
        return sorted((int(name[1]) for name in names if name), reverse=True)

    @property
    def newest_name(self) -> str | None:
        """Name of the newest folder, None where there is none."""
        steps = self.steps()
        return self.path(steps[0]).name if steps else None

    def begin(self) -> Path:
        """An empty staging folder, for the next save to write `checkpoint-STEP` into."""
        self._sweep()
        # where the run itself is gone, no folder takes its name
        self.folder.mkdir(exist_ok=True)
        self.staging.mkdir()
        return self.staging

    def finish(self, progress: Progress) -> Path:
        """Seal what was written into the staging folder, and only then give it its place and let older ones go."""
        written = self.staging / self.path(progress.step).name
        seal_folder(written, {**asdict(progress), "hashes": dict(self.hashes)})
        self._place(written)
        self._rotate(progress)
        return self.path(progress.step)

    def open(self, path: Path) -> SealedCheckpoint:
        """Verify one checkpoint.

        Raises:
            BrokenSeal: it does not count, or it belongs to something else.
        """
        if (named := _NAME.fullmatch(path.name)) is None:
            raise BrokenSeal("it is not called checkpoint-STEP")
        if path.is_symlink():
            raise BrokenSeal("it is a symbolic link")
        facts = dict(read_seal(path).facts)
        if facts.pop("hashes", None) not in (self.hashes, *self.former):
            raise BrokenSeal("it belongs to a run made of something else")
        try:
            progress = Progress(**facts)
        except TypeError:
            raise BrokenSeal("its manifest does not say what it should") from None
        if progress.step != int(named[1]):
            raise BrokenSeal(f"it is of step {progress.step}")
        return SealedCheckpoint(path, progress)

    def usable(self, path: Path) -> SealedCheckpoint:
        """As `open`, and with what going on from it needs: the best checkpoint so far, which the end comes back to.

        Raises:
            BrokenSeal: one of the two does not count.
        """
        sealed = self.open(path)
        best = sealed.progress.best_step
        if best is not None and best != sealed.progress.step:
            try:
                self.open(self.path(best))
            except BrokenSeal as error:
                raise BrokenSeal(f"the best checkpoint before it, {self.path(best).name}, is lost: {error}") from None
        return sealed

    def newest(self, *, reporter: Reporter) -> SealedCheckpoint | None:
        """The newest checkpoint that can be gone on from; the ones that were skipped are said, with the reason."""
        self.recover()
        for step in self.steps():
            try:
                return self.usable(self.path(step))
            except BrokenSeal as error:
                reporter.say(f"{self.path(step).name} is skipped: {error}")
        return None

    def recover(self) -> None:
        """Finish a move that was interrupted, and remove what was never sealed."""
        for written in _folders(self.staging):
            try:
                self.open(written)
            except BrokenSeal:
                continue
            self._place(written)
        self._sweep()

    def _place(self, written: Path) -> None:
        target = self.path(int(written.name.rpartition("-")[2]))
        if target.exists():
            # written once before: moved aside, not removed, until the new one is in its place
            target.rename(self.folder / f".removed-{target.name}")
        written.rename(target)
        sync_folder(self.folder)
        self._sweep()

    def _rotate(self, progress: Progress) -> None:
        kept = {progress.step} | ({progress.best_step} if progress.best_step is not None else set())
        older = [step for step in self.steps() if step not in kept]
        for step in older[max(0, self.limit - len(kept)) :]:
            self.path(step).rename(self.folder / f".removed-{self.path(step).name}")
        self._sweep()

    def _sweep(self) -> None:
        for leftover in (self.staging, *_folders(self.folder, hidden=True)):
            shutil.rmtree(leftover, ignore_errors=True)


def _folders(folder: Path, *, hidden: bool = False) -> Iterator[Path]:
    if folder.is_dir():
        yield from (entry for entry in folder.iterdir() if entry.name.startswith(".removed-") is hidden)
