"""What an unquoted word of a recipe means: the core schema of YAML 1.2."""

from __future__ import annotations

import re
from typing import TypeAlias

Scalar: TypeAlias = "bool | int | float | str | None"
MAX_DIGITS = 40
"""A longer row of digits is a text: no setting needs it, and reading it can take minutes."""

_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def resolve_scalar(text: str) -> Scalar:
    """What an unquoted scalar means: YAML 1.2 core schema.

    Example:
        >>> [resolve_scalar(word) for word in ("2e-5", "0x10", "yes", "NA", "null", "~", "True", "1_000")]
        [2e-05, 16, 'yes', 'NA', None, None, True, '1_000']
    """
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if len(text) <= MAX_DIGITS:
        if _INTEGER.fullmatch(text):
            return int(text, 8 if text.startswith("0o") else 16) if text[1:2] in ("o", "x") else int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if match := _SPECIAL_FLOAT.fullmatch(text):
            return float(match[1] + "inf") if match[2] else float("nan")
    return text
