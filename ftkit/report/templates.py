"""Documents that ftkit writes: each is a template beside the code that knows its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def rendered(name: str, /, *, filters: Mapping[str, Callable[..., Any]], **values: Any) -> str:
    """A template of ftkit's folder filled in; whatever goes into one of HTML is escaped, an unknown name an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ftkit", ""),
        autoescape=name.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(name).render(values)
