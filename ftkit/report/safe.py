"""Text that nobody here wrote (labels, rows, what a model writes), made safe for a terminal and for Markdown."""

from __future__ import annotations

import re

from ftkit.report.tables import shortened

MARKDOWN_TEXT = 300
"""Characters of a text that stands in Markdown as code."""
_DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What makes a text look like another one, by turning its direction."""


def printable(text: str, *, limit: int | None = None) -> str:
    """A text without what a terminal obeys or no document may hold (control characters, lone surrogates).

    What is longer than the limit is cut with ` ...`.

    Example:
        >>> printable("a\\x1bb" + "c" * 9, limit=5)
        'a\ufffdbcc ...'
    """
    kept = text if limit is None else shortened(text, limit)
    return "".join(char if _is_legal(char) else "\ufffd" for char in _DIRECTIONS.sub("\ufffd", kept))


def _is_legal(char: str) -> bool:
    code = ord(char)
    if char in "\t\n":
        return True
    return code >= 32 and not 0x7F <= code < 0xA0 and not 0xD800 <= code <= 0xDFFF and char not in "\ufffe\uffff"


def escaped(text: str) -> str:
    """A sentence as it is, whatever of it Markdown or HTML would take for their own.

    Example:
        >>> print(escaped("a_b <i> 1|2"))
        a\\_b &lt;i&gt; 1\\|2
    """
    flat = " ".join(printable(text).split()).replace("&", "&amp;")
    flat = re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", flat)
    return flat.replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """A text as code that can stand in a table.

    Example:
        >>> print(code("a | `b`"), code(""))
        `` a \\| `b` `` -
    """
    flat = " ".join(printable(text, limit=MARKDOWN_TEXT).split())
    # a backslash before the pipe would take the one that keeps the pipe from ending the cell
    flat = flat.replace("\\|", "\\ |").replace("|", "\\|")
    if not flat:
        return "-"
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    space = " " if longest else ""
    return f"{'`' * (longest + 1)}{space}{flat}{space}{'`' * (longest + 1)}"
