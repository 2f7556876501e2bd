"""Parquet, Arrow and `save_to_disk` folders, row by row, without importing datasets or pandas."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ftkit.data.reading.paths import check_readable, shown_path
from ftkit.data.reading.rows import ROWS_AT_ONCE, BadRow, Row
from ftkit.errors import UserError

_UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError)
"""ValueError and OverflowError come from bytes that are no UTF-8 and from dates that Python cannot hold."""


def iter_parquet(path: Path) -> Iterator[Row | BadRow]:
    """Rows of a Parquet file; `line` is the row's number, from 1."""
    import pyarrow.parquet as pq

    check_readable(path)
    try:
        with pq.ParquetFile(path) as file:
            yield from rows_of(file.iter_batches(batch_size=ROWS_AT_ONCE))
    except _UNREADABLE as error:
        raise _broken(path, "Parquet", error) from error


def iter_arrow(path: Path) -> Iterator[Row | BadRow]:
    """Rows of an Arrow file, in the stream or the file format; `line` is the row's number, from 1."""
    check_readable(path)
    try:
        with pa.memory_map(str(path)) as source:
            reader = _open(source)
            in_file = isinstance(reader, pa.RecordBatchFileReader)
            yield from rows_of(map(reader.get_batch, range(reader.num_record_batches)) if in_file else reader)
    except _UNREADABLE as error:
        raise _broken(path, "Arrow", error) from error


def _open(source: Any) -> Any:
    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    return pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)


def rows_of(tables: Iterable[Any]) -> Iterator[Row]:
    """The rows of record batches or tables; `line` is the row's number, from 1."""
    number = 0
    for table in tables:
        names = table.schema.names
        for start in range(0, table.num_rows, ROWS_AT_ONCE):
            part = table.slice(start, ROWS_AT_ONCE)
            for values in zip(*(_values(name, part.column(name)) for name in names), strict=True):
                number += 1
                yield Row(number, dict(zip(names, values, strict=True)))


def _values(name: str, column: Any) -> list[Any]:
    """The values of a column, as text where they are times that Python has no date for: its years end in 9999."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError) as error:
        if pa.types.is_temporal(column.type):
            return list(column.cast(pa.string()).to_pylist())
        raise ValueError(f"column {name}: {error}") from error


def class_names(path: Path) -> dict[str, tuple[str, ...]]:
    """Column -> names of its classes, for the columns that the datasets library marked as ClassLabel.

    It leaves them in the metadata of the Parquet and Arrow files it writes; other files have none.
    """
    import pyarrow.parquet as pq

    check_readable(path)
    try:
        if path.suffix.lower() == ".parquet":
            return class_names_of(pq.read_schema(path).metadata)
        with pa.memory_map(str(path)) as source:
            return class_names_of(_open(source).schema.metadata)
    except _UNREADABLE as error:
        raise _broken(path, path.suffix[1:].capitalize(), error) from error


def class_names_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """The same from a schema's metadata."""
    try:
        return dict(named_classes(json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def named_classes(features: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """The same from features as the datasets library writes them; those of objects have dots in their names."""
    for name, feature in features.items():
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names"):
            yield f"{within}{name}", tuple(feature["names"])
        elif isinstance(feature, dict) and "_type" not in feature:
            yield from named_classes(feature, f"{within}{name}.")


def _broken(path: Path, kind: str, error: Exception) -> UserError:
    if not isinstance(error, pa.ArrowException | OSError):
        fix = "mend its values, or write the file without it"
        return UserError(f"a value cannot be read: {error}", where=shown_path(path), fix=fix)
    return UserError(
        f"not a whole {kind} file: {str(error)[:200]}", where=shown_path(path), fix="write or copy it again"
    )
