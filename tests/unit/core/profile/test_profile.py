"""Profiles against plain recounts: histograms of what training would compute, device tables, sums, bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import zlib
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.forecast import snapshot
from shared.core.forecast.losses import ERRORS, PAIRS, quantum
from shared.core.forecast.outcome import Outcome
from shared.core.forecast.state import State
from shared.core.forecast.task import HourlyForecast
from shared.core.forecast.window.history import hourly
from shared.core.forecast.window.slots import QUALITY_DAYS
from shared.core.intake.readings import Readings
from shared.core.model.answers import Labels
from shared.core.model.scoring import Control, Scored, ScoreRequest
from shared.core.profile import encoding
from shared.core.profile import merged as profile
from shared.core.profile.bins import CELLS, add_sums
from shared.core.profile.device_table import DeviceTable
from shared.core.profile.merged import Profile
from shared.core.scenario import with_overrides
from shared.core.stream.events import Event, rows_of
from shared.core.stream.gathering import gather
from shared.core.stream.packing import pack
from shared.core.task.calendar import NO_HOUR
from shared.errors import ContractBroken
from tests.flow.score.test_parity import AIR, START, Fleet, cuts

TASK = HourlyForecast(AIR)
WAIT = AIR.horizon + AIR.lateness + 1
READINGS = Fleet(5, hours=230, late=0.2).readings(seed=3)
UNIT = quantum(AIR)


def answers(*models: str) -> Any:
    """The newest PM2.5 (100 where unknown), each model somewhat higher than the one before."""
    column = next(place for place, f in enumerate(TASK.features) if f.name == "pm25.latest")

    def scorer(ask: ScoreRequest) -> list[Scored]:
        value = np.nan_to_num(ask.matrix()[:, column], nan=100.0)
        found = [np.asarray(value + 7 * role, np.float32) for role in range(len(models))]
        served = np.ones(len(value), bool)
        every = zip(models, found, strict=True)
        return [
            Scored(role, model, {"value": v, "lower": v - 40, "upper": v + 40}, served)
            for role, (model, v) in enumerate(every)
        ]

    return scorer


def folded(
    readings: Readings, edges: Sequence[int], partition: int = 0, first: str = "v1"
) -> tuple[State, list[Outcome]]:
    """A state after readings in batches; a challenger joins after a third of them, and serves after two thirds."""
    state, outcomes = TASK.empty(partition), []
    bounds = [0, *edges, len(readings)]
    for number, (start, end) in enumerate(pairwise(bounds)):
        part = rows_of(readings, np.arange(start, end))
        bodies = pack("file/x@1", AIR.channel_names, part)
        events = [Event(state.next + place, 0, body) for place, body in enumerate(bodies)]
        models = ((first,), (first, "v2"), ("v2",))[3 * number // (len(bounds) - 1)]
        batch, _ = gather(partition, 0, events, AIR.channel_names)
        outcomes.append(TASK.step(state, batch, Control(models[0]), answers(*models)))
        outcomes[-1].put(state)
    return state, outcomes


@pytest.fixture(scope="module")
def fold() -> tuple[State, list[Outcome]]:
    return folded(READINGS, cuts(READINGS, "hours").tolist())


@pytest.fixture(scope="module")
def found(fold: tuple[State, list[Outcome]]) -> Profile:
    return profile.of(TASK, fold[0])


def recounted(readings: Readings) -> dict[int, np.ndarray[Any, Any]]:
    """Histograms of every as-of hour that matured, from the features that training computes."""
    seen = TASK.watched
    counts: dict[int, np.ndarray[Any, Any]] = {}
    for own in hourly(AIR, readings).values():
        ahead = np.full((AIR.history - 1, own.values.shape[1]), np.nan, np.float32)
        padded = np.concatenate([ahead, own.values])
        window = np.lib.stride_tricks.sliding_window_view(padded, AIR.history, axis=0).transpose(2, 1, 0)
        as_of = own.first_hour + np.arange(len(own.values))
        rows = (own.samples > 0) & (as_of <= as_of[-1] - WAIT)
        matrix = TASK.featurizer.matrix(window[:, :, rows], as_of[rows])[:, seen.columns].astype(np.float64)
        for day in np.unique(as_of[rows] // 24).tolist():
            mine = matrix[as_of[rows] // 24 == day]
            into = counts.setdefault(day, np.zeros((len(seen), CELLS), np.int64))
            for place, edges in enumerate(seen.edges):
                values = mine[:, place][~np.isnan(mine[:, place])]
                into[place, :-1] += np.histogram(values.clip(edges[0], edges[-1]), edges)[0]
                into[place, -1] += len(mine) - len(values)
    return counts


@pytest.mark.parametrize("how", ["hours", "one", "7"])
def test_histograms_are_those_of_the_features_that_training_computes(how: str) -> None:
    """With late readings and the revisions they cause, however the readings were cut into batches."""
    state, _ = folded(READINGS, cuts(READINGS, how).tolist())
    expected = recounted(READINGS)
    assert sorted(state.histograms) == sorted(expected)
    assert sum(int(counts[0].sum()) for counts in expected.values()) > 300
    for day, counts in expected.items():
        np.testing.assert_array_equal(state.histograms[day], counts, err_msg=f"day {day}")


def labels_of(outcomes: Sequence[Outcome]) -> Any:
    def frame(rows: Labels) -> pd.DataFrame:
        kept = ("device", "as_of", "role", "model", "revision", "sequence")
        columns = {**{name: getattr(rows, name) for name in kept}, **rows.numbers}
        names = {"device": [rows.devices[d] for d in rows.device], "model": [rows.models[m] for m in rows.model]}
        return pd.DataFrame({**columns, **names})

    rows = pd.concat([frame(outcome.matured) for outcome in outcomes], ignore_index=True)
    for name in ("value", "truth", "latest"):
        rows[f"{name}_q"] = np.rint(rows[name].astype(np.float64) / UNIT)
    rows["day"] = rows["as_of"] // 24
    rows["covered"] = (rows["truth"] >= rows["lower"]) & (rows["truth"] <= rows["upper"])
    rows["error"] = rows["value_q"] - rows["truth_q"]
    rows["naive"] = rows["latest_q"] - rows["truth_q"]
    return rows


def test_every_forecast_matures_once_with_the_truth_of_its_target_hour(fold: tuple[State, list[Outcome]]) -> None:
    rows = labels_of(fold[1])
    assert not rows.duplicated(["device", "as_of", "role"]).any()
    assert rows["truth"].isna().any(), "also what never got its truth"
    history = hourly(AIR, READINGS)
    for row in rows.itertuples():
        own = history[row.device]
        at = row.as_of - own.first_hour
        np.testing.assert_equal(row.truth, own.values[at + AIR.horizon, AIR.target_column])
        np.testing.assert_equal(row.latest, own.values[at, AIR.target_column])
    issued: dict[tuple[str, int, int], tuple[float, int]] = {}
    for outcome in fold[1]:
        made = outcome.predictions
        keys = zip(made.device, made.as_of.tolist(), made.role.tolist(), strict=True)
        issued.update(zip(keys, zip(made.numbers["value"].tolist(), made.revision.tolist(), strict=True), strict=True))
    for row in rows.itertuples():
        assert issued[row.device, row.as_of, row.role] == (row.value, row.revision)


def test_errors_and_pairs_are_those_of_a_plain_recount(fold: tuple[State, list[Outcome]], found: Profile) -> None:
    rows = labels_of(fold[1]).dropna(subset="truth")
    expected = {}
    for (day, role, model), own in rows.groupby(["day", "role", "model"]):
        both = own.dropna(subset="latest")
        one = [len(own), own["covered"].sum(), own["error"].sum(), own["error"].abs().sum(), (own["error"] ** 2).sum()]
        two = [len(both), both["error"].abs().sum(), both["naive"].abs().sum()]
        two += [(both["error"] ** 2).sum(), (both["naive"] ** 2).sum()]
        expected[day, role, found.models.index(model)] = [int(x) for x in one + two]
    assert {key: sums.tolist() for key, sums in found.errors.items()} == expected
    assert {(role, model) for _, role, model in expected} == {(0, 0), (0, 1), (1, 1)}
    champion, challenger = (rows[rows["role"] == role].set_index(["device", "as_of"]) for role in (0, 1))
    together = champion.join(challenger, lsuffix="_a", rsuffix="_b", how="inner")
    stale = together["revision_a"] != together["revision_b"]
    assert stale.any(), "a challenger that has left does not compete with newer revisions"
    paired = {}
    for (day, a, b), own in together[~stale].groupby(["day_a", "model_a", "model_b"]):
        sums = [
            len(own),
            *(own[f"error_{s}"].abs().sum() for s in "ab"),
            *((own[f"error_{s}"] ** 2).sum() for s in "ab"),
        ]
        key = day, found.models.index(a), found.models.index(b)
        paired[key] = [int(x) for x in [*sums, own["covered_a"].sum(), own["covered_b"].sum()]]
    assert {key: sums.tolist() for key, sums in found.pairs.items()} == paired
    assert sum(sums[0] for sums in paired.values()) > 100


def test_forecasts_are_counted_with_and_without_truth(fold: tuple[State, list[Outcome]], found: Profile) -> None:
    rows = labels_of(fold[1])
    edges = found.edges[[name for name, _ in found.watched].index("pm25.latest")]
    own = rows.groupby(["day", "role", "model"])["value"]
    expected = {key: np.histogram(values.to_numpy(np.float64), edges)[0].tolist() for key, values in own}
    assert {(d, r, found.models[m]): counts[:-1].tolist() for (d, r, m), counts in found.forecasts.items()} == expected
    assert not any(counts[-1] for counts in found.forecasts.values())


def run_of(values: list[float]) -> int:
    known = [value for value in reversed(values) if value == value]
    return len(list(next(groupby(known))[1])) if known else 0


def frozen(readings: Readings, rng: np.random.Generator) -> Readings:
    """The same with sensors that get stuck, and one that is silent for long."""
    values = readings.values.copy()
    hour = readings.minute // 60 - START
    values[(readings.device == 1) & (hour > 270), 0] = 17.5
    values[readings.device == 3, 1] = 0.5  # in every hour, the oldest included
    values[(readings.device == 2) & (hour > 160), 6] = np.nan
    values[(readings.device == 0) & (hour > 300), 4] = rng.choice([1.0, 2.0])
    return dataclasses.replace(readings, values=values)


@pytest.mark.parametrize("how", ["5", "one"])
def test_the_device_table_is_that_of_plain_series(how: str) -> None:
    readings = frozen(Fleet(5, hours=330, missing=0.1, late=0.2).readings(seed=4), np.random.default_rng(1))
    state, outcomes = folded(readings, cuts(readings, how).tolist())
    table = profile.of(TASK, state).devices
    history, rows = hourly(AIR, readings), labels_of(outcomes)
    assert sorted(table.device) == sorted(history)
    for place, name in enumerate(table.device):
        own = history[name]
        head = own.first_hour + len(own.values) - 1
        assert table.head[place] == head
        hours = range(head - 119, head + 1)
        frame: Any = pd.DataFrame(own.values.astype(np.float64), own.first_hour + np.arange(len(own.values))).reindex(
            hours
        )
        ends = frame.apply(pd.Series.last_valid_index)
        expected = {
            "samples": frame.count(),
            "mean": frame.mean(),
            "std": frame.std(ddof=0),
            "last": frame.ffill().iloc[-1],
            "run": frame.apply(lambda column: run_of(column.tolist())),
            "silent": (head - ends).fillna(120),
        }
        for key, values in expected.items():
            np.testing.assert_allclose(
                getattr(table, key)[place], values, rtol=2e-6, atol=1e-6, err_msg=f"{name} {key}"
            )
        for half, part in enumerate((frame.iloc[:96], frame.iloc[96:])):
            np.testing.assert_allclose(table.half[place, half], part.mean(), rtol=2e-6, atol=1e-6)
        newest = (head - WAIT) // 24 - QUALITY_DAYS
        champion = rows[(rows["device"] == name) & (rows["role"] == 0)].dropna(subset="truth")
        mine = champion[champion["day"] > newest]
        assert 20 < len(mine) < len(champion), "older days are dropped"
        assert table.matured[place] == len(mine)
        assert table.absolute[place] == mine["error"].abs().sum() * UNIT
        assert table.covered[place] == mine["covered"].sum()
    stuck, silent = table.device.index("device-1"), table.device.index("device-2")
    assert table.run[stuck, 0] > 30
    assert (table.samples[silent, 7], table.silent[silent, 7], table.run[silent, 7]) == (0, 120, 0)
    assert np.isnan(table.half[silent, :, 7]).all()


def test_a_device_alone_has_the_row_it_has_among_many() -> None:
    readings = Fleet(700, hours=40).readings(seed=8)
    state, _ = folded(readings, [])
    every = profile.of(TASK, state).devices
    own = rows_of(readings, np.flatnonzero(readings.device == 650))
    alone = profile.of(TASK, folded(own, [])[0]).devices
    place = every.device.index("device-650")
    assert len(every) > 600, "more than are worked on at once"
    for name in DeviceTable.__slots__[1:]:
        assert getattr(every, name)[place].tobytes() == getattr(alone, name)[0].tobytes(), name


def plain(value: Any) -> Any:
    """Anything in a profile as values that can be compared."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def split(readings: Readings) -> list[Profile]:
    """Profiles of two partitions that heard of the models in another order."""
    parts = [rows_of(readings, np.flatnonzero(readings.device % 2 == half)) for half in (0, 1)]
    return [
        profile.of(TASK, folded(part, cuts(part, "hours").tolist(), number + 3, first)[0])
        for number, (part, first) in enumerate(zip(parts, ("v1", "v0"), strict=True))
    ]


def test_merging_adds_up_by_day_role_and_version() -> None:
    one, two = split(READINGS)
    assert one.models != two.models
    both = profile.merge(TASK, [two, one])
    assert plain(both) == plain(profile.merge(TASK, [one, two])), "in whatever order they come"
    alone = [profile.merge(TASK, [part]) for part in (one, two)]
    for name in ("histograms", "forecasts", "errors", "pairs"):
        sums, parts = getattr(both, name), [getattr(part, name) for part in alone]
        assert set(sums) == set(parts[0]) | set(parts[1])
        for key, found in sums.items():
            np.testing.assert_array_equal(found, sum(part[key] for part in parts if key in part))
            assert found.dtype == np.int64
    assert both.stamps == {3: (0, one.next), 4: (0, two.next)}
    assert {(role, model) for _, role, model in both.errors} == {
        ("champion", "v0"),
        ("champion", "v1"),
        ("champion", "v2"),
        ("challenger", "v2"),
    }
    assert {key[1:] for key in both.pairs} == {("v0", "v2"), ("v1", "v2")}
    assert both.devices.device == [*one.devices.device, *two.devices.device]
    assert both.newest_hour == max(one.devices.head.max(), two.devices.head.max())
    assert (both.watched, both.edges.tobytes()) == (TASK.watched.names, TASK.watched.edges.tobytes())
    whole = recounted(READINGS)
    assert {day: counts.tolist() for day, counts in both.histograms.items()} == {
        d: c.tolist() for d, c in whole.items()
    }


def test_merging_leaves_the_profiles_alone(found: Profile) -> None:
    before = plain(found)
    other = dataclasses.replace(found, partition=7)
    merged = profile.merge(TASK, [found, other])
    for sums in merged.histograms.values():
        sums += 1
    assert plain(found) == before


def test_nothing_merged_is_an_empty_profile() -> None:
    empty = profile.merge(TASK, [])
    assert (empty.stamps, empty.newest_hour, len(empty.devices)) == ({}, NO_HOUR, 0)
    assert (empty.watched, empty.edges.shape) == (TASK.watched.names, (15, CELLS))
    assert empty.devices.mean.shape == (0, len(AIR.stored))
    first = profile.of(TASK, TASK.empty(2))
    assert plain(profile.merge(TASK, [first]).devices) == plain(empty.devices)


def test_profiles_that_do_not_belong_together_are_not_added(found: Profile) -> None:
    with pytest.raises(ContractBroken, match="two profiles of partition 0"):
        profile.merge(TASK, [found, found])
    other = dataclasses.replace(found, partition=1, edges=found.edges + 1)
    with pytest.raises(ContractBroken, match="partitions 0 and 1 count different bins"):
        profile.merge(TASK, [found, other])
    with pytest.raises(ContractBroken, match=r"partition 0 belongs to .*horizon 24"):
        profile.merge(HourlyForecast(with_overrides(AIR, horizon=25)), [found])


def test_a_profile_comes_back_field_by_field(found: Profile) -> None:
    raw = profile.encode(found)
    assert plain(profile.decode(raw, TASK.losses)) == plain(found)
    assert profile.encode(profile.decode(raw, TASK.losses)) == raw
    assert found.rules == TASK.rules
    profile.decode(raw, TASK.losses).devices.mean[:] = 0  # what came back may be changed


def small_profile() -> Profile:
    state, _ = folded(rows_of(READINGS, np.flatnonzero(READINGS.device == 0)), [60, 100])
    return profile.of(TASK, state)


RAW = profile.encode(small_profile())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place: int, change: int) -> None:
    damaged = RAW[:place] + bytes([RAW[place] ^ change]) + RAW[place + 1 :]
    with pytest.raises(ContractBroken, match=r"not a profile|its checksum differs"):
        profile.decode(damaged, TASK.losses)


@given(st.integers(0, len(RAW) - 1), st.binary(max_size=3))
def test_no_cut_and_nothing_appended_goes_unnoticed(length: int, tail: bytes) -> None:
    for damaged in (RAW[:length], RAW[length:] if length else b"", RAW + tail + b"\0"):
        with pytest.raises(ContractBroken, match=r"not a profile|its checksum differs"):
            profile.decode(damaged, TASK.losses)


def sealed(packed: bytes) -> bytes:
    return encoding.MAGIC + hashlib.sha256(packed).digest() + packed


def body() -> dict[str, Any]:
    start = len(encoding.MAGIC) + snapshot.DIGEST_BYTES
    found: dict[str, Any] = msgspec.msgpack.decode(zlib.decompress(RAW[start:]))
    return found


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": 2}, "is of format 2, not 1"),
        ({"format": "1"}, "cannot be read"),
        ({"histograms": {0: b"1234"}}, "1 counts are not 15 x 513"),
        ({"forecasts": [[0, 0, 0, b"1234"]]}, "1 counts are not 513"),
        ({"errors": [[0, 0, 0, [1]]]}, "1 sums are not matured, covered"),
        ({"pairs": [[0, 0, 0, [1]]]}, "1 sums are not rows, absolute_champion"),
        ({"devices": {}}, "cannot be read"),
        ({"edges": ["<f8", [15, 513], b"12345678"]}, "cannot be read"),
        ({"edges": ["nonsense", [1], b""]}, "cannot be read"),
    ],
)
def test_a_whole_profile_with_other_content_is_refused(changed: dict[str, Any], said: str) -> None:
    packed = zlib.compress(msgspec.msgpack.encode({**body(), **changed}))
    with pytest.raises(ContractBroken, match=said):
        profile.decode(sealed(packed), TASK.losses)


@pytest.mark.parametrize("packed", [b"", b"x", zlib.compress(b""), zlib.compress(b"\xc1"), RAW[80:]])
def test_what_is_no_profile_at_all_is_refused(packed: bytes) -> None:
    with pytest.raises(ContractBroken, match="cannot be read"):
        profile.decode(sealed(packed), TASK.losses)


def test_a_taken_profile_does_not_follow_the_state() -> None:
    edges = cuts(READINGS, "hours").tolist()
    state, _ = folded(READINGS, edges)
    taken = profile.ProfileSnapshot.of(TASK, state)
    before = plain(profile.of(TASK, state))
    state.columns.ring.sums[...] += 1
    state.columns.ring.head += 1
    state.columns.quality += 1
    state.devices.append("late")
    state.models.append("late")
    for _ in range(2):
        more, _ = folded(READINGS, edges)
        add_sums(state.histograms, more.histograms)
        add_sums(state.errors, more.errors)
    state.pairs.clear()
    state.forecasts.clear()
    assert plain(taken.profile()) == before


def test_names_of_the_sums_are_as_many_as_the_sums(found: Profile) -> None:
    assert {len(sums) for sums in found.errors.values()} == {len(ERRORS)}
    assert {len(sums) for sums in found.pairs.values()} == {len(PAIRS)}
