"""The record of a training example by example: what a fixed probe and the validation set were given at each evaluation.

A mean hides what a diagnosis needs: intervals of paired differences want the loss of every example at every step, in
eval mode, of training and validation examples alike. The files hold plain arrays, readable without pickle.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftkit.disk import writing_told
from ftkit.errors import UserError
from ftkit.metrics.scores import PROBE_ROWS, CurvePoint, Scores
from ftkit.runs.run import Run
from ftkit.storage import atomic_path, sync_folder
from ftkit.unfinished import unfinished

WHOLE_VALIDATION = 1_000
"""Validation rows up to which all of them are kept; of more, a probe as large as the training set's."""
WRITERS = 8
"""Files that wait for the disk together."""
_SALT = 11
"""Keeps the draw apart from all others that are made with the same seed."""


class ProbeRows(NamedTuple):
    """Numbers of the rows whose losses are kept, each sorted.

    Attributes:
        train: of the training set.
        validation: of the validation set.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]

    @classmethod
    def of(cls, *, num_train: int, num_validation: int, seed: int) -> ProbeRows:
        """Both, drawn with a seed."""
        return cls(probe_rows(num_train, seed=seed), validation_probe_rows(num_validation, seed=seed))


def probe_rows(num_rows: int, *, seed: int) -> NDArray[np.int64]:
    """At most PROBE_ROWS row numbers (n,) of a set, sorted, each once; the same for the same size and seed.

    Example:
        >>> probe_rows(3, seed=0).tolist(), len(probe_rows(10_000, seed=0))
        ([0, 1, 2], 500)
    """
    if num_rows <= PROBE_ROWS:
        return np.arange(num_rows, dtype=np.int64)
    drawn = np.random.default_rng([seed, _SALT]).choice(num_rows, PROBE_ROWS, replace=False)
    return np.sort(drawn).astype(np.int64)


def validation_probe_rows(num_rows: int, *, seed: int) -> NDArray[np.int64]:
    """All row numbers (n,) of a validation set that is not large, else those of a probe."""
    return np.arange(num_rows, dtype=np.int64) if num_rows <= WHOLE_VALIDATION else probe_rows(num_rows, seed=seed)


@dataclass(frozen=True)
class ProbeLog:
    """Writes the probes of one run: a file in probes/ for each evaluation."""

    run: Run

    def write_rows(self, rows: ProbeRows) -> None:
        """Note which rows are scored; points of other rows, of a run whose data changed, are let go."""
        known = read_probe_rows(self.run)
        if known is not None and all(np.array_equal(*both) for both in zip(known, rows, strict=True)):
            return
        self.run.cut_probes(step=0)
        self._write(self.run.probe_rows_file, _packed(rows._asdict()))

    def write(self, point: CurvePoint) -> None:
        """Write one evaluation, in the place of an earlier one of the same step."""
        self._write(self.run.probe_file(point.step), _bytes_of(point))

    def write_all(self, points: Sequence[CurvePoint]) -> None:
        """As `write`; their bytes go to the disk side by side, which takes a fraction of the time of one by one."""

        def fill(folder: Path, point: CurvePoint) -> None:
            with (folder / str(point.step)).open("wb") as file:
                file.write(_bytes_of(point))
                file.flush()
                os.fsync(file.fileno())

        with (
            writing_told(self.run.probes_dir),
            unfinished("probes", self.run.path, folder=True) as staging,
            ThreadPoolExecutor(WRITERS) as pool,
        ):
            list(pool.map(partial(fill, staging), points))
            self.run.probes_dir.mkdir(exist_ok=True)
            for point in points:
                (staging / str(point.step)).replace(self.run.probe_file(point.step))
            sync_folder(self.run.probes_dir)

    def write_final_test(self, losses: Scores) -> None:
        """Write what the weights after the last step give the test split, where other weights are kept."""
        self._write(self.run.final_test_file, _packed(_arrays("test", losses)))

    def write_out_of_fold(self, logits: NDArray[np.float32]) -> None:
        """Write the logits (N, K) of all training rows, each by a model that did not learn from it."""
        self._write(self.run.out_of_fold_file, _packed({"logits": logits}))

    def _write(self, file: Path, content: bytes) -> None:
        self.run.probes_dir.mkdir(exist_ok=True)
        with atomic_path(file) as temporary:
            temporary.write_bytes(content)


def read_probes(run: Run) -> list[CurvePoint]:
    """The evaluations of a training, in the order of their steps; none where nothing was recorded."""
    return [_point(file) for file in run.probe_files()]


def read_probe_rows(run: Run) -> ProbeRows | None:
    """Which rows of the training and of the validation set were scored; None where nothing was recorded."""
    if not run.probe_rows_file.exists():
        return None
    return ProbeRows(**_read(run.probe_rows_file))


def read_final_test(run: Run) -> Scores | None:
    """What the weights after the last step gave the test split; None where that was not recorded."""
    if not run.final_test_file.exists():
        return None
    return _losses("test", _read(run.final_test_file))


def read_out_of_fold(run: Run) -> NDArray[np.float32]:
    """Logits (N, K) of all training rows of a run with folds, each by a model that did not learn from it.

    Raises:
        UserError: the record is not there any more.
    """
    try:
        return np.asarray(_read(run.out_of_fold_file)["logits"], dtype=np.float32)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"the out-of-fold scores cannot be read: {error}",
            where=str(run.out_of_fold_file),
            fix="train again with --overwrite: the features are stored, so that it takes seconds",
        ) from error


def _point(file: Path) -> CurvePoint:
    arrays = _read(file)
    return CurvePoint(
        step=int(arrays["step"]),
        epoch=float(arrays["epoch"]),
        rate_mass=float(arrays["rate_mass"]),
        train=_losses("train", arrays),
        validation=_losses("validation", arrays),
    )


def _bytes_of(point: CurvePoint) -> bytes:
    facts: dict[str, Any] = {"step": point.step, "epoch": point.epoch, "rate_mass": point.rate_mass}
    return _packed(facts | _arrays("train", point.train) | _arrays("validation", point.validation))


def _arrays(name: str, losses: Scores) -> dict[str, NDArray[Any]]:
    return {
        f"{name}_nll": np.asarray(losses.nll, dtype=np.float64),
        f"{name}_num_targets": np.asarray(losses.num_targets, dtype=np.int64),
        f"{name}_num_correct": np.asarray(losses.num_correct, dtype=np.int64),
    }


def _losses(name: str, arrays: Mapping[str, NDArray[Any]]) -> Scores:
    return Scores(
        np.asarray(arrays[f"{name}_nll"], dtype=np.float64),
        np.asarray(arrays[f"{name}_num_targets"], dtype=np.int64),
        np.asarray(arrays[f"{name}_num_correct"], dtype=np.int64),
    )


def _packed(arrays: Mapping[str, object]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    return buffer.getvalue()


def _read(file: Path) -> dict[str, NDArray[Any]]:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
