"""What a fault was, whether it happened, and what is left of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def fault_env(folder: Path, *, at: int, mode: str, log: Path) -> dict[str, str]:
    """What tells the shim to make the Nth file operation below a folder fail."""
    return {"FAULT_DIR": str(folder), "FAULT_AT": str(at), "FAULT_MODE": mode, "FAULT_LOG": str(log)}


def operations(log: Path) -> list[str]:
    """What the shim saw, one line an operation."""
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def fired(log: Path) -> bool:
    """Whether the fault was really made."""
    return any(line.split(" ", 2)[1] == "fired" for line in operations(log))


def weights_of(run: Path) -> dict[str, str]:
    """SHA-256 of the weight files that a run ends in."""
    files = sorted((run / "model").rglob("*.safetensors"))
    assert files, f"{run} holds no weights"
    # by path: an encoder and the head on it are files of one name
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def outcome_of(run: Path) -> dict[str, Any]:
    """All of a finished run that must not depend on how often it was stopped: weights, scores, predictions."""
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["state"] == "finished", manifest
    predictions = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted((run / "predictions").iterdir())
    }
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    scored = [
        {name: value for name, value in line.items() if name.startswith(("step", "validation"))}
        for line in map(json.loads, (run / "history.jsonl").read_text(encoding="utf-8").splitlines())
        if any(name.startswith("validation") for name in line)
    ]
    return {"weights": weights_of(run), "predictions": predictions, "metrics": metrics, "validation": scored}


def lines_of(texts: Sequence[Mapping[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in texts)
