"""Text that nobody here wrote (labels, rows, what a model writes), made safe for a terminal and for Markdown."""

from __future__ import annotations

import re

from ftkit.report.tables import shortened

MARKDOWN_TEXT = 300
"""Characters of a text that stands in Markdown as code."""
ILLEGAL = re.compile(
    # control characters but for tab and line break; what turns the direction of a text; lone surrogates, non-characters
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""What a terminal obeys, what makes a text look like another one, and what no document may hold."""


def printable(text: str, *, limit: int | None = None) -> str:
    """A text without what is illegal; a mark stands where it was.

    What is longer than the limit is cut with ` ...`.

    Example:
        >>> printable("a\\x1bb" + "c" * 9, limit=5)
        'a\ufffdbcc ...'
    """
    return ILLEGAL.sub("\ufffd", text if limit is None else shortened(text, limit))


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
