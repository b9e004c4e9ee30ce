"""Plain mappings into frozen dataclasses, with every problem reported at once."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")
_WRONG = object()


def build(kind: type[T], raw: object, where: str, problems: list[str]) -> T | None:
    """Turn one mapping into `kind`, or None after adding what is wrong to `problems`.

    Args:
        kind: A dataclass of numbers, texts, booleans, literals, tuples, string-keyed dicts or dataclasses.
        raw: The mapping as TOML or JSON gave it.
        where: Path of the mapping in the file, for the messages.
        problems: Receives one line per problem: key, value, what is allowed.
    """
    before = len(problems)
    values, _ = read(kind, raw, where, problems)
    return kind(**values) if len(problems) == before else None


def read(kind: type, raw: object, where: str, problems: list[str]) -> tuple[dict[str, Any], set[str]]:
    """Read a mapping's values as far as they are what `kind` wants; arguments as for `build`.

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
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    wrong: set[str] = set()
    for name, field in fields.items():
        before = len(problems)
        if name in raw:
            value = _value(hints[name], raw[name], _join(where, name), problems)
            if len(problems) == before or typing.get_origin(hints[name]) in (tuple, dict):
                values[name] = value
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{_join(where, name)}: missing")
        if len(problems) > before:
            wrong.add(name)
    return values, wrong


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _value(hint: Any, item: object, where: str, problems: list[str]) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return _one_of(args, item, where, problems)
    if origin in (typing.Union, types.UnionType):
        return _value(args[0], item, where, problems)
    if origin is tuple:
        return _sequence(args, item, where, problems)
    if origin is dict:
        return _table(args[1], item, where, problems)
    if dataclasses.is_dataclass(hint):
        return build(hint, item, where, problems)  # type: ignore[arg-type]
    return _plain(hint, item, where, problems)


def _one_of(choices: tuple[Any, ...], item: object, where: str, problems: list[str]) -> object:
    if item not in choices:
        problems.append(f"{where}: {item!r} is not one of {', '.join(map(str, choices))}")
    return item


def _sequence(args: tuple[Any, ...], item: object, where: str, problems: list[str]) -> tuple[Any, ...]:
    if not isinstance(item, list | tuple):
        problems.append(f"{where}: {item!r} is not a list")
        return ()
    if args[-1] is not Ellipsis and len(item) != len(args):
        problems.append(f"{where}: has {len(item)} entries, needs {len(args)}")
    values = [_entry(args[0], entry, f"{where}[{i}]", problems) for i, entry in enumerate(item)]
    return tuple(value for value in values if value is not _WRONG)


def _table(hint: Any, item: object, where: str, problems: list[str]) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        problems.append(f"{where}: {item!r} is not a table")
        return {}
    values = {str(key): _entry(hint, entry, _join(where, key), problems) for key, entry in item.items()}
    return {key: value for key, value in values.items() if value is not _WRONG}


def _entry(hint: Any, item: object, where: str, problems: list[str]) -> Any:
    before = len(problems)
    value = _value(hint, item, where, problems)
    return value if len(problems) == before else _WRONG


def _plain(kind: type, item: object, where: str, problems: list[str]) -> Any:
    if kind is float and isinstance(item, int | float) and not isinstance(item, bool):
        try:
            number = float(item)
        except OverflowError:  # a whole number of more than 308 digits
            number = math.inf
        if not math.isfinite(number):
            problems.append(f"{where}: {item!r} is not a finite number")
        return number
    if type(item) is not kind:
        problems.append(f"{where}: {item!r} is not {_NAMES.get(kind, kind.__name__)}")
    return item


_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
