"""Data sets of the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ftkit.data.gather import Source
from ftkit.data.reading.arrow_rows import named_classes, rows_of
from ftkit.data.reading.rows import ROWS_AT_ONCE, Row
from ftkit.disk import failure_of_disk
from ftkit.errors import UserError

_REMEDY = "check the name and the network; or save it as files and name them in data.train_file"


def hub_rows(name: str, config: str | None) -> dict[str, Source]:
    """The splits of a hub data set, by their own names.

    Raises:
        UserError: not there, not reachable, or a configuration must be named.
    """
    offline = is_switched_on("HF_HUB_OFFLINE") or is_switched_on("HF_DATASETS_OFFLINE")
    if offline and not _cached(name):
        raise UserError(
            f"the data set {name} is not in the local cache, and HF_HUB_OFFLINE is set",
            fix="unset HF_HUB_OFFLINE to download it; or name files in data.train_file, or a folder or a"
            " builtin: data set in data.dataset_name",
        )
    import datasets

    try:
        loaded = datasets.load_dataset(name, config)
    # the library raises its own, its dependencies' and built-in exceptions, whatever went wrong with the data set
    except Exception as error:
        if failure_of_disk(error) is not None:
            raise
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split())[:300]
        raise UserError(
            f"the data set {name} cannot be loaded: {type(cause).__name__}: {reason}", fix=_REMEDY
        ) from error
    return {split: dataset_source(name, split, dataset) for split, dataset in loaded.items()}


def dataset_source(name: str, split: str, dataset: Any) -> Source:
    """A `datasets.Dataset` as a source of rows; the names of its ClassLabel columns are kept."""
    return Source(split, f"{name}[{split}]", partial(_rows, dataset), dict(named_classes(dataset.features.to_dict())))


def _rows(dataset: Any) -> Iterator[Row]:
    return rows_of(dataset.with_format("arrow").iter(batch_size=ROWS_AT_ONCE))


def is_switched_on(variable: str) -> bool:
    """Whether an environment variable says yes, in the words that the hub's libraries take."""
    return os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")


def _cached(name: str) -> bool:
    """Whether the datasets library has a folder for it (looked up by hand: importing the library takes a second)."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets")
    # a name without an owner is stored under its owner's
    folder = name.replace("/", "___")
    return any(path.is_dir() for path in (*cache.glob(folder), *cache.glob(f"*___{folder}")))
