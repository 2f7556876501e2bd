"""What an unquoted word of a recipe means, by the core schema of YAML 1.2, and how a value is written."""

from __future__ import annotations

import math
import re
from typing import Any, TypeAlias

Scalar: TypeAlias = "bool | int | float | str | None"
MAX_DIGITS = 40
"""A longer row of digits is a text: no setting needs it, and reading it can take minutes."""

_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_PLAIN = re.compile(r"(\.{0,2}/)?[A-Za-z_][A-Za-z0-9_/.+-]*(:[A-Za-z0-9_/.+-]+)*")


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


def write_value(value: Any) -> str:
    """One value as YAML on one line.

    Example:
        >>> print(write_value({"yes": [1, 2e-5, "NA", "2e-5", None, "a: b"]}))
        {"yes": [1, 2.0e-05, NA, "2e-5", null, "a: b"]}
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _number(value)
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(write_value(item) for item in value)}]"
        case dict():
            return "{" + ", ".join(f"{_quoted(str(key))}: {write_value(item)}" for key, item in value.items()) + "}"
    raise ValueError(f"no YAML for {type(value).__name__}")


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    # YAML wants no point before an exponent, but people and older readers do: 2.0e-05
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _text(value: str) -> str:
    plain = _PLAIN.fullmatch(value) and resolve_scalar(value) == value and value != "None"
    return value if plain else _quoted(value)


def _quoted(value: str) -> str:
    """Double quotes, with everything outside printable ASCII and common letters escaped."""
    escaped = []
    for character in value:
        if character in _ESCAPES:
            escaped.append(_ESCAPES[character])
        elif character.isprintable() and ord(character) != 0xFEFF:
            escaped.append(character)
        else:
            escaped.append(f"\\U{ord(character):08X}")
    return '"' + "".join(escaped) + '"'
