"""What a partition tells of its data and forecasts: counts by day that add up across partitions, and its devices."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from shared.core.device_table import NAMES, DeviceTable, Lately, joined
from shared.core.readings import Longs
from shared.core.ring import NO_HOUR
from shared.core.scenario import Scenario
from shared.core.snapshot import COUNT, DIGEST_BYTES, counts_of, rules_of
from shared.core.state import ERRORS, PAIRS, ROLES, Day, State
from shared.core.step import Machine
from shared.core.tallies import add_errors
from shared.core.watched import CELLS, Edges, Watched
from shared.errors import ContractBroken

__all__ = ["DeviceTable", "Merged", "Profile", "decode", "encode", "merge", "of"]

FORMAT = 1
MAGIC = b"AIRLOOP-PROFILE\n"
MAXIMUM_UNPACKED_BYTES = 500_000_000
K = TypeVar("K", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True)
class Profile:
    """One partition's profile; day is the as-of day since 1970, model an index into `models`.

    Args:
        rules: What the numbers rest on, from `snapshot.rules_of`.
        partition: Number of the partition.
        epoch: Epoch of the state it was taken from.
        next: First sequence number that state had not folded.
        watched: Names and versions of the watched features, W of them.
        edges: Edges of their bins, float64, shape (W, BINS + 1).
        models: Model versions.
        histograms: Counts of the champion's matured forecasts' features, int64, shape (W, BINS + 1), by day.
        forecasts: Counts of matured forecasts, int64, shape (BINS + 1,), by (day, role, model).
        errors: Error sums in quanta, named by `ERRORS`, by (day, role, model).
        pairs: Sums over rows both roles forecast, named by `PAIRS`, by (day, champion's model, challenger's model).
        devices: Its devices.
    """

    rules: list[str]
    partition: int
    epoch: int
    next: int
    watched: tuple[tuple[str, int], ...]
    edges: Edges
    models: list[str]
    histograms: dict[Day, Longs]
    forecasts: dict[tuple[Day, int, int], Longs]
    errors: dict[tuple[Day, int, int], Longs]
    pairs: dict[tuple[Day, int, int], Longs]
    devices: DeviceTable


@dataclass(frozen=True, slots=True)
class Merged:
    """The profiles of all partitions added up; role is a name, model a version.

    Args:
        stamps: Epoch and next sequence number of each partition's profile.
        newest_hour: Newest head of any device, hours since 1970, `NO_HOUR` if there is none.
        watched: Names and versions of the watched features, W of them.
        edges: Edges of their bins, float64, shape (W, BINS + 1).
        histograms: Counts of the champion's matured forecasts' features, int64, shape (W, BINS + 1), by as-of day.
        forecasts: Counts of matured forecasts, int64, shape (BINS + 1,), by (day, role, model).
        errors: Error sums in quanta, named by `ERRORS`, by (day, role, model).
        pairs: Sums over rows both roles forecast, named by `PAIRS`, by (day, champion, challenger).
        devices: All devices.
    """

    stamps: dict[int, tuple[int, int]]
    newest_hour: int
    watched: tuple[tuple[str, int], ...]
    edges: Edges
    histograms: dict[Day, Longs]
    forecasts: dict[tuple[Day, str, str], Longs]
    errors: dict[tuple[Day, str, str], Longs]
    pairs: dict[tuple[Day, str, str], Longs]
    devices: DeviceTable


@dataclass(frozen=True, slots=True)
class Taken:
    """A consistent copy of what a profile is made from; the state may go on changing afterwards."""

    sums: Profile
    lately: Lately

    @classmethod
    def of(cls, machine: Machine, state: State) -> Taken:
        """Copy what the devices' hours tell, and share the sums, which are replaced and never changed in place."""
        sums = Profile(
            rules_of(machine.scenario),
            state.partition,
            state.epoch,
            state.next,
            machine.watched.names,
            machine.watched.edges,
            list(state.models),
            dict(state.histograms),
            dict(state.forecasts),
            dict(state.errors),
            dict(state.pairs),
            DeviceTable.empty(len(machine.scenario.stored)),
        )
        return cls(sums, Lately.of(machine.scenario, state))

    def profile(self) -> Profile:
        """The profile, which takes a while with many devices."""
        return replace(self.sums, devices=self.lately.table())


def of(machine: Machine, state: State) -> Profile:
    """A partition's profile."""
    return Taken.of(machine, state).profile()


class _Array(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    shape: list[int]
    data: bytes


class _Head(msgspec.Struct, frozen=True):
    format: int


class _Body(msgspec.Struct, frozen=True):
    format: int
    rules: list[str]
    partition: int
    epoch: int
    next: int
    watched: list[tuple[str, int]]
    edges: _Array
    models: list[str]
    histograms: dict[int, bytes]
    forecasts: list[tuple[int, int, int, bytes]]
    errors: list[tuple[int, int, int, list[int]]]
    pairs: list[tuple[int, int, int, list[int]]]
    device: list[str]
    devices: dict[str, _Array]


def encode(profile: Profile) -> bytes:
    """A profile as bytes, with its checksum; the same profile gives the same bytes."""
    body = _Body(
        FORMAT,
        profile.rules,
        profile.partition,
        profile.epoch,
        profile.next,
        list(profile.watched),
        _packed(profile.edges),
        profile.models,
        {day: counts.astype(COUNT).tobytes() for day, counts in sorted(profile.histograms.items())},
        [(*key, counts.astype(COUNT).tobytes()) for key, counts in sorted(profile.forecasts.items(), key=_key)],
        [(*key, sums.tolist()) for key, sums in sorted(profile.errors.items(), key=_key)],
        [(*key, sums.tolist()) for key, sums in sorted(profile.pairs.items(), key=_key)],
        profile.devices.device,
        {name: _packed(getattr(profile.devices, name)) for name in NAMES},
    )
    packed = zlib.compress(msgspec.msgpack.encode(body), level=1)
    return MAGIC + hashlib.sha256(packed).digest() + packed


def decode(raw: bytes) -> Profile:
    """The profile that `encode` wrote.

    Raises:
        ContractBroken: Not a profile, damaged, or of another format.
    """
    start = len(MAGIC) + DIGEST_BYTES
    if raw[: len(MAGIC)] != MAGIC:
        raise ContractBroken("not a profile")
    if hashlib.sha256(raw[start:]).digest() != raw[len(MAGIC) : start]:
        raise ContractBroken(f"profile of {len(raw)} bytes is damaged: its checksum differs")
    try:
        unpacked = zlib.decompressobj().decompress(raw[start:], MAXIMUM_UNPACKED_BYTES)
        found = msgspec.msgpack.decode(unpacked, type=_Head).format
        if found != FORMAT:
            raise ContractBroken(f"profile is of format {found}, not {FORMAT}")
        return _profile(msgspec.msgpack.decode(unpacked, type=_Body))
    except (zlib.error, msgspec.DecodeError, ValueError, TypeError, KeyError) as error:
        raise ContractBroken(f"profile cannot be read: {error}") from error


def _profile(body: _Body) -> Profile:
    shape = (len(body.watched), CELLS)
    return Profile(
        body.rules,
        body.partition,
        body.epoch,
        body.next,
        tuple(body.watched),
        _unpacked(body.edges).reshape(shape),
        body.models,
        {day: counts_of(raw, shape) for day, raw in body.histograms.items()},
        {(day, role, model): counts_of(raw, shape[1:]) for day, role, model, raw in body.forecasts},
        {(day, role, model): _sums(sums, ERRORS) for day, role, model, sums in body.errors},
        {(day, one, two): _sums(sums, PAIRS) for day, one, two, sums in body.pairs},
        DeviceTable(body.device, *(_unpacked(body.devices[name]) for name in NAMES)),
    )


def _sums(sums: list[int], names: Sequence[str]) -> Longs:
    if len(sums) != len(names):
        raise ContractBroken(f"{len(sums)} sums are not {', '.join(names)}")
    return np.array(sums, np.int64)


def _packed(array: npt.NDArray[Any]) -> _Array:
    return _Array(array.dtype.str, list(array.shape), array.tobytes())


def _unpacked(array: _Array) -> npt.NDArray[Any]:
    return np.frombuffer(array.data, array.kind).reshape(array.shape).copy()


def _key(item: tuple[K, object]) -> K:
    return item[0]


def merge(scenario: Scenario, profiles: Iterable[Profile]) -> Merged:
    """The profiles of different partitions added up.

    Raises:
        ContractBroken: Two are of one partition, or one rests on other rules than the scenario's or counts other bins.
    """
    found = sorted(profiles, key=lambda profile: profile.partition)
    watched = _common(scenario, found)
    sums: dict[str, dict[Any, Longs]] = {"histograms": {}, "forecasts": {}, "errors": {}, "pairs": {}}
    for profile in found:
        add_errors(sums["histograms"], profile.histograms)
        add_errors(sums["forecasts"], _named(profile, profile.forecasts))
        add_errors(sums["errors"], _named(profile, profile.errors))
        version = profile.models.__getitem__
        add_errors(sums["pairs"], {(d, version(a), version(b)): s for (d, a, b), s in profile.pairs.items()})
    devices = joined([profile.devices for profile in found], len(scenario.stored))
    return Merged(
        {profile.partition: (profile.epoch, profile.next) for profile in found},
        int(devices.head.max(initial=NO_HOUR)),
        *watched,
        sums["histograms"],
        sums["forecasts"],
        sums["errors"],
        sums["pairs"],
        devices,
    )


def _named(profile: Profile, sums: Mapping[tuple[Day, int, int], Longs]) -> dict[tuple[Day, str, str], Longs]:
    return {(day, ROLES[role], profile.models[model]): row for (day, role, model), row in sums.items()}


def _common(scenario: Scenario, found: Sequence[Profile]) -> tuple[tuple[tuple[str, int], ...], Edges]:
    """Names and bins that all profiles share."""
    rules = rules_of(scenario)
    for one, two in pairwise(found):
        if one.partition == two.partition:
            raise ContractBroken(f"two profiles of partition {one.partition}, at {one.next} and {two.next}")
        if one.watched != two.watched or not np.array_equal(one.edges, two.edges):
            raise ContractBroken(f"profiles of partitions {one.partition} and {two.partition} count different bins")
    for profile in found:
        if profile.rules != rules:
            raise ContractBroken(f"profile of partition {profile.partition} belongs to {', '.join(profile.rules)}")
    if found:
        return found[0].watched, found[0].edges
    own = Watched.of(scenario)
    return own.names, own.edges
