"""What a run was made with: versions and hardware, for the manifest."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

from ftkit.version import __version__

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy", "pyarrow")


def versions() -> dict[str, str]:
    """Version of Python, ftkit and the libraries that decide numbers; nothing is imported to find out."""
    found = {"python": platform.python_version(), "ftkit": __version__}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, number of cores this process may use, and accelerators by name."""
    import torch

    facts: dict[str, Any] = {
        "system": platform.platform(),
        "processor": str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor()),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        facts["accelerators"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    elif torch.accelerator.is_available():
        facts["accelerators"] = [str(torch.accelerator.current_accelerator())]
    return facts
