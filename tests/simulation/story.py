"""What devices send and people drop, drawn before a run so that it does not depend on the schedule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from tests.kit import CSV, HOUR, message
from tests.simulation.conditions import Conditions
from tests.simulation.worker import PARTITIONS


class Arrival(NamedTuple):
    """A message for a partition of the devices' hub, or a file of a name."""

    where: int | str
    body: bytes


def story(seed: int, conditions: Conditions) -> list[Arrival]:
    """Everything that arrives, in its order."""
    random = Random(f"story {seed}")
    late: list[tuple[int, Arrival]] = []
    told: list[Arrival] = []
    sent: dict[str, list[dict[str, Any]]] = {f"d{number}": [] for number in range(conditions.devices)}
    for hour in range(conditions.hours):
        for device, before in sent.items():
            told += _messages(random, conditions.on, device, hour, before, late)
        told += [arrival for due, arrival in late if due == hour]
        if "files" in conditions.on and random.random() < 0.2:
            told.append(_file(random, conditions.on, len(told), [*sent]))
    return told


def _messages(
    random: Random,
    on: frozenset[str],
    device: str,
    hour: int,
    before: list[dict[str, Any]],
    late: list[tuple[int, Arrival]],
) -> Iterator[Arrival]:
    home = sum(device.encode()) % PARTITIONS
    body = message(device, hour, random.randint(0, 200), rain=random.randint(0, 3), wind=random.choice((0, 90, 135)))
    x, bodies = random.random(), [json.loads(body)]
    if x < 0.04:
        return  # an hour that nobody ever hears of
    if x < 0.16 and "late" in on:
        late.append((hour + random.choice((1, 2, 3, 5)), Arrival(home, body)))
        return
    if random.random() < 0.2:  # an hour with more minutes than the scenario asks for
        bodies.append({**bodies[0], "timestamp": bodies[0]["timestamp"] + 780, "pm": random.randint(0, 200)})
    before += bodies
    if "again" in on and random.random() < 0.2:
        bodies.append(random.choice(before[-4:]))
    if "conflicts" in on and random.random() < 0.2:
        bodies.append({**random.choice(before[-3:]), "pm": random.randint(300, 900)})
    if random.random() < 0.3:
        yield Arrival(home, json.dumps(bodies).encode())
    else:
        yield from (Arrival(home, json.dumps(each).encode()) for each in bodies)
    if "garbage" in on and random.random() < 0.12:
        yield Arrival(home, random.choice(_garbage(bodies[0])))


def _garbage(reading: dict[str, Any]) -> list[bytes]:
    wrong = [{**reading, "pm": 5000}, {**reading, "timestamp": 99_999_999_999}, {"device_id": "x"}]
    return [b"", b"{", b"\xff\xfe", b"[]", *(json.dumps(each).encode() for each in wrong)]


def _file(random: Random, on: frozenset[str], number: int, devices: list[str]) -> Arrival:
    device = random.choice(devices) if "conflicts" in on and random.random() < 0.4 else f"f{number}"
    rows = [_row(device, hour, random.randint(0, 99)) for hour in range(random.randint(1, 25))]
    rows += [f"{device},never,1,2,3"] * (random.random() < 0.5) + rows[:1] * (random.random() < 0.3)
    return Arrival(f"{number}.csv", "\n".join([CSV, *rows, ""]).encode())


def _row(device: str, hour: int, pm: int) -> str:
    return f"{device},{(HOUR + hour) * 3600},{pm},0,90"
