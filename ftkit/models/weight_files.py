"""Files of weights, looked at before a library trips over them."""

from __future__ import annotations

from pathlib import Path

from ftkit.errors import UserError


def refuse_damaged(folder: Path) -> None:
    """Refuse a folder with a safetensors file that is cut short or is none; headers alone are read.

    Raises:
        UserError: naming the file.
    """
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"the weights are damaged: {error}", where=str(file), fix="copy or download the file again"
            ) from error
