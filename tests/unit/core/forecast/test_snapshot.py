"""A state survives its snapshot field by field, and no damaged or foreign snapshot is taken for one."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.forecast import snapshot
from shared.core.forecast.features.block import VERSIONS
from shared.core.forecast.losses import ERRORS, PAIRS, TOTALS
from shared.core.forecast.state import State, Tally
from shared.core.forecast.task import HourlyForecast
from shared.core.profile.bins import CELLS
from shared.core.scenario import Channel, Scenario, with_overrides
from shared.core.stream.commit import commit_name, folder, partition_in, place_of
from shared.errors import ContractBroken
from tests.kit import small
from tests.unit.core.forecast.plain_model import START

SCENARIO = small()
TASK = HourlyForecast(SCENARIO)


def filled(devices: int = 3) -> State:
    """A state in which every field and every cell has a value of its own."""
    state = TASK.empty(5)
    state.epoch, state.next, state.enqueued_ms, state.expired = 2, 77, 1_500_000_000_123, 9
    state.devices = ["Köln", "a/../b", "\U0001f321"][:devices]
    state.index = {name: place for place, name in enumerate(state.devices)}
    state.models = ["v1", "v2"]
    state.columns.grow(devices + 2)  # room that no device has yet
    state.columns.ring.head[:devices] = START + np.arange(devices)
    generator = np.random.default_rng(3)
    for array in state.columns.arrays().values():
        array[:, :, :devices] = generator.integers(1, 200, array[:, :, :devices].shape)
    state.columns.ring.sums[0, 0, 0] = np.nan
    daily = {17_000: np.arange(8, dtype=np.int64), -1: -np.arange(8, dtype=np.int64)}
    state.sources = {
        "file/x@1": Tally(12, 70, np.arange(len(TOTALS), dtype=np.int64) + 2**40, daily, START, START + 9),
        "hub/0": Tally(),
    }
    ones = np.ones(len(ERRORS), np.int64)
    state.errors = {(17_000, 0, 1): np.arange(len(ERRORS), dtype=np.int64) + 2**40, (17_001, 1, 0): -ones}
    state.pairs = {(17_000, 0, 1): np.arange(len(PAIRS), dtype=np.int64) + 2**41, (-1, 1, 0): np.ones(7, np.int64)}
    shape = len(TASK.watched), CELLS
    state.histograms = {day: generator.integers(0, 2**32, shape) for day in (17_000, -1)}
    state.forecasts = {key: generator.integers(0, 2**32, CELLS) for key in ((17_000, 0, 1), (-1, 1, 0))}
    return state


def fields(state: State) -> dict[str, Any]:
    """Everything a state holds, by name; arrays with their type and bytes, without the spare columns."""
    count = len(state.devices)
    out: dict[str, Any] = {
        name: getattr(state, name)
        for name in (
            "partition",
            "epoch",
            "next",
            "enqueued_ms",
            "expired",
            "devices",
            "models",
            "index",
            "archive",
            "version",
        )
    }
    out["head"] = state.columns.ring.head[:count].tolist()
    for name, array in state.columns.arrays().items():
        out[name] = (str(array.dtype), array.shape[:2], array[:, :, :count].tobytes())
    for name in ("errors", "pairs", "histograms", "forecasts"):
        out[name] = {key: (str(sums.dtype), sums.tolist()) for key, sums in getattr(state, name).items()}
    for name, tally in state.sources.items():
        daily = {day: (str(sums.dtype), sums.tolist()) for day, sums in tally.daily.items()}
        hours = (tally.first_hour, tally.last_hour)
        out[f"source {name}"] = (tally.position, tally.touched, tally.totals.tolist(), daily, hours)
    return out


@pytest.mark.parametrize("devices", [0, 1, 3])
def test_a_state_comes_back_field_by_field(devices: int) -> None:
    state = filled(devices)
    back = snapshot.decode(TASK, TASK.snapshot(state)())
    assert fields(back) == fields(state)
    assert len(back.columns.ring.head) == devices, "spare columns are not stored"


def test_the_comparison_leaves_no_field_out() -> None:
    compared = {*fields(filled()), "columns", "sources"}
    assert {field.name for field in dataclasses.fields(State)} <= compared
    assert len(dataclasses.fields(Tally)) == 6
    arrays = {"sums", "counts", "minutes", "prints", "value", "lower", "upper", "revision", "model", "bins", "quality"}
    assert set(filled().columns.arrays()) == arrays <= compared


def test_the_first_state_comes_back_too() -> None:
    state = TASK.empty(1)
    assert fields(snapshot.decode(TASK, TASK.snapshot(state)())) == fields(state)


def test_a_state_that_came_back_can_be_changed_and_the_copy_cannot() -> None:
    state = filled()
    body = snapshot.copied(TASK, state)
    raw = snapshot.pack(body)
    state.columns.ring.sums[:] = 0
    state.columns.ring.head[:] = 0
    state.devices.append("late")
    state.models.append("late")
    state.sources["hub/0"].totals += 1
    state.sources["file/x@1"].daily[17_000] += 1
    for sums in (state.errors, state.pairs, state.histograms, state.forecasts):
        for array in sums.values():
            array += 1
        sums.clear()
    assert snapshot.pack(body) == raw, "a copy is taken between batches and written while the next ones run"
    back = snapshot.decode(TASK, raw)
    assert fields(back) == fields(filled())
    back.columns.ring.sums += 1
    back.sources["hub/0"].totals += 1
    back.errors[17_000, 0, 1] += 1
    back.pairs[-1, 1, 0] += 1
    back.histograms[-1] += 1
    back.forecasts[-1, 1, 0] += 1


def test_the_same_state_gives_the_same_bytes_whatever_room_it_has() -> None:
    state = filled()
    raw = TASK.snapshot(state)()
    state.columns.grow(50)
    assert TASK.snapshot(state)() == raw


RAW = TASK.snapshot(filled())()
DAMAGED = r"not a snapshot|its checksum differs"


@settings(max_examples=300)
@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place: int, change: int) -> None:
    damaged = RAW[:place] + bytes([RAW[place] ^ change]) + RAW[place + 1 :]
    with pytest.raises(ContractBroken, match=DAMAGED):
        snapshot.decode(TASK, damaged)


@given(st.integers(0, len(RAW) - 1), st.binary(max_size=3))
def test_no_cut_and_nothing_appended_goes_unnoticed(length: int, tail: bytes) -> None:
    for damaged in (RAW[:length], RAW[length:] if length else b"", RAW + tail + b"\0"):
        with pytest.raises(ContractBroken, match=DAMAGED):
            snapshot.decode(TASK, damaged)


def sealed(packed: bytes) -> bytes:
    return snapshot.MAGIC + hashlib.sha256(packed).digest() + packed


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (msgspec.msgpack.encode({"format": 1, "anything": 1}), "is of format 1, not 2"),
        (msgspec.msgpack.encode({"format": 4, "anything": 1}), "is of format 4, not 2 or 3"),
        (msgspec.msgpack.encode({"format": 2}), "cannot be read"),
        (msgspec.msgpack.encode({"scenario": "small"}), "cannot be read"),
        (msgspec.msgpack.encode([1]), "cannot be read"),
        (b"", "cannot be read"),
        (b"\xc1", "cannot be read"),
    ],
)
def test_an_older_format_and_a_foreign_content_are_refused_by_name(packed: bytes, said: str) -> None:
    with pytest.raises(ContractBroken, match=said):
        snapshot.decode(TASK, sealed(packed))


def limited(maximum: float) -> Channel:
    return dataclasses.replace(SCENARIO.channels[0], maximum=maximum)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (with_overrides(SCENARIO, name="other"), "'small'"),
        (with_overrides(SCENARIO, channels=SCENARIO.channels[:2]), "wind"),
        (with_overrides(SCENARIO, channels=SCENARIO.channels[::-1]), "wind"),
        (with_overrides(SCENARIO, history=8), "history 7"),
        (with_overrides(SCENARIO, samples_per_hour=2), "samples_per_hour 1"),
        (with_overrides(SCENARIO, horizon=5, lateness=2, history=8), "horizon 3"),  # arrays of the same shapes
        (with_overrides(SCENARIO, channels=(limited(2000), *SCENARIO.channels[1:])), "quantum 0.0009765625"),
        (with_overrides(SCENARIO, target="rain"), "target pm"),
        (with_overrides(SCENARIO, channels=(limited(999), *SCENARIO.channels[1:])), "pm.latest version 1 .* 0 to 1000"),
    ],
)
def test_a_snapshot_of_another_scenario_is_refused(other: Scenario, said: str) -> None:
    with pytest.raises(ContractBroken, match=f"snapshot belongs to scenario .*{said}"):
        snapshot.decode(HourlyForecast(other), RAW)


def test_an_array_of_another_shape_is_refused() -> None:
    body = snapshot.copied(TASK, filled())
    kind, _, data = body.arrays["counts"]
    changed = msgspec.structs.replace(body, arrays={**body.arrays, "counts": (kind, [10, 3, 4], data)})
    with pytest.raises(ContractBroken, match=r"snapshot's counts is \|u1\[10, 3, 4\], not \|u1\[10, 4, 3\]"):
        snapshot.decode(TASK, snapshot.pack(changed))


def test_an_array_of_another_type_is_refused() -> None:
    body = snapshot.copied(TASK, filled())
    _, shape, data = body.arrays["counts"]
    changed = msgspec.structs.replace(body, arrays={**body.arrays, "counts": ("|i1", shape, data)})
    with pytest.raises(ContractBroken, match=r"snapshot's counts is \|i1\[10, 4, 3\], not \|u1\[10, 4, 3\]"):
        snapshot.decode(TASK, snapshot.pack(changed))


def test_a_snapshot_is_of_the_versions_of_the_watched_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same scenario under a newer application, in which a feature means something else."""
    monkeypatch.setitem(VERSIONS, "pm.latest", 2)
    with pytest.raises(ContractBroken, match=r"pm\.latest version 1 in 512 widening bins"):
        snapshot.decode(HourlyForecast(SCENARIO), RAW)


def test_counts_of_other_bins_are_refused() -> None:
    body = snapshot.copied(TASK, filled())
    with pytest.raises(ContractBroken, match="2051 counts are not 4 x 513"):
        snapshot.decode(TASK, snapshot.pack(msgspec.structs.replace(body, histograms={0: b"\0" * 8204})))
    with pytest.raises(ContractBroken, match="512 counts are not 513"):
        snapshot.decode(TASK, snapshot.pack(msgspec.structs.replace(body, forecasts=[(0, 0, 0, b"\0" * 2048)])))


@given(st.integers(0, 99), st.integers(0, 99_999), st.integers(0, 2**63 - 1))
def test_the_name_of_a_commit_tells_its_place(partition: int, epoch: int, first: int) -> None:
    name = commit_name(partition, epoch, first)
    assert name.startswith(folder(partition, epoch))
    assert place_of(name) == (epoch, first)
    assert partition_in(name) == partition


def test_names_of_commits_sort_like_their_places() -> None:
    places = [(0, 9), (0, 10), (0, 10**18), (1, 0), (9, 5), (10, 0), (10, 5)]
    names = [commit_name(3, *place) for place in places]
    assert names[0] == "partition=03/epoch=00000/00000000000000000009.parquet"
    assert sorted(names) == names
    assert [place_of(name) for name in names] == places
