"""The step against the plain dictionary model: any cut into batches gives the same final values."""

from __future__ import annotations

import dataclasses
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.lake.commit_files import ParquetFiles
from shared.app.score.stored_answers import Stored, control_of
from shared.core.forecast import snapshot
from shared.core.forecast.losses import DAILY, ERRORS, PAIRS, QUALITY, TOTALS
from shared.core.forecast.outcome import Outcome
from shared.core.forecast.state import State
from shared.core.forecast.task import HourlyForecast
from shared.core.intake.readings import Floats, Longs, Readings
from shared.core.model.feature import Feature
from shared.core.model.scoring import CHALLENGER, CHAMPION, Control, Scored, Scorer, ScoreRequest
from shared.core.scenario import Scenario, parse
from shared.core.stream.commit import DISPOSITIONS, Commit
from shared.core.stream.events import Batch, Event
from shared.core.stream.gathering import gather
from shared.core.stream.packing import pack, pack_end
from shared.core.task.tasks import task_of
from tests.kit import small, window_features
from tests.kit.scenario import CHANNELS, HEAD, SIZES
from tests.unit.core.forecast.plain_model import HALF_WIDTH, START, Ended, Guess, Models, Plain, Reading, Values

Item: TypeAlias = Reading | Ended | Models
Batches: TypeAlias = list[tuple[Models, Batch]]


def chosen(*aggregates: str, **sizes: int) -> Scenario:
    """The small scenario whose channels make hours otherwise."""
    channels = [{**channel, "aggregate": each} for channel, each in zip(CHANNELS, aggregates, strict=True)]
    return parse({**HEAD, **SIZES, "channels": channels, **sizes})


SHAPES = [
    small(),
    small(samples_per_hour=2),
    small(samples_per_hour=2, lateness=2),
    small(samples_per_hour=3, horizon=6, lateness=1, history=8),
    small(horizon=6, lateness=0),
    small(horizon=1, lateness=1, history=3),
    small(horizon=1, lateness=0, history=2),
    small(cadence_s=1200, horizon=1, lateness=1, history=3),
    small(cadence_s=1800, samples_per_hour=4, horizon=2, lateness=0, history=3),
    chosen("last", "max", "circular"),
    chosen("min", "last", "circular", samples_per_hour=3, cadence_s=1800, lateness=1, history=5),
    small(resolution_s=10),
    small(resolution_s=1, samples_per_hour=4, lateness=2),
    small(resolution_s=300, samples_per_hour=2, cadence_s=1800, horizon=2, lateness=1, history=4),
    chosen("last", "min", "circular", resolution_s=1, samples_per_hour=2),
    chosen("max", "last", "circular", resolution_s=30, cadence_s=1200, lateness=1, history=5),
]


@dataclass(frozen=True)
class WholeWindow:
    """A featurizer whose features are the window itself, so that a misplaced hour shows."""

    features: tuple[Feature, ...]

    def matrix(self, window: Floats, as_of: Longs) -> Floats:
        return window.reshape(-1, len(as_of)).T.copy()


def task(scenario: Scenario) -> HourlyForecast:
    return HourlyForecast(scenario, WholeWindow(window_features(scenario)))  # type: ignore[arg-type]


def guesser(stride: int) -> Guess:
    """A model: a sum that depends on the place of every value and of every gap, exact in float32."""

    def guess(row: Sequence[float]) -> float:
        total = 0
        for place, value in enumerate(row):
            total += (place * stride % 11 + 1) * (3 if math.isnan(value) else round(value * 4) % 17)
        return float(total % 1000)

    return guess


V1, V2, V3 = (("v1", guesser(1)), ("v2", guesser(2)), ("v3", guesser(5)))
ALONE = Models((V1,))
PHASES = [ALONE, Models((V1, V2)), Models((V2,), frozenset("b")), Models(()), Models((V3, V1), frozenset("ac"))]


def shown_by_challenger(device: str) -> bool:
    return device == "b"


def scorer_of(models: Models) -> Scorer:
    """Answers of all models; with a challenger, one device's users see the challenger's."""

    def scorer(ask: ScoreRequest) -> list[Scored]:
        if not models.versions:
            return []
        rows = ask.matrix().tolist()
        canary = np.array([len(models.versions) > 1 and shown_by_challenger(device) for device in ask.device], bool)
        out = []
        for role, (version, guess) in enumerate(models.versions):
            values = np.array([guess(row) for row in rows], np.float32)
            served = canary == (role != CHAMPION)
            numbers = {"value": values, "lower": values - HALF_WIDTH, "upper": values + HALF_WIDTH}
            out.append(Scored(role, version, numbers, served))
        return out

    return scorer


def control(models: Models) -> Control:
    champion, challenger, *_ = [version for version, _ in models.versions] + [None, None]
    return Control(champion, challenger, models.quarantine)


def as_batches(scenario: Scenario, items: Sequence[Item], cuts: Sequence[int], models: Models = ALONE) -> Batches:
    """Items as they would arrive: runs of one source are packed into events, events cut into batches."""
    batches: Batches = []
    edges = sorted({0, *(min(c, len(items)) for c in cuts), len(items)})
    edges = sorted({*edges, *(i for i, item in enumerate(items) if isinstance(item, Models))})
    sequence = 0
    for low, high in pairwise(edges):
        if isinstance(items[low], Models):
            models = items[low]  # type: ignore[assignment]
        bodies = list(_bodies(scenario, [item for item in items[low:high] if not isinstance(item, Models)]))
        if bodies:
            events = [Event(sequence + i, 1000 + sequence + i, body) for i, body in enumerate(bodies)]
            sequence += len(bodies)
            batch, bad = gather(0, 0, events, scenario.channel_names, scenario.cadence)
            assert not bad
            batches.append((models, batch))
    return batches


def _bodies(scenario: Scenario, items: Sequence[Reading | Ended]) -> Iterator[bytes]:
    run: list[Reading] = []
    for item in [*items, None]:
        follows = (
            isinstance(item, Reading) and run and (run[-1].source, run[-1].position) < (item.source, item.position)
        )
        if run and not (follows and item.source == run[-1].source):  # type: ignore[union-attr]
            found = columns(scenario, run)
            yield from pack(run[0].source, scenario.channel_names, found, tick_s=scenario.resolution_s)
            run = []
        if isinstance(item, Ended):
            yield pack_end(item.source, item.position)
        elif item is not None:
            run.append(item)


def columns(scenario: Scenario, readings: Sequence[Reading]) -> Readings:
    devices = sorted({r.device for r in readings})
    return Readings(
        tuple(devices),
        np.array([devices.index(r.device) for r in readings], np.int32),
        scenario.cadence.kept(np.array([r.part(scenario.resolution_s) for r in readings], np.int64)),
        np.array([r.position for r in readings], np.int64),
        np.array([[math.nan if v is None else v for v in r.values] for r in readings], np.float32).reshape(
            len(readings), len(scenario.channels)
        ),
    )


@dataclass
class Folded:
    """A partition after some batches; forecasts are (value, model, revision) by device, as-of hour and role."""

    state: State
    newest: dict[tuple[str, int, int], tuple[float, str, int]] = field(default_factory=dict)
    shown: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    matured: list[tuple[str, int, int, str, float, float, float]] = field(default_factory=list)

    def take(self, outcome: Outcome) -> None:
        self.counts.update(outcome.counts())
        self.matured += rows_of(outcome)
        found = outcome.predictions
        numbers = (found.as_of, found.role, found.numbers["value"], found.revision, found.served)
        rows = zip(found.device, found.model, *(column.tolist() for column in numbers), strict=True)
        for device, model, as_of, role, value, revision, served in rows:
            before = self.newest.get((device, as_of, role))
            assert before is None or revision > before[2], "revisions only increase"
            self.newest[device, as_of, role] = (value, model, revision)
            self.shown[device, as_of, revision] += served
        outcome.put(self.state)


def rows_of(outcome: Outcome) -> list[tuple[str, int, int, str, float, float, float]]:
    """Matured forecasts: device, as-of hour, role, model, value, truth and latest value."""
    found = outcome.matured
    known = found.numbers
    columns = (found.device, found.as_of, found.role, found.model, known["value"], known["truth"], known["latest"])
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(found.devices[d], as_of, role, found.models[m], *rest) for d, as_of, role, m, *rest in rows]


def fold(scenario: Scenario, batches: Batches) -> Folded:
    folded = Folded(task(scenario).empty(0))
    for models, batch in batches:
        folded.take(task(scenario).step(folded.state, batch, control(models), scorer_of(models)))
    return folded


VALUES = (None, 0.0, 1.0, 12.25, 90.0)
KINDS = ["next"] * 8 + ["same", "late", "late", "jump", "leap", "repeat", "resend", "ended"]
BYTES = 5


def history_of(raw: bytes) -> list[Item]:
    """Mostly forward, sometimes late, repeated, conflicting, jumping; several devices, sources, end markers.

    Five bytes tell one item: one draw for a whole history, where a draw for each choice takes ten times as long.
    """
    items: list[Item] = []
    clocks, positions = dict.fromkeys("abc", START), {"file/x@1": 0, "file/y@1": 0, "hub/0": 0}
    for place in range(0, len(raw) - BYTES + 1, BYTES):
        what, who, amount, when, values = raw[place : place + BYTES]
        kind, device, source = KINDS[what % 16], "abc"[who % 3], sorted(positions)[who // 3 % 3]
        sent = [item for item in items if isinstance(item, Reading)]
        if kind == "resend" and sent:
            items.append(sent[amount % len(sent)])
            continue
        positions[source] += 1 + what // 16 % 3
        if kind == "ended":
            items.append(Ended(source, positions[source]))
            continue
        clocks[device] += {"next": 1, "jump": 2 + amount % 8, "leap": 10 + amount % 190}.get(kind, 0)
        behind = amount % 6 if kind == "late" else 0
        minute, second = (clocks[device] - behind) * 60 + (0, 0, 0, 7, 59)[when % 5], (0, 0, 9, 10, 59)[when // 5 % 5]
        given: Values = (VALUES[values % 5], VALUES[values // 5 % 5], VALUES[values // 25 % 5])
        if kind == "repeat" and sent:
            twin = sent[amount % len(sent)]
            device, minute, second, given = twin.device, twin.minute, twin.second, given if when % 2 else twin.values
        items.append(Reading(source, positions[source], device, minute, given, second))
    return items


@st.composite
def histories(draw: st.DrawFn, phases: int = 3) -> list[Item]:
    """Readings, with other models and another quarantine from some places on."""
    size = draw(st.integers(1, 60)) * BYTES
    items = history_of(draw(st.binary(min_size=size, max_size=size)))
    for place, phase in draw(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(PHASES)), max_size=phases)):
        items.insert(min(place, len(items)), phase)
    return items


CUTS = st.lists(st.integers(0, 60), max_size=12)
Counts: TypeAlias = Counter[tuple[str, str | int, str]]


def tallies_of(state: State) -> Counts:
    found: Counts = Counter()
    for source, tally in state.sources.items():
        found[source, "", "position"] = tally.position
        found[source, "", "first_hour"], found[source, "", "last_hour"] = tally.first_hour, tally.last_hour
        found.update({(source, "", name): n for name, n in zip(TOTALS, tally.totals.tolist(), strict=True)})
        for day, sums in tally.daily.items():
            found.update({(source, day, name): n for name, n in zip(DAILY, sums.tolist(), strict=True)})
    return found


def told_by(plain: Plain) -> Counts:
    found: Counts = Counter()
    for source, told in plain.sources.items():
        found[source, "", "position"] = told.position
        found[source, "", "first_hour"], found[source, "", "last_hour"] = told.first_hour, told.last_hour
        found.update({(source, "", name): told.totals[name] for name in TOTALS})
        for day, sums in told.daily.items() if source.startswith("file/") else ():
            found.update({(source, day, name): sums[name] for name in DAILY})
    return found


def whatever_the_cut(found: Counts) -> Counts:
    """Tallies without what depends on the cut into batches: an hour that changes twice within one is forecast once."""
    return Counter({key: count for key, count in found.items() if key[2] != "forecasts"})


def errors_of(state: State) -> dict[tuple[int, int, str], dict[str, int]]:
    return {
        (day, role, state.models[model]): dict(zip(ERRORS, sums.tolist(), strict=True))
        for (day, role, model), sums in state.errors.items()
    }


def profile_of(state: State) -> dict[str, object]:
    """What a profile is made of, under names: pairs, histograms, bins of forecasts, and devices' newest errors."""
    version = state.models.__getitem__
    names = [f"{name}.latest" for name in small().stored]
    return {
        "pairs": {
            (day, version(one), version(two)): {n: v for n, v in zip(PAIRS, sums.tolist(), strict=True) if v}
            for (day, one, two), sums in state.pairs.items()
        },
        "histograms": {
            day: {(names[f], b): int(counts[f, b]) for f, b in np.argwhere(counts).tolist()}
            for day, counts in state.histograms.items()
        },
        "bins": {
            (day, role, version(model)): {b: int(counts[b]) for b in np.flatnonzero(counts).tolist()}
            for (day, role, model), counts in state.forecasts.items()
        },
        "quality": {
            name: dict(zip(QUALITY, state.columns.quality[:, :, place].sum(axis=0).tolist(), strict=True))
            for name, place in state.index.items()
        },
    }


def profile_by(plain: Plain) -> dict[str, object]:
    return {
        "pairs": {key: {n: v for n, v in sums.items() if v} for key, sums in plain.pairs.items()},
        "histograms": plain.histograms,
        "bins": plain.bins,
        "quality": {name: plain.quality(device) for name, device in plain.devices.items()},
    }


def expected_forecasts(plain: Plain) -> dict[tuple[str, int, int], tuple[float, str]]:
    return {
        (name, as_of, role): (value, version)
        for name, device in plain.devices.items()
        for as_of, held in device.forecasts.items()
        for role, (version, value) in held.answers.items()
    }


def read_by_plain(scenario: Scenario, items: Sequence[Item]) -> Plain:
    plain = Plain(scenario, ALONE)
    for item in items:
        plain.read(item)
    return plain


@settings(max_examples=150, deadline=None)
@given(histories(), CUTS, st.sampled_from(SHAPES))
def test_any_cut_into_batches_gives_what_one_reading_at_a_time_gives(
    items: list[Item], cuts: list[int], scenario: Scenario
) -> None:
    plain = read_by_plain(scenario, items)
    folded = fold(scenario, as_batches(scenario, items, cuts))
    assert {key: found[:2] for key, found in folded.newest.items()} == expected_forecasts(plain)
    assert whatever_the_cut(tallies_of(folded.state)) == whatever_the_cut(told_by(plain))
    assert errors_of(folded.state) == plain.errors
    assert profile_of(folded.state) == profile_by(plain)
    assert sorted(map(repr, folded.matured)) == sorted(map(repr, plain.matured))
    assert set(folded.shown.values()) <= {1}, "one row is served per device, as-of hour and revision"
    _same_ring(folded.state, plain)


def _same_ring(state: State, plain: Plain) -> None:
    ring = state.columns.ring
    values = ring.values()
    assert set(state.devices) == set(plain.devices)
    for place, name in enumerate(state.devices):
        device = plain.devices[name]
        assert ring.head[place] == device.head
        for hour in range(max(device.head - ring.slots + 1, 0), device.head + 1):
            expected = np.array(plain.hour(device, hour), np.float32)
            np.testing.assert_allclose(values[hour % ring.slots, :, place], expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(histories(), CUTS, CUTS, st.sampled_from(SHAPES))
def test_the_cut_into_batches_leaves_no_trace_in_the_state(
    items: list[Item], one: list[int], two: list[int], scenario: Scenario
) -> None:
    left = fold(scenario, as_batches(scenario, items, one)).state
    right = fold(scenario, as_batches(scenario, items, two)).state
    count = len(left.devices)
    assert sorted(left.devices) == sorted(right.devices)
    order = [right.index[name] for name in left.devices]
    assert left.columns.ring.head[:count].tolist() == right.columns.ring.head[order].tolist()
    for name, array in left.columns.arrays().items():
        here, there = array[:, :, :count], right.columns.arrays()[name][:, :, order]
        if name == "revision":  # how often an hour was forecast again does depend on the cut
            here, there = here > 0, there > 0
        np.testing.assert_array_equal(here, there, err_msg=name)
    assert left.models == right.models
    assert errors_of(left) == errors_of(right)
    assert profile_of(left) == profile_of(right)
    assert whatever_the_cut(tallies_of(left)) == whatever_the_cut(tallies_of(right))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(histories(), st.sampled_from(SHAPES))
def test_one_reading_a_batch_gives_the_revisions_and_the_tallies_of_the_plain_model(
    items: list[Item], scenario: Scenario
) -> None:
    plain = read_by_plain(scenario, items)
    folded = fold(scenario, as_batches(scenario, items, range(len(items))))
    revisions = {(n, a): h.revision for n, d in plain.devices.items() for a, h in d.forecasts.items()}
    newest: dict[tuple[str, int], int] = {}
    for (device, as_of, _), (_, _, revision) in folded.newest.items():
        newest[device, as_of] = max(revision, newest.get((device, as_of), 0))
    assert newest == revisions
    assert tallies_of(folded.state) == told_by(plain)


@settings(max_examples=40, deadline=None)
@given(histories(phases=0), CUTS, CUTS, st.sampled_from(SHAPES), st.randoms(use_true_random=False))
def test_devices_do_not_depend_on_how_their_readings_were_interleaved(
    items: list[Item], one: list[int], two: list[int], scenario: Scenario, order: random.Random
) -> None:
    readings = [item for item in items if isinstance(item, Reading)]
    alone = [dataclasses.replace(r, source=f"file/{r.device}", position=i) for i, r in enumerate(readings)]
    places = [r.device for r in alone]
    order.shuffle(places)
    waiting = {device: iter([r for r in alone if r.device == device]) for device in places}
    mixed = [next(waiting[device]) for device in places]
    left, right = fold(scenario, as_batches(scenario, alone, one)), fold(scenario, as_batches(scenario, mixed, two))
    assert {key: found[:2] for key, found in left.newest.items()} == {k: found[:2] for k, found in right.newest.items()}
    assert whatever_the_cut(tallies_of(left.state)) == whatever_the_cut(tallies_of(right.state))
    assert errors_of(left.state) == errors_of(right.state)
    assert profile_of(left.state) == profile_of(right.state)


def elsewhere(item: Item) -> Item:
    """The same from another source."""
    return item if isinstance(item, Models) else dataclasses.replace(item, source=f"again/{item.source}")


@settings(max_examples=40, deadline=None)
@given(histories(phases=0), CUTS, st.sampled_from(SHAPES), st.booleans())
def test_what_is_sent_again_changes_nothing_whether_its_source_is_known_or_another(
    items: list[Item], cuts: list[int], scenario: Scenario, known: bool
) -> None:
    again = items if known else [elsewhere(item) for item in items]
    once = fold(scenario, as_batches(scenario, items, []))
    twice = fold(scenario, as_batches(scenario, [*items, *again], [len(items), *(len(items) + cut for cut in cuts)]))
    assert twice.newest == once.newest
    assert errors_of(twice.state) == errors_of(once.state)
    assert profile_of(twice.state) == profile_of(once.state)
    assert snapshot.copied(task(scenario), twice.state).arrays == snapshot.copied(task(scenario), once.state).arrays
    readings = sum(isinstance(item, Reading) for item in items)
    assert sum(twice.counts[name] for name in DISPOSITIONS) == 2 * readings
    if known:
        assert twice.counts["redelivered"] - once.counts["redelivered"] == readings
    else:
        assert twice.counts["applied"] == once.counts["applied"]


@settings(max_examples=25, deadline=None)
@given(histories(), CUTS, st.sampled_from(SHAPES), st.integers(0, 12))
def test_recovery_from_snapshot_and_commits_gives_the_live_state_field_by_field(
    items: list[Item], cuts: list[int], scenario: Scenario, copied_after: int
) -> None:
    """Also when models and quarantine change in between: the commits say who answered, and what."""
    files, live = ParquetFiles(task_of(scenario)), Folded(task(scenario).empty(0))
    copy, commits = task(scenario).snapshot(live.state)(), []
    for number, (models, batch) in enumerate(as_batches(scenario, items, cuts)):
        outcome = task(scenario).step(live.state, batch, control(models), scorer_of(models))
        commits.append((files.encode_commit(commit_of(batch, models), outcome), files.encode_predictions(outcome)))
        live.take(outcome)
        if number == copied_after:
            copy, commits = task(scenario).snapshot(live.state)(), []
    state = snapshot.decode(task(scenario), copy)
    for committed, predicted in commits:
        commit, batch = files.decode_commit(committed)
        stored = files.read_predictions(predicted)
        answers = Stored(stored if len(stored["role"]) else None)
        task(scenario).step(state, batch, control_of(commit), answers).put(state)
    assert snapshot.copied(task(scenario), state) == snapshot.copied(task(scenario), live.state)
    assert state.index == live.state.index


def commit_of(batch: Batch, models: Models) -> Commit:
    told = control(models)
    return Commit(
        partition=batch.partition,
        epoch=batch.epoch,
        first=batch.first,
        next=batch.next,
        follows=batch.first,
        enqueued_ms=batch.enqueued_ms,
        sources=list(batch.sources),
        ends=[(end.source, end.position) for end in batch.ends],
        champion=told.champion,
        challenger=told.challenger,
        quarantine=sorted(told.quarantine),
        predictions=None,
        dead_letters=None,
        counts={},
    )


def steady(count: int, devices: str = "a", source: str = "hub/0") -> list[Reading]:
    """Hour after hour, one reading of each device."""
    each = len(devices)
    return [Reading(source, i + 1, devices[i % each], (START + i // each) * 60, (1.0, 0.0, 0.0)) for i in range(count)]


def test_a_quarantined_device_is_stored_but_not_forecast() -> None:
    scenario = small()
    folded = fold(scenario, as_batches(scenario, steady(20, "ab"), [], Models((V1,), frozenset("a"))))
    assert folded.counts["applied"] == 20
    assert {device for device, _, _ in folded.newest} == {"b"}


def test_without_a_model_hours_are_folded_and_nothing_is_forecast() -> None:
    scenario = small()
    folded = fold(scenario, as_batches(scenario, steady(20), [], Models()))
    assert not folded.newest
    assert folded.state.columns.ring.head.max() == START + 19


def test_champion_and_challenger_wait_for_the_same_truth_and_are_counted_apart() -> None:
    scenario = small()
    readings = steady(20)
    folded = fold(scenario, as_batches(scenario, readings, [10], Models((V1, V2))))
    matured = len(readings) - (scenario.horizon + scenario.lateness + 1)
    both = {role: sum(e["matured"] for (_, r, _), e in errors_of(folded.state).items() if r == role) for role in (0, 1)}
    assert both == {0: matured, 1: matured}
    assert tallies_of(folded.state)["hub/0", "", "matured"] == matured, "a source counts what users saw"
    assert {role for _, _, role in folded.newest} == {CHAMPION, CHALLENGER}


def test_a_challenger_that_joins_late_shares_the_revision_of_the_champion() -> None:
    scenario = small()
    late = [Reading("hub/0", 100 + i, "a", (START + 2) * 60 + 7 + i, (9.0, 0.0, 0.0)) for i in range(2)]
    items: list[Item] = [*steady(3), late[0], Models((V1, V2)), late[1]]
    folded = fold(scenario, as_batches(scenario, items, range(10)))
    assert [folded.newest["a", START + 2, role][2] for role in (0, 1)] == [2, 2]


def test_answers_to_some_rows_under_revisions_issued_before_are_kept_as_they_are() -> None:
    """As a replay gives them whose state lacks events that are lost for good."""
    scenario = small()
    late = [Reading("hub/0", 5 + i, device, START * 60 + 7, (9.0, 0.0, 0.0)) for i, device in enumerate("ab")]
    (_, first), (_, second) = as_batches(scenario, [*steady(4, "ab"), *late], [4])
    asked: list[tuple[str, int]] = []

    def some(ask: ScoreRequest) -> list[Scored]:
        asked.extend(zip(ask.device, ask.as_of.tolist(), strict=True))
        rows = np.array([place for place, device in enumerate(ask.device) if device == "b"])
        values = np.array([3.0, 4.0], np.float32)
        numbers = {"value": values, "lower": values - 1, "upper": values + 1}
        return [Scored(0, "v9", numbers, np.ones(2, bool), rows, np.array([7, 2]))]

    folded = Folded(task(scenario).empty(0))
    folded.take(task(scenario).step(folded.state, first, Control("v9"), some))
    assert asked == [(device, START + hour) for device in "ab" for hour in (0, 1)]
    assert folded.newest == {("b", START, 0): (3.0, "v9", 7), ("b", START + 1, 0): (4.0, "v9", 2)}
    folded.take(task(scenario).step(folded.state, second, control(ALONE), scorer_of(ALONE)))
    revisions = {(device, hour - START): found[2] for (device, hour, _), found in folded.newest.items()}
    assert revisions == {("a", 0): 0, ("a", 1): 0, ("b", 0): 8, ("b", 1): 3}


def test_a_forecast_names_the_event_that_made_it_due_and_counts_for_its_source() -> None:
    scenario = small()
    rows = [("hub/0", 1, "b", 0), ("file/x@1", 1, "a", 0), ("hub/0", 2, "a", 1), ("file/x@1", 2, "c", 0)]
    readings = [Reading(source, n, device, (START + hour) * 60, (1.0, 0.0, 0.0)) for source, n, device, hour in rows]
    ((_, batch),) = as_batches(scenario, readings, [])
    outcome = task(scenario).step(task(scenario).empty(0), batch, control(ALONE), scorer_of(ALONE))
    found = outcome.predictions
    named = zip(found.device, (found.as_of - START).tolist(), found.sequence.tolist(), strict=True)
    assert sorted(named) == [("a", 0, 2), ("a", 1, 2), ("b", 0, 0), ("c", 0, 3)], "the device's newest in the batch"
    told = {source: tally.totals[TOTALS.index("forecasts")] for source, tally in outcome.sources.items()}
    assert told == {"hub/0": 3, "file/x@1": 1}


def test_the_source_of_a_label_is_the_one_whose_reading_made_the_truth_final() -> None:
    """A file that closes with one more hour gets the one label it made final, not all of the batch."""
    scenario = small()
    readings = [*steady(10), Reading("file/x@1", 1, "a", (START + 10) * 60, (1.0, 0.0, 0.0))]
    for cuts in ([], [10]):
        told = tallies_of(fold(scenario, as_batches(scenario, readings, cuts)).state)
        assert (told["hub/0", "", "matured"], told["file/x@1", "", "matured"]) == (3, 1)


def test_an_end_marker_moves_the_position_of_its_source_only() -> None:
    scenario = small()
    readings = steady(6, source="file/x@1")
    items: list[Item] = [*readings[:3], Ended("file/x@1", 7), Ended("file/y@1", 7), *readings[3:]]
    folded = fold(scenario, as_batches(scenario, items, [5]))
    assert (folded.counts["applied"], folded.counts["redelivered"]) == (3, 3)
    assert {name: tally.position for name, tally in folded.state.sources.items()} == {"file/x@1": 7, "file/y@1": 7}


def test_a_batch_of_an_end_marker_alone_changes_no_device() -> None:
    scenario = small()
    folded = fold(scenario, as_batches(scenario, [*steady(3), Ended("hub/0", 9)], [3]))
    assert folded.state.sources["hub/0"].position == 9
    assert folded.state.next == 2


@pytest.mark.parametrize("gap", range(1, 8))
def test_a_crowd_in_the_same_batch_does_not_change_a_forecast(gap: int) -> None:
    """With many devices a segment has little room, but never less than an hour that a gap closes late needs."""
    scenario = small(samples_per_hour=2, horizon=6, lateness=0)
    rows = [(START + i, float(i)) for i in range(8)] + [(START + 7 + gap, 50.0), (START + 8 + gap, 60.0)]
    readings = [Reading("hub/0", i, "a", hour * 60, (value, value, 0.0)) for i, (hour, value) in enumerate(rows)]
    names = [f"crowd-{i}" for i in range(3000)]
    crowd = [Reading("hub/1", i, name, START * 60, (1.0, 1.0, 0.0)) for i, name in enumerate(names)]
    models = Models((V1,), frozenset(names))
    alone = fold(scenario, as_batches(scenario, readings, [], models))
    among = fold(scenario, as_batches(scenario, [*crowd, *readings], [], models))
    assert among.newest == alone.newest
    assert ("a", START + 7, 0) in alone.newest or gap >= scenario.horizon
    assert expected_forecasts(read_by_plain(scenario, readings)) == {k: v[:2] for k, v in alone.newest.items()}


def test_a_step_leaves_the_state_as_it_was() -> None:
    scenario = small()
    (models, first), (_, second) = as_batches(scenario, steady(20), [10])
    state = fold(scenario, [(models, first)]).state
    before = task(scenario).snapshot(state)()
    task(scenario).step(state, second, control(models), scorer_of(models))
    assert task(scenario).snapshot(state)() == before


@pytest.mark.parametrize("gap", [0, 1, 5, 6, 7, 100])
def test_a_gap_keeps_hour_k_in_slot_k(gap: int) -> None:
    scenario = small()
    hours = [START, START + 1, START + 2 + gap]
    readings = [Reading("f", i + 1, "a", hour * 60, (float(i), 0.0, 0.0)) for i, hour in enumerate(hours)]
    state = fold(scenario, as_batches(scenario, readings, [])).state
    values = state.columns.ring.values()[:, 0, 0]
    for hour in range(hours[-1] - scenario.slots + 1, hours[-1] + 1):
        expected = float(hours.index(hour)) if hour in hours else math.nan
        np.testing.assert_equal(float(values[hour % scenario.slots]), expected)


def _forecasts(samples: int, *rows: tuple[int, int, float]) -> dict[int, tuple[float, int]]:
    """Newest forecasts of one device from readings (hours after START, minute, pm), all in one batch."""
    scenario = small(samples_per_hour=samples)
    readings = [Reading("f", i + 1, "a", (START + h) * 60 + m, (v, 0.0, 0.0)) for i, (h, m, v) in enumerate(rows)]
    newest = fold(scenario, as_batches(scenario, readings, [])).newest
    return {as_of - START: (value, revision) for (_, as_of, _), (value, _, revision) in newest.items()}


def test_a_reading_as_late_as_the_horizon_changes_the_hour_but_not_the_forecast_that_is_final() -> None:
    rows = [(0, 0, 1.0), (1, 0, 2.0), (2, 0, 3.0), (3, 0, 4.0)]
    late = _forecasts(1, *rows, (0, 7, 90.0))
    assert late[0] == _forecasts(1, *rows)[0]
    assert late[1][0] != _forecasts(1, *rows)[1][0]


def test_an_incomplete_hour_is_forecast_when_the_next_begins_unless_its_target_is_past_by_then() -> None:
    assert set(_forecasts(2, (0, 0, 1.0), (2, 0, 2.0))) == {0}
    assert set(_forecasts(2, (0, 0, 1.0), (3, 0, 2.0))) == set()
    assert set(_forecasts(2, (0, 0, 1.0), (0, 9, 1.0))) == {0}


@pytest.mark.parametrize("cut", [(), (1,), (2,), (1, 2)])
def test_readings_of_one_minute_are_a_conflict_or_none_however_the_batch_is_cut(cut: tuple[int, ...]) -> None:
    """Two minutes of an hour that the ring remembers one of, the second one twice."""
    values: list[Values] = [(1.0, 0.0, 0.0), (2.0, 0.0, 0.0), (3.0, 0.0, 0.0)]
    minutes = [START * 60, START * 60 + 1, START * 60 + 1]
    items: list[Item] = [
        Reading("hub/0", i + 1, "a", m, v) for i, (m, v) in enumerate(zip(minutes, values, strict=True))
    ]
    told = told_by(read_by_plain(small(), items))
    assert told["hub/0", "", "duplicates"] == 1
    found = tallies_of(fold(small(), as_batches(small(), items, cut)).state)
    assert whatever_the_cut(found) == whatever_the_cut(told)
