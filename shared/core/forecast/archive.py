"""Silent devices: packed they leave the live arrays, and they come back bit for bit when they speak.

Who leaves follows from the devices' own hours alone, so that every worker that folds the same commits keeps the same
devices in the same place. Whether a device is live or packed changes no forecast.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from shared.core.forecast.state import State
from shared.core.forecast.window.slots import Columns
from shared.core.intake.readings import Array, Longs
from shared.core.scenario import Scenario
from shared.core.task.calendar import NO_HOUR
from shared.errors import ContractBroken

_AT_ONCE = 256  # devices: copied together, since a device's cells stand far apart


def silent_until(scenario: Scenario, before: int, after: int) -> int:
    """Newest hour of devices that leave when a partition's newest hour moves: looked at once a day, else `NO_HOUR`.

    Args:
        scenario: Its days of silence after which a device leaves.
        before: Newest hour of all devices before a batch, `NO_HOUR` without one.
        after: Newest hour after it.
    """
    day = scenario.cadence.day
    turned = before != NO_HOUR and after // day > before // day
    return after - scenario.silent_days * day if turned else NO_HOUR


def leave(state: State, until: int) -> None:
    """Pack the devices whose newest hour is not after `until`."""
    head = _heads(state)
    gone = np.flatnonzero(head <= until)
    if not len(gone):
        return
    for start in range(0, len(gone), _AT_ONCE):
        some = gone[start : start + _AT_ONCE]
        names = (state.devices[place] for place in some.tolist())
        state.archive.update(zip(names, _packed(state.columns.take(some)), strict=True))
    stay = np.flatnonzero(head > until)
    state.columns = state.columns.take(stay)
    state.devices = [state.devices[place] for place in stay.tolist()]
    state.index = {name: place for place, name in enumerate(state.devices)}


def awake(state: State, names: Sequence[str]) -> State:
    """A state in which these devices, if they were packed, are live again behind all others; the given one stays."""
    back = [name for name in names if name in state.archive]
    if not back:
        return state
    known = len(state.devices)
    columns = state.columns.take(np.arange(known))
    columns.grow(len(back))
    for place, name in enumerate(back, known):
        _unpack(state.archive[name], columns, place)
    devices = [*state.devices, *back]
    return replace(
        state,
        columns=columns,
        devices=devices,
        index={name: place for place, name in enumerate(devices)},
        archive={name: raw for name, raw in state.archive.items() if name not in set(back)},
    )


def wake(state: State, names: Sequence[str]) -> None:
    """Make these devices live, in place."""
    woken = awake(state, names)
    state.columns, state.devices, state.index, state.archive = (
        woken.columns, woken.devices, woken.index, woken.archive
    )  # fmt: skip


def replace_columns(state: State, move: Callable[[Columns], Columns]) -> None:
    """Bring packed devices into other columns, a few at a time; the live ones still stand in the old."""
    names = list(state.archive)
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        columns = state.columns.take(np.empty(0, np.int64))
        columns.grow(len(some))
        for place, name in enumerate(some):
            _unpack(state.archive[name], columns, place)
        state.archive.update(zip(some, _packed(move(columns)), strict=True))


def _packed(columns: Columns) -> list[bytes]:
    """Each device's head and cells."""
    by_device = [np.ascontiguousarray(array.transpose(2, 0, 1)) for array in columns.arrays().values()]
    heads = columns.ring.head.tolist()
    return [
        zlib.compress(np.int64(head).tobytes() + b"".join(array[place].tobytes() for array in by_device), level=1)
        for place, head in enumerate(heads)
    ]


def _unpack(raw: bytes, columns: Columns, place: int) -> None:
    arrays = list(columns.arrays().values())
    size = 8 + sum(_cells(array) * array.dtype.itemsize for array in arrays)
    found = zlib.decompressobj().decompress(raw, size + 1)
    if len(found) != size:
        raise ContractBroken(f"a packed device holds {len(found)} bytes, not {size}")
    columns.ring.head[place] = np.frombuffer(found, np.int64, 1)[0]
    at = 8
    for array in arrays:
        cells = np.frombuffer(found, array.dtype, _cells(array), at)
        array[:, :, place] = cells.reshape(array.shape[:2])
        at += cells.nbytes


def _cells(array: Array) -> int:
    return int(array.shape[0] * array.shape[1])


def newest(state: State) -> int:
    """Newest hour of the live devices, which is that of all: who has it never leaves."""
    return int(_heads(state).max(initial=NO_HOUR))


def _heads(state: State) -> Longs:
    return state.columns.ring.head[: len(state.devices)]
