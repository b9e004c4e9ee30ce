"""AMQP 1.0 values: decode them, or find where they end. Standard library only.

Source: OASIS AMQP 1.0, part 1 (types). Every byte may be hostile: whatever comes in, the answer is a value or
`Malformed`, and the work is bounded by the bytes that are there.
"""

import struct
import uuid
from collections.abc import Callable
from typing import Any

from local.eventhub.amqp.encode import Described, Malformed, Raw, Symbol

MAX_DEPTH = 32  # deeper nesting is an attack on the stack, not a message

Reader = Callable[[bytes, int, int], "tuple[Any, int]"]


def decode(buffer: bytes, at: int = 0) -> tuple[Any, int]:
    """The value whose constructor is at `at`, and the index after it.

    Integers of all widths and timestamps come as int, char as str, lists and arrays as list, maps as dict, decimals
    as `Raw`.

    Raises:
        Malformed: For anything that is not one complete, well-formed value.
    """
    try:
        return _value(buffer, at, 0)
    except (IndexError, struct.error):
        raise Malformed("value is cut short") from None
    except (ValueError, OverflowError) as error:
        raise Malformed(f"value is out of its type's range: {type(error).__name__}") from None


def _value(buffer: bytes, at: int, depth: int) -> tuple[Any, int]:
    return _READERS[buffer[at]](buffer, at + 1, depth)


def _unknown(buffer: bytes, at: int, depth: int) -> tuple[Any, int]:  # noqa: ARG001 - one signature for all readers
    raise Malformed(f"unknown constructor 0x{buffer[at - 1]:02x}")


def _constant(value: Any) -> Reader:
    return lambda _buffer, at, _depth: (value, at)


def _fixed(layout: str, convert: Callable[[Any], Any] | None = None) -> Reader:
    packed = struct.Struct(layout)
    unpack, size = packed.unpack_from, packed.size

    def read(buffer: bytes, at: int, depth: int) -> tuple[Any, int]:  # noqa: ARG001
        (value,) = unpack(buffer, at)
        return (value if convert is None else convert(value)), at + size

    return read


def _variable(layout: str, convert: Callable[[bytes], Any]) -> Reader:
    length = struct.Struct(layout)

    def read(buffer: bytes, at: int, depth: int) -> tuple[Any, int]:  # noqa: ARG001
        start = at + length.size
        end = start + int(length.unpack_from(buffer, at)[0])
        if end > len(buffer):
            raise Malformed("value is longer than what holds it")
        return convert(buffer[start:end]), end

    return read


def _compound(layout: str, read_items: Callable[[bytes, int, int, int], "tuple[Any, int]"]) -> Reader:
    head = struct.Struct(layout)

    def read(buffer: bytes, at: int, depth: int) -> tuple[Any, int]:
        size, count = head.unpack_from(buffer, at)
        end = at + head.size // 2 + size
        if depth >= MAX_DEPTH:
            raise Malformed(f"nesting is deeper than {MAX_DEPTH}")
        value, stop = read_items(buffer, at + head.size, count, depth + 1)
        if count and stop != end:
            raise Malformed("size and content of a list, map or array differ")
        return value, end

    return read


def _list(buffer: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    items = []
    for _ in range(count):
        item, at = _value(buffer, at, depth)
        items.append(item)
    return items, at


def _map(buffer: bytes, at: int, count: int, depth: int) -> tuple[dict[Any, Any], int]:
    if count % 2:
        raise Malformed("map has a key without a value")
    items, at = _list(buffer, at, count, depth)
    try:
        return dict(zip(items[::2], items[1::2], strict=True)), at
    except TypeError:
        raise Malformed("map has a list or a map as a key") from None


def _array(buffer: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    if not count:  # then the constructor may be missing
        return [], at
    if buffer[at] >> 4 == 4:  # nothing would bound their number
        raise Malformed("array of elements without bytes")
    read, at, items = _READERS[buffer[at]], at + 1, []
    for _ in range(count):
        item, at = read(buffer, at, depth)
        items.append(item)
    return items, at


def _described(buffer: bytes, at: int, depth: int) -> tuple[Described, int]:
    if depth >= MAX_DEPTH:
        raise Malformed(f"nesting is deeper than {MAX_DEPTH}")
    descriptor, at = _value(buffer, at, depth + 1)
    value, at = _value(buffer, at, depth + 1)
    return Described(descriptor, value), at


def _opaque(constructor: int) -> Callable[[bytes], Raw]:
    return lambda value: Raw(bytes((constructor,)) + value)


def _boolean(value: int) -> bool:
    if value > 1:
        raise Malformed(f"boolean byte is {value}")
    return value == 1


def _uuid(value: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=value)


def _readers() -> list[Reader]:
    table: dict[int, Reader] = {0x00: _described}
    table |= {
        code: _constant(value) for code, value in ((0x40, None), (0x41, True), (0x42, False), (0x43, 0), (0x44, 0))
    }
    table[0x45] = lambda _buffer, at, _depth: ([], at)
    fixed = "50B 51b 52B 53B 54b 55b 60H 61h 70I 71i 72f 80Q 81q 82d 83q"
    table |= {int(item[:2], 16): _fixed(">" + item[2:]) for item in fixed.split()}
    table[0x56] = _fixed(">B", _boolean)
    table[0x73] = _fixed(">I", chr)
    table[0x98] = _fixed(">16s", _uuid)
    table |= {code: _fixed(f">{size}s", _opaque(code)) for code, size in ((0x74, 4), (0x84, 8), (0x94, 16))}
    for base, layout in ((0xA0, ">B"), (0xB0, ">I")):
        table[base] = _variable(layout, bytes)
        table[base + 1] = _variable(layout, bytes.decode)
        table[base + 3] = _variable(layout, lambda value: Symbol(value, "ascii"))
    for base, layout in ((0xC0, ">BB"), (0xD0, ">II")):
        table[base] = _compound(layout, _list)
        table[base + 1] = _compound(layout, _map)
        table[base + 0x20] = _compound(layout, _array)
    return [table.get(code, _unknown) for code in range(256)]


_READERS = _readers()


_FIXED_WIDTH = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_SIZE8, _SIZE32 = (0xA, 0xC, 0xE), (0xB, 0xD, 0xF)


def skip(buffer: bytes, at: int) -> int:
    """The index after the value at `at`; its inside is not looked at.

    Raises:
        Malformed: If the value does not end within the buffer.
    """
    open_values = 1
    try:
        while open_values:
            constructor = buffer[at]
            if constructor == 0:  # a descriptor and a value follow
                at, open_values = at + 1, open_values + 1
                continue
            at, open_values = at + 1 + _width(buffer, at, constructor), open_values - 1
    except (IndexError, struct.error):
        raise Malformed("value is cut short") from None
    if at > len(buffer):
        raise Malformed("value is longer than what holds it")
    return at


def _width(buffer: bytes, at: int, constructor: int) -> int:
    group = constructor >> 4
    if group in _SIZE8:
        return 1 + buffer[at + 1]
    if group in _SIZE32:
        return 4 + int(struct.unpack_from(">I", buffer, at + 1)[0])
    if group in _FIXED_WIDTH:
        return _FIXED_WIDTH[group]
    raise Malformed(f"unknown constructor 0x{constructor:02x}")


def items(buffer: bytes, at: int) -> list[bytes]:
    """The elements of the list or map at `at`, each as its own bytes; a map gives keys and values in turn."""
    constructor = buffer[at] if at < len(buffer) else 0x40
    if constructor in (0x40, 0x45):
        return []
    if constructor not in (0xC0, 0xC1, 0xD0, 0xD1):
        raise Malformed(f"constructor 0x{constructor:02x} where a list or a map belongs")
    end = skip(buffer, at)
    head = struct.Struct(">BB" if constructor < 0xD0 else ">II")
    at += 1 + head.size
    found = []
    while at < end:
        start, at = at, skip(buffer, at)
        found.append(buffer[start:at])
    return found
