"""Messages that nobody can use, each with the reason code that it must get."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from local.fleet.files import iso
from shared.core.scenario import Scenario

Body = Callable[[str, float], bytes]  # of a device and a minute

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
    body: Body
    identified: bool = True


def kinds(scenario: Scenario) -> tuple[Garbage, ...]:
    """All kinds, made of a reading of the target (with an alias and a finite maximum)."""
    return (*_texts(scenario), *_values(scenario), *_times(scenario), *_names(scenario))


def _reading(scenario: Scenario, changes: Mapping[str, object] | None = None) -> Body:
    """A reading with one value, some keys changed."""

    def body(device: str, minute: float) -> bytes:
        whole = {scenario.key: device, scenario.names.time[0]: iso(minute), scenario.target: 1.0}
        return json.dumps({**whole, **(changes or {})}).encode()

    return body


def _put(scenario: Scenario, text: str) -> Body:
    """A reading whose value or further keys are a text that json.dumps would not write."""
    key, when = json.dumps(scenario.key), json.dumps(scenario.names.time[0])
    return lambda device, minute: f'{{{key}:{json.dumps(device)},{when}:"{iso(minute)}",{text}}}'.encode()


def _texts(scenario: Scenario) -> tuple[Garbage, ...]:
    whole = _reading(scenario)
    return (
        Garbage("not UTF-8", "encoding", lambda device, minute: whole(device, minute)[:-1] + b',"note":"\xff\xfe"}'),
        Garbage("cut short", "not_json", lambda device, minute: whole(device, minute)[:-9]),
        Garbage("not JSON", "not_json", lambda device, minute: f"{device};{minute};1.0".encode()),
        Garbage("no bytes", "empty", lambda *_: b""),
        Garbage("blanks", "empty", lambda *_: b" \r\n"),
        Garbage("an empty array", "empty", lambda *_: b"[]"),
        Garbage("a number", "not_an_object", lambda *_: b"42"),
        Garbage("nested deeply", "too_deep", _put(scenario, '"note":' + "[" * DEEP)),
        Garbage("many keys", "too_large", _reading(scenario, {f"k{number}": number for number in range(MANY)})),
    )


def _values(scenario: Scenario) -> tuple[Garbage, ...]:
    channel, name = scenario.target_channel, scenario.target
    two = "".join(f'"{alias}":1.0,' for alias in (name, *channel.aliases[:1]))
    found = [
        Garbage("a word for a value", "bad_value", _reading(scenario, {name: "warm"})),
        Garbage("an object for a value", "bad_value", _reading(scenario, {name: {"value": 1.0}})),
        Garbage("infinity", "bad_value", _put(scenario, f'"{name}":Infinity')),
        Garbage("NaN only", "no_values", _put(scenario, f'"{name}":NaN')),
        Garbage("no values", "no_values", _reading(scenario, {name: None})),
        Garbage("out of range", "out_of_range", _reading(scenario, {name: channel.maximum * 100 + 1e6})),
        Garbage("an unknown unit", "unit", _put(scenario, f'"{name} (furlongs)":1.0')),
    ]
    if channel.aliases:
        found.append(Garbage("a channel twice", "duplicate_header", _put(scenario, two.rstrip(","))))
    return tuple(found)


def _times(scenario: Scenario) -> tuple[Garbage, ...]:
    when = scenario.names.time[0]
    found = [
        Garbage("a word for a time", "bad_time", _reading(scenario, {when: "yesterday"})),
        Garbage("a list for a time", "bad_time", _reading(scenario, {when: [2026, 11]})),
        Garbage("the year 2099", "future", _reading(scenario, {when: "2099-01-01T00:00:00Z"})),
        Garbage("the year 1999", "ancient", _reading(scenario, {when: "1999-12-31T23:59:00Z"})),
    ]
    if not scenario.time_fallback:
        found.append(Garbage("no time", "missing_time", _reading(scenario, {when: None})))
    return tuple(found)


def _names(scenario: Scenario) -> tuple[Garbage, ...]:
    def called(device: object) -> Body:
        return _reading(scenario, {scenario.key: device})

    another = _reading(scenario)
    return (
        Garbage("another device", "identity_mismatch", lambda device, minute: another(f"{device}2", minute)),
        Garbage("a list for a device", "identity_mismatch", called(["a"])),
        *(Garbage("a hostile id", "identity_mismatch", called(hostile)) for hostile in HOSTILE),
        Garbage("no device", "missing_device", called(None), identified=False),
        Garbage("a device of control characters", "device_id", called("a\x00\x1b[2J"), identified=False),
        Garbage("a device of 5,000 characters", "device_id", called("y" * 5_000), identified=False),
    )
