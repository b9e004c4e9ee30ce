"""Plain values into what annotations say, and plain mappings into dataclasses with every problem reported at once."""

from __future__ import annotations

import dataclasses
import math
import sys
import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from shared.errors import ContractBroken

Number = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max, description="a finite number")]
T = TypeVar("T")
_WORDS: dict[Any, str] = {
    int: "a whole number", float: "a finite number", str: "a text", bool: "true or false",
    tuple: "a list", dict: "a table",
}  # fmt: skip
_WRONG = object()


def convert(item: object, hint: Any) -> Any:
    """One value as an annotation wants it.

    >>> convert(1, Annotated[float, Meta(ge=0, le=2)])
    1.0

    Args:
        item: The value as TOML, JSON or an environment gave it.
        hint: A plain type, `Literal`, or either with a limit, pattern or description (`Meta`), or None (`| None`).

    Raises:
        ValueError: It is not; the message says what is allowed.
    """
    try:
        return msgspec.convert(item, hint)
    except msgspec.ValidationError as error:
        raise ValueError(_allowed(item, hint)) from error


def decoded(raw: bytes, kind: type[T], what: str) -> T:
    """A JSON document that was stored earlier.

    Raises:
        ContractBroken: Not JSON, or not of this kind; the message begins with `what`.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContractBroken(f"{what}: {error}") from error


def number(value: float) -> float | None:
    """A float as JSON can hold it.

    >>> number(float("inf")), number(2)
    (None, 2.0)
    """
    return float(value) if math.isfinite(value) else None


def read(kind: type, raw: object, where: str, problems: list[str]) -> tuple[dict[str, Any], set[str]]:
    """Read a mapping's values as far as they are what `kind` wants.

    Args:
        kind: A dataclass of what `convert` takes, dataclasses, and tuples and string-keyed dicts of these.
        raw: The mapping as TOML or JSON gave it.
        where: Path of the mapping in the file, for the messages.
        problems: Receives one line per problem: key, value, what is allowed.

    Returns:
        Values by field (of a list or table with wrong entries the right ones), and the names of the fields that are
        missing or not wholly right.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if not isinstance(raw, Mapping):
        problems.append(f"{where}: {raw!r} is not a table")
        return {}, set(fields)
    known = ", ".join(sorted(fields))
    problems.extend(f"{_join(where, key)}: unknown key; known are {known}" for key in raw if key not in fields)
    values: dict[str, Any] = {}
    wrong: set[str] = set()
    for name, field in fields.items():
        before = len(problems)
        if name in raw:
            values[name] = _value(hints(kind)[name], raw[name], _join(where, name), problems)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{_join(where, name)}: missing")
        if len(problems) > before:
            wrong.add(name)
    return _right(values), wrong


@cache
def hints(kind: type) -> dict[str, Any]:
    """What a dataclass's fields are annotated with."""
    return get_type_hints(kind, include_extras=True)


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _right(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not _WRONG}


def _value(hint: Any, item: object, where: str, problems: list[str]) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        values, wrong = read(hint, item, where, problems)
        return hint(**values) if not wrong else _WRONG
    if origin is tuple and isinstance(item, list | tuple):
        entries = [_value(args[0], entry, f"{where}[{i}]", problems) for i, entry in enumerate(item)]
        return tuple(entry for entry in entries if entry is not _WRONG)
    if origin is dict and isinstance(item, Mapping):
        return _right({str(key): _value(args[1], entry, _join(where, key), problems) for key, entry in item.items()})
    try:
        return convert(item, hint)
    except ValueError as error:
        problems.append(f"{where}: {item!r} {error}")
        return _WRONG


def _allowed(item: object, hint: Any) -> str:
    """What a wrong value is not."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _allowed(item, args[0])
    if origin is Literal:
        return f"is not one of {', '.join(map(str, args))}"
    kind, meta = args if origin is Annotated else (hint, Meta())
    if meta.description is not None:
        return f"is not {meta.description}"
    if meta.ge is not None and (type(item) is int or type(item) is kind):
        return f"is outside {meta.ge} to {meta.le}"
    return f"is not {_WORDS[get_origin(kind) or kind]}"
