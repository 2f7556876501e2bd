"""What a chat template may do: it comes with a checkpoint, from whoever made that, and runs over every chat.

transformers runs templates in Jinja's sandbox, which keeps them from the machine but not from its time and memory.
"""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

LEAST_WORK, WORK_A_CHARACTER = 50_000_000, 1_000
"""Characters that rendering a chat may make on the way, and for each character of the chat."""
STEP_WORK = 200
"""What a pass of a loop, a call or an item costs, in characters."""
RENDERING_SECONDS = 10.0

TOO_WIDE = "a template may not fill up to such a width"

_LEFT: ContextVar[list[float] | None] = ContextVar("left", default=None)
_WIDE = re.compile(r"\d{6,}|\*")


@contextlib.contextmanager
def limited(num_characters: int) -> Iterator[None]:
    """Let what is rendered by transformers in this block, in this thread, do work in proportion to a chat alone.

    What does more ends in an error of Jinja's.
    """
    from transformers.utils import chat_template_utils

    library: Any = chat_template_utils
    if library.ImmutableSandboxedEnvironment is not LimitedEnvironment:
        # transformers has no way to name another; outside of this block it does what the one before did
        library.ImmutableSandboxedEnvironment = LimitedEnvironment
        library._compile_jinja_template.cache_clear()
    token = _LEFT.set([LEAST_WORK + WORK_A_CHARACTER * num_characters, time.monotonic() + RENDERING_SECONDS])
    try:
        yield
    finally:
        _LEFT.reset(token)


def _spend(work: float) -> None:
    left = _LEFT.get()
    if left is None:
        return
    left[0] -= work
    if left[0] < 0 or time.monotonic() > left[1]:
        raise SecurityError("it does not come to an end, or makes more text than a chat can need")


def _size(value: Any, *, deep: bool = True) -> int:
    """Characters and items of a value, those below it too; counted no further than anything may be."""
    total, below = 0, [value]
    while below and total <= LEAST_WORK:
        found = below.pop()
        total += STEP_WORK
        if isinstance(found, str):
            total += len(found)
        elif isinstance(found, int):
            total += found.bit_length() // 8
        elif isinstance(found, list | tuple | set | frozenset | dict):
            total += STEP_WORK * len(found)
            if deep:
                below += [*found, *found.values()] if isinstance(found, dict) else list(found)
    return total


def _spend_on_product(value: str | None, arguments: list[Any]) -> None:
    """What a method or filter of texts can make at most: repeated, filled up or put in one another."""
    sizes = [abs(one) if isinstance(one, int) else _size(one) for one in arguments]
    left = _LEFT.get()
    if left is not None and len(value or "") * sum(sizes) > left[0]:
        _spend(left[0] + 1)
    if left is not None and any(isinstance(one, int) and abs(one) > left[0] / STEP_WORK for one in arguments):
        _spend(left[0] + 1)


def _watched(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **named: Any) -> Any:
        _spend(STEP_WORK)
        if args:
            _spend_on_product(next((one for one in args if isinstance(one, str)), None), [*args[1:], *named.values()])
        found = function(*args, **named)
        _spend(_size(found, deep=False))
        return found

    run.is_watched = True  # type: ignore[attr-defined]
    return run


class _Watching(NodeTransformer):
    """Puts a step into every loop, and weighs what is put together."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        written = sum(len(text.data) for text in node.find_all(nodes.TemplateData))
        node.body.insert(0, nodes.ExprStmt(_call(node, "step", nodes.Const(written)), lineno=node.lineno))
        if node.test is not None:
            node.test = nodes.And(_call(node, "step", nodes.Const(0)), node.test, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _call(node, "joined", *node.nodes)

    def visit_List(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        is_constant = all(isinstance(item, nodes.Const) for item in node.items)
        return node if is_constant or getattr(node, "ctx", "load") != "load" else _call(node, "weighed", node)

    visit_Tuple = visit_Dict = visit_List


def _call(node: nodes.Node, name: str, *args: nodes.Expr) -> nodes.Call:
    made = nodes.Call(nodes.EnvironmentAttribute(name), list(args), [], None, None, lineno=node.lineno)
    made.set_environment(node.environment)  # type: ignore[arg-type]
    return made


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which work is counted while `limited` lasts."""

    intercepted_binops = frozenset(["+", "*", "%", "**"])

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, finalize=self.weighed, **options)

    def step(self, written: int) -> bool:
        """A pass of a loop, with the characters that stand in it."""
        _spend(STEP_WORK + written)
        return True

    def joined(self, *parts: Any) -> str:
        """What `~` makes."""
        _spend(sum(map(_size, parts)))
        return "".join(map(str, parts))

    def weighed(self, value: Any) -> Any:
        """A value that was put together or is written."""
        _spend(_size(value))
        return value

    def call(__self, __context: Any, __obj: Any, *args: Any, **named: Any) -> Any:
        """As Jinja calls, with what comes out weighed."""
        # the sandbox wraps str.format
        owner = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)
        if isinstance(owner, str):
            if __obj.__name__ in ("format", "format_map") and _WIDE.search(owner):
                raise SecurityError(TOO_WIDE)
            _spend_on_product(owner, [*args, *named.values()])
        found = super().call(__context, __obj, *args, **named)
        _spend(_size(found))
        return found

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """As Python computes, where the result is no larger than is left."""
        if operator == "+":
            _spend(_size(left, deep=False) + _size(right, deep=False))
        elif operator == "*":
            factors = [one if isinstance(one, int) else _size(one) for one in (left, right)]
            both = isinstance(left, int | float) and isinstance(right, int | float)
            _spend(_size(left) + _size(right) if both else max(0, factors[0] * factors[1]))
        elif operator == "**" and isinstance(right, int):
            _spend(_size(left) * max(1, right))
        elif isinstance(left, str):
            if _WIDE.search(left):
                raise SecurityError(TOO_WIDE)
            _spend(len(left) * _size(right))
        return super().call_binop(context, operator, left, right)

    def _generate(self, source: Any, *args: Any, **options: Any) -> str:
        for name, function in self.filters.items():
            if not hasattr(function, "is_watched"):
                self.filters[name] = _watched(function)
        return super()._generate(_Watching().visit(source), *args, **options)
