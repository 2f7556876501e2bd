"""ftkit: one YAML recipe in, a finetuned model and the truth about it out."""

import os

from ftkit.version import __version__

# huggingface_hub reads these when it is imported: no telemetry leaves a machine because of ftkit.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

__all__ = ["__version__"]
