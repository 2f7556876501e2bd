"""`ftkit builtin`: the models and data sets that need no hub, and which of them are on this machine."""

from __future__ import annotations

from typing import Any


def listing() -> dict[str, list[dict[str, Any]]]:
    """`models` and `data`, one object each: name, description, size, and whether it is ready here."""
    return {"models": _models(), "data": _data()}


def _models() -> list[dict[str, Any]]:
    from ftkit.models.builtin.builtin import PREFIX, describe_builtin_models

    return [
        {
            "name": PREFIX + entry.model.name,
            "description": entry.model.description,
            "bytes": entry.model.num_bytes,
            "ready": entry.ready,
            "state": entry.state,
        }
        for entry in describe_builtin_models()
    ]


def _data() -> list[dict[str, Any]]:
    from ftkit.data.builtin.builtin import describe_builtin_data

    return [
        {
            "name": entry.name,
            "description": entry.description,
            "rows": entry.rows,
            "ready": entry.made,
            "state": "cached" if entry.made else "made on first use",
        }
        for entry in describe_builtin_data()
    ]
