"""Tools, their calls and their results as files write them, in the form that chat templates read."""

from __future__ import annotations

from typing import Any

from ftkit.data.chat.turns import CALLS, Messages
from ftkit.data.reading.json_rows import STRICT_JSON, RepeatedKey, kind_of
from ftkit.data.unusable import Unusable

_CALL = '{"name": ..., "arguments": {...}}'
_TOOL = '[{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}]'


def decoded(value: object, what: str, shape: str) -> object:
    """What JSON text stands for; everything else as it is.

    Raises:
        Unusable: it is no JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        found: object = STRICT_JSON.decode(value.strip())
    except (ValueError, RecursionError, RepeatedKey) as error:
        raise Unusable(f"{what} is no JSON: {error}", f"write {shape}") from None
    return found


def without_nulls(value: Any) -> Any:
    """A value whose objects have no keys with null.

    A table has every key in every row: an object gets the keys of all the others, with nothing in them.
    """
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def read_tools(value: object, name: str) -> list[dict[str, Any]]:
    """The column of what may be called: a list of JSON schemas, bare or under `function`, or JSON text of one.

    Raises:
        Unusable: it is none.
    """
    tools = decoded(value, name, _TOOL) if value not in ("", None) else []
    found = []
    for tool in tools if isinstance(tools, list) else [tools]:
        schema = without_nulls(tool)
        bare = schema.get("function", schema) if isinstance(schema, dict) else None
        if not isinstance(bare, dict) or not isinstance(bare.get("name"), str):
            raise Unusable(f"{name} holds what is no description of a function", f"write {_TOOL}")
        found.append({"type": "function", "function": bare})
    return found


def read_calls(value: object, what: str) -> list[dict[str, Any]]:
    """The calls of one message: a call or several, with arguments as an object or as JSON text of one.

    Raises:
        Unusable: one of them is no call.
    """
    calls = decoded(value, what, _CALL)
    return [_call(call, what) for call in (calls if isinstance(calls, list) else [calls])]


def _call(call: object, what: str) -> dict[str, Any]:
    inner = call.get("function") or call if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise Unusable(f"{what} names no function", f"write {_CALL}")
    given: object = next((inner[key] for key in ("arguments", "parameters") if inner.get(key) is not None), {})
    arguments = {} if given == "" else decoded(given, f"the arguments of {what}", "an object")
    if not isinstance(arguments, dict):
        raise Unusable(f"the arguments of {what} are {kind_of(arguments)} instead of an object", f"write {_CALL}")
    # what is written as text says its nulls itself
    arguments = arguments if isinstance(given, str) else without_nulls(arguments)
    known = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**known, "type": "function", "function": {"name": inner["name"], "arguments": arguments}}


def link(messages: Messages) -> None:
    """Give each call an id, and each result the id and the name of the call that it answers, where they have none."""
    waiting: list[dict[str, Any]] = []
    number = 0
    for message in messages:
        for call in message.get(CALLS, ()):
            call.setdefault("id", f"call{number:05d}")
            number += 1
        waiting = [*message[CALLS]] if CALLS in message else waiting
        if message["role"] == "tool" and waiting:
            asked = message.get("tool_call_id")
            call = next((call for call in waiting if call["id"] == asked), waiting[0])
            waiting.remove(call)
            message.setdefault("tool_call_id", call["id"])
            message.setdefault("name", call["function"]["name"])
