"""A partition's state as bytes: header, raw arrays, checksum; what is damaged or of another format is refused."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np

from shared.core.forecast.features.watched import rules_of as watched_rules
from shared.core.forecast.losses import TOTALS, quantum
from shared.core.forecast.state import State, Tally
from shared.core.profile.bins import CELLS, COUNT, Watched, counts_of
from shared.core.scenario import Scenario
from shared.core.scenario.cadence import HOURLY
from shared.core.task.task import Task
from shared.core.task.versions import OtherScenario, at
from shared.errors import ContractBroken

FORMAT = 2
PACKED = 3  # with devices that left the live arrays, which a reader of the other would lose
USUAL = {"cadence_s": HOURLY.step_s, "resolution_s": HOURLY.tick_s}  # not said where it is so
FIRST_TOTALS = TOTALS.index("refused")
MAGIC = b"AIRLOOP-STATE\n"
DIGEST_BYTES = 32


class Source(msgspec.Struct, frozen=True, array_like=True):
    """A tally on disk."""

    name: str
    position: int
    touched: int
    totals: list[int]
    daily: dict[int, list[int]]
    first_hour: int
    last_hour: int


class Head(msgspec.Struct, frozen=True):
    """What every format of a snapshot says of itself."""

    format: int


class Body(msgspec.Struct, frozen=True):
    """Everything of a state; `rules` are what its scenario says of its meaning, arrays are (type, shape, bytes)."""

    format: int
    scenario: str
    rules: list[str]
    partition: int
    epoch: int
    next: int
    enqueued_ms: int
    expired: int
    devices: list[str]
    models: list[str]
    sources: list[Source]
    errors: list[tuple[int, int, int, list[int]]]
    pairs: list[tuple[int, int, int, list[int]]]
    histograms: dict[int, bytes]
    forecasts: list[tuple[int, int, int, bytes]]
    arrays: dict[str, tuple[str, list[int], bytes]]
    version: int | msgspec.UnsetType = msgspec.UNSET  # of the scenario; the first one is left out
    archive: list[tuple[str, bytes]] | msgspec.UnsetType = msgspec.UNSET


def rules_of(scenario: Scenario, watched: Watched) -> list[str]:
    """What the numbers in a state rest on: under other rules of the scenario they would mean something else."""
    numbers = ("samples_per_hour", "history", "horizon", "lateness", "target")
    channels = [f"{channel.name} ({channel.unit}, {channel.aggregate})" for channel in scenario.channels]
    return [
        *channels,
        *(f"{name} {getattr(scenario, name)}" for name in numbers),
        *(f"{name} {getattr(scenario, name)}" for name, usual in USUAL.items() if getattr(scenario, name) != usual),
        f"quantum {quantum(scenario)}",
        *watched_rules(scenario, watched),
    ]


def pack(body: Body) -> bytes:
    """A copy as bytes, with its checksum."""
    packed = msgspec.msgpack.encode(body)
    return MAGIC + hashlib.sha256(packed).digest() + packed


def copied(task: Task, state: State) -> Body:
    """A consistent copy of a state, which may go on changing afterwards."""
    count = len(state.devices)
    arrays = {name: array[:, :, :count] for name, array in state.columns.arrays().items()}
    arrays["head"] = state.columns.ring.head[:count]
    return Body(
        PACKED if state.archive else FORMAT,
        task.scenario.name,
        task.rules,
        state.partition,
        state.epoch,
        state.next,
        state.enqueued_ms,
        state.expired,
        list(state.devices),
        list(state.models),
        [
            Source(
                name,
                tally.position,
                tally.touched,
                _totals(tally),
                {day: sums.tolist() for day, sums in tally.daily.items()},
                tally.first_hour,
                tally.last_hour,
            )
            for name, tally in state.sources.items()
        ],
        [(*key, sums.tolist()) for key, sums in state.errors.items()],
        [(*key, sums.tolist()) for key, sums in state.pairs.items()],
        {day: counts.astype(COUNT).tobytes() for day, counts in state.histograms.items()},
        [(*key, counts.astype(COUNT).tobytes()) for key, counts in state.forecasts.items()],
        {name: (array.dtype.str, list(array.shape), array.tobytes()) for name, array in arrays.items()},
        task.version or msgspec.UNSET,
        list(state.archive.items()) or msgspec.UNSET,
    )


def _totals(tally: Tally) -> list[int]:
    """Sums by `TOTALS`; those that came later, `refused` and `first_forecasts`, as far as there are any."""
    totals: list[int] = tally.totals.tolist()
    while len(totals) > FIRST_TOTALS and not totals[-1]:
        totals.pop()
    return totals


def decode(task: Task, raw: bytes) -> State:
    """The state that a snapshot holds.

    Raises:
        ContractBroken: Not a snapshot, damaged, of another format, or of a scenario with other rules.
        ConfigError: Of a newer version of the scenario.
    """
    start = len(MAGIC) + DIGEST_BYTES
    if raw[: len(MAGIC)] != MAGIC:
        raise ContractBroken("not a snapshot")
    if hashlib.sha256(raw[start:]).digest() != raw[len(MAGIC) : start]:
        raise ContractBroken(f"snapshot of {len(raw)} bytes is damaged: its checksum differs")
    try:
        found = msgspec.msgpack.decode(raw[start:], type=Head).format
        if found not in {FORMAT, PACKED}:
            raise ContractBroken(f"snapshot is of format {found}, not {FORMAT} or {PACKED}")
        body = msgspec.msgpack.decode(raw[start:], type=Body)
    except msgspec.DecodeError as error:
        raise ContractBroken(f"snapshot cannot be read: {error}") from error
    task = at(task, body.version or 0)
    if body.scenario != task.scenario.name or body.rules != task.rules:
        raise OtherScenario(body.scenario, body.rules)
    return _state(task, body)


def _state(task: Task, body: Body) -> State:
    width = len(task.watched)
    state = State.empty(task.scenario, body.partition, width)
    state.version = task.version
    state.epoch, state.next, state.enqueued_ms, state.expired = body.epoch, body.next, body.enqueued_ms, body.expired
    state.devices, state.models = list(body.devices), list(body.models)
    state.index = {name: place for place, name in enumerate(state.devices)}
    for item in body.sources:
        daily = {day: np.array(sums, np.int64) for day, sums in item.daily.items()}
        totals = np.zeros(len(TOTALS), np.int64)
        totals[: len(item.totals)] = item.totals
        state.sources[item.name] = Tally(item.position, item.touched, totals, daily, item.first_hour, item.last_hour)
    state.errors = {(day, role, model): np.array(sums, np.int64) for day, role, model, sums in body.errors}
    state.pairs = {(day, one, two): np.array(sums, np.int64) for day, one, two, sums in body.pairs}
    state.histograms = {day: counts_of(raw, (width, CELLS)) for day, raw in body.histograms.items()}
    state.forecasts = {(day, role, model): counts_of(raw, (CELLS,)) for day, role, model, raw in body.forecasts}
    state.archive = {} if body.archive is msgspec.UNSET else dict(body.archive)
    state.columns.grow(len(state.devices))
    arrays = {**state.columns.arrays(), "head": state.columns.ring.head}
    for name, array in arrays.items():
        kind, shape, data = body.arrays[name]
        if list(array.shape) != shape or array.dtype.str != kind:
            raise ContractBroken(f"snapshot's {name} is {kind}{shape}, not {array.dtype.str}{list(array.shape)}")
        array[...] = np.frombuffer(data, array.dtype).reshape(array.shape)
    return state
