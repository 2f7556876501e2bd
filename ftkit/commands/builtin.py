"""`ftkit builtin`: the models and data sets that need no hub, and which of them are on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any


def listing() -> dict[str, list[dict[str, Any]]]:
    """`models` and `data`, one object each: name, description, size, and whether it is ready here."""
    from ftkit.data.builtin.builtin import describe_builtin_data
    from ftkit.models.builtin.builtin import describe_builtin_models

    return {"models": list(map(asdict, describe_builtin_models())), "data": list(map(asdict, describe_builtin_data()))}
