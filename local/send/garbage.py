"""Messages that nobody can use, each with the reason code that it must get."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from local.send.sources import iso
from shared.core.scenario import Channel

DEEP = 50_000
MANY = 1_001
HOSTILE = ("../../state", "<script>alert(1)</script>", "' OR 1=1 --", "\N{THERMOMETER}" * 40, "x" * 5_000)


class Garbage(NamedTuple):
    """A kind of garbage.

    Args:
        name: What is wrong, for people.
        reason: Code that the dead letter must carry.
        body: Makes the body from the device's id and the minute.
        identified: Whether the hub vouches for the device.
    """

    name: str
    reason: str
    body: Callable[[str, int], bytes]
    identified: bool = True


def kinds(channel: Channel) -> tuple[Garbage, ...]:
    """All kinds, made of a reading of one channel (with an alias and a finite maximum)."""
    name = channel.name
    return (*_texts(name), *_values(channel), *_times(name), *_names(name))


def _say(name: str, **changes: object) -> Callable[[str, int], bytes]:
    """A reading with one value, some keys changed."""

    def body(device: str, minute: int) -> bytes:
        return json.dumps({"device_id": device, "timestamp": iso(minute), name: 1.0, **changes}).encode()

    return body


def _put(text: str) -> Callable[[str, int], bytes]:
    """A reading whose value or further keys are a text that json.dumps would not write."""
    return lambda device, minute: f'{{"device_id":{json.dumps(device)},"timestamp":"{iso(minute)}",{text}}}'.encode()


def _texts(name: str) -> tuple[Garbage, ...]:
    whole = _say(name)
    return (
        Garbage("not UTF-8", "encoding", lambda device, minute: whole(device, minute)[:-1] + b',"note":"\xff\xfe"}'),
        Garbage("cut short", "not_json", lambda device, minute: whole(device, minute)[:-9]),
        Garbage("not JSON", "not_json", lambda device, minute: f"{device};{minute};1.0".encode()),
        Garbage("no bytes", "empty", lambda *_: b""),
        Garbage("blanks", "empty", lambda *_: b" \r\n"),
        Garbage("an empty array", "empty", lambda *_: b"[]"),
        Garbage("a number", "not_an_object", lambda *_: b"42"),
        Garbage("nested deeply", "too_deep", _put('"note":' + "[" * DEEP)),
        Garbage("many keys", "too_large", _say(name, **{f"k{number}": number for number in range(MANY)})),
    )


def _values(channel: Channel) -> tuple[Garbage, ...]:
    name = channel.name
    two = "".join(f'"{alias}":1.0,' for alias in (name, *channel.aliases[:1]))
    found = [
        Garbage("a word for a value", "bad_value", _say(name, **{name: "warm"})),
        Garbage("an object for a value", "bad_value", _say(name, **{name: {"value": 1.0}})),
        Garbage("infinity", "bad_value", _put(f'"{name}":Infinity')),
        Garbage("NaN only", "no_values", _put(f'"{name}":NaN')),
        Garbage("no values", "no_values", _say(name, **{name: None})),
        Garbage("out of range", "out_of_range", _say(name, **{name: channel.maximum * 100 + 1e6})),
        Garbage("an unknown unit", "unit", _put(f'"{name} (furlongs)":1.0')),
    ]
    if channel.aliases:
        found.append(Garbage("a channel twice", "duplicate_header", _put(two.rstrip(","))))
    return tuple(found)


def _times(name: str) -> tuple[Garbage, ...]:
    return (
        Garbage("no time", "missing_time", _say(name, timestamp=None)),
        Garbage("a word for a time", "bad_time", _say(name, timestamp="yesterday")),
        Garbage("a list for a time", "bad_time", _say(name, timestamp=[2026, 11])),
        Garbage("the year 2099", "future", _say(name, timestamp="2099-01-01T00:00:00Z")),
        Garbage("the year 1999", "ancient", _say(name, timestamp="1999-12-31T23:59:00Z")),
        Garbage("no zone", "no_zone", _unlisted(name), identified=False),
    )


def _unlisted(name: str) -> Callable[[str, int], bytes]:
    """From a device that no scenario lists: for a listed one the station's zone would be taken."""
    return lambda device, minute: json.dumps(
        {"device_id": f"not {device}"[:100], "timestamp": iso(minute)[:-1], name: 1.0}
    ).encode()


def _names(name: str) -> tuple[Garbage, ...]:
    return (
        Garbage("another device", "identity_mismatch", lambda device, minute: _say(name)(f"{device}2", minute)),
        Garbage("a list for a device", "identity_mismatch", _say(name, device_id=["a"])),
        *(Garbage("a hostile id", "identity_mismatch", _say(name, device_id=hostile)) for hostile in HOSTILE),
        Garbage("no device", "missing_device", _say(name, device_id=None), identified=False),
        Garbage("a device of control characters", "device_id", _say(name, device_id="a\x00\x1b[2J"), identified=False),
        Garbage("a device of 5,000 characters", "device_id", _say(name, device_id="y" * 5_000), identified=False),
    )
