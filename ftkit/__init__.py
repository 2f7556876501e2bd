"""ftkit: one YAML recipe in, a finetuned model and the truth about it out.

The commands are functions here, each imported when it is first used:

    >>> import ftkit
    >>> sorted(ftkit.__all__)
    ['__version__', 'compare', 'evaluate', 'export', 'generate', 'measure', 'predict', 'train']
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftkit.version import __version__

# huggingface_hub reads these when it is imported: no telemetry leaves a machine because of ftkit.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

__all__ = ["__version__", "compare", "evaluate", "export", "generate", "measure", "predict", "train"]

_HOMES = {
    "compare": "compare",
    "evaluate": "eval",
    "export": "export",
    "generate": "generate",
    "measure": "asking.measure",
    "predict": "predict",
    "train": "train",
}
"""Function -> its file in ftkit/commands/."""

if TYPE_CHECKING:
    from ftkit.commands.asking.measure import measure
    from ftkit.commands.compare import compare
    from ftkit.commands.eval import evaluate
    from ftkit.commands.export import export
    from ftkit.commands.generate import generate
    from ftkit.commands.predict import predict
    from ftkit.commands.train import train
else:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'ftkit' has no attribute {name!r}")
        return getattr(import_module(f"ftkit.commands.{_HOMES[name]}"), name)
