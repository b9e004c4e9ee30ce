"""A profile as bytes: header, checksum, compressed content; what is damaged or of another format is refused."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Longs
from shared.core.profile.bins import CELLS, COUNT, counts_of
from shared.core.profile.capture import Profile
from shared.core.profile.device_table import NAMES, DeviceTable
from shared.core.task.losses import Losses
from shared.errors import ContractBroken

FORMAT = 1
MAGIC = b"AIRLOOP-PROFILE\n"
DIGEST_BYTES = 32
MAXIMUM_UNPACKED_BYTES = 500_000_000
K = TypeVar("K", bound=tuple[Any, ...])


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


def decode(raw: bytes, losses: Losses) -> Profile:
    """The profile that `encode` wrote, of a task with these losses.

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
        return _profile(msgspec.msgpack.decode(unpacked, type=_Body), losses)
    except (zlib.error, msgspec.DecodeError, ValueError, TypeError, KeyError) as error:
        raise ContractBroken(f"profile cannot be read: {error}") from error


def _profile(body: _Body, losses: Losses) -> Profile:
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
        {(day, role, model): _sums(sums, losses.errors) for day, role, model, sums in body.errors},
        {(day, one, two): _sums(sums, losses.pairs) for day, one, two, sums in body.pairs},
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
